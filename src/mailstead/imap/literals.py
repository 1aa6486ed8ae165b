"""Which literals a session takes, and where they go (RFC 9051 section 4.3, LITERAL+ of RFC 7888).

Invariants: before login a literal has at most 64 KB; so has any literal that is no message; a message has at most the
listener's maxAppendSize, together with the others of its command; what is larger than `SPOOL_AT`, and all that
comes once `MAX_HELD` octets of one command are in memory, goes to disk while it arrives, however many messages it is:
no more than `MAX_HELD` of them wait in memory, and one has a file open.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailstead.imap.grammar import (
    MAX_LITERAL,
    MAX_LITERAL_COUNT,
    MAX_LITERALS_TOTAL,
    MAX_NUMBER,
    LiteralRequest,
)
from mailstead.imap.spooled import SpooledLiteral

if TYPE_CHECKING:
    from mailstead.imap.session import Session

#: Commands whose literals are messages.
MESSAGE_COMMANDS = frozenset((b"APPEND", b"REPLACE", b"UID REPLACE"))
_message_command = re.compile(rb"[^ ]+ (APPEND|(?:UID )?REPLACE [^ ]+) (.*)", re.I | re.S).match
_in_utf8 = re.compile(rb"UTF8 \(\Z", re.I).search

SPOOL_AT = 256 * 1024
MAX_HELD = 1 << 20
#: An unwelcome literal that does not wait for leave is skipped if it is no larger.
MAX_SKIPPED = 128 << 20


class Spools(dict[int, SpooledLiteral]):
    """The large literals of the command that is being received, by their place in it."""

    def __init__(self) -> None:
        super().__init__()
        #: The one that is being received, or was last.
        self._last: SpooledLiteral | None = None
        #: Whole ones that are not in their files yet, and how much they hold.
        self._waiting: list[SpooledLiteral] = []
        self._held = 0
        self._leaving: list[SpooledLiteral] = []

    def begin(self, place: int, sink: SpooledLiteral) -> None:
        """The next one; those before it are whole."""
        if self._last is not None:
            self._last.end()
            self._waiting.append(self._last)
            self._held += self._last.spool.held
        self[place] = self._last = sink
        if self._held > MAX_HELD:
            for waiting in self._waiting:
                waiting.away = waiting.full = True
            self._leaving += self._waiting
            self._waiting, self._held = [], 0

    def full(self) -> SpooledLiteral | None:
        """One that must be flushed before more is fed to any."""
        while self._leaving:
            if self._leaving[-1].full:
                return self._leaving[-1]
            self._leaving.pop()
        return self._last if self._last is not None and self._last.full else None

    def clear(self) -> None:
        """The next command begins."""
        super().clear()
        self._last, self._waiting, self._held, self._leaving = None, [], 0, []

    def drop(self) -> None:
        """Forget those of which no message was made."""
        sinks = list(self.values())
        self.clear()
        for sink in sinks:
            sink.abandon()


def append_limit(session: Session) -> int:
    """Octets that an appended message may have."""
    limit: int = session.options.maxAppendSize << 10
    return limit or MAX_NUMBER


def refusal(session: Session, request: LiteralRequest) -> bytes | None:
    """The reply that refuses an announced literal, None if it is welcome."""
    if session.idle is not None or b" " not in request.text:
        return b"BAD A literal makes no sense here"
    if found := _message_command(request.text):
        if session.account is None:
            return b"BAD Log in first"
        if session.selected is None and found[1].upper() != b"APPEND":
            return b"BAD No mailbox selected"
        limit = append_limit(session)
        if request.count == 0 and not found[2].strip():
            limit = MAX_LITERAL  # the mailbox name
        if request.size > limit or request.received + request.size > max(limit, MAX_LITERAL):
            return b"NO [TOOBIG] Message too large"
        return None
    if request.size > MAX_LITERAL or request.received + request.size > MAX_LITERALS_TOTAL:
        return b"BAD Literal too large"
    if request.count >= MAX_LITERAL_COUNT:
        return b"BAD Too many literals"
    return None


def accept(session: Session, request: LiteralRequest) -> None:
    """Take the literal: into memory, or to disk."""
    if request.size > SPOOL_AT or request.received > MAX_HELD:
        verbatim = request.binary and not _in_utf8(request.text)
        sink = SpooledLiteral(session.services.mailbox.spool(), verbatim)
        session.spools.begin(request.count, sink)
        session.collector.accept(sink.feed)
    else:
        session.collector.accept()
    if request.synchronising:
        session.emit(b"+ OK\r\n")
        session.flush()


def announced(session: Session, request: LiteralRequest) -> bytes | None:
    """Accept or refuse an announced literal; the refusal without its tag, empty where nothing is to be said."""
    reply = refusal(session, request)
    if reply is None:
        accept(session, request)
        return None
    session.collector.refuse()
    session.spools.drop()
    if not request.synchronising and request.size > MAX_SKIPPED:
        session.bye("Literal too large")
        return b""
    return reply
