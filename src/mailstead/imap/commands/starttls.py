"""STARTTLS (RFC 9051 section 6.2.1): what came in clear behind the command is thrown away."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session


async def starttls(session: Session, arguments: Arguments) -> None:
    """Begin TLS."""
    arguments.end()
    link = session.link
    if link.tls is not None:
        raise BadSyntax("TLS is active already")
    if not session.options.allowStartTLS or link.endpoint.ssl_context is None:
        raise Refusal("STARTTLS is not available")
    session.emit(b"%b OK Begin TLS negotiation now\r\n" % session.tag)
    session.flush()
    session.collector.clear()
    if not await link.start_tls():
        session.logged_out = True
