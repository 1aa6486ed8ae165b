"""Octets of a stored message on their way to the client, piece by piece at the pace at which it takes them.

Invariant: once the head of a literal is written either all of its octets follow or the connection is cut.
"""

from __future__ import annotations

from mailstead.imap.body import without_nul
from mailstead.imap.session import Session
from mailstead.mailbox.model import Location


async def stream(session: Session, location: Location, start: int, end: int) -> None:
    """Write [start, end) of a message, whose literal head is queued already. Raises OSError, DamagedRecord,
    ConnectionResetError."""
    session.flush()
    left = end - start
    try:
        async for piece in session.services.mailbox.stream(location, start, left):
            session.emit(without_nul(piece))
            left -= len(piece)
            await session.pace()
    finally:
        if left and not session.link.closing:
            # The head promised more: nothing sensible can follow on this connection.
            session.link.log.error("message cut short in the store", missing=left)
            session.link.abort()
