"""NOTIFY (RFC 5465)."""

from __future__ import annotations

from mailstead.imap import notify_request
from mailstead.imap.grammar import Arguments
from mailstead.imap.notify import Notifier
from mailstead.imap.session import Session


async def notify(session: Session, arguments: Arguments) -> bytes:
    """Say what the client wants to be told without asking; what was asked for before holds no longer."""
    request = notify_request.parse(arguments, session.folder_name)
    if request is None:
        session.stop_notifying()
        return b"OK NOTIFY completed"
    notifier = Notifier(session, request)
    try:
        await notifier.start()
    except BaseException:
        notifier.stop()
        raise
    session.stop_notifying()
    if session.logged_out:
        notifier.stop()
        return b"NO Connection closed"
    session.notifier = notifier
    return b"OK NOTIFY completed"
