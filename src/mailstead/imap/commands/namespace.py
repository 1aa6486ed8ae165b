"""NAMESPACE (RFC 9051 section 6.3.10)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session


def namespace(session: Session, arguments: Arguments) -> bytes:
    """One personal namespace without a prefix."""
    arguments.end()
    session.untagged(b'NAMESPACE (("" "/")) NIL NIL')
    return b"OK NAMESPACE completed"
