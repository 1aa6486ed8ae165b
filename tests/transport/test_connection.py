"""Connections over real sockets, on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint, Refusal
from tests.transport.echo_face import Echo

LIMIT = 60.0


async def dial(endpoint: Endpoint, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", endpoint.port, **options), LIMIT)


async def line(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readline(), LIMIT)


async def rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), LIMIT)
    except ConnectionResetError:
        return b""


async def until(condition: Any) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_greets_and_echoes_in_order(start: Any) -> None:
    endpoint = await start()
    reader, writer = await dial(endpoint)
    assert await line(reader) == b"hello 127.0.0.1\r\n"
    writer.write(b"one\r\ntwo\r\n")
    assert await line(reader) == b"one\r\n"
    assert await line(reader) == b"two\r\n"
    writer.close()
    await until(lambda: not endpoint.connections)


async def test_half_closed_client_still_gets_its_answer(start: Any) -> None:
    class Slow(Connection):
        def received(self, data: bytes) -> None:
            self.hold()
            self.task = asyncio.ensure_future(self.answer(data))

        async def answer(self, data: bytes) -> None:
            await asyncio.sleep(0.05)
            self.send(b"answer to " + data)
            self.resume()

    reader, writer = await dial(await start(Slow))
    writer.write(b"question")
    writer.write_eof()
    assert await rest(reader) == b"answer to question"


async def test_held_data_is_kept_in_order_and_bounded(start: Any) -> None:
    taken: list[bytes] = []
    made: list[Connection] = []

    class Holding(Connection):
        def started(self) -> None:
            made.append(self)
            self.hold()
            self.hold()

        def received(self, data: bytes) -> None:
            taken.append(data)

    _reader, writer = await dial(await start(Holding))
    sent = b"".join(b"%07d\n" % i for i in range(200_000))
    writer.write(sent)
    await until(lambda: made and made[0]._kept)
    await asyncio.sleep(0.1)
    assert sum(map(len, made[0]._kept or ())) <= 300_000
    made[0].resume()
    await asyncio.sleep(0.02)
    assert not taken
    made[0].resume()
    await until(lambda: sum(map(len, taken)) == len(sent))
    assert b"".join(taken) == sent
    with pytest.raises(RuntimeError):
        made[0].resume()
    writer.close()


async def test_hold_from_within_received_stops_at_once(start: Any) -> None:
    made: list[Connection] = []
    taken: list[bytes] = []

    class OneAtATime(Connection):
        def received(self, data: bytes) -> None:
            made.append(self)
            taken.append(data)
            self.hold()
            self._loop.call_later(0.01, self.resume)

    _reader, writer = await dial(await start(OneAtATime))
    for _ in range(5):
        writer.write(b"x" * 1000)
        await asyncio.sleep(0.005)
    await until(lambda: sum(map(len, taken)) == 5000)
    writer.close()


async def test_idle_connection_expires_and_activity_postpones_it(start: Any) -> None:
    endpoint = await start(idle_timeout=60.0)
    reader, writer = await dial(endpoint)
    await line(reader)
    (connection,) = endpoint.connections
    before, now = connection.deadline, asyncio.get_running_loop().time
    assert now() < before <= now() + 60.0
    while now() == before - 60.0:  # noqa: ASYNC110 - a coarse clock
        await asyncio.sleep(0.001)
    writer.write(b"x\r\n")
    assert await line(reader) == b"x\r\n"
    assert before < connection.deadline <= now() + 60.0
    connection.idle_timeout = 1.0
    connection.touch()
    silent = now()
    assert await rest(reader) == b""
    assert now() - silent >= 0.99
    writer.close()


async def test_refusal_comes_before_the_greeting_and_the_lease_is_returned_once(start: Any) -> None:
    class Gate:
        free, released = 1, 0

        def admit(self, endpoint: Endpoint, peer_ip: str, now: float) -> Any:
            if not self.free:
                return Refusal("too many connections")
            self.free -= 1
            return self

        def release(self) -> None:
            self.free += 1
            self.released += 1

    gate = Gate()
    endpoint = await start(admission=gate)
    reader, writer = await dial(endpoint)
    await line(reader)
    second, second_writer = await dial(endpoint)
    assert await rest(second) == b"421 too many connections\r\n"
    assert Echo.seen[1].events == ["over"]
    writer.close()
    await until(lambda: gate.released)
    third, third_writer = await dial(endpoint)
    assert await line(third) == b"hello 127.0.0.1\r\n"
    third_writer.close()
    second_writer.close()
    await until(lambda: gate.released == 2)
    assert gate.free == 1


async def test_implicit_tls(start: Any, server_context: Any, client_context: ssl.SSLContext) -> None:
    endpoint = await start(implicit_tls=True, ssl_context=server_context)
    reader, writer = await dial(endpoint, ssl=client_context, server_hostname="mail.example.test")
    assert await line(reader) == b"hello 127.0.0.1\r\n"
    info = Echo.seen[0].tls
    assert info is not None
    assert (info.version, info.sni, info.channel_binding) == ("TLSv1.3", "mail.example.test", server_context.channel_binding)
    assert info.bits >= 128
    assert len(info.channel_binding) == 32
    big = bytes(range(256)) * 4096
    writer.write(big)
    assert await asyncio.wait_for(reader.readexactly(len(big)), LIMIT) == big
    writer.close()
    await until(lambda: "ended" in Echo.seen[0].events)


async def test_implicit_tls_without_certificate_fails_and_never_speaks_plainly(start: Any) -> None:
    reader, writer = await dial(await start(implicit_tls=True))
    assert await rest(reader) == b""
    writer.close()


async def test_starttls_drops_injected_plain_text(start: Any, server_context: Any, client_context: ssl.SSLContext) -> None:
    endpoint = await start(ssl_context=server_context)
    reader, writer = await dial(endpoint)
    await line(reader)
    writer.write(b"STARTTLS\r\n")
    assert await line(reader) == b"go\r\n"
    await asyncio.wait_for(writer.start_tls(client_context, server_hostname="mail.example.test"), LIMIT)
    writer.write(b"after\r\n")
    assert await line(reader) == b"after\r\n"
    assert Echo.seen[0].events == ["started", "tls True"]
    assert Echo.seen[0].got == b"STARTTLS\r\nafter\r\n"
    writer.close()


async def test_plain_text_behind_starttls_never_reaches_the_face(start: Any, server_context: ssl.SSLContext) -> None:
    endpoint = await start(ssl_context=server_context)
    reader, writer = await dial(endpoint)
    await line(reader)
    writer.write(b"STARTTLS\r\n")
    assert await line(reader) == b"go\r\n"
    writer.write(b"RSET injected\r\n")
    await rest(reader)
    await until(lambda: "ended" in Echo.seen[0].events)
    assert sorted(Echo.seen[0].events) == ["ended", "started", "tls False"]
    assert Echo.seen[0].got == b"STARTTLS\r\n"
    writer.close()


async def test_handshake_has_a_deadline(start: Any, server_context: ssl.SSLContext) -> None:
    endpoint = await start(implicit_tls=True, ssl_context=server_context, handshake_timeout=0.3)
    reader, writer = await dial(endpoint)
    assert await rest(reader) == b""
    assert Echo.seen[0].events == []
    writer.close()


async def test_tls_garbage_closes_cleanly(start: Any, server_context: ssl.SSLContext) -> None:
    endpoint = await start(implicit_tls=True, ssl_context=server_context)
    reader, writer = await dial(endpoint)
    writer.write(b"EHLO plain.example\r\n" * 10)
    await rest(reader)
    writer.close()
    await until(lambda: not endpoint.connections)


async def test_flow_control_and_stalled_reader(start: Any) -> None:
    result: list[str] = []

    class Pump(Connection):
        def started(self) -> None:
            self.task = asyncio.ensure_future(self.pump())

        async def pump(self) -> None:
            try:
                for _ in range(400):
                    self.send(b"x" * 65536)
                    await self.drained()
                result.append("all")
            except ConnectionResetError:
                result.append("reset")

    endpoint = await start(Pump, idle_timeout=60.0)
    reader, writer = await dial(endpoint)
    await asyncio.wait_for(reader.readexactly(400 * 65536), LIMIT)
    assert result == ["all"]
    writer.close()
    endpoint.idle_timeout = 1.0
    stalled, stalled_writer = await asyncio.open_connection("127.0.0.1", endpoint.port, limit=1024)
    await until(lambda: len(result) == 2)
    assert result[1] == "reset"
    stalled_writer.close()
    await rest(stalled)


async def test_own_error_closes_only_this_connection(start: Any, capfd: pytest.CaptureFixture[str]) -> None:
    class Broken(Connection):
        def received(self, data: bytes) -> None:
            raise ValueError("broken face")

    endpoint = await start(Broken)
    reader, writer = await dial(endpoint)
    _other, other_writer = await dial(endpoint)
    writer.write(b"x")
    assert await rest(reader) == b""
    await until(lambda: len(endpoint.connections) == 1)
    assert "broken face" in capfd.readouterr().err
    writer.close()
    other_writer.close()


async def test_proxy_header_gives_the_peer(start: Any) -> None:
    endpoint = await start(proxy_protocol=frozenset({"allowV1"}))
    reader, writer = await dial(endpoint)
    writer.write(b"PROXY TCP4 192.0.2.7 ")
    await asyncio.sleep(0.02)
    writer.write(b"192.0.2.1 4000 25\r\nfirst\r\n")
    assert await line(reader) == b"hello 192.0.2.7\r\n"
    assert await line(reader) == b"first\r\n"
    writer.close()


async def test_proxy_header_missing_or_late(start: Any) -> None:
    endpoint = await start(proxy_protocol=frozenset({"allowV1"}), proxy_timeout=0.3)
    reader, writer = await dial(endpoint)
    assert await rest(reader) == b""
    writer.close()
    reader, writer = await dial(endpoint)
    writer.write(b"EHLO no.proxy\r\n")
    assert await rest(reader) == b""
    writer.close()


async def test_proxy_header_then_tls(start: Any, server_context: Any, client_context: ssl.SSLContext) -> None:
    endpoint = await start(proxy_protocol=frozenset({"allowV2"}), implicit_tls=True, ssl_context=server_context)
    reader, writer = await dial(endpoint)
    writer.write(b"\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24" + bytes(15) + b"\x09" + bytes(15) + b"\x01" + b"\x10\x00\x00\x19")
    await writer.start_tls(client_context, server_hostname="mail.example.test")
    assert await line(reader) == b"hello ::9\r\n"
    writer.close()
