"""The asyncio part of the SMTP client: one connection, its timeouts, its TLS.

Invariants: every wait has a deadline that covers the whole reply, so a server that drips octets gains nothing; octets
that arrive before they may (behind the reply to STARTTLS, between transactions) end the connection; the body is
never ahead of the socket by more than a piece.

An error is a ``ConnectionFailed`` with the stage it happened in; after "end of data" the message may have been taken.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from mailstead.queue.body import MessageBody, dot_stuffed
from mailstead.queue.smtp_engine import ClientSession, Command, Replies, Stage, Step, Transfer, Upgrade
from mailstead.queue.smtp_reply import Reply, ReplyError, ReplyParser
from mailstead.transport.client_stream import TLS_ERRORS, ClientStream

T = TypeVar("T")
QUIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds; the defaults are those of RFC 5321 4.5.3.2, except for the connection itself."""

    connect: float = 30.0
    command: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final: float = 600.0
    tls: float = 60.0

    def of(self, stage: Stage) -> float:
        if stage == "QUIT":
            return QUIT_SECONDS
        return self.data if stage == "DATA" else self.command


class ConnectionFailed(Exception):
    """The connection could not be made or was lost at ``stage`` ("connect" for the former)."""

    def __init__(self, stage: str, text: str) -> None:
        super().__init__(text)
        self.stage = stage


class TlsFailed(ConnectionFailed):
    """The TLS handshake failed: the host may still be reached in the clear."""


class SmtpConnection(ClientStream):
    """Use ``connect``; then ``run`` the phases of ``session`` one after the other."""

    peer_word = "host"
    high_water = 512 * 1024

    def __init__(self, host: str, address: str, port: int, session: ClientSession, timeouts: Timeouts) -> None:
        super().__init__()
        self.host = host
        self.address = address
        self.port = port
        self.session = session
        self.timeouts = timeouts
        self.tls_name = ""
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._expecting = 0

    @classmethod
    async def connect(
        cls,
        host: str,
        address: str,
        port: int,
        session: ClientSession,
        timeouts: Timeouts,
        *,
        local: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> SmtpConnection:
        """Connect to ``address``; with ``tls`` speak it from the first octet. Raises ConnectionFailed."""
        connection = cls(host, address, port, session, timeouts)
        try:
            async with asyncio.timeout(timeouts.connect):
                await connection._loop.create_connection(
                    lambda: connection, address, port, local_addr=(local, 0) if local else None
                )
        except TimeoutError:
            raise ConnectionFailed("connect", f"no connection within {timeouts.connect:g} seconds") from None
        except OSError as error:
            raise ConnectionFailed("connect", error.strerror or str(error)) from None
        # The greeting may arrive at once, before anybody waits for it.
        connection._expecting = 1
        if tls is not None:
            await connection._handshake(tls)
            session.tls = True
        return connection

    # -- asyncio.Protocol --------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._error:
            return
        try:
            self._replies.extend(self._parser.feed(data))
        except ReplyError as error:
            self._fail(str(error))
            return
        if len(self._replies) > max(self._expecting, 1):
            self._fail("more replies than commands")
            return
        self._wake()

    # -- driving the session -----------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """True for a connection that may carry another transaction."""
        quiet = not self._replies and self._parser.empty
        return not self._error and not self.session.closing and quiet and self._transport is not None

    async def run(
        self, steps: Generator[Step, Replies, T], body: MessageBody | None = None, tls: ssl.SSLContext | None = None
    ) -> T:
        """Do what ``steps`` ask for until they are done; gives their result.

        Raises ConnectionFailed (TlsFailed for the handshake), Unusable (from the steps), and OSError or DamagedRecord
        where the body cannot be read; the connection is closed then, except after Unusable.
        """
        replies: Replies | None = None
        try:
            while True:
                try:
                    step = next(steps) if replies is None else steps.send(replies)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                if isinstance(step, Command):
                    replies = await self._command(step)
                elif isinstance(step, Transfer):
                    assert body is not None
                    replies = [await self._transfer(step, body)]
                else:
                    assert isinstance(step, Upgrade) and tls is not None
                    await self._upgrade(tls)
                    replies = []
        except ConnectionFailed:
            self.close()
            raise

    async def _command(self, command: Command) -> Replies:
        self._expecting = command.replies
        if command.data:
            self._write(command.data, command.stage)
        deadline = self._loop.time() + self.timeouts.of(command.stage) * (1 if command.replies < 10 else 2)
        return [await self._reply(command.stage, deadline) for _ in range(command.replies)]

    def _write(self, data: bytes, stage: str) -> None:
        if self._error or self._transport is None:
            raise ConnectionFailed(stage, self._error)
        self._transport.write(data)

    async def _reply(self, stage: str, deadline: float) -> Reply:
        while not self._replies:
            if self._error:
                raise ConnectionFailed(stage, self._error)
            try:
                await self._woken(deadline)
            except TimeoutError:
                raise ConnectionFailed(stage, "no reply in time") from None
        self._expecting -= 1
        return self._replies.popleft()

    async def _transfer(self, step: Transfer, body: MessageBody) -> Reply:
        self._expecting = 1
        if step.empty:
            pieces: Iterator[bytes] = iter((b".\r\n",))
        else:
            pieces = body.pieces() if step.raw else dot_stuffed(body.pieces())
        try:
            if step.prefix:
                self._write(step.prefix, "DATA")
            piece = next(pieces)
            for following in pieces:
                self._write(piece, "DATA")
                await self._drain()
                piece = following
        except ConnectionFailed:
            raise
        except BaseException:
            # A message cut short must not look whole: no final dot, no QUIT.
            self.abort()
            raise
        # From here on the host may have the whole message.
        self._write(piece, "DATA")
        deadline = self._loop.time() + self.timeouts.block + self.timeouts.final
        return await self._reply("end of data", deadline)

    async def _drain(self) -> None:
        try:
            await self._until_writable(self.timeouts.block)
        except TimeoutError:
            raise ConnectionFailed("DATA", "the host takes no data") from None
        if self._error:
            raise ConnectionFailed("DATA", self._error)

    # -- TLS ---------------------------------------------------------------------------------------------------

    async def _upgrade(self, context: ssl.SSLContext) -> None:
        if self._replies or not self._parser.empty:
            raise ConnectionFailed("STARTTLS", "octets in the clear behind the reply to STARTTLS")
        await self._handshake(context)

    async def _handshake(self, context: ssl.SSLContext) -> None:
        if self._error:
            raise TlsFailed("STARTTLS", self._error)
        name = self.host if self.host and not self.host[0].isdigit() and ":" not in self.host else None
        try:
            name = name or (self.address if context.check_hostname else None)
            transport = await self._change_to_tls(context, name, self.timeouts.tls)
        except TLS_ERRORS as error:
            raise TlsFailed("STARTTLS", f"TLS handshake: {str(error) or type(error).__name__}") from None
        engine = transport.get_extra_info("ssl_object")
        self.tls_name = f"{engine.version()} {engine.cipher()[0]}" if engine is not None else "TLS"

    # -- end ---------------------------------------------------------------------------------------------------

    async def quit(self) -> None:
        """Say QUIT where that is still possible, and close."""
        if self.usable:
            try:
                await self.run(self.session.quit())
            except ConnectionFailed:
                pass  # it is closed either way
        self.close()
