"""Who wrote a message, and whether a machine did: what a list must know before it answers (RFC 3834).

Invariants: nothing raises, whatever the octets; what a machine sent is never answered.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailstead.directory.address import address_key
from mailstead.message.addresses import parse_addresses
from mailstead.message.decode import decode_header
from mailstead.message.headers import field_value, field_values

_MACHINES = ("mailer-daemon", "postmaster", "noreply", "no-reply", "do-not-reply", "listserv", "majordomo")
_PRECEDENCE = ("bulk", "junk", "list")


@dataclass(frozen=True, slots=True)
class Writer:
    """``address`` and ``name`` of From (of the envelope where it has none); ``automatic``: why it must not be answered."""

    address: str
    name: str
    automatic: str = ""


def writer_of(head: bytes, sender: str) -> Writer:
    """The writer of a message with header ``head`` and envelope sender ``sender``."""
    address, name = "", ""
    for value in field_values(head, b"from")[:1]:
        for entry in parse_addresses(value, 10):
            if entry.addr and address_key(entry.addr) is not None:
                address, name = entry.addr, decode_header(entry.display_name.encode("utf-8", "replace")).strip()
                break
    return Writer(address or sender, " ".join(name.split())[:255], why_automatic(head, sender))


def auto_submitted(head: bytes) -> str:
    """The word of Auto-Submitted (RFC 3834 section 5), without its parameters and comments; "" where the field is missing."""
    words = (field_value(head, b"auto-submitted") or b"").replace(b";", b" ").replace(b"(", b" ").split()
    return words[0].decode("ascii", "replace").lower() if words else ""


def why_automatic(head: bytes, sender: str) -> str:
    """Why a message is one of a machine; "" where it seems to be a person's."""
    if not sender:
        return "it has no envelope sender"
    local = sender.rpartition("@")[0].strip('"').lower()
    if local in _MACHINES or local.startswith("owner-") or local.endswith(("-bounces", "-request", "-owner", "-confirm")):
        return "its envelope sender is a machine's"
    if "-bounces+" in local or "-confirm+" in local or local.startswith(("bounce-", "bounces-")):
        return "its envelope sender is a list's"
    if auto_submitted(head) not in ("", "no"):
        return "Auto-Submitted says so"
    precedence = field_value(head, b"precedence")
    if precedence is not None and precedence.strip().lower().decode("ascii", "replace") in _PRECEDENCE:
        return "its precedence says so"
    for name in (b"list-id", b"x-loop", b"x-autoreply", b"x-autorespond", b"x-auto-response-suppress"):
        if field_value(head, name) is not None:
            return f"it has the field {name.decode()}"
    if b"multipart/report" in (field_value(head, b"content-type") or b"").lower()[:60]:
        return "it is a report"
    return ""
