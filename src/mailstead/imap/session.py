"""The state machine of one IMAP session (RFC 9051 section 3), without I/O of its own.

States: not authenticated -> authenticated <-> selected -> logout.  Rules that everything here serves:
- Commands are answered in the order they came, each with exactly one tagged reply, its untagged responses before it.
- EXPUNGE is never written while FETCH, STORE or SEARCH (without UID) is in progress, nor when no command is.
- News of a mailbox is written only after it is durable.
- While a command waits for a service the client's further octets wait, too (the link is held).

How: octets go into a `Collector`; each command is looked up in a table and its function called.  A function that
needs to wait is a coroutine and runs in a task that goes on with the following commands; one that need not is done
at once, so that an idle connection has no task.  Output is collected and written once per batch of commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mailstead.imap import literals, news
from mailstead.imap.compress import BadStream, Deflate
from mailstead.imap.grammar import (
    BadSyntax,
    Collector,
    Line,
    LiteralRequest,
    TaggedBadSyntax,
    Unbearable,
    split_command,
)
from mailstead.imap.output import Output
from mailstead.imap.responses import Refusal, encode_mailbox, one_line, refusal_of
from mailstead.imap.selected import Selected
from mailstead.mailbox.errors import MailboxError, RightMissing
from mailstead.message import mutf7
from mailstead.observe.log import fault
from mailstead.observe.metrics import faults

if TYPE_CHECKING:
    from mailstead.imap.commands import Entry
    from mailstead.imap.commands.idle import Idling
    from mailstead.imap.contexts import Contexts
    from mailstead.imap.link import Link
    from mailstead.imap.localized import LocalizedNames
    from mailstead.imap.notify import Notifier
    from mailstead.imap.services import ImapServices
    from mailstead.imap.spooled import SpooledLiteral

#: Commands of one batch handled in one go before others get their turn.
BATCH = 100

Reply = bytes | None


class Session(Output):
    """One client. The link calls `greet`, `received`, `ended`; commands use the rest."""

    __slots__ = (
        "_busy", "_deflate", "_line_waiter", "_out", "_stopping", "_task", "account", "account_name", "auth_errors",
        "collector", "condstore", "contexts", "enabled", "entries", "errors", "idle", "link", "logged_out", "names",
        "notifier", "options", "qresync", "queued", "rev2", "selected", "services", "spools", "tag", "uidonly", "utf8",
    )  # fmt: skip

    def __init__(self, link: Link, services: ImapServices, entries: dict[bytes, Entry]) -> None:
        super().__init__(link)
        self.services = services
        self.entries = entries
        self.options = services.settings.service("imap")
        self.collector = Collector(self.options.maxLineLength)
        self.account: int | None = None
        self.account_name = ""
        #: Translated names of special folders (feature IMP-06), None for none.
        self.names: LocalizedNames | None = None
        self.selected: Selected | None = None
        self.condstore = self.qresync = False
        #: Search results kept up to date (RFC 5267); they end with the selection.
        self.contexts: Contexts | None = None
        #: The client enabled UIDONLY (RFC 9586): message numbers are neither taken nor told.
        self.uidonly = False
        #: The client enabled IMAP4rev2 or UTF8=ACCEPT: names are UTF-8. `rev2`: it speaks IMAP4rev2.
        self.utf8 = self.rev2 = False
        self.enabled: frozenset[bytes] = frozenset()
        self.tag = b""
        self.errors = self.auth_errors = 0
        #: Set while NOTIFY is in force.
        self.notifier: Notifier | None = None
        #: Set while IDLE is in progress.
        self.idle: Idling | None = None
        #: Large literals of the command that is being received, by their place in it.
        self.spools = literals.Spools()
        self._line_waiter: asyncio.Future[bytes] | None = None
        self._busy = False
        #: Why to end once the command in progress is done.
        self._stopping = ""
        self._task: asyncio.Task[None] | None = None

    # ---- the link's calls --------------------------------------------------------------------------------------

    def stop(self, reason: str = "Server shutting down") -> None:
        """Say BYE once the command in progress is done."""
        if self._busy and self._line_waiter is None:
            self._stopping = reason
        else:
            self.bye(reason)

    def ended(self) -> None:
        """The connection is gone."""
        self.logged_out = True
        self.services.sessions.leave(self)
        self.stop_idle()
        self.stop_notifying()
        if self._line_waiter is not None and not self._line_waiter.done():
            self._line_waiter.cancel()
        self.deselect()
        self._out.clear()
        if not self._busy:
            self.spools.drop()

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        if self.logged_out:
            return
        if self._deflate is not None:
            try:
                data = self._deflate.inflate(data)
            except BadStream as error:
                self.bye(f"Bad compressed data: {error}")
                return
        self.collector.feed(data)
        if self._line_waiter is not None:
            self._give_line()
        elif not self._busy:
            self._work()

    def start_compression(self) -> None:
        """From here on both directions are compressed (RFC 4978); what was sent behind the command already is."""
        rest = self.collector.take()
        self.flush()
        self._deflate = Deflate()
        if rest:
            try:
                self.collector.feed(self._deflate.inflate(rest))
            except BadStream as error:
                self.bye(f"Bad compressed data: {error}")

    # ---- the loop over commands --------------------------------------------------------------------------------

    def _work(self) -> None:
        pending = self._advance()
        if pending is None:
            self.flush()
            if self.notifier is not None and self.notifier.pending:
                self.interject()
            return
        self._busy = True
        self.link.hold()
        self._task = asyncio.get_running_loop().create_task(self._drive(pending))

    def _advance(self) -> Coroutine[Any, Any, None] | None:
        """Handle commands until one must wait (its coroutine is returned) or no complete one is left."""
        for _ in range(BATCH):
            if self.logged_out:
                return None
            if self.spools and (full := self.spools.full()):
                return self._flush_spool(full)
            try:
                item = self.collector.next()
            except BadSyntax as error:
                self.spools.drop()
                self._bad(b"*", str(error))
                continue
            except Unbearable as error:
                self.bye(str(error))
                return None
            if item is None:
                if self._deflate is None or not self._deflate.pending:
                    return None
                try:
                    self.collector.feed(self._deflate.inflate(b""))
                except BadStream as error:
                    self.bye(f"Bad compressed data: {error}")
                    return None
                continue
            if type(item) is LiteralRequest:
                self._literal(item)
                continue
            assert isinstance(item, Line)
            pending = self._begin(item)
            if pending is not None:
                return pending
        return self.breathe()

    async def _drive(self, pending: Coroutine[Any, Any, None] | None) -> None:
        try:
            while pending is not None:
                await pending
                await self.pace()
                if self._stopping:
                    self.bye(self._stopping)
                    break
                pending = self._advance()
        except ConnectionResetError:
            pass  # the client left while we were writing; `ended` cleans up
        except asyncio.CancelledError:
            if not self.logged_out:
                raise
        except Exception as error:
            faults.labels("IMAP").inc()
            fault(self.link.log, "session closed by our own error", error)
            self.bye("Internal error")
        finally:
            self._busy = False
            self._task = None
            if self.logged_out:
                self.deselect()
                self.spools.drop()
            if not self.link.closing:
                self.flush()
            self.link.resume()
            if self.notifier is not None and self.notifier.pending:
                self.interject()

    def _begin(self, line: Line) -> Coroutine[Any, Any, None] | None:
        if self.idle is not None:
            return self.idle.done(line.text)
        try:
            tag, name, arguments = split_command(line)
        except BadSyntax as error:
            self.spools.drop()
            self._bad(error.tag if isinstance(error, TaggedBadSyntax) else b"*", str(error))
            return None
        if name == b"UID" and arguments.skip(b" "):
            name = b"UID " + arguments.word()
        entry = self.entries.get(name)
        wrong = entry.wrong_state(self) if entry is not None else "Unknown command"
        if self.spools and (wrong or name not in literals.MESSAGE_COMMANDS):
            self.spools.drop()
        if entry is None or wrong is not None:
            self._bad(tag, wrong or "")
            return None
        self.tag = tag
        try:
            if entry.whole:
                self.check_readable()
            function = entry.function if self.selected is None else self.selected.when_filled(entry, arguments)
            result = function(self, arguments)
        except Exception as error:
            self.spools.drop()
            result = self._failure(error)
        if not isinstance(result, bytes | None):
            return self._finish(tag, entry, result)
        if self.selected is not None and not self.logged_out and self.idle is None:
            return self._finish(tag, entry, None, result)
        self._reply(tag, entry, result)
        return None

    async def _finish(self, tag: bytes, entry: Entry, work: Coroutine[Any, Any, Reply] | None, result: Reply = None) -> None:
        if work is not None:
            try:
                result = await work
            except (ConnectionResetError, asyncio.CancelledError):
                raise
            except Exception as error:
                result = self._failure(error)
        if self.selected is not None and not self.logged_out and self.idle is None:
            await self.tell_news(entry.expunge)
        if self.notifier is not None:
            self.notifier.follow()
        self._reply(tag, entry, result)

    def _failure(self, error: Exception) -> bytes:
        """The reply to an exception of a command."""
        if isinstance(error, BadSyntax):
            return b"BAD " + one_line(str(error))
        if isinstance(error, Refusal):
            return error.reply()
        if isinstance(error, MailboxError):
            return refusal_of(error).reply()
        if isinstance(error, OSError):  # a sync or a read failed; the store has logged it
            return b"NO [UNAVAILABLE] The message store cannot do this now"
        faults.labels("IMAP").inc()
        fault(self.link.log, "command failed by our own error", error)
        return b"NO [SERVERBUG] Internal error"

    def _reply(self, tag: bytes, entry: Entry, result: Reply) -> None:
        if result is None:  # answered already
            return
        word = result[:3]
        if word == b"BAD":
            self._bad(tag, result[4:].decode("ascii", "replace"))
            entry.bad.inc()
            return
        (entry.ok if word == b"OK " else entry.no).inc()
        self.emit(b"%b %b\r\n" % (tag, result))

    def _bad(self, tag: bytes, text: str) -> None:
        self.emit(b"%b BAD %b\r\n" % (tag, one_line(text)))
        self.errors += 1
        if self.errors >= (self.link.endpoint.max_errors or 1 << 30):
            self.bye("Too many errors")

    # ---- literals and continuation lines -----------------------------------------------------------------------

    def _literal(self, request: LiteralRequest) -> None:
        reply = literals.announced(self, request)
        if not reply:
            return
        tag, blank, _ = request.text.partition(b" ")
        if reply.startswith(b"BAD"):
            self._bad(tag[:255] if blank else b"*", reply[4:].decode("ascii"))
        else:
            self.emit(b"%b %b\r\n" % (tag[:255], reply))

    async def _flush_spool(self, sink: SpooledLiteral) -> None:
        try:
            await sink.flush()
        except OSError as error:
            # The rest of the message is on its way and has nowhere to go.
            self.link.log.error("message cannot be spooled", reason=str(error))
            self.bye("The message store cannot take the message now")

    async def next_line(self) -> bytes:
        """The client's next line, e.g. in AUTHENTICATE. Raises BadSyntax and ConnectionResetError."""
        self.flush()
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._line_waiter = waiter
        self.link.resume()
        try:
            self._give_line()
            return await waiter
        except asyncio.CancelledError:
            if self.logged_out:
                raise ConnectionResetError("connection lost") from None
            raise
        finally:
            self._line_waiter = None
            self.link.hold()

    def _give_line(self) -> None:
        waiter = self._line_waiter
        assert waiter is not None
        if waiter.done():
            return
        try:
            item = self.collector.next()
        except BadSyntax as error:
            waiter.set_exception(error)
            return
        except Unbearable as error:
            self.bye(str(error))
            return
        if type(item) is LiteralRequest:
            self.collector.refuse()
            waiter.set_exception(BadSyntax("A literal makes no sense here"))
        elif isinstance(item, Line):
            waiter.set_result(item.text)

    # ---- mailboxes ---------------------------------------------------------------------------------------------

    @property
    def account_id(self) -> int:
        """The account logged in to."""
        assert self.account is not None
        return self.account

    @property
    def mailbox(self) -> Selected:
        """The selected mailbox."""
        assert self.selected is not None
        return self.selected

    def writable(self) -> Selected:
        """The selected mailbox, if it may be changed. Raises Refusal."""
        if self.mailbox.read_only:
            raise Refusal("Mailbox is read-only", "READ-ONLY" if self.rev2 else "")
        return self.mailbox

    def folder_name(self, octets: bytes) -> str:
        """The stored name of a mailbox that the client means. Raises Refusal CANNOT."""
        name = self.shown_name(octets)
        return self.names.stored(name) if self.names is not None else name

    def shown_name(self, octets: bytes) -> str:
        """A mailbox name as the client wrote it. Raises Refusal CANNOT."""
        try:
            if self.utf8 or not octets.isascii():
                return octets.decode("utf-8")
            return mutf7.decode(octets)
        except ValueError:
            raise Refusal("Invalid mailbox name", "CANNOT") from None

    def mailbox_text(self, name: str) -> bytes:
        """A mailbox name for the client."""
        return encode_mailbox(self.names.shown(name) if self.names is not None else name, self.utf8)

    def start_idle(self, idle: Idling) -> None:
        """IDLE is in progress: the next line ends it."""
        if self.logged_out:
            idle.stop()
        else:
            self.idle = idle

    def stop_idle(self) -> None:
        """IDLE is no longer in progress."""
        idle, self.idle = self.idle, None
        if idle is not None:
            idle.stop()

    def deselect(self) -> None:
        """Leave the selected mailbox."""
        if self.selected is not None:
            if self.notifier is not None:
                self.notifier.leave()
            self.selected.release()
            self.selected = self.contexts = None

    def log_out(self) -> None:
        """Back to the state before the login."""
        self.services.sessions.leave(self)
        self.stop_notifying()
        self.deselect()
        self.account, self.account_name, self.names = None, "", None
        self.condstore = self.qresync = self.utf8 = self.rev2 = self.uidonly = False
        self.enabled = frozenset()

    async def tell_news(self, allow_expunge: bool) -> None:
        """Bring in what others did to the selected mailbox and write it, as far as it may be told now."""
        try:
            self.check_readable()
            await news.tell(self, allow_expunge)
        except (Refusal, RightMissing):
            pass  # whoever may not read it any more hears nothing of it

    def check_readable(self) -> None:
        """Raises Refusal NOPERM where the right to read the selected mailbox was taken away meanwhile (RFC 4314 section 4)."""
        selected = self.selected
        if selected is not None and selected.folder.reader and not self.services.mailbox.readable(selected.folder):
            raise Refusal("You may not read this mailbox any more", "NOPERM")

    def tell_keywords(self, selected: Selected) -> None:
        """Before flags are shown: keywords that the client has not heard of (RFC 9051 section 7.3.5)."""
        if selected.new_keywords():
            news.write_flags(self, selected)

    def stop_notifying(self) -> None:
        """NOTIFY is no longer in force."""
        notifier, self.notifier = self.notifier, None
        if notifier is not None:
            notifier.stop()

    def interject(self) -> None:
        """NOTIFY has something to tell: as if it were a command, unless one is in progress, which comes first."""
        if self.notifier is None or self._busy or self.logged_out or self.link.closing:
            return
        self._busy = True
        self.link.hold()
        self._task = asyncio.get_running_loop().create_task(self._drive(self.notifier.tell()))
