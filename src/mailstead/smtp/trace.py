"""The Received field (RFC 5321 section 4.4, protocol names of RFC 3848 and RFC 6531 section 4.3).

Invariants: what the client said of itself cannot add a line, a comment or a field; `for` is there only for a single
recipient, so that nobody learns of blind copies; the name a client logged in with is not shown.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from mailstead.message.addresses import ascii_domain
from mailstead.message.build import make_message_id
from mailstead.message.dates import rfc5322_date

if TYPE_CHECKING:
    from mailstead.transport.tls import TlsInfo

_unsafe = re.compile(r"[^A-Za-z0-9._:\-\[\]]")
_date: tuple[int, bytes] = (0, b"")


def protocol(extended: bool, tls: bool, authenticated: bool, utf8: bool) -> str:
    """The name after `with`."""
    if not extended:
        return "SMTP"
    return ("UTF8SMTP" if utf8 else "ESMTP") + ("S" if tls else "") + ("A" if authenticated else "")


def address_literal(address: str) -> str:
    """`[192.0.2.1]` or `[IPv6:2001:db8::1]`."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def opening(helo: str, peer: str, host: str, name: str, tls: TlsInfo | None) -> bytes:
    """The field up to the id, the same for all messages of a session."""
    said = ascii_domain(helo) if len(helo) <= 253 else None
    said = _unsafe.sub("?", said or helo)[:253]
    secured = f" ({tls.version} {tls.cipher})" if tls is not None else ""
    return f"Received: from {said} ({address_literal(peer)})\r\n\tby {host} with {name}{secured}\r\n\tid ".encode()


def received(start: bytes, id: str, recipient: str, now: int) -> bytes:
    """The whole field; `recipient` is empty for several."""
    global _date
    if _date[0] != now:
        _date = (now, b";\r\n\t" + rfc5322_date(now).encode() + b"\r\n")
    if recipient:
        return b"%b%b for <%b>%b" % (start, id.encode(), recipient.encode("utf-8", "replace"), _date[1])
    return b"%b%b%b" % (start, id.encode(), _date[1])


def missing_fields(header: bytes, host: str, seconds: int) -> bytes:
    """Date and Message-ID where a submitted message has none (RFC 6409 sections 8.2 and 8.3)."""
    lowered = b"\n" + header.lower()
    added = b""
    if b"\ndate:" not in lowered:
        added += b"Date: %b\r\n" % rfc5322_date(seconds).encode()
    if b"\nmessage-id:" not in lowered:
        added += b"Message-ID: %b\r\n" % make_message_id(host).encode()
    return added


def now() -> int:
    """Unix seconds."""
    return int(time.time())
