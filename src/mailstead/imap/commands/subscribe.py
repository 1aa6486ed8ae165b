"""SUBSCRIBE and UNSUBSCRIBE (RFC 9051 sections 6.3.7, 6.3.8)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session


async def _set(session: Session, arguments: Arguments, on: bool) -> None:
    arguments.space()
    name = session.folder_name(arguments.astring())
    arguments.end()
    await session.services.mailbox.set_subscribed(session.account_id, name, on)


async def subscribe(session: Session, arguments: Arguments) -> bytes:
    """Add a mailbox to the subscribed ones."""
    await _set(session, arguments, True)
    return b"OK SUBSCRIBE completed"


async def unsubscribe(session: Session, arguments: Arguments) -> bytes:
    """Take a mailbox from the subscribed ones."""
    await _set(session, arguments, False)
    return b"OK UNSUBSCRIBE completed"
