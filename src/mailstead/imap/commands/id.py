"""ID (RFC 2971). What the client says of itself goes into the log; nothing depends on it."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import one_line
from mailstead.imap.session import Session

MAX_FIELDS = 30
MAX_VALUE = 1024


def _parameters(arguments: Arguments) -> dict[str, str]:
    if not arguments.skip(b"("):
        if arguments.nstring() is not None:
            raise BadSyntax("Expected NIL or a list")
        return {}
    found: dict[str, str] = {}
    while not arguments.skip(b")"):
        if found:
            arguments.space()
        key = arguments.string()
        arguments.space()
        value = arguments.nstring() or b""
        if len(found) >= MAX_FIELDS or len(key) > 30 or len(value) > MAX_VALUE:
            raise BadSyntax("Too much identification")
        found[one_line(key.decode("ascii", "replace")).decode()] = one_line(value.decode("utf-8", "replace")).decode()
    return found


def identify(session: Session, arguments: Arguments) -> bytes:
    """Note who the client says it is, and answer in kind where the administrator allows it."""
    arguments.space()
    client = _parameters(arguments)
    arguments.end()
    if client:
        session.link.log.info("client identification", **{f"client_{k.lower()[:30]}": v for k, v in client.items()})
    if session.options.imapIdEnabled:
        session.untagged(b'ID ("name" "Mailstead")')
    else:
        session.untagged(b"ID NIL")
    return b"OK ID completed"
