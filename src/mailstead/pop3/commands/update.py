"""DELE, RSET and NOOP (RFC 1939)."""

from __future__ import annotations

from mailstead.pop3.commands.listing import NO_SUCH
from mailstead.pop3.grammar import message_number
from mailstead.pop3.session import Session


def dele(session: Session, argument: bytes) -> bytes:
    drop = session.maildrop
    assert drop is not None
    number = message_number(argument)
    if not drop.present(number):
        return NO_SUCH
    drop.deleted.add(number)
    return b"+OK message %d deleted\r\n" % number


def rset(session: Session, argument: bytes) -> bytes:
    assert session.maildrop is not None
    session.maildrop.deleted.clear()
    return b"+OK\r\n"


def noop(session: Session, argument: bytes) -> bytes:
    return b"+OK\r\n"
