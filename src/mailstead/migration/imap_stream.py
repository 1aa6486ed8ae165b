"""Octets from and to an IMAP server: lines, counted octets, TLS at the start or later.

Invariants: every wait for the server has a deadline; no more than `BUFFER` octets wait here unread; what arrived before
STARTTLS was answered never counts as protected (RFC 9051 section 11.1).
"""

from __future__ import annotations

import asyncio
import ssl

from mailstead.transport.client_stream import TLS_ERRORS, ClientStream

BUFFER = 1 << 20


class RemoteError(Exception):
    """The server cannot be talked to now: not reached, lost, silent for too long. Another try may succeed."""


class RemoteBroken(RemoteError):
    """What the server sends is not IMAP, or more than it may send."""


class ImapStream(ClientStream):
    """Use `connect`. `timeout`: seconds the server may be silent while something is awaited from it."""

    def __init__(self, host: str, timeout: float) -> None:
        super().__init__()
        self.host = host
        self.timeout = timeout
        self.tls = False
        self.peer = ("", 0)
        """Address and port of the other side."""
        self._buffer = bytearray()
        self._start = 0
        self._searched = 0
        self._paused = False

    @classmethod
    async def connect(
        cls, host: str, port: int, *, timeout: float, connect_timeout: float = 30.0, tls: ssl.SSLContext | None = None
    ) -> ImapStream:
        """Connect to `host` (a name, or an address without brackets). Raises RemoteError."""
        loop = asyncio.get_running_loop()
        stream = cls(host, timeout)
        try:
            async with asyncio.timeout(connect_timeout):
                await loop.create_connection(lambda: stream, host, port, ssl=tls, server_hostname=host if tls is not None else None)
        except TimeoutError:
            raise RemoteError(f"no connection to {host} port {port} within {connect_timeout:g} seconds") from None
        except ssl.SSLError as error:
            raise RemoteError(f"TLS with {host} port {port}: {error.reason or error}") from None
        except OSError as error:
            raise RemoteError(f"no connection to {host} port {port}: {error.strerror or error}") from None
        stream.tls = tls is not None
        return stream

    # -- asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if peer:
            self.peer = (str(peer[0]), int(peer[1]))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) - self._start > BUFFER and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    # -- reading -----------------------------------------------------------------------------------------------

    async def _more(self) -> None:
        """Wait for further octets. Raises RemoteError."""
        if self._error:
            raise RemoteError(self._error)
        if self._start:
            del self._buffer[: self._start]
            self._searched -= self._start
            self._start = 0
        if self._paused and self._transport is not None:
            self._transport.resume_reading()
            self._paused = False
        try:
            await self._woken(asyncio.get_running_loop().time() + self.timeout)
        except TimeoutError:
            raise RemoteError(f"the server said nothing for {self.timeout:g} seconds") from None

    async def line(self, longest: int) -> bytes:
        """The next line without its end. Raises RemoteError; RemoteBroken where it has more than `longest` octets."""
        while True:
            end = self._buffer.find(b"\n", max(self._start, self._searched))
            if end >= 0:
                line = bytes(self._buffer[self._start : end])
                self._start = end + 1
                return line.removesuffix(b"\r")
            self._searched = len(self._buffer)
            if len(self._buffer) - self._start > longest:
                raise RemoteBroken("the server sends a line that has no end")
            await self._more()

    async def some(self, most: int) -> bytes:
        """At least one octet, at most `most`. Raises RemoteError."""
        while self._start >= len(self._buffer):
            await self._more()
        piece = bytes(self._buffer[self._start : self._start + most])
        self._start += len(piece)
        return piece

    async def exactly(self, count: int) -> bytes:
        """Raises RemoteError."""
        pieces = []
        while count:
            piece = await self.some(count)
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    # -- writing -----------------------------------------------------------------------------------------------

    async def write(self, octets: bytes) -> None:
        """Raises RemoteError."""
        if self._error or self._transport is None:
            raise RemoteError(self._error or "not connected")
        self._transport.write(octets)
        try:
            await self._until_writable(self.timeout)
        except TimeoutError:
            raise RemoteError("the server does not read") from None

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Change to TLS after the server agreed to. Raises RemoteError."""
        if len(self._buffer) > self._start:
            self.close()
            raise RemoteBroken("octets came before TLS that must not")
        self._buffer.clear()
        self._start = self._searched = 0
        try:
            await self._change_to_tls(context, self.host, self.timeout)
        except TLS_ERRORS as error:
            raise RemoteError(f"TLS with {self.host}: {getattr(error, 'reason', None) or error}") from None
        self.tls = True
