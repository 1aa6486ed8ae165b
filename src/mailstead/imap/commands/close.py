"""CLOSE and UNSELECT (RFC 9051 sections 6.4.1, 6.4.2)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session


async def close(session: Session, arguments: Arguments) -> bytes:
    """Expunge without telling, and leave the mailbox."""
    arguments.end()
    selected = session.mailbox
    if not selected.read_only:
        await session.services.mailbox.expunge(selected.view, None, origin=selected)
    modseq = selected.view.highest_modseq
    session.deselect()
    code = b"[HIGHESTMODSEQ %d] " % modseq if session.qresync else b""
    return b"OK " + code + b"CLOSE completed"


def unselect(session: Session, arguments: Arguments) -> bytes:
    """Leave the mailbox."""
    arguments.end()
    session.deselect()
    return b"OK UNSELECT completed"
