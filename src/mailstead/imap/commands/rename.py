"""RENAME (RFC 9051 section 6.3.6)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session


async def rename(session: Session, arguments: Arguments) -> bytes:
    """Give a mailbox, and those below it, another name."""
    arguments.space()
    old = session.folder_name(arguments.astring())
    arguments.space()
    new = session.folder_name(arguments.astring())
    arguments.end()
    await session.services.mailbox.rename_folder(session.account_id, old, new)
    return b"OK RENAME completed"
