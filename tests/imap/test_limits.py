"""Hostile and slow clients: precise errors or a clean close, memory bounded, others unharmed."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.mailbox.view import FolderView
from mailstead.store.record import DamagedRecord
from tests.imap.conftest import Client, Face, message, start_face


async def closed(client: Client) -> list[bytes]:
    """What still comes until the server closes."""
    lines = []
    while line := await client.line():
        lines.append(line)
    return lines


async def test_an_endless_line_is_refused_and_given_up(face: Face) -> None:
    client = await face.client(login=False)

    async def flood() -> None:
        try:
            for _ in range(400):
                client.write(b"x" * 65536)
                await client.writer.drain()
        except ConnectionError:
            pass

    task = asyncio.create_task(flood())
    try:
        lines = await closed(client)
    except ConnectionError:
        lines = []
    await task
    assert not lines or lines == [b"* BAD Command line too long", b"* BYE Line too long"]
    other = await face.client()
    await other.ok("NOOP")


async def test_a_literal_of_4_gigabytes_that_is_not_asked_for_ends_the_connection(face: Face) -> None:
    client = await face.client()
    client.write(b"a APPEND INBOX {4294967296+}\r\n" + b"x" * 1000)
    assert await closed(client) == [b"* BYE Literal too large"]


async def test_an_unwelcome_literal_is_skipped(face: Face) -> None:
    client = await face.client()
    client.write(b"a CREATE {100000+}\r\n" + b"y" * 100000 + b"\r\nb NOOP\r\n")
    assert (await client.until(b"b")) == ([b"a BAD Literal too large"], b"OK NOOP completed")


async def test_nul_is_refused_outside_of_messages(face: Face) -> None:
    client = await face.client()
    client.write(b"a NO\0OP\r\n")
    assert await client.line() == b"* BAD NUL in command"
    assert (await client.command(b"CREATE {3+}\r\na\0b"))[1] == b"BAD NUL in a literal"
    assert (await client.command(b"APPEND INBOX {3+}\r\na\0b"))[1] == b"BAD NUL in a literal"
    await client.ok(b"APPEND INBOX ~{3+}\r\na\0b")


async def test_octets_that_come_one_by_one_are_understood(face: Face) -> None:
    client = await face.client()
    for octet in b"a APPEND INBOX (\\Seen) {5+}\r\nhello\r\nb NOOP\r\n":
        client.write(bytes((octet,)))
        await client.writer.drain()
        await asyncio.sleep(0)
    untagged, reply = await client.until(b"b")
    assert untagged[0].startswith(b"a OK [APPENDUID")
    assert reply == b"OK NOOP completed"


async def test_nested_searches_have_a_limit(face: Face) -> None:
    client = await face.client()
    await client.ok("SELECT INBOX")
    assert (await client.command("SEARCH " + "(" * 40 + "ALL" + ")" * 40))[1].startswith(b"OK")
    assert (await client.command("SEARCH " + "(" * 5000 + "ALL" + ")" * 5000))[1] == b"BAD Search nested too deep"
    assert (await client.command("SEARCH " + "NOT " * 5000 + "ALL"))[1] == b"BAD Search nested too deep"
    assert (await client.command("SEARCH " + "ALL " * 5000 + "ALL"))[1] == b"BAD Too many search keys"


async def test_wildcards_do_not_explode(face: Face) -> None:
    client = await face.client()
    await client.ok("CREATE " + "a" * 200)
    await asyncio.wait_for(client.ok('LIST "" "' + "*a" * 300 + 'b"'), 60)


async def test_a_flood_of_commands_is_answered_in_order_and_others_get_their_turn(face: Face) -> None:
    client, other = await face.client(), await face.client()
    client.write(b"".join(b"t%d NOOP\r\n" % n for n in range(20000)))
    await asyncio.wait_for(other.ok("LIST \"\" *"), 60)
    for n in range(20000):
        assert await client.line() == b"t%d OK NOOP completed" % n


async def test_a_client_that_does_not_read_holds_no_memory(face: Face) -> None:
    filler = await face.client()
    body = "x" * 70 + "\r\n"
    await filler.append("INBOX", message("large", body * 20000))  # 1.4 MB
    client = await face.client()
    await client.ok("SELECT INBOX")
    connection = next(c for c in face.endpoint.connections if c.peer[1] == client.writer.get_extra_info("sockname")[1])
    for n in range(100):
        client.write(b"f%d FETCH 1 BODY.PEEK[]\r\n" % n)
    await client.writer.drain()
    for _ in range(50):
        await filler.ok("NOOP")
    assert connection._transport.get_write_buffer_size() < 1 << 20
    untagged, reply = await client.until(b"f99")
    assert reply == b"OK FETCH completed"
    assert sum(line.startswith(b"* 1 FETCH") for line in untagged) == 100


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(face: Face) -> None:
    filler = await face.client()
    await filler.append("INBOX", message("large", ("x" * 70 + "\r\n") * 20000))
    for _ in range(5):
        client = await face.client()
        await client.ok("SELECT INBOX")
        client.write(b"a FETCH 1 BODY[]\r\nb IDLE\r\n")
        await client.reader.readexactly(100)
        client.writer.transport.abort()
    view = next(iter(face.mailbox._views.values()))
    async with asyncio.timeout(60):
        while view.users or len(face.endpoint.connections) > 1:
            await filler.ok("NOOP")
    assert view._callbacks == []


async def test_half_closed_clients_get_their_answers(face: Face) -> None:
    client = await face.client()
    client.write(b"a SELECT INBOX\r\nb STATUS INBOX (MESSAGES)\r\n")
    client.writer.write_eof()
    lines = await closed(client)
    assert lines[-1] == b"b OK STATUS completed"


async def test_graceful_stop_says_bye(face: Face) -> None:
    idle, plain = await face.client(), await face.client()
    await idle.ok("SELECT INBOX")
    idle.write(b"i IDLE\r\n")
    assert await idle.line() == b"+ idling"
    for connection in list(face.endpoint.connections):
        connection.shutting_down()
    assert await closed(idle) == [b"* BYE Server shutting down"]
    assert await closed(plain) == [b"* BYE Server shutting down"]


async def test_idle_clients_are_logged_out(tmp_path: Path) -> None:
    face, stop = await start_face(tmp_path)
    face.endpoint.idle_timeout = 1.0
    client = await face.client(login=False)
    lines = await asyncio.wait_for(closed(client), 60)
    assert lines == [b"* BYE Autologout, idle for too long"]
    await stop()


async def test_a_store_that_fails_is_said_so_and_the_session_goes_on(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await face.client()
    await client.append("INBOX", message("one"))
    await client.ok("SELECT INBOX")

    async def broken(*_: object, **__: object) -> None:
        raise OSError("sync failed")

    def unreadable(*_: object, **__: object) -> None:
        raise DamagedRecord("bad checksum")

    with monkeypatch.context() as patch:
        patch.setattr(FolderView, "refresh", broken)
        assert await client.command("NOOP") == ([b"* NO [UNAVAILABLE] sync failed"], b"OK NOOP completed")
        client.write(b"i IDLE\r\n")
        assert await client.line() == b"+ idling"
        assert await client.line() == b"* NO [UNAVAILABLE] sync failed"
        client.write(b"DONE\r\n")
        assert await client.line() == b"* NO [UNAVAILABLE] sync failed"
        assert await client.line() == b"i OK IDLE completed"
    with monkeypatch.context() as patch:
        patch.setattr(type(face.mailbox), "read", unreadable)
        untagged, reply = await client.command("FETCH 1 BODY.PEEK[]")
        assert (untagged, reply) == ([], b"NO [SERVERBUG] Some messages are damaged in the store")
    with monkeypatch.context() as patch:
        patch.setattr(type(face.mailbox), "append", broken)
        assert (await client.command(b"APPEND INBOX {3+}\r\nabc"))[1].startswith(b"NO [UNAVAILABLE]")
    assert len(await client.ok("FETCH 1 BODY.PEEK[]")) == 1


async def test_a_large_message_that_breaks_off_ends_the_connection(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    client, other = await face.client(), await face.client()
    await client.append("INBOX", message("large", ("x" * 70 + "\r\n") * 20000))
    await client.ok("SELECT INBOX")

    async def short(*_: object, **__: object) -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        raise OSError("read failed")

    monkeypatch.setattr(type(face.mailbox), "stream", short)
    client.write(b"a FETCH 1 BODY.PEEK[]\r\n")
    text = b""
    try:
        while more := await asyncio.wait_for(client.reader.read(65536), 60):
            text += more
    except ConnectionError:
        pass
    assert b"a OK" not in text
    await other.ok("NOOP")


@pytest.mark.parametrize("seed", range(6))
async def test_random_octets_never_break_the_server(tmp_path: Path, seed: int) -> None:
    face, stop = await start_face(tmp_path, maxErrors=1000)
    rng = random.Random(seed)
    words = [
        b"a1 ", b"FETCH ", b"UID ", b"STORE ", b"SEARCH ", b"1:* ", b"(FLAGS)", b"BODY[", b"]", b"{5+}\r\nhello", b"\r\n",
        b"SELECT INBOX\r\n", b"LIST ", b'"" ', b"*", b"IDLE\r\n", b"DONE\r\n", b"APPEND INBOX ", b"\\Seen", b"(", b")",
        b"AUTHENTICATE PLAIN\r\n", b"STATUS INBOX (", b"MESSAGES", b"COPY 1 ", b"$", b"RETURN (SAVE) ", b"NOT ", b"\xff\xfe",
        b"EXPUNGE\r\n", b"CLOSE\r\n", b"ENABLE QRESYNC\r\n", b"CREATE x", b"DELETE x\r\n", b"RENAME x y\r\n", b"{99999}\r\n",
        b"REPLACE 1 INBOX ", b"CATENATE (", b"TEXT ", b"URL ", b'"/INBOX/;UID=1"', b"UTF8 (", b"~{3+}\r\na\0b", b"NOTIFY SET ",
        b"(selected (MessageNew MessageExpunge))", b"(personal (MessageNew MessageExpunge MailboxName))", b"NOTIFY NONE\r\n",
        b"GENURLAUTH ", b"URLFETCH ", b'"imap://alice@127.0.0.1/INBOX/;UID=1;URLAUTH=anonymous"', b" INTERNAL", b"RESETKEY\r\n",
        b"UNAUTHENTICATE\r\n", b"BINARY[1]", b"EMAILID", b"PREVIEW (LAZY)", b"(PARTIAL -1:-2)", b"ENABLE UTF8=ACCEPT\r\n",
    ]  # fmt: skip
    filler = await face.client()
    await filler.append("INBOX", message("target"))
    for _ in range(15):
        client = await face.client(login=rng.random() < 0.8)
        client.write(b"s SELECT INBOX\r\n")
        for _ in range(60):
            client.write(b"a%d " % rng.randrange(9) + b"".join(rng.choices(words, k=rng.randrange(1, 8))))
            if rng.random() < 0.7:
                client.write(b"\r\n")
            if rng.random() < 0.1:
                client.write(os.urandom(rng.randrange(200)))
        client.writer.write_eof()
        text = b""
        try:
            while more := await asyncio.wait_for(client.reader.read(65536), 60):
                text += more
        except ConnectionError:
            pass  # closed before it had read everything
        assert b"SERVERBUG" not in text
        assert b"Internal error" not in text
    await filler.ok("NOOP")
    await stop()
