"""SEARCH against an oracle that knows the messages: random trees of keys over random mail."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage

import pytest

from mailstead.mailbox.search import Flags, Not, conjunction
from mailstead.mailbox.search_header import FieldCache
from tests.imap.conftest import Client, Face

WORDS = ["alpha", "Beta", "gamma", "Grüße", "delta", "façade", "日本語", "needle", "hay", "stack", "Straße", "ping"]
FLAG_NAMES = ["\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "\\Draft", "$Work", "$Later"]
START = datetime(2024, 1, 10, tzinfo=UTC)


@dataclass
class Mail:
    """What the oracle knows of a message."""

    number: int
    subject: str
    sender: str
    to: str
    body: str
    internal: datetime
    sent: datetime
    flags: set[str] = field(default_factory=set)
    size: int = 0
    listed: str | None = None

    def octets(self) -> bytes:
        made = EmailMessage()
        made["From"], made["To"], made["Subject"] = self.sender, self.to, self.subject
        made["Date"] = self.sent
        if self.listed is not None:
            made["X-Listed"] = self.listed
        made.set_content(self.body, cte=("base64", "quoted-printable", "8bit")[self.number % 3])
        if self.number % 4 == 0:
            made.add_alternative(f"<html><body><p>{self.body}</p></body></html>", subtype="html")
        octets = made.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self.size = len(octets)
        return octets


def make(rng: random.Random, number: int) -> Mail:
    def text(count: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, count)))

    zone = timezone(timedelta(hours=rng.randrange(-11, 12)))
    return Mail(
        number, text(4), f"{rng.choice(['Ann', 'Bob', 'Zoë'])} <{rng.choice('abc')}@example.test>", "team@example.test",
        text(12) + "\n", START + timedelta(hours=rng.randrange(200)),
        (START + timedelta(hours=rng.randrange(200))).astimezone(zone), set(rng.sample(FLAG_NAMES, rng.randrange(4))),
        listed=text(3) if rng.random() < 0.3 else None,
    )  # fmt: skip


Test = tuple[bytes, Callable[[Mail], bool]]


def quoted(text: str) -> bytes:
    octets = text.encode()
    return b"{%d+}\r\n%b" % (len(octets), octets)


def day(value: datetime) -> bytes:
    return value.strftime("%d-%b-%Y").encode()


def has(needle: str, text: str) -> bool:
    return needle.casefold() in text.casefold()


def leaf(rng: random.Random, count: int) -> Test:
    piece = whole = rng.choice(WORDS)
    piece = piece[rng.randrange(2) : rng.randrange(3, len(piece) + 1)] if rng.random() < 0.5 and len(piece) > 4 else piece
    when = START + timedelta(days=rng.randrange(9))
    size, low, high = rng.randrange(300, 900), rng.randrange(1, count + 1), rng.randrange(1, count + 1)
    low, high = min(low, high), max(low, high)
    flag, name = rng.choice([("SEEN", "\\Seen"), ("FLAGGED", "\\Flagged"), ("DRAFT", "\\Draft"), ("ANSWERED", "\\Answered")])
    word = rng.choice(["$Work", "$Later", "$None"])
    return rng.choice([
        (flag.encode(), lambda m: name in m.flags),
        (b"UN" + flag.encode(), lambda m: name not in m.flags),
        (b"KEYWORD " + word.encode(), lambda m: word in m.flags),
        (b"UNKEYWORD " + word.encode(), lambda m: word not in m.flags),
        (b"SUBJECT " + quoted(piece), lambda m: has(piece, m.subject)),
        (b"FROM " + quoted("zoë"), lambda m: has("zoë", m.sender)),
        (b"HEADER X-Listed " + quoted(piece), lambda m: m.listed is not None and has(piece, m.listed)),
        (b'HEADER X-Listed ""', lambda m: m.listed is not None),
        (b"BODY " + quoted(piece), lambda m: has(piece, m.body)),
        (b"TEXT " + quoted(whole), lambda m: any(has(whole, t) for t in (m.body, m.subject, m.listed or "", m.sender))),
        (b"SINCE " + day(when), lambda m: m.internal.date() >= when.date()),
        (b"BEFORE " + day(when), lambda m: m.internal.date() < when.date()),
        (b"ON " + day(when), lambda m: m.internal.date() == when.date()),
        (b"SENTSINCE " + day(when), lambda m: m.sent.date() >= when.date()),
        (b"SENTBEFORE " + day(when), lambda m: m.sent.date() < when.date()),
        (b"SENTON " + day(when), lambda m: m.sent.date() == when.date()),
        (b"LARGER %d" % size, lambda m: m.size > size),
        (b"SMALLER %d" % size, lambda m: m.size < size),
        (b"%d:%d" % (low, high), lambda m: low <= m.number <= high),
        (b"UID %d,%d:*" % (low, high), lambda m: m.number == low or m.number >= high),
        (b"ALL", lambda m: True),
    ])  # fmt: skip


def tree(rng: random.Random, count: int, depth: int) -> Test:
    kind = rng.randrange(6) if depth else 5
    if kind == 0:
        one = tree(rng, count, depth - 1)
        return b"NOT " + one[0], lambda m: not one[1](m)
    if kind == 1:
        left, right = tree(rng, count, depth - 1), tree(rng, count, depth - 1)
        return b"OR %b %b" % (left[0], right[0]), lambda m: left[1](m) or right[1](m)
    if kind == 2:
        keys = [tree(rng, count, depth - 1) for _ in range(rng.randrange(1, 4))]
        return b"(" + b" ".join(k[0] for k in keys) + b")", lambda m: all(k[1](m) for k in keys)
    return leaf(rng, count)


async def fill(client: Client, mails: list[Mail]) -> None:
    for mail in mails:
        octets = mail.octets()
        date = mail.internal.strftime('"%d-%b-%Y %H:%M:%S +0000"').encode()
        flags = " ".join(sorted(mail.flags)).encode()
        await client.ok(b"APPEND INBOX (%b) %b {%d+}\r\n%b" % (flags, date, len(octets), octets))


@pytest.mark.parametrize("seed", range(4))
async def test_random_searches_find_what_the_oracle_finds(face: Face, seed: int) -> None:
    rng = random.Random(seed)
    client = await face.client()
    mails = [make(rng, number) for number in range(1, 61)]
    await fill(client, mails)
    await client.ok("SELECT INBOX")
    for _ in range(120):
        keys = [tree(rng, len(mails), 3) for _ in range(rng.randrange(1, 3))]
        command = b" ".join(key[0] for key in keys)
        untagged = await client.ok(b"SEARCH CHARSET UTF-8 " + command)
        found = [int(word) for word in untagged[-1].split()[2:]]
        assert found == [mail.number for mail in mails if all(key[1](mail) for key in keys)], command


async def test_a_repeated_header_search_sees_new_messages_and_expunges(face: Face) -> None:
    rng = random.Random(9)
    client, other = await face.client(), await face.client()
    mails = [make(rng, number) for number in range(1, 31)]
    await fill(client, mails)
    await client.ok("SELECT INBOX")
    await other.ok("SELECT INBOX")
    hits = [mail.number for mail in mails if "alpha" in mail.subject]
    for _ in range(2):
        assert await client.ok("UID SEARCH SUBJECT ALPHA") == [b"* SEARCH " + b" ".join(b"%d" % n for n in hits)]
    new = make(rng, 31)
    new.subject = "alpha and omega"
    await fill(other, [new])
    await other.ok(f"UID STORE {hits[0]} +FLAGS.SILENT (\\Deleted)")
    await other.ok(f"UID EXPUNGE {hits[0]}")
    await client.ok("NOOP")
    expected = b"* SEARCH " + b" ".join(b"%d" % n for n in [*hits[1:], 31])
    for _ in range(2):
        assert await client.ok("UID SEARCH SUBJECT ALPHA") == [expected]


async def test_search_before_an_expunge_is_told_keeps_the_old_numbers(face: Face) -> None:
    rng = random.Random(3)
    client, other = await face.client(), await face.client()
    await fill(client, [make(rng, number) for number in range(1, 7)])
    await client.ok("SELECT INBOX")
    await other.ok("SELECT INBOX")
    await other.ok("STORE 1:6 -FLAGS.SILENT (\\Deleted \\Seen)")
    await other.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    for words in ("ALL", "UNSEEN", "TO team", "SMALLER 100000", "TEXT team", "NOT SEEN", "OR TO team SEEN"):
        untagged = await client.ok(f"SEARCH {words}")
        assert b"EXPUNGE" not in b"".join(untagged)
        assert [line for line in untagged if b"SEARCH" in line] == [b"* SEARCH 1 3 5 6"], words


async def test_a_large_message_is_searched_without_holding_the_loop(face: Face) -> None:
    client = await face.client()
    await client.append("INBOX", b"Subject: big\r\n\r\n" + b"hay " * 200000 + b"needle in it\r\n")
    await client.append("INBOX", b"Subject: big\r\n\r\n" + b"hay " * 200000 + b"\r\n")
    await client.ok("SELECT INBOX")
    assert await client.ok("SEARCH BODY needle") == [b"* SEARCH 1"]
    assert await client.ok("SEARCH TEXT big BODY hay") == [b"* SEARCH 1 2"]


def test_the_cache_of_fields_counts_a_block_once() -> None:
    cache = FieldCache(10_000)
    keys = [(1, 0, b"x", start, start + 1) for start in range(10)]
    for _ in range(100):
        for key in keys:
            cache.put(key, ("value", [0]))
    assert all(cache.get(key) is not None for key in keys)


def test_flag_tests_are_made_one() -> None:
    assert conjunction([Flags(1, 0), Not(Flags(4, 4)), Flags(8, 8)]) == Flags(13, 8)
    assert isinstance(conjunction([Flags(1, 0), Flags(1, 1)]), Not)
