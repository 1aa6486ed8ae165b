"""The state machine of one POP3 session (RFC 1939), without I/O of its own.

States: AUTHORIZATION -> TRANSACTION -> UPDATE.  Rules
- Commands are answered in order, each once; the replies of a pipelined batch go out in one write.
- While a command waits (login, a large message, the update) the link is held and later commands wait.
- Messages are removed only at QUIT in the TRANSACTION state; any other end leaves everything as it was.
- The maildrop's lock is given back exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mailstead.observe.log import fault
from mailstead.pop3.grammar import LineBuffer, TooLong, split_command
from mailstead.transport.output_queue import OutputQueue

if TYPE_CHECKING:
    from mailstead.directory.model import Account
    from mailstead.pop3.maildrop import Maildrop
    from mailstead.pop3.services import Pop3Services

Handler = Callable[["Session", bytes], "bytes | Coroutine[Any, Any, bytes] | None"]
FLUSH_AT = 64 * 1024


class Entry:
    """A command: its function and the states in which it is known."""

    __slots__ = ("authorization", "handler", "transaction")

    def __init__(self, handler: Handler, *, authorization: bool = False, transaction: bool = False) -> None:
        self.handler = handler
        self.authorization = authorization
        self.transaction = transaction


class Session(OutputQueue):
    """``link`` is the connection (transport.connection.Connection)."""

    def __init__(self, link: Any, services: Pop3Services, entries: dict[bytes, Entry]) -> None:
        super().__init__(link)
        self.services = services
        self.options: Any = services.settings.service("pop3")
        self.entries = entries
        self.lines = LineBuffer()
        self.user = b""
        self.account: Account | None = None
        self.maildrop: Maildrop | None = None
        self.locked = 0
        self.errors = 0
        self.auth_errors = 0
        self.quitting = False
        self.stopping = False
        self._task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[bytes] | None = None

    # -- input -------------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        self.lines.feed(data)
        if self._answer is not None:
            self._give_answer()
        elif self._task is None:
            self._run()
        self.flush()

    def _run(self) -> None:
        """Handle whole lines until one has to wait."""
        while not self.quitting and self._task is None and not self.link.closing:
            if self._out_size > FLUSH_AT:
                self.flush()
                if self.link.write_blocked:
                    self._start(self._drain())
                    return
            try:
                line = self.lines.next_line()
            except TooLong:
                self.fail(b"-ERR line too long\r\n")
                self.bye()
                return
            if line is None:
                return
            self._command(line)

    async def _drain(self) -> bytes:
        await self.link.drained()
        return b""

    def _command(self, line: bytes) -> None:
        keyword, argument = split_command(line)
        entry = self.entries.get(keyword)
        if entry is None:
            self.fail(b"-ERR unknown command\r\n")
            return
        if not (entry.transaction if self.maildrop is not None else entry.authorization):
            self.fail(b"-ERR not in this state\r\n")
            return
        try:
            reply = entry.handler(self, argument)
        except Exception as error:
            self._faulted(error)
            return
        if isinstance(reply, bytes):
            self._reply(reply)
        elif reply is not None:
            self._start(reply)

    def _reply(self, reply: bytes) -> None:
        if reply[:1] == b"-":
            self.fail(reply)
        else:
            self.emit(reply)

    def _faulted(self, error: Exception) -> None:
        reference = fault(self.link.log, "POP3 command failed", error)
        self.emit(b"-ERR [SYS/TEMP] internal error, reference %b\r\n" % reference.encode())

    def fail(self, reply: bytes) -> None:
        """A refusal; too many end the session (LIS-12)."""
        self.emit(reply)
        self.errors += 1
        limit = self.link.endpoint.max_errors
        if limit and self.errors >= limit:
            self.emit(b"-ERR too many errors\r\n")
            self.bye()

    def _start(self, work: Coroutine[Any, Any, bytes]) -> None:
        self.link.hold()
        self._task = asyncio.get_running_loop().create_task(self._wait(work))

    async def _wait(self, work: Coroutine[Any, Any, bytes]) -> None:
        try:
            reply = await work
            if reply:
                self._reply(reply)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._faulted(error)
        self._task = None
        if self.stopping and not self.quitting:
            self.bye()
        self._run()
        self.flush()
        self.link.resume()

    # -- a SASL answer -----------------------------------------------------------------------------------------

    async def ask(self, challenge: bytes, limit: int) -> bytes:
        """Send a continuation and wait for the client's line. Raises TooLong."""
        self.emit(b"+ %b\r\n" % challenge)
        self.flush()
        self.lines.limit = limit
        self._answer = asyncio.get_running_loop().create_future()
        self.link.resume()
        try:
            self._give_answer()
            return await self._answer
        finally:
            self._answer = None
            self.lines.limit = 512
            self.link.hold()

    def _give_answer(self) -> None:
        if self._answer is None or self._answer.done():
            return
        try:
            line = self.lines.next_line()
        except TooLong as error:
            self._answer.set_exception(error)
            return
        if line is not None:
            self._answer.set_result(line)

    # -- ends --------------------------------------------------------------------------------------------------

    def bye(self) -> None:
        """Send what is to be sent and close."""
        self.quitting = True
        self.flush()
        self.link.close()

    def stop(self, reason: str = "server shutting down") -> None:
        """The process stops, or the account is no longer what it was: at once where nothing is under way, else after the
        command."""
        self.stopping = True
        if self._task is None or self._answer is not None:
            self.emit(b"-ERR [SYS/TEMP] %b\r\n" % reason.encode("ascii"))
            self.bye()

    def ended(self) -> None:
        """The connection is gone: nothing is removed."""
        self.quitting = True
        if self._task is not None and not self._updating:
            self._task.cancel()
            self._task = None
        if not self._updating:
            self.release()

    def entered(self) -> None:
        """The login is done: the server ends the session when the account changes."""
        self.link.entered(self)

    _updating = False

    def release(self) -> None:
        """Give up maildrop and lock, once."""
        if self.maildrop is not None:
            self.maildrop.close()
            self.maildrop = None
        if self.locked:
            self.services.locks.release(self.locked)
            self.locked = 0

    async def update(self) -> bytes:
        """QUIT in the TRANSACTION state; runs to its end even if the client goes."""
        self._updating = True
        try:
            assert self.maildrop is not None
            wanted = len(self.maildrop.deleted)
            went = await self.maildrop.update() if wanted else 0
        finally:
            self._updating = False
            self.release()
        if went < wanted:
            return b"+OK bye (some messages were gone already)\r\n"
        return b"+OK bye\r\n"
