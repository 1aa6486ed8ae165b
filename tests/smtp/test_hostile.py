"""Bad input: precise errors or a clean end, bounded memory, others unharmed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.smtp.harness import MESSAGE, Face, running


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop work until something is so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - there is nothing to subscribe to
            await asyncio.sleep(0.001)


async def test_overlong_lines(face: Face) -> None:
    client = await face.ready()
    assert (await client.command(b"NOOP " + b"x" * 1993)).startswith("250")
    assert (await client.command(b"NOOP " + b"x" * 1994)).startswith("500 5.5.6")
    assert (await client.command(b"MAIL FROM:<" + b"x" * 100_000 + b">")).startswith("500 5.5.6")
    assert (await client.send()).startswith("250")


async def test_an_endless_command_keeps_nothing(face: Face) -> None:
    client = await face.ready()
    connection = next(iter(face.endpoints["smtp"].connections))
    for _ in range(100):
        client.write(b"x" * 100_000)
        await client.writer.drain()
    client.write(b"\r\n")
    assert (await client.reply()).startswith("500 5.5.6")
    assert len(connection.session._rest) == 0  # type: ignore[attr-defined]
    assert (await client.send()).startswith("250")


async def test_browsers_are_sent_away(face: Face) -> None:
    client = await face.client()
    client.write(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<a@b.test>\r\n")
    assert (await client.reply()).startswith("421 4.7.0")
    assert await client.closed()


@pytest.mark.parametrize("seed", range(8))
async def test_noise_never_breaks_the_server(face: Face, seed: int) -> None:
    source = random.Random(seed)
    words = [
        b"EHLO x", b"MAIL FROM:<a@b.test>", b"RCPT TO:<alice@example.test>", b"DATA", b"BDAT 7", b"BDAT 3 LAST", b"RSET",
        b"NOOP", b"\r\n.\r\n",
        b"\x00\xff", b"AUTH PLAIN", b"AUTH SCRAM-SHA-256", b"*", b"=", b".", b"<>", b"\r", b"\n", b"HELP", b"VRFY",
        b"Subject: x", b" SIZE=1",
    ]  # fmt: skip
    face.endpoints["smtp"].max_errors = 0
    client = await face.client()
    for _ in range(40):
        client.write(b"".join(source.choice(words) + source.choice([b"\r\n", b"\r\n", b"", b"\n"]) for _ in range(20)))
    client.writer.write_eof()
    assert await client.closed()
    other = await face.ready()
    assert (await other.send(MESSAGE, "bob@example.test")).startswith("250")
    assert len(await face.messages("bob@example.test")) == 1


async def test_silence_is_ended_with_a_word(tmp_path: object) -> None:
    from pathlib import Path

    directory = Path(str(tmp_path)) / "data"
    directory.mkdir()
    async with running(directory) as face:
        endpoint = face.endpoints["smtp"]
        client = await face.ready()
        await client.envelope()
        await client.ok("DATA")
        (connection,) = endpoint.connections
        client.write(b"Subject: never finished\r\n")
        connection.idle_timeout = 0.2
        connection.touch()
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.closed()
        endpoint.idle_timeout = 0.2
        client = await face.client()
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.closed()
        assert await face.messages() == []


async def test_a_command_in_drips_is_ended(face: Face) -> None:
    client = await face.ready()
    session = next(iter(face.endpoints["smtp"].connections)).session  # type: ignore[attr-defined]
    client.write(b"NO")
    await client.writer.drain()
    await until(lambda: bool(session._rest))
    session.options.command_timeout = -1.0
    client.write(b"O")
    assert (await client.reply()).startswith("421 4.4.2")


async def test_half_open_clients_get_their_answers(face: Face) -> None:
    client = await face.client()
    client.write(b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n" + MESSAGE + b".\r\n")
    client.writer.write_eof()
    assert [(await client.reply())[:3] for _ in range(5)] == ["250", "250", "250", "354", "250"]
    assert await client.closed()
    assert len(await face.messages()) == 1


async def test_a_lost_connection_leaves_nothing(face: Face) -> None:
    client = await face.ready()
    await client.envelope()
    await client.ok("DATA")
    client.write(b"Subject: x\r\n\r\n" + b"y" * 1_000_000)
    await client.writer.drain()
    client.writer.transport.abort()
    await until(lambda: not face.endpoints["smtp"].connections)
    while face.server._cleaning:
        await asyncio.gather(*face.server._cleaning)
    assert await face.messages() == []
    assert [path for path in face.store.log_path.rglob("*") if path.is_file() and path.suffix != ".mlog"] == []


async def test_stopping_lets_open_transactions_end(face: Face) -> None:
    idle, open_ = await face.ready(), await face.ready()
    await open_.envelope()
    await open_.ok("DATA")
    for connection in list(face.endpoints["smtp"].connections):
        connection.shutting_down()
    assert (await idle.reply()).startswith("421 4.3.2")
    assert await idle.closed()
    open_.write(MESSAGE + b".\r\n")
    assert (await open_.reply()).startswith("250")
    assert (await open_.reply()).startswith("421 4.3.2")
    assert await open_.closed()
    assert len(await face.messages()) == 1


async def test_a_client_that_never_reads(face: Face) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", face.ports["smtp"], limit=1024)
    other = await face.ready()
    connection = next(c for c in face.endpoints["smtp"].connections if c.peer[1] == writer.get_extra_info("sockname")[1])
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    noops = b"NOOP\r\n" * 20_000
    for _ in range(200):
        writer.write(noops)
        if connection.write_blocked:
            break
        await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
    await until(lambda: connection.write_blocked)
    assert (await other.send()).startswith("250")
    assert connection._transport.get_write_buffer_size() < 1 << 20
    assert len(connection.session._rest) < 1 << 20  # type: ignore[attr-defined]
    writer.transport.abort()


async def test_a_huge_batch_is_answered_whole_and_in_order(face: Face) -> None:
    client = await face.ready()
    client.write(b"NOOP\r\nVRFY x\r\n" * 2000 + b"QUIT\r\n")
    replies = [(await client.reply())[:3] for _ in range(4001)]
    assert replies == ["250", "252"] * 2000 + ["221"]


async def test_refused_before_the_greeting(face: Face) -> None:
    class Closed:
        def admit(self, endpoint: object, peer_ip: str, now: float) -> object:
            from mailstead.transport.endpoint import Refusal

            return Refusal("too many connections")

    face.endpoints["smtp"].admission = Closed()  # type: ignore[assignment]
    client = await face.client()
    assert client.greeting == "421 4.7.0 mail.example.test too many connections"
    assert await client.closed()
