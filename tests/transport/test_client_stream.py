"""The base of connections to other servers: who waits is woken or runs out of time, and the first error stays."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from mailstead.transport.client_stream import TLS_ERRORS, ClientStream
from mailstead.transport.endpoint import Endpoint


class Listening(ClientStream):
    def __init__(self) -> None:
        super().__init__()
        self.got = b""
        self.seen = 0

    def data_received(self, data: bytes) -> None:
        self.got += data
        self._wake()

    async def wait(self, seconds: float) -> str:
        """For further octets or the end; the reason of the end."""
        if not self._error and len(self.got) == self.seen:
            await self._woken(asyncio.get_running_loop().time() + seconds)
        self.seen = len(self.got)
        return self._error


async def met(endpoint: Endpoint) -> Listening:
    _, stream = await asyncio.get_running_loop().create_connection(Listening, "127.0.0.1", endpoint.port)
    return stream


async def test_octets_the_end_and_silence(start: Any) -> None:
    endpoint = await start(idle_timeout=0.0)
    stream = await met(endpoint)
    assert await stream.wait(20) == "" and stream.got.startswith(b"hello")
    with pytest.raises(TimeoutError):
        await stream.wait(0.05)
    for connection in list(endpoint.connections):
        connection.close()
    assert await stream.wait(20) == "the server closed the connection"
    stream.close()
    assert await stream.wait(20) == "the server closed the connection"  # the first reason


async def test_a_failed_handshake_ends_the_connection(start: Any) -> None:
    endpoint = await start(idle_timeout=0.0)
    stream = await met(endpoint)
    await stream.wait(20)
    with pytest.raises(TLS_ERRORS):  # the other side repeats the ClientHello
        await stream._change_to_tls(ssl.create_default_context(), "mail.example.test", 20)
    assert await stream.wait(20)
    assert stream._transport is None
    stream.close()
    stream.abort()
