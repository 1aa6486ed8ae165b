"""NOOP and CHECK (RFC 9051 section 6.1.2, RFC 3501 section 6.4.1): news is told before the tagged reply."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.session import Session


def noop(session: Session, arguments: Arguments) -> bytes:
    """Nothing, but news."""
    arguments.end()
    return b"OK NOOP completed"


def check(session: Session, arguments: Arguments) -> bytes:
    """Nothing: the store has no checkpoint a client could ask for."""
    arguments.end()
    return b"OK CHECK completed"
