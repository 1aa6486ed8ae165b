"""What a delivery report says, read from its octets (RFC 3464; RFC 6533 for addresses beyond ASCII).

Invariants: nothing raises, whatever the octets; limits hold on what is read; a report that says nothing gives nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .decode import decode_body, walk
from .headers import field_value, iter_fields
from .index import index_message
from .sections import load_parts

MAX_STATUS = 256 * 1024
MAX_RECIPIENTS = 1000
_status = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_reply = re.compile(r"\b([245])\d\d[ -]")
_blocks = re.compile(rb"\r?\n[ \t]*\r?\n")


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """``action``: failed, delayed, delivered, relayed, expanded; ``status``: three numbers with dots; ``final`` and
    ``original``: addresses without their type, "" where not given; ``diagnostic``: the other side's words."""

    action: str
    status: str
    final: str
    original: str = ""
    diagnostic: str = ""


def read_report(octets: bytes) -> list[ReportedRecipient]:
    """The recipients of a delivery report; [] where the message is none."""
    root = load_parts(index_message(octets).parts)
    for part in walk(root):
        if part.type == "message" and part.subtype in ("delivery-status", "global-delivery-status"):
            return _recipients(decode_body(octets, part)[:MAX_STATUS])
    return []


def _recipients(status: bytes) -> list[ReportedRecipient]:
    found: list[ReportedRecipient] = []
    for block in _blocks.split(status)[: MAX_RECIPIENTS + 1]:
        fields = {name.lower(): value for name, _, value in iter_fields(block + b"\n")}
        action = _text(fields.get(b"action", b"")).lower()
        if not action:
            continue
        diagnostic = _text(fields.get(b"diagnostic-code", b""))[:500]
        found.append(
            ReportedRecipient(
                action,
                _status_of(_text(fields.get(b"status", b"")), diagnostic),
                _address(_text(fields.get(b"final-recipient", b""))),
                _address(_text(fields.get(b"original-recipient", b""))),
                diagnostic,
            )
        )
    return found[:MAX_RECIPIENTS]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()


def _address(value: str) -> str:
    kind, separator, address = value.partition(";")
    text = (address if separator else kind).strip().strip("<>")
    return re.sub(r"\\x\{([0-9A-Fa-f]{1,6})\}", _sign, text)[:320]


def _sign(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "?"


def _status_of(status: str, diagnostic: str) -> str:
    for text in (status, diagnostic):
        match = _status.search(text)
        if match is not None:
            return f"{match[1]}.{match[2]}.{match[3]}"
    reply = _reply.search(diagnostic)
    return f"{reply[1]}.0.0" if reply is not None else "5.0.0"


def is_report(head: bytes) -> bool:
    """Whether a header says that the message is a delivery report."""
    kind = (field_value(head, b"content-type") or b"").lower()
    return b"multipart/report" in kind and b"disposition-notification" not in kind
