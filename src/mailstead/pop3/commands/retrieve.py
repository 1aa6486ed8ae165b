"""RETR and TOP (RFC 1939)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from mailstead.pop3.commands.listing import NO_SUCH
from mailstead.pop3.grammar import byte_stuff, message_number, top
from mailstead.pop3.maildrop import Gone
from mailstead.pop3.session import Session
from mailstead.store.record import DamagedRecord

AT_ONCE = 256 * 1024
GONE = b"-ERR the message was removed by another client\r\n"
DAMAGED = b"-ERR [SYS/PERM] the message is damaged\r\n"


def retr(session: Session, argument: bytes) -> bytes | Coroutine[Any, Any, bytes]:
    drop = session.maildrop
    assert drop is not None
    number = message_number(argument)
    if not drop.present(number):
        return NO_SUCH
    try:
        octets = drop.small(number, AT_ONCE)
    except Gone:
        return GONE
    except (DamagedRecord, OSError):
        return DAMAGED
    if octets is None:
        return _stream(session, number)
    session.emit(b"+OK %d octets\r\n" % len(octets))
    return byte_stuff(octets)


async def _stream(session: Session, number: int) -> bytes:
    """A large message in pieces, so that memory stays bounded and a slow client holds nobody up."""
    drop = session.maildrop
    assert drop is not None
    session.emit(b"+OK %d octets\r\n" % drop.sizes[number - 1])
    last = b"\n"
    async for piece in drop.stream(number):
        stuffed = piece.replace(b"\n.", b"\n..")
        if piece.startswith(b".") and last == b"\n":
            stuffed = b"." + stuffed
        last = piece[-1:]
        session.emit(stuffed)
        session.flush()
        await session.link.drained()
    return b".\r\n" if last == b"\n" else b"\r\n.\r\n"


async def top_(session: Session, argument: bytes) -> bytes:
    drop = session.maildrop
    assert drop is not None
    words = argument.split()
    if len(words) != 2 or not words[1].isdigit() or len(words[1]) > 9:
        return b"-ERR a message number and a number of lines are needed\r\n"
    number = message_number(words[0])
    if not drop.present(number):
        return NO_SUCH
    try:
        octets = await drop.octets(number)
    except Gone:
        return GONE
    except (DamagedRecord, OSError):
        return DAMAGED
    return b"+OK\r\n" + byte_stuff(top(octets, drop.header_size(number), int(words[1])))
