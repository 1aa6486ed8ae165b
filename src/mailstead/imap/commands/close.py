"""CLOSE and UNSELECT (RFC 9051 sections 6.4.1, 6.4.2)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session
from mailstead.mailbox.errors import FolderMissing, RightMissing


async def close(session: Session, arguments: Arguments) -> bytes:
    """Expunge without telling, and leave the mailbox; where nothing may be expunged, just leave it (RFC 4314 section 4)."""
    arguments.end()
    selected = session.mailbox
    if not selected.read_only:
        try:
            await session.services.mailbox.expunge(selected.view, None, origin=selected)
        except (FolderMissing, RightMissing):
            pass  # the mailbox is gone or not the reader's to expunge: he wants to leave it all the same
    modseq = selected.view.highest_modseq
    session.deselect()
    code = b"[HIGHESTMODSEQ %d] " % modseq if session.qresync else b""
    return b"OK " + code + b"CLOSE completed"


def unselect(session: Session, arguments: Arguments) -> bytes:
    """Leave the mailbox."""
    arguments.end()
    session.deselect()
    return b"OK UNSELECT completed"
