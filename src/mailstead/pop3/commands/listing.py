"""STAT, LIST and UIDL (RFC 1939)."""

from __future__ import annotations

from mailstead.pop3.grammar import message_number
from mailstead.pop3.session import Session

NO_SUCH = b"-ERR no such message\r\n"


def stat(session: Session, argument: bytes) -> bytes:
    assert session.maildrop is not None
    return b"+OK %d %d\r\n" % session.maildrop.totals()


def list_(session: Session, argument: bytes) -> bytes:
    drop = session.maildrop
    assert drop is not None
    if argument.strip():
        number = message_number(argument)
        if not drop.present(number):
            return NO_SUCH
        return b"+OK %d %d\r\n" % (number, drop.sizes[number - 1])
    lines = [b"+OK %d messages (%d octets)" % drop.totals()]
    lines += [b"%d %d" % (n, size) for n, size in enumerate(drop.sizes, 1) if n not in drop.deleted]
    lines.append(b".\r\n")
    return b"\r\n".join(lines)


def uidl(session: Session, argument: bytes) -> bytes:
    drop = session.maildrop
    assert drop is not None
    if argument.strip():
        number = message_number(argument)
        if not drop.present(number):
            return NO_SUCH
        return f"+OK {number} {drop.unique_id(number)}\r\n".encode()
    lines = ["+OK"]
    lines += [f"{n} {drop.unique_id(n)}" for n in range(1, len(drop.uids) + 1) if n not in drop.deleted]
    lines.append(".\r\n")
    return "\r\n".join(lines).encode()
