"""CANCELUPDATE (RFC 5267 section 4.3.5)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session

MAX_TAGS = 100


def cancel_update(session: Session, arguments: Arguments) -> bytes:
    """No longer tell changes of the results of these tags; all of them must be known."""
    tags: dict[bytes, None] = {}
    while True:
        arguments.space()
        tags[arguments.string()] = None
        if arguments.at_end():
            break
        if len(tags) >= MAX_TAGS:
            raise BadSyntax("Too many tags")
    kept = session.contexts
    if kept is None or not all(tag in kept for tag in tags):
        raise Refusal("No result of this tag is being kept up to date")
    for tag in tags:
        kept.cancel(tag)
    return b"OK CANCELUPDATE completed"
