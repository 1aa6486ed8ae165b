"""The state machine of one administration session, without I/O of its own.

States: login -> password -> command (a stack of contexts, or a multi-line text).  Rules
- Lines are answered in order, each with one reply that leaves in one write: body, status line, prompt.
- While a command waits for a service the link is held and later lines wait.
- Too many failed logins, commands before a login, or wrong commands end the session (maxAuthErrors, maxAuthCommands, maxErrors);
  a refusal by a service is not a wrong command.
- When the administrator's password or state changes elsewhere the session ends; when its rights change they hold at once, and
  what waited is dropped.
- No secret is logged: of a command the log has the words of its form and the key of the object, and no refusal that may quote
  what stood among parameters: it can be part of a password.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mailstead.admin_cli.context import CliContext, Command, make
from mailstead.admin_cli.grammar import MAX_TEXT, CommandError, Lines, LineTooLong, Word, split
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.model import DirectoryError
from mailstead.directory.password_policy import StoredPassword
from mailstead.mailbox.errors import MailboxError
from mailstead.observe.log import fault
from mailstead.observe.metrics import faults
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.database import SystemDatabaseError
from mailstead.settings.declaration import InvalidValueError
from mailstead.settings.edits import ChangedMeanwhileError

if TYPE_CHECKING:
    from mailstead.admin_cli.services import AdminServices

COMPATIBLE_VERSION = "10.6.30"
"""What GET VERSION answers: programs compare the first number."""

GREETING = (
    "Welcome to AXIGEN's Command Line Interface, spoken here by Mailstead",
    "You must log in with USER <name> before other commands are taken.",
    "HELP lists what can be said now.",
    "",
    "<login> ",
)
LOGIN_HELP = (
    "The commands before the login are:",
    "",
    "USER <user> - begins the login; the password is asked for",
    "GET VERSION - shows the version, the system and the platform",
    "SET CONSOLE-CODES on|off - colours and echo of terminals",
    "SET QUIET on|off - shortens replies",
    "SHOW - shows what was set",
    "HELP - lists these commands",
    "EXIT - ends the session",
    "QUIT - ends the session",
    "",
)
MAX_KEPT_RANGES = 1000
LARGE_REPLY = 2000
"""Lines of a reply that is put together in a thread."""
_IDENTIFYING = ("name", "address", "email", "ipset", "priority", "aliasname", "pattern", "mailid")
"""Parameters whose value the audit log names; none of them is ever a secret."""
TextTaker = Callable[[str], Awaitable["Reply | None"]]
#: Refusals by services: their text is for the administrator.
REFUSALS = (
    DirectoryError,
    MailboxError,
    InvalidValueError,
    PermissionDeniedError,
    ChangedMeanwhileError,
)


class Session:
    """``link`` is the connection (transport.connection.Connection)."""

    def __init__(self, link: Any, services: AdminServices, root: Callable[[Session], CliContext]) -> None:
        self.link = link
        self.services = services
        self._refusals: tuple[type[Exception], ...] = (*REFUSALS, *services.refusals)
        self.options: Any = services.settings.service("cli")
        self.actor = Actor("")
        self.context: CliContext | None = None
        self.quiet = False
        self.console_codes = False
        self.end_mark = "."
        self.quitting = self.stopping = False
        self._make_root = root
        self._lines = Lines()
        self._login = ""
        self._waiting_password = False
        self._version = 0
        self._stored = ""
        self._auth_errors = self._auth_commands = self._errors = 0
        self._written: list[tuple[int, int]] = []
        self._taker: TextTaker | None = None
        self._text: list[str] = []
        self._text_size = 0
        self._task: asyncio.Task[None] | None = None
        self._hashing: asyncio.Task[StoredPassword] | None = None
        self._farewell = False

    # -- input ----------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """The greeting and the first prompt, in one write."""
        self.link.send("\r\n".join(GREETING).encode())

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        try:
            self._lines.feed(data)
            if self._task is None:
                self._run()
        except LineTooLong:
            self._end("the line is too long")

    def _run(self) -> None:
        while not self.quitting and self._task is None and not self.link.closing:
            line = self._lines.next()
            if line is None:
                return
            self._start(self._answer(line))

    def _start(self, work: Awaitable[None]) -> None:
        """Run until the first wait; only where there is one the link is held."""
        self.link.hold()
        self._task = asyncio.get_running_loop().create_task(self._wait(work))

    async def _wait(self, work: Awaitable[None]) -> None:
        try:
            await work
            # Lines that came together are answered in a row, with one turn of the loop for the others after each.
            while not self.quitting and not self.stopping and not self.link.closing:
                line = self._lines.next()
                if line is None:
                    break
                await self.link.drained()
                await asyncio.sleep(0)
                await self._answer(line)
        except asyncio.CancelledError:
            raise
        except ConnectionResetError:
            return
        except LineTooLong:
            self._end("the line is too long")
        except Exception as error:
            faults.labels("CLI").inc()
            fault(self.link.log, "administration session failed", error)
            self._end("internal error")
        finally:
            self._task = None
        if self.stopping and not self.quitting:
            self._end("the server is shutting down")
        self.link.resume()

    async def _answer(self, line: str) -> None:
        if self._waiting_password:
            await self._take_password(line)
        elif self._taker is not None:
            await self._take_text(line)
        elif self.context is None:
            self._before_login(line)
        else:
            await self._command(line)

    # -- output ---------------------------------------------------------------------------------------------------

    def _send(self, reply: Reply, prompt: str) -> None:
        self.link.send(reply.render(prompt, self.quiet))

    def _end(self, text: str) -> None:
        """Say why and close."""
        if not self.quitting:
            self.quitting = True
            self.link.send(f"-ERR: {text}\r\n".encode())
        self.link.close()

    def say_goodbye(self) -> None:
        """EXIT: the reply has no prompt."""
        self.quitting = True
        self.link.send(b"+OK: have a nice day\r\n")
        self.link.close()

    # -- before the login ------------------------------------------------------------------------------------------

    def _before_login(self, line: str) -> None:
        try:
            words = split(line)
        except CommandError as error:
            words = []
            reply = Reply(text=str(error), good=False)
        else:
            reply = self._login_command(words)
        if self.quitting:
            return
        self._auth_commands += 1
        limit = int(self.options.maxAuthCommands)
        if limit and self._auth_commands > limit:
            self._end("too many commands before the login")
            return
        if words and not (reply.good and self._waiting_password):
            self._send(reply, "<login> ")
        elif words:
            self._send(reply, "<password> ")
        else:
            self._send(Reply(text="an empty line is no command", good=False), "<login> ")

    def _login_command(self, words: list[Word]) -> Reply:
        if not words:
            return Reply(good=False)
        verb = words[0].text.lower()
        rest = [word.text for word in words[1:]]
        lowered = [text.lower() for text in rest]
        if verb == "user" and len(rest) == 1:
            self._login = rest[0]
            self._waiting_password = True
            return Reply(text="enter the password")
        if verb == "get" and lowered == ["version"]:
            return version_reply()
        if verb == "set" and len(lowered) == 2:
            return self.set_terminal(lowered[0], lowered[1])
        if verb == "show" and not rest:
            return self.show_terminal()
        if verb == "help":
            return Reply(list(LOGIN_HELP))
        if verb in ("exit", "quit"):
            self.say_goodbye()
            return Reply()
        return Reply(text="this command is not known before the login; HELP lists the commands", good=False)

    def set_terminal(self, name: str, value: str) -> Reply:
        """SET CONSOLE-CODES and SET QUIET."""
        if value not in ("on", "off") or name not in ("console-codes", "quiet"):
            return Reply(text="SET takes CONSOLE-CODES on|off or QUIET on|off here", good=False)
        if name == "quiet":
            self.quiet = value == "on"
        else:
            self.console_codes = value == "on"
        return Reply()

    def show_terminal(self) -> Reply:
        """SHOW before the login."""
        codes, quiet = ("on" if on else "off" for on in (self.console_codes, self.quiet))
        return Reply(["", "General parameters:", f"CONSOLE-CODES = {codes}", f"QUIET = {quiet}", ""])

    async def _take_password(self, password: str) -> None:
        self._waiting_password = False
        name, self._login = self._login, ""
        found = await self.services.administrators.verify(name, password, peer=self.link.peer[0])
        if found is None:
            self._auth_errors += 1
            self.link.log.warning("administrator login failed", admin=name[:64], peer=self.link.peer[0])
            limit = self.link.endpoint.max_auth_errors
            if limit and self._auth_errors >= limit:
                self._end("authentication failed too often")
                return
            self._send(Reply(text="authentication failed: wrong name or password", good=False), "<login> ")
            return
        self.actor, self._version = found
        self._stored = self._password_mark()
        self.context = self._make_root(self)
        self.link.logged_in()
        self.link.log.info("administrator logged in", admin=self.actor.name, peer=self.link.peer[0])
        self._send(Reply(text="Authentication successful"), self.context.prompt)

    # -- commands -------------------------------------------------------------------------------------------------

    async def _command(self, line: str) -> None:
        if not self._still_valid():
            return
        assert self.context is not None
        try:
            words = split(line)
            if not words:
                self._send(Reply(), self.context.prompt)
                return
            entry, arguments = self.context.find(words)
        except CommandError as error:
            self._wrong(str(error))
            return
        reply = await self._run_command(entry, arguments)
        if self.quitting or reply is None:
            return
        if len(reply.body) > LARGE_REPLY:
            self.link.send(await asyncio.to_thread(reply.render, self.context.prompt, self.quiet))
        else:
            self._send(reply, self.context.prompt)

    async def _run_command(self, entry: Command, arguments: Arguments) -> Reply | None:
        context = self.context
        quoted = False
        try:
            result = entry.handler(context, arguments)
            if isinstance(result, Awaitable):
                result = await result
        except CommandError as error:
            quoted = bool(arguments.rest)
            result = Reply(text=str(error), good=False)
        except self._refusals as error:
            result = Reply(text=str(error), good=False)
        except SystemDatabaseError as error:
            reference = fault(self.link.log, "the system database failed a command", error)
            result = Reply(text=f"the change cannot be written now, reference {reference}", good=False)
        except ConnectionResetError:
            raise
        except Exception as error:
            faults.labels("CLI").inc()
            reference = fault(self.link.log, "administration command failed", error, command=" ".join(entry.syntax.head))
            result = Reply(text=f"internal error, reference {reference}", good=False)
        self._audit(entry, arguments, result, quoted)
        if result is None:
            if self._taker is not None:
                return None
            result = Reply()
        return result

    def _audit(self, entry: Command, arguments: Arguments, reply: Reply | None, quoted: bool) -> None:
        verb = entry.syntax.head[0].split("|")[0].upper()
        if verb in ("SHOW", "LIST", "HELP", "BACK", "GET"):
            return
        key = next((arguments[name] for name in _IDENTIFYING if name in arguments), "")
        good = reply is None or reply.good
        self.link.log.info(
            "command",
            admin=self.actor.name,
            context=self.context.path if self.context is not None else "",
            command=" ".join(entry.syntax.head),
            object=key[:128],
            outcome="ok" if good else "refused",
            **({} if good or reply is None or quoted else {"reason": reply.text[:256]}),
        )

    def _wrong(self, text: str) -> None:
        self._errors += 1
        limit = self.link.endpoint.max_errors
        if limit and self._errors > limit:
            self._end("too many wrong commands")
            return
        assert self.context is not None
        self._send(Reply(text=text, good=False), self.context.prompt)

    # -- contexts -------------------------------------------------------------------------------------------------

    def enter(self, context: CliContext) -> None:
        """Go down."""
        self.context = context

    def leave(self, context: CliContext) -> None:
        """Go up."""
        assert context.parent is not None
        self.context = context.parent

    def take_text(self, taker: TextTaker) -> None:
        """The next lines, up to the end mark, are a text for `taker`; its reply answers it."""
        self._taker = taker
        self._text = []
        self._text_size = 0
        self.link.send(f"+OK: send the text, and a line that holds only {self.end_mark} at its end\r\n".encode())

    async def _take_text(self, line: str) -> None:
        if line != self.end_mark:
            self._text_size += len(line) + 2
            if self._text_size > MAX_TEXT:
                self._end(f"a text has at most {MAX_TEXT} characters")
                return
            self._text.append(line[1:] if line.startswith("..") else line)
            return
        taker, self._taker = self._taker, None
        text = "\r\n".join(self._text) + ("\r\n" if self._text else "")
        self._text = []
        assert taker is not None and self.context is not None
        if not self._still_valid():
            return

        async def handler(_context: CliContext, _arguments: Arguments) -> Reply | None:
            return await taker(text)

        reply = await self._run_command(make("TEXT", "", handler), Arguments())
        if not self.quitting and reply is not None:
            self._send(reply, self.context.prompt)

    async def hash_ahead(self, work: Coroutine[Any, Any, StoredPassword]) -> asyncio.Task[StoredPassword]:
        """Begin the hashing of a password, so that it goes on while the next command is on its way; one at a time, however
        many a client gives. Awaiting the task raises PasswordRefusedError."""
        if self._hashing is not None:
            await asyncio.wait([self._hashing])
        self._hashing = asyncio.create_task(work, name="password of an account")
        self._hashing.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._hashing

    def wrote(self, seq: int) -> bool:
        """Whether a history row was written by this session."""
        return any(first < seq <= last for first, last in self._written)

    def note_written(self, first: int, last: int) -> None:
        """A commit of this session wrote the history rows (first, last]."""
        if last > first:
            self._written.append((first, last))
            del self._written[:-MAX_KEPT_RANGES]

    # -- who ------------------------------------------------------------------------------------------------------

    def _password_mark(self) -> str:
        directory = self.services.directory
        admin = directory.admin(self.actor.name)
        credentials = directory.admin_credentials(admin.id) if admin is not None else None
        return credentials.password if credentials is not None else ""

    def password_changed(self) -> None:
        """The session itself changed the administrator's password."""
        self._stored = self._password_mark()

    def _still_valid(self) -> bool:
        """Look whether the administrator is what it was; new rights hold at once."""
        administrators = self.services.administrators
        if administrators.current(self.actor.name, self._version):
            return True
        actor = administrators.actor(self.actor.name)
        if actor is None or self._password_mark() != self._stored:
            self._end("the administrator has changed; log in again")
            return False
        admin = self.services.directory.admin(actor.name)
        self._version = admin.auth_version if admin is not None else 0
        if actor != self.actor and not _at_least(actor, self.actor):
            self.actor = actor
            self.context = self._make_root(self)
            self._send(Reply(text="your rights have changed; what was not committed is dropped", good=False), self.context.prompt)
            return False
        self.actor = actor
        return True

    # -- ends -----------------------------------------------------------------------------------------------------

    def stop(self, reason: str = "the server is shutting down") -> None:
        """The process stops."""
        self.stopping = True
        if self._task is None:
            self._end(reason)

    def ended(self) -> None:
        """The connection is gone."""
        self.quitting = True


def _at_least(new: Actor, old: Actor) -> bool:
    """Whether an actor has every right that another has."""
    if new.everything:
        return True
    return (
        not old.everything
        and old.server <= new.server
        and all(rights <= new.domains.get(domain, frozenset()) for domain, rights in old.domains.items())
        and all(refused <= old.denied.get(domain, frozenset()) for domain, refused in new.denied.items())
    )


def version_reply() -> Reply:
    """GET VERSION: version, system and platform, bar between."""
    system = platform.system() or "Linux"
    return Reply([f"{COMPATIBLE_VERSION}|{system}|{platform.machine()}"])
