"""The state machine of one FTP session (RFC 959), without I/O of its own.

Rules
- Commands are answered in order, each once. While a transfer runs ABOR and STAT are heard, others wait (``WAITING`` of them).
- Nothing but how to log in is known before the login; a clear-text login is refused where TLS could be had, loopback excepted.
- An administrator whose rights or password changed is logged out before his next command.
- What one command chooses for a transfer (data connection, REST) counts for the next transfer only.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mailstead.backup_tree.paths import BadPath, resolve
from mailstead.backup_tree.tar import BadTar
from mailstead.backup_tree.tree import Missing, Tree
from mailstead.backup_tree.uploads import Refused, Uploads
from mailstead.directory.model import DirectoryError
from mailstead.ftp_backup.data_channel import DataFailed, Opener
from mailstead.ftp_backup.grammar import Lines, LineTooLong, SyntaxRefused, split_command
from mailstead.mailbox.errors import MailboxError, OverQuota, StoreUnavailable
from mailstead.observe.log import fault
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.database import SystemDatabaseError
from mailstead.store.record import DamagedRecord

if TYPE_CHECKING:
    from mailstead.ftp_backup.services import FtpServices

Handler = Callable[["Session", str], "str | Coroutine[Any, Any, str]"]
WAITING = 32
HEARD = {"ABOR", "STAT"}


class Entry:
    """A command: its function, whether it needs a login, and whether it is a transfer."""

    __slots__ = ("handler", "open", "transfer")

    def __init__(self, handler: Handler, *, open: bool = False, transfer: bool = False) -> None:
        self.handler = handler
        self.open = open
        self.transfer = transfer


class Session:
    """``link`` is the connection (transport.connection.Connection)."""

    def __init__(self, link: Any, services: FtpServices, entries: dict[str, Entry]) -> None:
        self.link = link
        self.services = services
        self.options: Any = services.settings.service("ftpBackup")
        self.entries = entries
        self.lines = Lines()
        self.user = ""
        self.actor: Actor | None = None
        self.version = 0
        self.errors = 0
        self.auth_errors = 0
        self.quitting = False
        self.stopping = False
        self.opener = Opener(link.peer[0])
        self._waiting: list[bytes] = []
        self._held = False
        self._task: asyncio.Task[None] | None = None
        self.transfer: asyncio.Task[None] | None = None
        self.aborted = False
        self.reset()

    def reset(self) -> None:
        """As after the greeting (REIN)."""
        self.actor = None
        self.tree: Tree | None = None
        self.uploads: Uploads | None = None
        self.user = ""
        self.path: tuple[str, ...] = ()
        self.ascii = True
        self.rest = 0
        self.expected = -1
        self.protection = "C"
        self.buffer_said = False
        self.only_extended = False
        self.opener.forget()

    # -- who and where ----------------------------------------------------------------------------------------

    def enter(self, actor: Actor, version: int) -> None:
        """The login is done."""
        self.actor, self.version = actor, version
        options = self.options
        self.tree = Tree(self.services, actor, utf8=options.nameEncoding == "utf8", tar=bool(options.messagesTarEnabled))
        self.uploads = Uploads(self.tree)
        self.link.logged_in()

    def the_tree(self) -> Tree:
        """What the administrator sees."""
        assert self.tree is not None
        return self.tree

    def the_uploads(self) -> Uploads:
        """What the administrator restores."""
        assert self.uploads is not None
        return self.uploads

    def at(self, text: str) -> tuple[str, ...]:
        """The path that an argument means. Raises BadPath."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise BadPath("the name is not valid UTF-8") from None
        return resolve(self.path, text)

    @property
    def loopback(self) -> bool:
        """Whether the client is on this machine."""
        try:
            return ipaddress.ip_address(self.link.peer[0]).is_loopback
        except ValueError:
            return False

    # -- output -----------------------------------------------------------------------------------------------

    def reply(self, text: str) -> None:
        """A whole reply, lines joined by LF."""
        octets = text.encode("utf-8", "surrogateescape").replace(b"\r", b"").replace(b"\xff", b"\xff\xff")
        self.link.send(octets.replace(b"\n", b"\r\n") + b"\r\n")

    # -- input ------------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        self.lines.feed(data)
        self._run()

    def _run(self) -> None:
        while not self.quitting and self._task is None and not self.link.closing:
            if self.transfer is None and self._waiting:
                line: bytes | None = self._waiting.pop(0)
                self._let_go()
            else:
                try:
                    line = self.lines.next()
                except LineTooLong:
                    self.reply("500 line too long")
                    self.bye()
                    return
            if line is None:
                return
            command, argument = split_command(line)
            if self.transfer is not None and command not in HEARD:
                self._waiting.append(line)
                if len(self._waiting) >= WAITING and not self._held:
                    self._held = True
                    self.link.hold()
                    return
                continue
            self._command(command, argument)

    def _let_go(self) -> None:
        if self._held and len(self._waiting) < WAITING // 2:
            self._held = False
            self.link.resume()

    def _command(self, command: str, argument: str) -> None:
        entry = self.entries.get(command)
        if entry is None:
            self._answer("500 unknown command")
            return
        if not entry.open and not self._still_valid():
            return
        try:
            result = entry.handler(self, argument)
        except Exception as error:
            self._answer(self.explained(error))
            return
        if isinstance(result, str):
            self._answer(result)
        elif entry.transfer:
            self.aborted = False
            self.transfer = asyncio.get_running_loop().create_task(self._transfer(result))
        else:
            self.link.hold()
            self._task = asyncio.get_running_loop().create_task(self._wait(result))

    def _still_valid(self) -> bool:
        if self.actor is None:
            self._answer("530 log in first")
            return False
        if not self.services.administrators.current(self.actor.name, self.version):
            self.reply("421 the administrator has changed; log in again")
            self.bye()
            return False
        return True

    async def _wait(self, work: Coroutine[Any, Any, str]) -> None:
        answer = await self._result(work)
        self._task = None
        self._answer(answer)
        if self.stopping:
            self.stop()
        self._run()
        self.link.resume()

    async def _transfer(self, work: Coroutine[Any, Any, str]) -> None:
        try:
            answer = await self._result(work)
        except asyncio.CancelledError:
            answer = "426 transfer aborted" if self.aborted else ""
        finally:
            self.rest, self.expected = 0, -1
            self.opener.forget()
            self.transfer = None
        if answer:
            self._answer(answer)
        if self.aborted:
            self.reply("226 ABOR done")
        if self.stopping:
            self.stop()
        self._run()

    async def _result(self, work: Coroutine[Any, Any, str]) -> str:
        try:
            return await work
        except Exception as error:
            return self.explained(error)

    def explained(self, error: Exception) -> str:
        """The reply that an error of a command is; what is our own gets a reference."""
        text = str(error).replace("\r", " ").replace("\n", " ")[:400]
        match error:
            case SyntaxRefused():
                return f"{error.code} {text}"
            case BadPath():
                return f"553 {text}"
            case Missing() | Refused():
                return f"550 {text}"
            case PermissionDeniedError():
                return "550 you have no right to do this"
            case DataFailed():
                return f"425 {text}"
            case BadTar() | DirectoryError():
                return f"550 {text}"
            case OverQuota():
                return f"552 {text}"
            case StoreUnavailable() | SystemDatabaseError():
                return "451 this cannot be done now"
            case MailboxError():
                return f"550 {text}"
            case DamagedRecord():
                return f"451 the message is damaged: {text}"
        reference = fault(self.link.log, "FTP command failed", error)
        return f"451 internal error, reference {reference}"

    def _answer(self, text: str) -> None:
        if not text:
            return
        self.reply(text)
        if text[:1] == "5":
            self.errors += 1
            limit = self.link.endpoint.max_errors
            if limit and self.errors >= limit and self.actor is None:
                self.reply("421 too many errors")
                self.bye()

    # -- ends -------------------------------------------------------------------------------------------------

    def abort(self) -> str:
        """ABOR: the transfer ends (its own reply comes first), or there is none."""
        if self.transfer is None:
            self.opener.forget()
            return "226 no transfer is running"
        self.aborted = True
        self.transfer.cancel()
        return ""

    def bye(self) -> None:
        """Send what is to be sent and close."""
        self.quitting = True
        self.opener.forget()
        if self.transfer is not None:
            self.transfer.cancel()
        self.link.close()

    def stop(self) -> None:
        """The process stops: after the transfer."""
        self.stopping = True
        if self.transfer is None and self._task is None and not self.quitting:
            self.reply("421 the server is shutting down")
            self.bye()

    def ended(self) -> None:
        """The connection is gone."""
        self.quitting = True
        for task in (self.transfer, self._task):
            if task is not None:
                task.cancel()
        self.opener.forget()
