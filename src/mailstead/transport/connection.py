"""One connection of one client, for every protocol face.

Invariants:
- The order of hooks is `started` once, then any number of `received`, then `ended` once; a connection that was
  refused (`over_limit`), or broke off before it was ready, gets neither `started` nor `ended`.
- `received` is never called while the connection is held, and data is never reordered or lost by holding.
- After `begin_tls` no octet that arrived in plain text reaches the face (STARTTLS injection, RFC 3207 section 6).
- A lease of the admission control is given back exactly once.
- Every wait on the peer has a deadline: PROXY header, handshake, idleness, the flush after `close`.
- While held at most one socket read of data is kept, because reading stops with the first octet kept.

How: the connection accepts in plain TCP always; PROXY header, admission and TLS (implicit or STARTTLS) run inside
`data_received`, in that order, so admission comes before the cost of a handshake. Idle time is kept by the wheel
of the event loop: activity costs one attribute store.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable
from typing import ClassVar

from mailstead.observe.log import Logger, fault, get_logger
from mailstead.observe.metrics import faults, service_metrics
from mailstead.transport.endpoint import Endpoint, Lease, Refusal
from mailstead.transport.hooks import Hooks, host_and_port, next_id
from mailstead.transport.proxy_protocol import MAX_HEADER, ProxyError, parse
from mailstead.transport.tls import TlsEngine, TlsInfo
from mailstead.transport.wheel import Wheel, wheel_of

Data = bytes | bytearray | memoryview

HIGH_WATER = 128 * 1024
LOW_WATER = 32 * 1024
#: Seconds that a closed connection may take to flush what it was sent.
LINGER = 20.0

_PROXY, _HANDSHAKE, _OPEN, _CLOSED = range(4)


class Connection(Hooks):
    """Base class of the faces' sessions; see the module for the order of the hooks."""

    log_module: ClassVar[str] = "SERVER"

    __slots__ = (
        "__weakref__",
        "_drain_waiters",
        "_early",
        "_eof",
        "_flushing",
        "_handshake",
        "_held",
        "_kept",
        "_lease",
        "_log",
        "_loop",
        "_paused",
        "_phase",
        "_reported",
        "_tls_engine",
        "_transport",
        "_wheel",
        "bucket",
        "closing",
        "deadline",
        "endpoint",
        "idle_timeout",
        "local",
        "peer",
        "session_id",
        "tls",
        "write_blocked",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.peer: tuple[str, int] = ("", 0)
        self.local: tuple[str, int] = ("", 0)
        self.tls: TlsInfo | None = None
        self.session_id = ""
        self.closing = False
        self.write_blocked = False
        #: Seconds of silence allowed, 0 for no limit; a face may change it (then `touch`).
        self.idle_timeout = endpoint.idle_timeout
        self.deadline = 0.0
        self.bucket = -1
        self._log: Logger | None = None
        self._transport: asyncio.Transport
        self._loop: asyncio.AbstractEventLoop
        self._wheel: Wheel
        self._phase = _PROXY
        self._held = 0
        self._paused = False
        self._flushing = False
        self._eof = False
        self._reported = False
        self._kept: list[bytes] | None = None
        self._early: list[bytes] | None = None
        self._lease: Lease | None = None
        self._tls_engine: TlsEngine | None = None
        self._handshake: asyncio.Future[bool] | None = None
        self._drain_waiters: list[asyncio.Future[None]] | None = None

    # ---- for the faces -----------------------------------------------------------------------------------------

    @property
    def log(self) -> Logger:
        """The face's logger with this session's id (made when first wanted: idle connections stay small)."""
        if self._log is None:
            self._log = get_logger(self.log_module, session=self.session_id)
        return self._log

    def send(self, data: Data) -> None:
        """Queue `data` for the client; dropped silently when the connection is closing."""
        if self.closing:
            return
        engine = self._tls_engine
        if engine is None:
            self._transport.write(data)
        elif engine.established:
            self._encrypt(engine, data)
        else:
            self._early = [*(self._early or ()), bytes(data)]

    def send_many(self, parts: Iterable[Data]) -> None:
        """Queue several pieces with one write."""
        if self.closing:
            return
        if self._tls_engine is None:
            self._transport.writelines(parts)
        else:
            self.send(b"".join(parts))

    def close(self) -> None:
        """Close after everything queued is flushed, but within `LINGER` seconds."""
        if self.closing:
            return
        self.closing = True
        engine = self._tls_engine
        if engine is not None and engine.established:
            alert = engine.close_notify()
            if alert:
                self._transport.write(alert)
        self._transport.close()
        self._set_deadline(LINGER)

    def abort(self) -> None:
        """Close at once; queued data is lost."""
        self.closing = True
        self._transport.abort()

    def hold(self) -> None:
        """Stop delivering data (counted: as many `resume` are needed)."""
        self._held += 1

    def resume(self) -> None:
        """Undo one `hold`. What was kept is delivered in a later turn of the loop, in order."""
        if self._held == 0:
            raise RuntimeError("resume without hold")
        self._held -= 1
        if self._held:
            return
        if self._kept is None and not self._eof:
            self._unpause()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush_kept)

    async def drained(self) -> None:
        """Wait until the write buffer is below the high-water mark. Raises ConnectionResetError when it ended."""
        if self._phase == _CLOSED:
            raise ConnectionResetError("connection lost")
        if not self.write_blocked:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._drain_waiters = [*(self._drain_waiters or ()), waiter]
        await waiter

    def begin_tls(self) -> asyncio.Future[bool]:
        """Switch to TLS now: the next octet from the socket is taken for a ClientHello.

        Call it in the same turn as the `send` of the go-ahead line. Plain text that already arrived is dropped, and
        delivery is held until the future is done: True, or False when the handshake failed (the connection is then
        closing). Raises RuntimeError without an SSL context or when TLS is active.
        """
        context = self.endpoint.ssl_context
        if context is None or self._tls_engine is not None:
            raise RuntimeError("TLS is not available on this connection")
        self._handshake = self._loop.create_future()
        self._kept = None
        self._held += 1
        self._start_handshake(context)
        return self._handshake

    async def start_tls(self) -> bool:
        """`begin_tls`, awaited; data that arrives before this returns is delivered afterwards."""
        return await self.begin_tls()

    def touch(self) -> None:
        """Begin the idle time anew (done by itself whenever data arrives)."""
        if self._phase != _OPEN or self.closing:
            return
        self.deadline = self._loop.time() + self.idle_timeout if self.idle_timeout > 0 else 0.0
        if self.deadline:
            self._wheel.watch(self)

    # ---- asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = transport  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()
        self._wheel = wheel_of(self._loop)
        self._transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self.session_id = next_id()
        peer = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        if not peer or not local:  # reset before we came to look
            self.abort()
            return
        self.peer = host_and_port(peer)
        self.local = host_and_port(local)
        if self.endpoint.proxy_protocol:
            self._set_deadline(self.endpoint.proxy_timeout)
        else:
            self._admit()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self.closing:
            return
        try:
            if self._phase == _OPEN:
                engine = self._tls_engine
                if engine is not None:
                    data = engine.feed(data)
                    out = engine.outgoing()
                    if out:
                        self._transport.write(out)
                if data:
                    self._deliver(data)
                if engine is not None and engine.peer_closed:
                    self._end_of_input()
            elif self._phase == _HANDSHAKE:
                self._continue_handshake(data)
            elif self._phase == _PROXY:
                self._proxy_header(data)
        except ssl.SSLError as exc:
            self._tls_failed(exc)
        except Exception as exc:
            self._fault(exc)

    def eof_received(self) -> bool:
        """Called by the event loop. A half-closed client still gets the answers to what it had sent."""
        if self._phase != _OPEN:
            return False
        self._end_of_input()
        return True

    def pause_writing(self) -> None:
        """Called by the event loop."""
        self.write_blocked = True

    def resume_writing(self) -> None:
        """Called by the event loop."""
        self.write_blocked = False
        self.touch()  # the client reads, so it lives
        self._wake_writers(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        phase, self._phase = self._phase, _CLOSED
        self.closing = True
        self.deadline = 0.0
        self._wheel.forget(self)
        self._kept = None
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
        self.endpoint.connections.discard(self)
        if self._handshake is not None and not self._handshake.done():
            self._handshake.set_result(False)
        self.write_blocked = False
        self._wake_writers(ConnectionResetError("connection lost"))
        if self._reported:
            service_metrics(self.endpoint.service).open.dec()
        if phase == _OPEN or (phase == _HANDSHAKE and self._handshake is not None):
            try:
                self.ended(exc)
            except Exception as error:
                self._fault(error)

    # ---- phases ------------------------------------------------------------------------------------------------

    def _proxy_header(self, data: bytes) -> None:
        data = b"".join(self._kept or ()) + data
        try:
            header = parse(data, self.endpoint.proxy_protocol)
        except ProxyError as exc:
            self.log.warning("PROXY header refused", peer=self.peer[0], reason=str(exc))
            service_metrics(self.endpoint.service).refused.inc()
            self.abort()
            return
        if header is None:
            if len(data) > MAX_HEADER:
                self.abort()
            else:
                self._kept = [data]
            return
        self._kept = None
        if header.source is not None:
            self.peer = header.source
        if header.destination is not None:
            self.local = header.destination
        self._admit()
        rest = data[header.length :]
        if rest and not self.closing:
            self.data_received(rest)

    def _admit(self) -> None:
        endpoint = self.endpoint
        if endpoint.admission is not None:
            answer = endpoint.admission.admit(endpoint, self.peer[0], time.time())
            if isinstance(answer, Refusal):
                self._refuse(answer.reason)
                return
            self._lease = answer
        endpoint.connections.add(self)
        counts = service_metrics(endpoint.service)
        counts.admitted.inc()
        counts.open.inc()
        self._reported = True
        if endpoint.implicit_tls:
            if endpoint.ssl_context is None:  # no certificate: every attempt fails, nothing goes in plain text
                self.abort()
                return
            self._start_handshake(endpoint.ssl_context)
        else:
            self._open()

    def _refuse(self, reason: str) -> None:
        self.log.info("connection refused", service=self.endpoint.service, peer=self.peer[0], reason=reason)
        service_metrics(self.endpoint.service).refused.inc()
        self._phase = _CLOSED
        if not self.endpoint.implicit_tls:
            try:
                self.over_limit(reason)
            except Exception as exc:
                self._fault(exc)
        self.close()

    def _open(self) -> None:
        self._phase = _OPEN
        self.touch()
        self.started()

    def _start_handshake(self, context: ssl.SSLContext) -> None:
        self._phase = _HANDSHAKE
        self._tls_engine = TlsEngine(context)
        self._set_deadline(self.endpoint.handshake_timeout)
        self._unpause()

    def _continue_handshake(self, data: bytes) -> None:
        engine = self._tls_engine
        assert engine is not None
        done = engine.handshake(data)
        out = engine.outgoing()
        if out:
            self._transport.write(out)
        if not done:
            return
        self.tls = engine.info()
        service_metrics(self.endpoint.service).handshakes.inc()
        early, self._early = self._early, None
        waiter = self._handshake
        if waiter is None:
            self._open()
        else:
            self._phase = _OPEN
            self.touch()
            for part in early or ():
                self._encrypt(engine, part)
            if not waiter.done():
                waiter.set_result(True)
            self._loop.call_soon(self._release_after_tls)
        plain = engine.read()
        if plain:
            self._deliver(plain)
        if engine.peer_closed:
            self._end_of_input()

    def _release_after_tls(self) -> None:
        if self._phase == _OPEN:
            self.resume()

    def _tls_failed(self, exc: ssl.SSLError) -> None:
        engine = self._tls_engine
        if self._phase == _HANDSHAKE:
            service_metrics(self.endpoint.service).failed_handshakes.inc()
        self.log.info("TLS failed", service=self.endpoint.service, peer=self.peer[0], reason=exc.reason or str(exc))
        if engine is not None:
            self._transport.write(engine.outgoing())
        self.closing = True
        self._transport.close()
        self._set_deadline(LINGER)

    # ---- data --------------------------------------------------------------------------------------------------

    def _deliver(self, data: bytes) -> None:
        if self._held or self._kept is not None:
            if self._kept is None:
                self._kept = []
            self._kept.append(data)
            if not self._paused and not self.closing:
                self._paused = True
                self._transport.pause_reading()
            return
        if self.closing:
            return
        if self.idle_timeout > 0:
            self.deadline = self._loop.time() + self.idle_timeout
            if self.bucket < 0:
                self._wheel.watch(self)
        self.received(data)

    def _flush_kept(self) -> None:
        self._flushing = False
        try:
            while not self._held and self._kept is not None and not self.closing:
                kept = self._kept
                data = kept.pop(0)
                if not kept:
                    self._kept = None
                self.touch()
                self.received(data)
        except Exception as exc:
            self._fault(exc)
            return
        if self._held or self.closing:
            return
        if self._eof:
            self.close()
        else:
            self._unpause()

    def _end_of_input(self) -> None:
        self._eof = True
        if not self._held and self._kept is None and not self._flushing:
            self.close()

    def _unpause(self) -> None:
        if self._paused and not self.closing:
            self._paused = False
            self._transport.resume_reading()

    def _encrypt(self, engine: TlsEngine, data: Data) -> None:
        try:
            self._transport.write(engine.encrypt(data))
        except ssl.SSLError as exc:
            self._tls_failed(exc)

    def _wake_writers(self, exc: Exception | None) -> None:
        waiters, self._drain_waiters = self._drain_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                if exc is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(exc)

    def _fault(self, exc: Exception) -> None:
        faults.labels(self.log_module).inc()
        fault(self.log, "connection closed by our own error", exc, peer=self.peer[0])
        self.abort()

    # ---- time --------------------------------------------------------------------------------------------------

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self._loop.time() + seconds
        self._wheel.watch(self)

    def deadline_reached(self, now: float) -> None:
        """Called by the wheel."""
        if self._phase != _OPEN or self.closing:
            self.abort()
        elif self.write_blocked:  # the client has not read for the whole time
            self.log.info("client does not read", peer=self.peer[0])
            self.abort()
        elif self._held:  # it is we who are busy
            self.touch()
        else:
            try:
                self.idle_expired()
            except Exception as exc:
                self._fault(exc)
            if not self.closing and self.deadline <= 0:
                self.touch()
