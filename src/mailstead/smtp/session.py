"""The state machine of one SMTP session (RFC 5321), without I/O of its own.

States: greeted -> (EHLO) ready -> (MAIL) envelope -> (RCPT)* -> (DATA or BDAT) data -> ready.  Rules:
- Every command has exactly one reply, in order; those of one read go out with one write.
- MAIL needs EHLO or HELO; RCPT, DATA and BDAT need MAIL; a second MAIL needs the end of the first.
- RSET, EHLO, STARTTLS and the end of data end a transaction, and nothing of it survives.
- The final reply comes only when the message is durable; until then nothing more is read (`link.hold`).
- After STARTTLS nothing from before counts, and nothing sent in the same breath is taken (RFC 3207 section 4.2).
- What arrives is bounded: lines by `MAX_LINE`, messages by the spool, errors by maxErrors (LIS-12).

How: `received` walks over the octets.  In command mode it cuts lines and calls the command's function, which appends
replies; while a `sink` is set (data, chunk, authentication) octets go there.  Whoever must wait calls `wait`, keeps
the rest of the octets here, and `proceed`s later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from mailstead.observe.log import fault
from mailstead.observe.metrics import faults, smtp_messages
from mailstead.smtp.grammar import MAX_AUTH_LINE, MAX_LINE, NO_PARAMETERS, BadCommand, MailParameters
from mailstead.smtp.trace import opening, protocol
from mailstead.transport.link import SessionLink

if TYPE_CHECKING:
    from mailstead.delivery.model import EnvelopeRecipient
    from mailstead.directory.model import Account
    from mailstead.smtp.data import Incoming
    from mailstead.smtp.options import Options
    from mailstead.smtp.server import SmtpServer

#: Commands of one read handled in one go.
BATCH = 200
#: Verbs of other protocols: a browser or a proxy was made to speak to us.
_FOREIGN = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"CONNECT", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE"})
_LOST = smtp_messages.labels("connection lost")


class Link(SessionLink, Protocol):
    """See SessionLink."""

    idle_timeout: float

    def send(self, data: bytes) -> None: ...
    def touch(self) -> None: ...
    def begin_tls(self) -> asyncio.Future[bool]: ...


class Sink(Protocol):
    """Takes octets in place of the command parser."""

    def take(self, data: bytes, start: int) -> int:
        """Use octets from `start` on; the offset of the first not used."""


class Transaction:
    """One mail transaction, from MAIL on."""

    __slots__ = ("addresses", "begun", "chunking", "incoming", "parameters", "recipients", "refused", "sender")

    def __init__(self, sender: str, parameters: MailParameters) -> None:
        self.sender = sender
        self.parameters = parameters
        self.recipients: list[EnvelopeRecipient] = []
        #: RCPT commands that were refused.
        self.refused = 0
        self.incoming: Incoming | None = None
        #: The message comes in chunks (BDAT).
        self.chunking = False
        self.begun = 0.0


class Session:
    """One client. The link calls `greet`, `received`, `ended`, `idle`, `stop`; commands use the rest."""

    __slots__ = (
        "_busy", "_discarding", "_line_since", "_opening", "_out", "_rest", "_stopping", "_task", "auth_errors", "auth_version",
        "authenticated", "errors", "extended", "gone", "helo", "link", "login", "mechanism", "options", "protocol_log", "server",
        "sink", "transaction", "transactions",
    )  # fmt: skip

    def __init__(self, link: Link, server: SmtpServer) -> None:
        self.link = link
        self.server = server
        self.options: Options = server.options()
        self.helo = ""
        self.extended = False
        self.login: Account | None = None
        self.mechanism = ""
        self.transaction: Transaction | None = None
        self.transactions = 0
        self.errors = self.auth_errors = 0
        self.sink: Sink | None = None
        self.gone = False
        self.protocol_log = bool(link.log.speaks_protocol)
        self._out: list[bytes] = []
        self._rest = b""
        self._discarding = False
        self._busy = self._stopping = False
        self._line_since = 0.0
        self._opening: dict[bool, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    # ---- output ------------------------------------------------------------------------------------------------

    def reply(self, data: bytes) -> None:
        """Queue a reply (with its CRLF)."""
        self._out.append(data)

    def flush(self) -> None:
        """Send what is queued with one write."""
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            self._out = []
            if self.protocol_log:
                self.link.log.protocol("sent", data=data)
            self.link.send(data)

    def error(self, data: bytes) -> None:
        """Queue a reply to a wrong command and count it; too many end the session (LIS-12)."""
        self.errors += 1
        limit = self.link.endpoint.max_errors
        if limit and self.errors > limit:
            self.link.log.info("too many errors", peer=self.link.peer[0], errors=self.errors)
            self.goodbye(b"421 4.7.0 %b Too many errors\r\n")
            return
        self._out.append(data)

    def goodbye(self, line: bytes) -> None:
        """Queue a last reply, with the host's name for %b, and close."""
        self._out.append(line % self.options.host.encode())
        self.flush()
        self._rest = b""
        self.link.close()

    # ---- life --------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """The connection is there."""
        self._set_timeout(self.options.command_timeout)
        if not self.link.endpoint.idle_timeout:
            self.link.touch()
        self._out.append(self.options.greeting)
        self.flush()

    def ended(self) -> None:
        """The connection is gone."""
        self.gone = True
        if self.transaction is not None and self.transaction.incoming is not None:
            _LOST.inc()
        if not self._busy:  # whoever is busy cleans up when done
            self.end_transaction()

    def idle(self) -> None:
        """Silence for too long."""
        self.goodbye(b"421 4.4.2 %b Timeout, closing connection\r\n")

    def stop(self) -> None:
        """The process stops: an open transaction may end."""
        self._stopping = True
        if self.transaction is None and not self._busy and self.sink is None:
            self.goodbye(b"421 4.3.2 %b Service shutting down\r\n")

    def _set_timeout(self, seconds: float) -> None:
        idle = self.link.endpoint.idle_timeout
        self.link.idle_timeout = min(seconds, idle) if idle > 0 else seconds

    # ---- input -------------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        self._walk(data)
        self.flush()
        if self._stopping and not self.link.closing:
            self.stop()
        if self.link.write_blocked:
            self._await_reader()

    def _walk(self, data: bytes) -> None:
        position, size = 0, len(data)
        link, turns = self.link, BATCH
        while position < size and not self._busy and not link.closing:
            sink = self.sink
            if sink is not None:
                position = sink.take(data, position)
                continue
            end = data.find(b"\n", position)
            if end < 0:
                self._partial(data, position)
                return
            line = data[position:end]
            position = end + 1
            if self._discarding:
                self._discarding, self._line_since = False, 0.0
                self.error(b"500 5.5.6 Line too long\r\n")
            else:
                self._line(line, position < size)
            turns -= 1
            if turns <= 0 and not self._busy and not link.closing:  # others want their turn, too
                self.wait()
                asyncio.get_running_loop().call_soon(self.proceed)
        if position < size and not link.closing:
            self._rest = data[position:] if position else data

    def _partial(self, data: bytes, position: int) -> None:
        """A line whose end has not come."""
        now = time.monotonic()
        if not position and self._line_since:
            if now - self._line_since > self.options.command_timeout:
                self.idle()
                return
        else:
            self._line_since = now
        length = len(data) - position
        limit = MAX_AUTH_LINE if data[position : position + 5].upper() == b"AUTH " else MAX_LINE
        if self._discarding or length > limit:
            self._discarding = True
            return
        self._rest = data[position:] if position else data

    def _line(self, line: bytes, more: bool) -> None:
        self._line_since = 0.0
        if self.protocol_log:
            secret = line[:4].upper() == b"AUTH"
            self.link.log.protocol("received", data=b"AUTH [removed]" if secret else line)
        if line[-1:] == b"\r":
            line = line[:-1]
        elif self.options.strict:
            self.error(b"500 5.5.2 A line ends with CRLF\r\n")
            return
        verb, _, arguments = line.partition(b" ")
        verb = verb.upper()
        if len(line) > MAX_LINE - 2 and (verb != b"AUTH" or len(line) > MAX_AUTH_LINE):
            self.error(b"500 5.5.6 Line too long\r\n")
            return
        if b"\0" in line or b"\r" in line:
            self.error(b"500 5.5.2 Control characters are not allowed\r\n")
            return
        command = self.server.commands.get(verb)
        if command is None:
            self._unknown(verb)
            return
        try:
            command(self, arguments, more)
        except BadCommand as bad:
            self.error(bad.reply)

    def _unknown(self, verb: bytes) -> None:
        if verb in _FOREIGN:
            self.link.log.warning("another protocol spoken", peer=self.link.peer[0], verb=verb)
            self.goodbye(b"421 4.7.0 %b This is a mail server\r\n")
        else:
            self.error(b"500 5.5.2 Command not recognized\r\n")

    # ---- waiting -----------------------------------------------------------------------------------------------

    def wait(self) -> None:
        """Take nothing more until `proceed`; replies so far are sent now."""
        self._busy = True
        self.link.hold()

    def proceed(self) -> None:
        """Go on with what was kept. The reply of whoever waited is queued already."""
        self._busy = False
        if self.gone:
            self.end_transaction()
            return
        rest, self._rest = self._rest, b""
        if self._stopping and self.transaction is None and not self.link.closing:
            self.goodbye(b"421 4.3.2 %b Service shutting down\r\n")
        elif rest:
            try:
                self._walk(rest)
            except Exception as error:
                self._fault(error)
        self.flush()
        if self.link.write_blocked:
            self._await_reader()
        # Where `wait` was called anew its own hold is left.
        self.link.resume()

    def _await_reader(self) -> None:
        """Do nothing more for a client that does not read its replies."""
        if not self._busy and not self.link.closing:
            self.run(self._drained())

    async def _drained(self) -> None:
        try:
            await self.link.drained()
        except ConnectionError:
            pass  # `lost` is called by itself

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for a coroutine, then go on. Its reply is queued by itself."""
        self.wait()

        async def body() -> None:
            try:
                await work
            except Exception as error:
                self._fault(error)
            self.proceed()

        self._task = asyncio.get_running_loop().create_task(body())

    def _fault(self, error: BaseException) -> None:
        faults.labels("SMTP-IN").inc()
        fault(self.link.log, "connection closed by our own error", error, peer=self.link.peer[0])
        self.link.abort()

    def opening(self, utf8: bool) -> bytes:
        """The Received field of this session's messages up to the id."""
        found = self._opening.get(utf8)
        if found is None:
            tls = self.link.tls
            name = protocol(self.extended, tls is not None, self.login is not None, utf8)
            found = self._opening[utf8] = opening(self.helo, self.link.peer[0], self.options.host, name, tls)
        return found

    # ---- what commands use -------------------------------------------------------------------------------------

    def need_helo(self) -> None:
        """Raises BadCommand before EHLO or HELO."""
        if not self.helo:
            raise BadCommand(503, "5.5.1", "Send EHLO first")

    def begin(self, sender: str, parameters: MailParameters = NO_PARAMETERS) -> None:
        """Start a transaction."""
        self.transaction = Transaction(sender, parameters)

    def end_transaction(self) -> None:
        """Forget the transaction and what has arrived of its message."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None and transaction.incoming is not None:
            spool = transaction.incoming.take_spool()
            if spool is not None:
                self.server.abandon(spool)

    def started_over(self) -> None:
        """Back to the state after the greeting (STARTTLS)."""
        self.end_transaction()
        self.helo = ""
        self.extended = False
        self.login = None
        self._opening.clear()

    def hello(self, helo: str, extended: bool) -> None:
        """EHLO or HELO was said."""
        self.end_transaction()
        self.helo, self.extended = helo, extended
        self._opening.clear()

    def logged_in(self, account: Account, mechanism: str) -> None:
        """AUTH succeeded."""
        self.login, self.mechanism = account, mechanism
        self._opening.clear()

    def after_piece(self, incoming: Incoming, wants_flush: bool) -> None:
        """A piece of a message was taken and more is to come: write it, and let others have their turn."""
        if wants_flush:
            self.run(self._flush(incoming))
        elif incoming.spool is not None:
            self.wait()
            self.server.turns.next(self.proceed)

    async def _flush(self, incoming: Incoming) -> None:
        await incoming.flush()
        await self.server.turns.turn()

    def data_mode(self, sink: Sink) -> None:
        """Octets go to `sink` now."""
        self.sink = sink
        self._set_timeout(self.options.data_timeout)

    def command_mode(self) -> None:
        """Octets are commands again."""
        self.sink = None
        self._set_timeout(self.options.command_timeout)
