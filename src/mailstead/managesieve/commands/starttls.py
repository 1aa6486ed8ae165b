"""STARTTLS (RFC 5804 section 2.2): nothing said before it counts afterwards, and the capabilities are told anew."""

from __future__ import annotations

from mailstead.managesieve.commands.capability import capabilities, tls_available
from mailstead.managesieve.session import Refusal, Session, reply


async def starttls(session: Session, arguments: list[bytes | int]) -> bytes:
    """Begin TLS."""
    if session.link.tls is not None:
        raise Refusal("TLS is active already")
    if not tls_available(session):
        raise Refusal("TLS is not available")
    session.emit(reply(b"OK", "Begin TLS negotiation now"))
    session.flush()
    session.collector.clear()
    await session.link.start_tls()
    return capabilities(session) + reply(b"OK", "TLS is active")
