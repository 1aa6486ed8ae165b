"""The state machine of one ManageSieve session (RFC 5804), without I/O of its own.

States: not authenticated -> authenticated.  Rules
- Commands are answered in order, each with exactly one OK, NO or BYE.
- While a command waits for a service the link is held and later commands wait; so they do while the client does not read,
  and after ``AT_ONCE`` of them others have their turn.
- What came in clear before TLS is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mailstead.mailbox.errors import LimitReached, MailboxError
from mailstead.mailbox.scripts import InvalidScriptName, ScriptActive, ScriptExists, ScriptMissing
from mailstead.managesieve.grammar import MAX_LITERAL, MAX_LITERAL_FRESH, BadCommand, Collector, Command, Unbearable, string
from mailstead.observe.log import fault
from mailstead.observe.metrics import faults, managesieve_commands
from mailstead.sieve.grammar import SieveError
from mailstead.transport.output_queue import OutputQueue

if TYPE_CHECKING:
    from mailstead.directory.model import Account
    from mailstead.managesieve.services import ManageSieveServices

FLUSH_AT = 64 * 1024
AT_ONCE = 100

Reply = bytes
Handler = Callable[["Session", "list[bytes | int]"], "Reply | Coroutine[Any, Any, Reply]"]


class Refusal(Exception):
    """A command that is answered NO; `code` is a response code without parentheses (RFC 5804 section 1.3)."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


_CODES: tuple[tuple[type[MailboxError], str], ...] = (
    (ScriptMissing, "NONEXISTENT"),
    (ScriptExists, "ALREADYEXISTS"),
    (ScriptActive, "ACTIVE"),
    (LimitReached, "QUOTA/MAXSCRIPTS"),
    (InvalidScriptName, ""),
)


def _code_of(error: MailboxError) -> str:
    """The response code (RFC 5804 section 1.3) for a refusal by the mailbox service."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return "QUOTA/MAXSIZE" if kind is LimitReached and "octets" in str(error) else code
    return "TRYLATER"


def reply(word: bytes, text: str, code: str = "") -> bytes:
    """A response line."""
    middle = b" (%b)" % code.encode() if code else b""
    return b"%b%b %b\r\n" % (word, middle, string(text.encode("utf-8", "replace")))


class Session(OutputQueue):
    """``link`` is the connection (transport.connection.Connection)."""

    def __init__(self, link: Any, services: ManageSieveServices, entries: dict[bytes, tuple[Handler, str]]) -> None:
        super().__init__(link)
        self.services = services
        self.entries = entries
        self.options: Any = services.settings.service("managesieve")
        self.collector = Collector()
        self.account: Account | None = None
        self.errors = self.auth_errors = 0
        self.quitting = self.stopping = False
        self._task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[bytes] | None = None

    def bye(self, text: str, code: str = "") -> None:
        """Say BYE and close."""
        if not self.quitting:
            self.quitting = True
            self.emit(reply(b"BYE", text, code))
        self.flush()
        self.link.close()

    # -- input ----------------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        self.collector.feed(data)
        if self._answer is not None:
            self._give_answer()
        elif self._task is None:
            self._run()
        self.flush()

    def _run(self) -> None:
        taken = 0
        while not self.quitting and self._task is None and not self.link.closing:
            taken += 1
            if self._out_size > FLUSH_AT or taken > AT_ONCE:
                self.flush()
                if self.link.write_blocked or taken > AT_ONCE:
                    self._start("", self._pause())
                    return
            try:
                command = self.collector.next()
            except BadCommand as error:
                self._refuse(reply(b"NO", str(error)))
                continue
            except Unbearable as error:
                self.bye(str(error))
                return
            if command is None:
                return
            self._begin(command)

    def _begin(self, command: Command) -> None:
        entry = self.entries.get(command.name)
        if entry is None:
            self._refuse(reply(b"NO", "Unknown command"))
            return
        handler, state = entry
        if state == "authenticated" and self.account is None:
            self._refuse(reply(b"NO", "Authenticate first"))
            return
        if state == "fresh" and self.account is not None:
            self._refuse(reply(b"NO", "Already authenticated"))
            return
        name = command.name.decode("ascii")
        try:
            result = handler(self, command.arguments)
        except Exception as error:
            result = self._failure(error)
        if isinstance(result, bytes):
            self._reply(name, result)
        else:
            self._start(name, result)

    def _start(self, name: str, work: Coroutine[Any, Any, Reply]) -> None:
        self.link.hold()
        self._task = asyncio.get_running_loop().create_task(self._wait(name, work))

    async def _pause(self) -> Reply:
        await asyncio.sleep(0)
        await self.link.drained()
        return b""

    async def _wait(self, name: str, work: Coroutine[Any, Any, Reply]) -> None:
        try:
            result = await work
        except asyncio.CancelledError:
            raise
        except Exception as error:
            result = self._failure(error)
        self._task = None
        self._reply(name, result)
        if self.stopping:
            self.bye("Server shutting down", "TRYLATER")
        self._run()
        self.flush()
        self.link.resume()

    def _reply(self, name: str, result: Reply) -> None:
        if not result:
            return
        managesieve_commands.labels(name, result[:3].strip().decode("ascii")).inc()
        if result.startswith(b"NO"):
            self._refuse(result)
        else:
            self.emit(result)

    def _refuse(self, result: Reply) -> None:
        self.emit(result)
        self.errors += 1
        limit = self.link.endpoint.max_errors
        if limit and self.errors >= limit:
            self.bye("Too many errors")

    def _failure(self, error: Exception) -> bytes:
        if isinstance(error, (BadCommand, SieveError)):
            return reply(b"NO", str(error))
        if isinstance(error, Refusal):
            return reply(b"NO", str(error), error.code)
        if isinstance(error, MailboxError):
            return reply(b"NO", str(error), _code_of(error))
        if isinstance(error, ConnectionResetError):
            return b""
        faults.labels("MANAGESIEVE").inc()
        reference = fault(self.link.log, "ManageSieve command failed", error)
        return reply(b"NO", f"Internal error, reference {reference}", "TRYLATER")

    # -- a SASL answer --------------------------------------------------------------------------------------------

    async def ask(self, challenge: bytes) -> bytes:
        """Send a challenge and wait for the client's string. Raises BadCommand, ConnectionResetError."""
        self.emit(string(challenge) + b"\r\n")
        return await self.answer()

    async def answer(self) -> bytes:
        """The client's next string."""
        self.flush()
        self._answer = asyncio.get_running_loop().create_future()
        self.link.resume()
        try:
            self._give_answer()
            return await self._answer
        finally:
            self._answer = None
            self.link.hold()

    def _give_answer(self) -> None:
        if self._answer is None or self._answer.done():
            return
        try:
            line = self.collector.next_line()
        except BadCommand as error:
            self._answer.set_exception(error)
            return
        except Unbearable as error:
            self._answer.set_exception(ConnectionResetError(str(error)))
            self.bye(str(error))
            return
        if line is not None:
            self._answer.set_result(line)

    # -- who ------------------------------------------------------------------------------------------------------

    def enter(self, account: Account) -> None:
        """The login is done."""
        self.account = account
        self.collector.limit = MAX_LITERAL
        self.link.entered(self)

    def leave(self) -> None:
        """UNAUTHENTICATE (RFC 5804 section 2.14.1)."""
        self.link.left(self)
        self.account = None
        self.collector.limit = MAX_LITERAL_FRESH

    @property
    def account_id(self) -> int:
        """The account logged in to."""
        assert self.account is not None
        return self.account.id

    # -- ends -----------------------------------------------------------------------------------------------------

    def stop(self, reason: str = "Server shutting down") -> None:
        """The process stops, or the account is no longer what it was."""
        self.stopping = True
        if self._task is None or self._answer is not None:
            self.bye(reason, "TRYLATER")

    def ended(self) -> None:
        """The connection is gone."""
        self.quitting = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("connection lost"))
