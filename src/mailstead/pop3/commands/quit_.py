"""QUIT (RFC 1939 sections 5 and 6): the only way into the UPDATE state."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from mailstead.mailbox.errors import MailboxError
from mailstead.pop3.session import Session


def quit_(session: Session, argument: bytes) -> Coroutine[Any, Any, bytes] | None:
    if session.maildrop is None or not session.maildrop.deleted:
        session.release()
        session.emit(b"+OK bye\r\n")
        session.bye()
        return None
    return _update(session)


async def _update(session: Session) -> bytes:
    try:
        reply = await session.update()
    except MailboxError:
        reply = b"-ERR [SYS/TEMP] some deleted messages were not removed\r\n"
    session.emit(reply)
    session.bye()
    return b""
