"""SORT against a plain model: random messages, random criteria, and results that are kept up to date."""

from __future__ import annotations

import random
import re
import tracemalloc
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.header import Header
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.imap.commands.sort import criteria_of
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.search_return import parse
from mailstead.mailbox import sorting, threading
from mailstead.mailbox.collation import sort_key
from mailstead.mailbox.sorting import Criterion, sorted_slowly
from tests.imap.conftest import Client, Face

START = datetime(2024, 3, 1, tzinfo=UTC)
NAMES = ["Ann", "bob", "Émile", "zoë", "Ärger", "ann", ""]
SUBJECTS = ["lunch", "Re: lunch", "Lunch (fwd)", "[list] ärger", "Zebra", "", "zebra", "FW: apple", "apple"]
BASES = ["lunch", "lunch", "lunch", "ärger", "zebra", "", "zebra", "apple", "apple"]


def folded(text: str) -> str:
    return unicodedata.normalize("NFKD", text.upper())


@dataclass
class Mail:
    number: int
    subject: int
    name: str
    user: str
    to: str
    cc: str
    internal: datetime
    sent: datetime | None
    size: int = 0

    def octets(self) -> bytes:
        lines = [f"Subject: {Header(SUBJECTS[self.subject], 'utf-8').encode()}"]
        shown = f"{Header(self.name, 'utf-8').encode()} " if self.name else ""
        lines.append(f"From: {shown}<{self.user}@example.test>")
        if self.to:
            lines.append(f"To: {self.to}@example.test")
        if self.cc:
            lines.append(f"Cc: Someone <{self.cc}@example.test>, other@example.test")
        if self.sent:
            lines.append(f"Date: {format_datetime(self.sent)}")
        octets = ("\r\n".join(lines) + "\r\n\r\n" + "x" * (self.number % 7) + "\r\n").encode()
        self.size = len(octets)
        return octets


KEYS: dict[str, Callable[[Mail], Any]] = {
    "ARRIVAL": lambda m: m.internal,
    "CC": lambda m: m.cc.upper(),
    "DATE": lambda m: m.sent or m.internal,
    "DISPLAYFROM": lambda m: folded(m.name or f"{m.user}@example.test"),
    "DISPLAYTO": lambda m: folded(f"{m.to}@example.test") if m.to else "",
    "FROM": lambda m: m.user.upper(),
    "SIZE": lambda m: m.size,
    "SUBJECT": lambda m: folded(BASES[m.subject]),
    "TO": lambda m: m.to.upper(),
}


def make(rng: random.Random, number: int) -> Mail:
    zone = timezone(timedelta(hours=rng.randrange(-11, 12)))
    sent = (START + timedelta(hours=rng.randrange(30))).astimezone(zone) if rng.random() < 0.8 else None
    user, to, cc = rng.choice("abC"), rng.choice(["x", "Y", ""]), rng.choice(["q", ""])
    internal = START + timedelta(hours=rng.randrange(30))
    return Mail(number, rng.randrange(len(SUBJECTS)), rng.choice(NAMES), user, to, cc, internal, sent)


async def fill(client: Client, mails: list[Mail]) -> None:
    for mail in mails:
        octets = mail.octets()
        date = mail.internal.strftime('"%d-%b-%Y %H:%M:%S +0000"').encode()
        await client.ok(b"APPEND INBOX %b {%d+}\r\n%b" % (date, len(octets), octets))


def model(mails: list[Mail], criteria: list[tuple[str, bool]]) -> list[int]:
    ordered = list(mails)
    for name, reverse in reversed(criteria):
        ordered.sort(key=KEYS[name], reverse=reverse)  # stable both ways
    return [mail.number for mail in ordered]


@pytest.mark.parametrize("seed", range(3))
async def test_random_sorts_are_those_of_the_model(face: Face, seed: int) -> None:
    rng = random.Random(seed)
    client = await face.client()
    mails = [make(rng, number) for number in range(1, 61)]
    await fill(client, mails)
    await client.ok("SELECT INBOX")
    for _ in range(80):
        criteria = [(rng.choice(list(KEYS)), rng.random() < 0.5) for _ in range(rng.randrange(1, 4))]
        words = " ".join(f"REVERSE {name}" if reverse else name for name, reverse in criteria)
        low = rng.randrange(1, 61)
        (answer,) = await client.ok(f"SORT ({words}) UTF-8 {low}:*")
        found = [int(number) for number in answer.split()[2:]]
        assert found == model(mails[low - 1 :], criteria), words
        (answer,) = await client.ok(f"UID SORT RETURN (ALL COUNT) ({words}) UTF-8 {low}:*")
        assert expand(answer.split()[6]) == found


def expand(octets: bytes) -> list[int]:
    out: list[int] = []
    for piece in octets.split(b","):
        low, _, high = piece.partition(b":")
        out += range(int(low), int(high or low) + 1)
    return out


@dataclass
class Kept:
    """A result as a client keeps it: what was answered, with all updates applied."""

    command: str
    tag: bytes
    sorted: bool
    uids: list[int]
    by_uid: bool = True
    updates: int = 0

    def expunged(self, number: int) -> None:
        """A message is gone: what is kept by number moves up."""
        if not self.by_uid:
            assert number not in self.uids
            self.uids = [one - (one > number) for one in self.uids]

    def apply(self, line: bytes) -> None:
        assert (b" UID " in line) == self.by_uid
        self.updates += 1
        for word, body in re.findall(rb" (ADDTO|REMOVEFROM) \(([^)]*)\)", line):
            words = body.split()
            for place, octets in zip(map(int, words[::2]), words[1::2], strict=True):
                for offset, uid in enumerate(expand(octets)):
                    if word == b"ADDTO":
                        assert uid not in self.uids
                        self.uids.insert(place - 1 + offset if place else len(self.uids), uid)
                    else:
                        assert not place or self.uids[place - 1] == uid
                        self.uids.remove(uid)
        if not self.sorted:
            self.uids.sort()


async def take(client: Client, command: str, kept: list[Kept]) -> None:
    for line in await client.ok(command):
        found = re.match(rb'\* ESEARCH \(TAG "([^"]+)"\) (?:UID )?(ADDTO|REMOVEFROM)', line)
        gone = re.fullmatch(rb"\* (\d+) EXPUNGE", line)
        for one in kept:
            if gone:
                one.expunged(int(gone[1]))
            if found and one.tag == found[1]:
                one.apply(line)


async def ask(client: Client, command: str) -> list[int]:
    (line,) = [line for line in await client.ok(command) if line.startswith(b"* ESEARCH") and b"COUNT" in line]
    found = re.search(rb" ALL ([0-9:,]+)", line)
    return expand(found[1]) if found else []


PROGRAMS = ["UNSEEN", "OR DELETED FLAGGED", "SUBJECT lunch NOT DELETED", "KEYWORD $Work", "2:9", "UID 5:*", "NOT KEYWORD $Work",
            "OR UID 3:12 SEEN", "ALL"]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
async def test_a_kept_result_with_its_updates_is_a_fresh_search(face: Face, seed: int) -> None:
    rng = random.Random(seed)
    client, other = await face.client(), await face.client()
    mails = [make(rng, number) for number in range(1, 16)]
    await fill(client, mails)
    await client.ok("SELECT INBOX")
    await other.ok("SELECT INBOX")
    kept: list[Kept] = []
    numbered: list[int] = []
    for program in rng.sample(PROGRAMS, 8):
        order = " ".join(rng.choice(["", "REVERSE "]) + name for name in rng.sample(list(KEYS), 2))
        is_sorted = rng.random() < 0.6
        verb = f"SORT RETURN (UPDATE ALL COUNT) ({order}) UTF-8" if is_sorted else "SEARCH RETURN (UPDATE ALL COUNT)"
        prefix = rng.choice(["UID ", "UID ", ""])
        uids = await ask(client, f"{prefix}{verb} {program}")
        fixed = program
        if program == "2:9":
            numbered = [int(uid) for uid in (await client.ok("UID SEARCH 2:9"))[-1].split()[2:]]
            fixed = "UID " + ",".join(map(str, numbered))
        kept.append(Kept(f"{prefix}{verb.replace('UPDATE ', '')} {fixed}", b"a%d" % client._tags, is_sorted, uids, bool(prefix)))
        if program == "2:9":
            kept[-1].tag = b"a%d" % (client._tags - 1)
    for step in range(40):
        actor = rng.choice([client, other])
        kind = rng.choice(["store", "store", "store", "append", "expunge"])
        flag = rng.choice(["\\Seen", "\\Flagged", "\\Deleted", "$Work"])
        if kind == "append":
            mail = make(rng, 100 + step)
            octets = mail.octets()
            command = f"APPEND INBOX {{{len(octets)}+}}\r\n{octets.decode()}"
        elif kind == "store":
            command = f"UID STORE {rng.randrange(1, 20)}:{rng.randrange(1, 30)} {rng.choice('+-')}FLAGS.SILENT ({flag})"
        else:
            command = "EXPUNGE"
        if actor is client:
            await take(client, command, kept)
        else:
            await other.ok(command)
        if rng.random() < 0.7:
            await take(client, "NOOP", kept)
            for one in kept:
                # A search may itself bring updates of the others, which are the same for all.
                assert await ask(client, one.command) == one.uids, one.command
    assert sum(one.updates for one in kept) > 30


texts = st.text(alphabet="aAäÄßéøİıſK①ﬁΣσς日 \u0301\U0001f600", max_size=8)


def test_long_texts_leave_nothing_in_memory() -> None:
    tracemalloc.start()
    for number in range(1500):
        text = "\u00e9" * 1900 + str(number)
        sort_key(text)
        sorting._value_of("displayto", 0)((b"To: " + b"x" * 9000 + b"%d@example.test\r\n" % number,))
        threading._mail(0, 5, "", 0, 1, f"Subject: {text}\r\n".encode())
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 1_000_000


def test_a_criterion_that_is_repeated_counts_once() -> None:
    assert criteria_of(Arguments(b"(SUBJECT REVERSE SUBJECT DATE SUBJECT)")) == (Criterion("subject"), Criterion("date"))


@given(st.lists(texts, max_size=12))
def test_the_collation_is_total_and_ignores_case(words: list[str]) -> None:
    for word in words:
        assert sort_key(word) == sort_key(word)
        if word.isascii():
            assert sort_key(word) == sort_key(word.swapcase())
    folded = [sort_key(word) for word in words]
    assert sorted(folded) == sorted(map(sort_key, reversed(words)))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 9000), st.integers(1, 5000), st.integers(0, 99))
async def test_sorting_in_buckets_is_sorting(count: int, spread: int, seed: int) -> None:
    rng = random.Random(seed)
    values = [(rng.randrange(spread), at) for at in range(count)]

    async def breathe() -> None: ...

    assert await sorted_slowly(values, breathe) == sorted(values)


words = st.sampled_from(
    [b"RETURN", b"(", b")", b" ", b"ALL", b"COUNT", b"PARTIAL", b"1:2", b"-1:-9", b"SAVE", b"UPDATE", b"REVERSE", b"DATE",
     b"SUBJECT", b"RELEVANCY", b"0:1", b"\x00", b"{", b'"', b"CONTEXT", b"MIN"]
)  # fmt: skip


@settings(max_examples=1500)
@given(st.lists(words, max_size=14).map(b"".join) | st.binary(max_size=40))
def test_options_and_criteria_are_parsed_or_refused(octets: bytes) -> None:
    for function, head in ((parse, b"RETURN ("), (criteria_of, b"("), (parse, b"")):
        try:
            function(Arguments(head + octets))  # type: ignore[operator]
        except BadSyntax:
            pass
