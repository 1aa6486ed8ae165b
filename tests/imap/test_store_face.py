"""What the face makes of the store: large messages, MIME parts, other processes, caches."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.imap.fetch_items import internal_date, parse
from mailstead.imap.grammar import Arguments
from mailstead.imap.spooled import SpooledLiteral
from mailstead.message.dates import imap_date_time
from mailstead.message.line_ends import canonical
from tests.imap.conftest import Face, message, start_face
from tests.transport.turns import counted_turns

MIXED = (
    b"From: a@example.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n'
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nSch=C3=B6ne Gr=C3=BC=C3=9Fe\r\n--b\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--b\r\n"
    b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--b--\r\n"
)


async def test_a_large_message_is_spooled_and_comes_back_octet_by_octet(face: Face) -> None:
    octets = message("large", "".join(f"line {n} {'y' * 60}\r\n" for n in range(40000)))
    client = await face.client()
    await client.append("INBOX", octets)
    await client.ok("SELECT INBOX")
    untagged = await client.ok("FETCH 1 (RFC822.SIZE BODY.PEEK[])")
    assert untagged[0] == b"* 1 FETCH (RFC822.SIZE %d BODY[] {%d}\r\n" % (len(octets), len(octets)) + octets + b")"
    untagged = await client.ok("FETCH 1 BODY.PEEK[TEXT]<1000000.300000>")
    body = octets.partition(b"\r\n\r\n")[2]
    assert untagged[0].endswith(b"\r\n" + body[1000000:1300000] + b")")


async def test_large_and_small_messages_in_one_append(face: Face) -> None:
    small, large = message("small"), message("large", ("z" * 70 + "\n") * 10000)
    client = await face.client()
    await client.ok(b"APPEND INBOX {%d+}\r\n%b (\\Seen) {%d+}\r\n%b" % (len(small), small, len(large), large))
    await client.ok("SELECT INBOX")
    untagged = await client.ok("FETCH 1:2 (FLAGS RFC822.SIZE)")
    assert untagged == [
        b"* 1 FETCH (FLAGS () RFC822.SIZE %d)" % len(small),
        b"* 2 FETCH (FLAGS (\\Seen) RFC822.SIZE %d)" % len(large.replace(b"\n", b"\r\n").replace(b"\r\r", b"\r")),
    ]


async def test_many_messages_of_one_append_wait_on_disk_and_not_in_open_files(face: Face) -> None:
    client = await face.client()
    (connection,) = face.endpoint.connections
    spools = connection.session.spools  # type: ignore[attr-defined]
    octets = [message(f"n{n}", f"{n:06d}" * 20_000 + ("\r" if n % 2 else "\n")) for n in range(60)]
    files = len(os.listdir("/proc/self/fd"))
    client.write(b"a APPEND INBOX")
    most = opened = 0
    for one in octets:
        client.write(b" {%d}\r\n" % len(one))
        assert (await client.line()).startswith(b"+")
        client.write(one)
        most = max(most, sum(sink.spool.held for sink in spools.values()))
        opened = max(opened, len(os.listdir("/proc/self/fd")) - files)
    client.write(b" CATENATE (TEXT {300000}\r\n")
    assert (await client.line()).startswith(b"+")
    client.write(b"Subject: last\r\n\r\n" + b"z" * 299_983 + b")\r\n")
    _, reply = await client.until(b"a")
    assert reply.startswith(b"OK"), reply
    assert most < 2_000_000 and opened < 10
    await client.ok("SELECT INBOX")
    for number, one in enumerate(octets, 1):
        sent = canonical(one)
        assert await client.ok(f"FETCH {number} BODY.PEEK[]") == [b"* %d FETCH (BODY[] {%d}\r\n%b)" % (number, len(sent), sent)]
    assert (await client.ok("FETCH 61 BODY.PEEK[]"))[0].endswith(b"z" * 299_983 + b")")


async def test_a_refused_append_leaves_no_spool_behind(face: Face, tmp_path: Path) -> None:
    large = message("large", ("z" * 70 + "\r\n") * 12000)
    client = await face.client()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    for words in (b"APPEND Nowhere", b"APPEND INBOX (\\Bogus)", b'APPEND INBOX "no date"'):
        _, reply = await client.command(b"%b {%d+}\r\n%b" % (words, len(large), large))
        assert not reply.startswith(b"OK")
    _, reply = await client.command(b"APPEND INBOX {%d+}\r\n%b trailing" % (len(large), large))
    assert reply.startswith(b"BAD")
    # So are many, of which some have been put away.
    many = b" ".join([b"{%d+}\r\n%b" % (len(large) // 4, large[: len(large) // 4])] * 20)
    _, reply = await client.command(b"APPEND INBOX %b trailing" % many)
    assert reply.startswith(b"BAD")
    # The large message is complete, the second is refused before it comes.
    _, reply = await client.command(b"APPEND INBOX {%d+}\r\n%b {999999999}" % (len(large), large))
    assert reply.startswith(b"NO [TOOBIG]")
    client.write(b"z APPEND INBOX {%d+}\r\n%b" % (len(large), large[:-5]))
    await client.writer.drain()
    client.writer.transport.abort()
    other = await face.client()
    left: list[Path] = []
    for _ in range(2000):
        after = {path for path in tmp_path.rglob("*") if path.is_file()}
        left = [path for path in after - before if path.stat().st_size > 100_000]
        if len(face.endpoint.connections) == 1 and not left:
            break
        await other.ok("NOOP")  # the file of what broke off goes a moment after its connection
    assert not left
    assert await other.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_parts_of_a_multipart(face: Face) -> None:
    client = await face.client()
    await client.append("INBOX", MIXED)
    await client.ok("SELECT INBOX")

    async def item(name: str) -> bytes:
        untagged = await client.ok(f"FETCH 1 {name}")
        found = re.fullmatch(rb"\* 1 FETCH \((.*)\)", untagged[0], re.S)
        assert found
        return found[1]

    assert (await item("BODY.PEEK[1]")).endswith(b"\r\nSch=C3=B6ne Gr=C3=BC=C3=9Fe")
    assert (await item("BINARY.PEEK[1]")).endswith("\r\nSchöne Grüße".encode())
    assert await item("BINARY.PEEK[2]") == b"BINARY[2] ~{4}\r\n\0\1\2\3"
    assert await item("BINARY.SIZE[2]") == b"BINARY.SIZE[2] 4"
    assert (await item("BODY.PEEK[2.MIME]")).endswith(b"Content-Transfer-Encoding: base64\r\n\r\n")
    assert (await item("BODY.PEEK[3.HEADER]")).endswith(b"\r\nSubject: inner\r\n\r\n")
    assert (await item("BODY.PEEK[3.TEXT]")).endswith(b"\r\ninner text")
    assert await item("BODY.PEEK[3.HEADER.FIELDS (X)]") == b"BODY[3.HEADER.FIELDS (X)] {2}\r\n\r\n"
    assert await item("BODY.PEEK[4]") == b"BODY[4] NIL"
    for words in ("SUBJECT", "BODY", "TEXT"):
        needle = "GRÜSSE".encode()
        assert await client.ok(b"SEARCH CHARSET UTF-8 %b {%d+}\r\n%b" % (words.encode(), len(needle), needle)) == [b"* SEARCH 1"]
    assert await client.ok("SEARCH TEXT inner") == [b"* SEARCH 1"]


@pytest.fixture
async def two_workers(tmp_path: Path) -> AsyncIterator[tuple[Face, Face]]:
    one, stop_one = await start_face(tmp_path)
    two, stop_two = await start_face(tmp_path, writer="w1")
    yield one, two
    await stop_two()
    await stop_one()


async def test_sessions_of_two_workers_hear_of_each_other(two_workers: tuple[Face, Face]) -> None:
    one, two = two_workers
    idle, other = await one.client(), await two.client()
    await other.append("INBOX", message("first"))
    await idle.ok("SELECT INBOX")
    await other.ok("SELECT INBOX")
    idle.write(b"i IDLE\r\n")
    assert await idle.line() == b"+ idling"
    await other.append("INBOX", message("second"))
    assert await idle.line() == b"* 2 EXISTS"
    await other.ok("STORE 1 +FLAGS ($Work \\Deleted)")
    assert b"$Work" in await idle.line()
    assert b"$Work" in await idle.line()
    assert await idle.line() == b"* 1 FETCH (FLAGS (\\Deleted $Work))"
    await other.ok("EXPUNGE")
    assert await idle.line() == b"* 1 EXPUNGE"
    idle.write(b"DONE\r\n")
    assert await idle.line() == b"i OK IDLE completed"


async def test_rendered_pieces_are_never_stale_and_within_their_budget(face: Face) -> None:
    rng = random.Random(5)
    face.services.cache._budget = 150_000
    client, other = await face.client(), await face.client()
    for _ in range(12):
        piece = b" ".join(b"{%d+}\r\n%b" % (len(m), m) for m in [message("x")] * 100)
        await client.ok(b"APPEND INBOX " + piece)
    await client.ok("SELECT INBOX")
    await other.ok("SELECT INBOX")
    flags: dict[int, set[str]] = {uid: set() for uid in range(1, 1201)}
    for _ in range(40):
        uids = rng.sample(sorted(flags), rng.choice((1, 2, 20)))
        flag = rng.choice(("\\Seen", "\\Flagged", "$Work"))
        await other.ok(f"UID STORE {','.join(map(str, sorted(uids)))} +FLAGS.SILENT ({flag})")
        for uid in uids:
            flags[uid].add(flag)
        if rng.random() < 0.2:
            gone = rng.choice(sorted(flags))
            await other.ok(f"UID STORE {gone} +FLAGS.SILENT (\\Deleted)")
            await other.ok("EXPUNGE")
            del flags[gone]
        await client.ok("NOOP")
        untagged = await client.ok("FETCH 1:* (UID FLAGS)")
        seen = {}
        for number, line in enumerate((line for line in untagged if b" FETCH (UID" in line), 1):
            found = re.fullmatch(rb"\* (\d+) FETCH \(UID (\d+) FLAGS \(([^)]*)\)\)", line)
            assert found
            assert int(found[1]) == number
            seen[int(found[2])] = set(found[3].decode().split())
        assert seen == flags
        await client.ok(f"FETCH {rng.randrange(1, 500)}:{rng.randrange(500, len(flags))} (ENVELOPE INTERNALDATE)")
        cache = face.services.cache
        assert cache.used == sum(len(piece) + 300 for piece in cache._pieces.values()) <= 150_000


async def test_fields_that_the_index_cut_are_read_from_the_message(face: Face) -> None:
    client = await face.client()
    many = ", ".join(f"person{n}@example.test" for n in range(2000))
    octets = message("long list", To=many)
    for _ in range(20):
        await client.append("INBOX", octets)
    await client.append("INBOX", message("short"))
    await client.ok("SELECT INBOX")
    untagged = await client.ok("FETCH 1:21 (UID BODY.PEEK[HEADER.FIELDS (Subject To)])")
    assert len(untagged) == 21
    assert b"person1999@example.test" in untagged[0]
    assert untagged[20].endswith(b"To: bob@example.test\r\nSubject: short\r\n\r\n)")
    assert await client.ok("SEARCH TO person1999@") == [b"* SEARCH " + b" ".join(b"%d" % n for n in range(1, 21))]


def test_internal_dates_are_those_of_the_date_module() -> None:
    rng = random.Random(1)
    for seconds in [0, 1, 59, 60, 86399, 86400, *(rng.randrange(4_000_000_000) for _ in range(500))]:
        assert internal_date(seconds) == f'"{imap_date_time(seconds)}"'.encode()


def test_spooled_line_ends_do_not_depend_on_the_pieces() -> None:
    class Kept:
        def __init__(self) -> None:
            self.data = b""

        def feed(self, data: bytes) -> bool:
            self.data += data
            return False

        @property
        def held(self) -> int:
            return 0

        async def flush(self) -> None: ...
        async def put_away(self) -> None: ...
        def abandon(self) -> None: ...

    rng = random.Random(2)
    for _ in range(300):
        octets = bytes(rng.choices(b"\r\n\rx\n", k=rng.randrange(30)))
        kept = Kept()
        literal = SpooledLiteral(kept)
        at = 0
        while at < len(octets):
            step = rng.randrange(1, 5)
            literal.feed(octets[at : at + step])
            at += step
        literal.end()
        assert kept.data == canonical(octets)
        assert b"\n" not in kept.data.replace(b"\r\n", b"")
        assert b"\r" not in kept.data.replace(b"\r\n", b"")


def test_item_lists_are_rendered_with_their_own_templates() -> None:
    items = parse(Arguments(b"(UID BODY.PEEK[HEADER.FIELDS (Date 100%)] FLAGS)".replace(b" 100%", b"")))
    assert items.template == b"* %d FETCH (UID %d BODY[HEADER.FIELDS (Date)] %b FLAGS %b)\r\n"


async def test_the_loop_is_not_held_by_a_large_fetch(face: Face) -> None:
    client, other = await face.client(), await face.client()
    piece = b" ".join(b"{%d+}\r\n%b" % (len(m), m) for m in [message("x")] * 500)
    for _ in range(8):
        await client.ok(b"APPEND INBOX " + piece)
    await client.ok("SELECT INBOX")
    fetch = asyncio.create_task(client.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE)"))
    with counted_turns() as turns:
        await other.ok("NOOP")
        assert len(await fetch) == 4000
    assert turns.longest < 10_000
