"""UNAUTHENTICATE (RFC 8437): back to the not authenticated state, TLS and compression stay."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session


def unauthenticate(session: Session, arguments: Arguments) -> bytes:
    """Forget who the client is, and all that it enabled."""
    arguments.end()
    session.log_out()
    session.link.logged_out()
    return b"OK UNAUTHENTICATE completed"
