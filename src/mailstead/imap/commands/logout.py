"""LOGOUT (RFC 9051 section 6.1.3)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session


def logout(session: Session, arguments: Arguments) -> None:
    """Say BYE and close."""
    arguments.end()
    session.logged_out = True
    session.deselect()
    session.emit(b"* BYE Logging out\r\n%b OK LOGOUT completed\r\n" % session.tag)
    session.flush()
    session.link.close()
