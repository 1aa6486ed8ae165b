"""Which literals a session takes, and where they go (RFC 9051 section 4.3, LITERAL+ of RFC 7888).

Invariants: before login a literal has at most 64 KB; so has any literal that is no message; a message has at most the
listener's maxAppendSize, together with the others of its command; what is larger than `SPOOL_AT`, and all that
comes once `MAX_HELD` octets of one command are in memory, goes to disk while it arrives.
"""

from __future__ import annotations

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

SPOOL_AT = 256 * 1024
MAX_HELD = 1 << 20
#: An unwelcome literal that does not wait for leave is skipped if it is no larger.
MAX_SKIPPED = 128 << 20


class Spools(dict[int, SpooledLiteral]):
    """The large literals of the command that is being received, by their place in it."""

    def full(self) -> SpooledLiteral | None:
        """One that must be flushed before more is fed to it."""
        return next((sink for sink in self.values() if sink.full), None)

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
    words = request.text.split(b" ", 2)
    if session.idle is not None or len(words) < 2:
        return b"BAD A literal makes no sense here"
    if words[1].upper() == b"APPEND" and (request.count > 0 or len(words) > 2):
        if session.account is None:
            return b"BAD Log in first"
        limit = append_limit(session)
        if request.count == 0 and not words[2].strip():
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
        sink = session.spools[request.count] = SpooledLiteral(session.services.mailbox.spool())
        session.collector.accept(sink.feed)
    else:
        session.collector.accept()
    if request.synchronising:
        session.emit(b"+ OK\r\n")
        session.flush()
