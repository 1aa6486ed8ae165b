"""ENABLE (RFC 5161): CONDSTORE, QRESYNC (RFC 7162) and IMAP4rev2 (RFC 9051 section 6.3.1)
and UTF8=ACCEPT (RFC 9755), UIDONLY (RFC 9586)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session

_KNOWN = (b"CONDSTORE", b"QRESYNC", b"IMAP4REV2", b"UTF8=ACCEPT", b"UIDONLY")


def enable(session: Session, arguments: Arguments) -> bytes:
    """Switch on extensions; unknown ones are ignored, as the RFC demands."""
    wanted: set[bytes] = set()
    arguments.space()
    while True:
        wanted.add(arguments.keyword())
        if arguments.at_end():
            break
        arguments.space()
    fresh = [name for name in _KNOWN if name in wanted and name not in session.enabled]
    session.enabled |= set(fresh)
    if b"CONDSTORE" in fresh or b"QRESYNC" in fresh:
        session.condstore = True
    if b"QRESYNC" in fresh:
        session.qresync = True
    if b"IMAP4REV2" in fresh:
        session.utf8 = session.rev2 = True
    if b"UIDONLY" in fresh:
        session.uidonly = True
    if b"UTF8=ACCEPT" in fresh:
        session.utf8 = True
    names = b"".join(b" " + (b"IMAP4rev2" if name == b"IMAP4REV2" else name) for name in fresh)
    session.untagged(b"ENABLED" + names)
    return b"OK ENABLE completed"
