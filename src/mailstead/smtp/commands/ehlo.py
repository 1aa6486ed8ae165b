"""EHLO and HELO (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

from mailstead.smtp.grammar import parse_helo
from mailstead.smtp.session import Session


def ehlo(session: Session, arguments: bytes, more: bool) -> None:
    """Say what is offered; ends an open transaction."""
    name = parse_helo(arguments, "EHLO")
    session.hello(name, extended=True)
    session.options = options = session.server.options()
    link = session.link
    tls = link.tls
    starttls = tls is None and link.endpoint.ssl_context is not None
    session.reply(options.ehlo(tls is not None, starttls, tls.channel_binding if tls is not None else None))


def helo(session: Session, arguments: bytes, more: bool) -> None:
    """The old greeting: no extensions."""
    name = parse_helo(arguments, "HELO")
    session.hello(name, extended=False)
    session.reply(b"250 %b\r\n" % session.options.host.encode())
