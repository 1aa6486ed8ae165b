"""A connection that this server makes to another one: what its protocols have in common.

Invariants: whoever waits is woken by octets, by the end of the connection and by an error, and has a deadline; the first error is
the one that is told; after a handshake that failed nothing is sent any more.

What octets mean is the protocol's: it takes them in `data_received`, and wakes who waits for them.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import ClassVar, cast

TLS_ERRORS = (OSError, ssl.SSLError, EOFError, asyncio.IncompleteReadError, ValueError)
"""What `_change_to_tls` raises."""


class ClientStream(asyncio.Protocol):
    """Base of the client connections."""

    peer_word: ClassVar[str] = "server"
    """What the other side is called in errors."""
    high_water: ClassVar[int | None] = None
    """Octets not yet written from which a writer waits; None for the event loop's choice."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error = ""
        self._writable = asyncio.Event()
        self._writable.set()

    # -- asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._use(cast(asyncio.Transport, transport))  # uvloop's transports are none of asyncio's classes

    def eof_received(self) -> bool:
        """Called by the event loop."""
        self._fail(f"the {self.peer_word} closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._fail((str(exc) or "the connection failed") if exc else f"the {self.peer_word} closed the connection")

    def pause_writing(self) -> None:
        """Called by the event loop."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the event loop."""
        self._writable.set()

    # -- for the protocols -------------------------------------------------------------------------------------

    def _use(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        if self.high_water is not None:
            transport.set_write_buffer_limits(high=self.high_water)

    def _fail(self, reason: str) -> None:
        """From now on nothing can be done with the connection; the first reason stays."""
        if not self._error:
            self._error = reason or "the connection failed"
        self._writable.set()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _woken(self, deadline: float) -> None:
        """Wait for `_wake`. Raises TimeoutError at ``deadline`` (of the event loop's clock)."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(deadline):
                await self._waiter
        finally:
            self._waiter = None

    async def _until_writable(self, seconds: float) -> None:
        """Wait until the other side has taken what was written. Raises TimeoutError."""
        if not self._writable.is_set():
            async with asyncio.timeout(seconds):
                await self._writable.wait()

    async def _change_to_tls(self, context: ssl.SSLContext, name: str | None, seconds: float) -> asyncio.Transport:
        """A handshake now; ``name``: whom the certificate is for. Raises one of TLS_ERRORS, with the connection closed."""
        assert self._transport is not None
        transport, self._transport = self._transport, None
        try:
            upgraded = await asyncio.get_running_loop().start_tls(
                transport, self, context, server_hostname=name, ssl_handshake_timeout=seconds
            )
            if upgraded is None:
                raise ConnectionResetError("the connection was lost")
        except TLS_ERRORS:
            self._fail("TLS failed")
            transport.abort()
            raise
        self._use(upgraded)
        self._writable.set()
        return upgraded

    # -- end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """At once; what was written before may still leave."""
        self._fail("closed")
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """At once, sending nothing that still waits."""
        self._fail("closed")
        if self._transport is not None:
            self._transport.abort()
