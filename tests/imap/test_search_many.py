"""ESEARCH over many mailboxes is UID SEARCH in each; and sessions with UIDONLY never see a message number."""

from __future__ import annotations

import random
import re

import pytest

from tests.imap.conftest import Client, Face, message
from tests.imap.test_sharing import Domain, domain, share

__all__ = ["domain"]
_answer = re.compile(rb'\* ESEARCH \(TAG "[^"]+" MAILBOX (\S+|"[^"]+") UIDVALIDITY \d+\) UID(?: ALL ([0-9:,]+))?')


def answers(untagged: list[bytes]) -> dict[str, str]:
    found = {}
    for line in untagged:
        if match := _answer.fullmatch(line):
            found[match[1].decode().strip('"')] = match[2].decode()
    assert len(found) == len([line for line in untagged if b"ESEARCH" in line])
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_each_mailbox_is_answered_as_if_it_were_selected(face: Face, seed: int) -> None:
    rng = random.Random(seed)
    client = await face.client()
    names = ["INBOX", "A", "A/B", "A/B/C", "A/D", "E"]
    for name in names[1:]:
        await client.command(f"CREATE {name}")
    for number in range(60):
        flags = " ".join(rng.sample(["\\Seen", "\\Flagged", "$Work", f"$Only{rng.randrange(4)}"], 2))
        await client.append(rng.choice(names), message(rng.choice(["alpha", "beta", "gamma"]), f"text {number}\r\n"), f"({flags})")
    programs = [
        "SEEN",
        "KEYWORD $Work",
        "UNKEYWORD $Only1",
        "SUBJECT a",
        "UID 3:*",
        "NOT (UID 2:4)",
        "OR SUBJECT beta FLAGGED",
        "UID *",
    ]
    below_a = {"A", "A/B", "A/B/C", "A/D"}
    for program in programs:
        alone = {}
        for name in names:
            await client.ok(f"EXAMINE {name}")
            (line,) = [line for line in await client.ok(f"UID SEARCH RETURN () {program}") if b"ESEARCH" in line]
            if found := re.search(rb" ALL ([0-9:,]+)", line):
                alone[name] = found[1].decode()
        for source, wanted in (
            ("personal", set(names)),
            ("subtree A", below_a),
            ("subtree-one A", {"A", "A/B", "A/D"}),
            ("mailboxes (E A/B)", {"E", "A/B"}),
            ("inboxes subtree A/B mailboxes A/B", {"INBOX", "A/B", "A/B/C"}),
            ("selected", {"E"}),
        ):
            got = answers(await client.ok(f"ESEARCH IN ({source}) RETURN (ALL) {program}"))
            assert got == {name: alone[name] for name in wanted if name in alone}, (source, program)


async def test_mailboxes_of_others_are_searched_only_where_they_may_be_read(domain: Domain) -> None:
    bob, alice = await domain.client("bob"), await domain.client("alice")
    for name in ("Open", "Shown", "Hidden"):
        await bob.ok(f"CREATE {name}")
        await bob.append(name, message("plans"))
    await alice.append("INBOX", message("plans"))
    await share(bob, "Open", "alice@example.test", "lr")
    await share(bob, "Shown", "alice@example.test", "l")
    everything = 'mailboxes ("Other Users/bob/Open" "Other Users/bob/Shown" "Other Users/bob/Hidden" Nowhere INBOX)'
    for source in (everything, 'subtree ("Other Users" INBOX)', 'subtree ""'):
        assert answers(await alice.ok(f"ESEARCH IN ({source}) RETURN (ALL) SUBJECT plans")) == {
            "INBOX": "1",
            "Other Users/bob/Open": "1",
        }
    assert answers(await alice.ok("ESEARCH IN (personal) RETURN (ALL) SUBJECT plans")) == {"INBOX": "1"}
    await alice.ok('SUBSCRIBE "Other Users/bob/Open"')
    assert answers(await alice.ok("ESEARCH IN (subscribed) RETURN (ALL) UID 1:*"))["Other Users/bob/Open"] == "1"


class Known:
    """What a client with UIDONLY may conclude."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.flags: dict[int, frozenset[str]] = {}
        self.count = 0

    async def command(self, text: str) -> list[bytes]:
        untagged = await self.client.ok(text)
        for line in untagged:
            assert not re.match(rb"\* \d+ (FETCH|EXPUNGE|RECENT [1-9])", line), line
            assert b" UNSEEN" not in line, line
            if found := re.fullmatch(rb"\* VANISHED ([0-9:,]+)", line):
                for piece in found[1].decode().split(","):
                    low, _, high = piece.partition(":")
                    for uid in range(int(low), int(high or low) + 1):
                        self.flags.pop(uid, None)
                        self.count -= 1
            elif found := re.fullmatch(rb"\* (\d+) EXISTS", line):
                self.count = int(found[1])
            elif found := re.fullmatch(rb"\* (\d+) UIDFETCH \((?:.* )?FLAGS \(([^)]*)\).*\)", line, re.S):
                self.flags[int(found[1])] = frozenset(found[2].decode().split())
        return untagged


@pytest.mark.parametrize("seed", range(4))
async def test_a_session_that_knows_uids_only_sees_the_truth(face: Face, seed: int) -> None:
    rng = random.Random(seed)
    client, other = await face.client(), await face.client()
    for number in range(8):
        await client.append("INBOX", message(f"message {number}"))
    await other.ok("SELECT INBOX")
    known = Known(client)
    await known.command(f"ENABLE UIDONLY{rng.choice(['', ' CONDSTORE', ' QRESYNC', ' IMAP4rev2'])}")
    await known.command("SELECT INBOX")
    await known.command("UID FETCH 1:* FLAGS")
    for step in range(60):
        low = rng.randrange(1, 9 + step // 6)
        change = rng.choice("+-") + f"FLAGS (\\{rng.choice(['Seen', 'Flagged', 'Deleted'])})"
        action = rng.choice(
            [f"UID STORE {low}:{low + 2} {change}",
             "EXPUNGE", "NOOP", f"UID COPY {low} Trash", f"UID MOVE {low} Trash",
             f"UID FETCH {low}:* (FLAGS RFC822.SIZE BODY.PEEK[TEXT])",
             f"UID FETCH {low} BODY[]", "UID SEARCH RETURN (SAVE) UNSEEN", "UID FETCH $ (UID FLAGS)", f"UID EXPUNGE {low}",
             "UID SORT (REVERSE DATE) UTF-8 ALL", "append"]
        )  # fmt: skip
        if action == "append":
            octets = message(f"new {step}").decode()
            action = f"APPEND INBOX {{{len(octets)}+}}\r\n{octets}"
        if rng.random() < 0.5:
            await known.command(action)
        else:
            await other.command(action)
    await known.command("NOOP")
    await known.command("UID FETCH 1:* FLAGS")
    await other.ok("NOOP")
    truth = {}
    for line in await other.ok("FETCH 1:* (UID FLAGS)"):
        if found := re.fullmatch(rb"\* \d+ FETCH \(.*?UID (\d+).* FLAGS \(([^)]*)\)\)", line):
            truth[int(found[1])] = frozenset(found[2].decode().split())
    assert truth == known.flags
    assert known.count == len(truth)


WORDS = [
    b"UID ", b"SEARCH ", b"SORT ", b"THREAD ", b"ESEARCH ", b"CANCELUPDATE ", b"LANGUAGE ", b"ENABLE UIDONLY", b"NOOP", b"EXPUNGE",
    b"STORE 1 +FLAGS (\\Deleted)", b"RETURN (", b"UPDATE ", b"PARTIAL 1:2 ", b"PARTIAL -1:-3 ", b"SAVE ", b"COUNT", b"RELEVANCY ",
    b") ",
    b"(SUBJECT) ", b"(REVERSE DATE RELEVANCY) ", b"(DISPLAYFROM ARRIVAL) ", b"UTF-8 ", b"KOI8-R ", b"REFERENCES ", b"REFS ", b"ALL",
    b" ", b"FUZZY SUBJECT mesage", b"FILTER mine", b"OR ", b"NOT ", b"1:2 ", b"$", b'"a3" ', b"IN (", b"personal",
    b"subtree ", b'""', b"INBOX ",
    b"mailboxes (", b"selected ", b"en-GB ", b"\xc3\xa9", b"{3+}\r\nabc", b"CHARSET UTF-8 ", b"MODSEQ 1", b"EMAILID M1 ",
    b"SAVEDON 1-Feb-2024 ",
    b"STATUS INBOX (DELETED-STORAGE MAILBOXID)", b"SETMETADATA \"\" (/private/filters/values/mine \"OR SEEN FILTER mine\")",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_asked_is_answered(face: Face, seed: int) -> None:
    """Each command has one tagged reply, and none of them is our own fault."""
    rng = random.Random(seed)
    face.endpoint.max_errors = 0
    client = await face.client()
    for number in range(4):
        await client.append("INBOX", message(f"message {number}"))
    await client.command('SETMETADATA "" (/private/filters/values/mine "NOT SEEN")')
    await client.ok("SELECT INBOX")
    for _ in range(400):
        words = rng.choices(WORDS, k=rng.randrange(1, 9))
        _, reply = await client.command(b"".join(words))
        assert not reply.startswith(b"NO [SERVERBUG"), words


async def test_ids_that_fetch_gives_are_found_in_every_mailbox(face: Face) -> None:
    client = await face.client()
    await client.append("INBOX", message("one"))
    await client.append("INBOX", message("two"))
    await client.ok("SELECT INBOX")
    await client.ok("COPY 2 Trash")
    lines = await client.ok("FETCH 1:2 (EMAILID THREADID)")
    ids = [re.search(rb"EMAILID \((M\d+)\) THREADID \((T\d+)\)", line) for line in lines]
    assert ids[0]
    assert ids[1]
    assert await client.ok(b"SEARCH EMAILID " + ids[0][1]) == [b"* SEARCH 1"]
    assert await client.ok(b"SEARCH THREADID " + ids[1][2]) == [b"* SEARCH 2"]
    assert answers(await client.ok(b"ESEARCH IN (personal) RETURN (ALL) EMAILID " + ids[1][1])) == {"INBOX": "2", "Trash": "1"}
