"""STLS (RFC 2595 section 4): nothing said before it counts afterwards."""

from __future__ import annotations

from mailstead.pop3.session import Session


async def stls(session: Session, argument: bytes) -> bytes:
    link = session.link
    if link.tls is not None:
        return b"-ERR TLS is active\r\n"
    if link.endpoint.ssl_context is None or not session.options.allowStartTLS:
        return b"-ERR TLS is not available\r\n"
    session.emit(b"+OK begin TLS\r\n")
    session.flush()
    session.lines.clear()
    session.user = b""
    await link.start_tls()
    return b""
