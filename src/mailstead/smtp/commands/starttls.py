"""STARTTLS (RFC 3207)."""

from __future__ import annotations

from mailstead.smtp.grammar import BadCommand
from mailstead.smtp.session import Session


def starttls(session: Session, arguments: bytes, more: bool) -> None:
    """Go over to TLS and forget what was said in clear."""
    link = session.link
    if arguments.strip():
        raise BadCommand(501, "5.5.4", "STARTTLS takes no argument")
    if link.tls is not None:
        raise BadCommand(503, "5.5.1", "TLS is active")
    if not session.options.starttls:
        raise BadCommand(502, "5.5.1", "Command not implemented")
    if link.endpoint.ssl_context is None:
        session.reply(b"454 4.7.0 TLS is not available\r\n")
        return
    if more:
        # Octets in the clear behind it would be taken for protected ones (RFC 3207 section 6).
        link.log.warning("commands behind STARTTLS", peer=link.peer[0])
        session.goodbye(b"554 5.5.1 %b Nothing may follow STARTTLS before the handshake\r\n")
        return
    session.started_over()
    session.reply(b"220 2.0.0 Ready to start TLS\r\n")
    session.flush()
    link.begin_tls()
