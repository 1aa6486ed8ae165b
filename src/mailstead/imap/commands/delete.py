"""DELETE (RFC 9051 section 6.3.5)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session


async def delete(session: Session, arguments: Arguments) -> bytes:
    """Remove a mailbox; if it is the one selected here, it is left."""
    arguments.space()
    name = session.folder_name(arguments.astring())
    arguments.end()
    mailbox = session.services.mailbox
    folder = await mailbox.folder(session.account_id, name)
    await mailbox.delete_folder(session.account_id, name)
    if folder is not None and session.selected is not None and session.selected.folder.id == folder.id:
        session.deselect()
        session.untagged(b"OK [CLOSED] The selected mailbox was deleted")
    return b"OK DELETE completed"
