"""A data connection (RFC 959 section 3): made by us or by the client, plain or under TLS (RFC 4217).

Invariants: the other end is the peer of the control connection, or the connection is dropped; it has the family of the control
connection (RFC 2428 section 2); at most ``MOST`` octets wait in either direction; every wait has an end.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl

from mailstead.transport.tls import ServerContext, TlsEngine

MOST = 512 * 1024
OPEN_SECONDS = 30.0
SILENCE_SECONDS = 120.0


class DataFailed(Exception):
    """The data connection could not be made, or broke off."""


class Channel(asyncio.Protocol):
    """One data connection. With ``context`` we are the server of TLS, whoever connected (RFC 4217 section 7)."""

    def __init__(self, context: ServerContext | None) -> None:
        self._engine = TlsEngine(context) if context is not None else None
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._ended = False
        self._error: Exception | None = None
        self._paused = False
        self._blocked = False
        self._changed = asyncio.Event()
        self.peer = ""

    # -- asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = transport  # type: ignore[assignment]
        assert self._transport is not None
        self._transport.set_write_buffer_limits(MOST)
        name = transport.get_extra_info("peername")
        self.peer = name[0] if name else ""

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        assert self._transport is not None
        engine = self._engine
        try:
            if engine is not None and not engine.established:
                if not engine.handshake(data):
                    self._flush(engine)
                    return
                self._flush(engine)
                data = engine.read()
            elif engine is not None:
                data = engine.feed(data)
                self._flush(engine)
            if engine is not None and engine.peer_closed:
                self._ended = True
        except ssl.SSLError as error:
            self._error = DataFailed(f"TLS failed: {error.reason or error}")
            self._transport.abort()
            data = b""
        self._received += data
        if len(self._received) > MOST and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._changed.set()

    def _flush(self, engine: TlsEngine) -> None:
        out = engine.outgoing()
        if out and self._transport is not None:
            self._transport.write(out)

    def eof_received(self) -> bool:
        """Called by the event loop. Under TLS an end without its alert is a truncation."""
        if self._engine is not None and not self._ended:
            self._error = self._error or DataFailed("the connection ended without a TLS closure")
        self._ended = True
        self._changed.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        if exc is not None or not self._ended:
            self._error = self._error or DataFailed("the data connection broke off")
        self._ended = True
        self._blocked = False
        self._changed.set()

    def pause_writing(self) -> None:
        """Called by the event loop."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Called by the event loop."""
        self._blocked = False
        self._changed.set()

    # -- for transfers -----------------------------------------------------------------------------------------

    async def _wait(self, seconds: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            raise DataFailed("nothing moved on the data connection") from None

    async def ready(self) -> None:
        """Wait for the handshake where there is one. Raises DataFailed."""
        while self._engine is not None and not self._engine.established:
            if self._ended or self._error:
                raise self._error or DataFailed("the TLS handshake failed")
            await self._wait(OPEN_SECONDS)

    async def send(self, data: bytes) -> None:
        """Queue octets and wait while too many are. Raises DataFailed."""
        if self._error or self._transport is None or self._transport.is_closing():
            raise self._error or DataFailed("the data connection broke off")
        self._transport.write(self._engine.encrypt(data) if self._engine is not None else data)
        while self._blocked:
            await self._wait(SILENCE_SECONDS)
            if self._error:
                raise self._error

    async def receive(self) -> bytes:
        """The next octets, b"" at the end. Raises DataFailed."""
        while not self._received:
            if self._error:
                raise self._error
            if self._ended:
                return b""
            await self._wait(SILENCE_SECONDS)
        data = bytes(self._received)
        self._received.clear()
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def finish(self) -> None:
        """Close after everything is sent. Raises DataFailed where the client does not take it."""
        if self._transport is None:
            return
        if self._engine is not None and self._engine.established:
            self._transport.write(self._engine.close_notify())
        self._transport.set_write_buffer_limits(0)
        while self._transport.get_write_buffer_size():
            await self._wait(SILENCE_SECONDS)
            if self._error:
                raise self._error
        self._ended = True
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()


class Opener:
    """How the next data connection is made: ``listen`` (PASV, EPSV) or ``target`` (PORT, EPRT)."""

    def __init__(self, peer: str) -> None:
        self._peer = ipaddress.ip_address(peer)
        self._server: asyncio.Server | None = None
        self._target: tuple[str, int] | None = None
        self._waiting: asyncio.Future[Channel] | None = None
        self._context: ServerContext | None = None

    @property
    def chosen(self) -> bool:
        """Whether the client has said how."""
        return self._server is not None or self._target is not None

    def forget(self) -> None:
        """Nothing is chosen any more."""
        if self._server is not None:
            self._server.close()
        if self._waiting is not None and self._waiting.done() and not self._waiting.cancelled():
            self._waiting.result().abort()
        self._server = self._target = self._waiting = None

    def target(self, host: str, port: int) -> None:
        """Connect to the client, who can only name himself (RFC 2577 section 3). Raises ValueError."""
        if ipaddress.ip_address(host) != self._peer:
            raise ValueError("data goes to your own address only")
        if port < 1024:
            raise ValueError("data goes to ports from 1024 on only")
        self.forget()
        self._target = host, port

    async def listen(self, host: str, context: ServerContext | None) -> int:
        """Take one connection of the client on a port of our own; returns the port. Raises OSError."""
        self.forget()
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Channel] = loop.create_future()
        peer = self._peer

        class Expected(Channel):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                if not self.peer or ipaddress.ip_address(self.peer) != peer or waiting.done():
                    self.abort()  # somebody else found the port
                else:
                    waiting.set_result(self)

        self._server = await loop.create_server(lambda: Expected(context), host, 0, backlog=4)
        self._waiting = waiting
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self, source: str, context: ServerContext | None) -> Channel:
        """The data connection; what was chosen counts once. Raises DataFailed."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                if self._waiting is not None:
                    channel = await self._waiting
                    self._waiting = None
                else:
                    assert self._target is not None
                    family = socket.AF_INET6 if self._peer.version == 6 else socket.AF_INET
                    _, channel = await asyncio.get_running_loop().create_connection(
                        lambda: Channel(context), *self._target, family=family, local_addr=(source, 0)
                    )
                await channel.ready()
                return channel
        except (TimeoutError, OSError) as error:
            raise DataFailed("the data connection could not be opened") from error
        finally:
            if self._server is not None:
                self._server.close()
            self._server = self._target = None
