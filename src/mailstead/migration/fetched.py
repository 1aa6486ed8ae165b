"""What a FETCH of another server says of a message (RFC 9051 section 7.5.2).

Invariants: items that were not asked for are passed over; a value of another kind than its item has is an error, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailstead.message.dates import parse_imap_date_time
from mailstead.message.threading import message_id
from mailstead.migration.imap_response import BadResponse, Large, Value, number, text
from mailstead.migration.imap_stream import RemoteBroken
from mailstead.store.spool import Spool


@dataclass(slots=True)
class Fetched:
    """One message's data, as far as asked for. `body` is CRLF throughout."""

    uid: int = 0
    flags: tuple[str, ...] | None = None
    date: int = 0
    size: int = 0
    body: bytes | Spool | None = None
    message_id: str = ""


def fetched(items: list[Value]) -> Fetched:
    """The names and values of one message. Raises RemoteBroken."""
    message = Fetched()
    try:
        for place in range(0, len(items) - 1, 2):
            name, value = text(items[place]).upper(), items[place + 1]
            if name == b"UID":
                message.uid = number(value)
            elif name == b"FLAGS" and isinstance(value, list):
                message.flags = tuple(text(flag).decode("utf-8", "replace") for flag in value)
            elif name == b"INTERNALDATE":
                message.date = max(0, parse_imap_date_time(text(value).decode("ascii", "replace")) or 0)
            elif name == b"RFC822.SIZE":
                message.size = number(value)
            elif name in (b"BODY[]", b"RFC822", b"BINARY[]"):
                if isinstance(value, Large):
                    message.body = value.spool  # type: ignore[assignment]
                elif value is not None:
                    message.body = text(value)
            elif name.startswith(b"BODY[HEADER.FIELDS") and isinstance(value, bytes):
                message.message_id = message_id(value.partition(b":")[2])
    except BadResponse as error:
        raise RemoteBroken(f"the server's answer cannot be read: {error}") from None
    return message
