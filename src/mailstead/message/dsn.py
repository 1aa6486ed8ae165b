"""Delivery status notifications (RFC 3461, 3462, 3464; RFC 6533 for addresses beyond ASCII).

Invariants
- Nothing handed in can add a header field or a MIME part: values are made one
  line, the boundary is random and does not occur in the contents.
- The report itself is sent from the null sender by the caller (RFC 3464 section 2).
- Lines are at most 998 octets; 8-bit octets appear only in a returned 8-bit
  message or in the utf-8 variant.
- The full message is returned only on failure and only if it is no larger than
  `max_full` (RFC 3461 section 4.3); otherwise its header.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .build import encode_header, encode_text, fold, format_address, make_message_id, one_line
from .dates import rfc5322_date
from .headers import header_end

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

MAX_HEADER_RETURNED = 64 * 1024

_SUBJECTS: dict[str, str] = {
    "failed": "Undelivered mail: returned to sender",
    "delayed": "Delayed mail: still being retried",
    "delivered": "Delivered mail: success notification",
    "relayed": "Relayed mail: no further notification",
    "expanded": "Expanded mail: delivered to a list",
}
_SENTENCES: dict[str, str] = {
    "failed": "Your message could not be delivered to the recipients below. It will not be retried.",
    "delayed": "Your message could not be delivered yet to the recipients below. You need not send it again: "
    "delivery is still being tried.",
    "delivered": "Your message was delivered to the recipients below.",
    "relayed": "Your message was handed over for the recipients below to a system that sends no notifications "
    "of success. You may hear nothing more.",
    "expanded": "Your message was delivered to the lists below and is being sent on to their members.",
}


@dataclass(slots=True, frozen=True)
class DsnRecipient:
    """What became of one recipient.

    `original` is the ORCPT with xtext decoded (`rfc822;bob@example.org`) or None, `final` the address, times
    are Unix seconds, `diagnostic` the remote's reply (or ours), `remote_mta` the host that gave it.
    """

    final: str
    action: Action
    status: str
    original: str | None = None
    diagnostic: str | None = None
    remote_mta: str | None = None
    last_attempt: int | None = None
    will_retry_until: int | None = None


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")


def _typed(address: str, utf8: bool) -> str:
    """An address with its type; beyond ASCII in RFC 6533's form."""
    address = one_line(address)
    if address.isascii():
        return f"rfc822; {address}"
    return f"utf-8; {address}" if utf8 else f"utf-8; {_unitext(address)}"


def _unitext(address: str) -> str:
    """utf-8-addr-xtext (RFC 6533 section 3): each character beyond ASCII as \\x{HEX}."""
    return "".join(sign if sign.isascii() and sign not in "\\" else f"\\x{{{ord(sign):X}}}" for sign in address)


def _original(value: str) -> tuple[str, str]:
    kind, separator, address = one_line(value).partition(";")
    return (kind.strip() or "rfc822", address.strip()) if separator else ("rfc822", kind.strip())


def _recipient_fields(recipient: DsnRecipient, utf8: bool) -> str:
    say = one_line if utf8 else lambda text: _ascii(one_line(text))
    lines: list[str] = []
    if recipient.original:
        kind, address = _original(recipient.original)
        lines.append(fold("Original-Recipient", f"{kind}; {address}" if address.isascii() else _typed(address, utf8)))
    lines.append(fold("Final-Recipient", _typed(recipient.final, utf8)))
    lines.append(fold("Action", recipient.action))
    lines.append(fold("Status", say(recipient.status)))
    if recipient.remote_mta:
        lines.append(fold("Remote-MTA", f"dns; {say(recipient.remote_mta)}"))
    if recipient.diagnostic:
        lines.append(fold("Diagnostic-Code", f"smtp; {say(recipient.diagnostic)}"))
    if recipient.last_attempt is not None:
        lines.append(fold("Last-Attempt-Date", rfc5322_date(recipient.last_attempt)))
    if recipient.will_retry_until is not None and recipient.action == "delayed":
        lines.append(fold("Will-Retry-Until", rfc5322_date(recipient.will_retry_until)))
    return "".join(lines)


def _human(kind: str, reporting_mta: str, recipients: Sequence[DsnRecipient]) -> str:
    lines = [f"This is the mail server at {one_line(reporting_mta)}.", "", _SENTENCES[kind], ""]
    for recipient in recipients:
        lines.append(f"  {one_line(recipient.final)}")
        if recipient.diagnostic:
            by = f"{one_line(recipient.remote_mta)} said: " if recipient.remote_mta else ""
            lines.append(f"    {by}{one_line(recipient.diagnostic)}")
        if recipient.will_retry_until is not None and recipient.action == "delayed":
            lines.append(f"    Delivery will be tried until {rfc5322_date(recipient.will_retry_until)}.")
    return "\n".join(lines) + "\n"


def _crlf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _returned(original: bytes, full: bool, max_full: int, utf8: bool) -> tuple[str, str, bytes]:
    """(content type, transfer encoding, octets) of the third part."""
    header = original[: header_end(original)]
    if full and len(original) <= max_full and b"\0" not in original:
        octets = _crlf(original)
        if max(map(len, octets.split(b"\n"))) <= 999:
            utf8 = utf8 and not header.isascii()
            return "message/global" if utf8 else "message/rfc822", "7bit" if octets.isascii() else "8bit", octets
    if len(header) > MAX_HEADER_RETURNED:
        header = header[: header.rfind(b"\n", 0, MAX_HEADER_RETURNED) + 1]
    header = _crlf(header.replace(b"\0", b""))
    lines = [line[i : i + 990] for line in header.split(b"\r\n") for i in range(0, max(len(line), 1), 990)]
    header = b"\r\n".join(lines)
    kind = "message/global-headers" if utf8 and not header.isascii() else "text/rfc822-headers"
    return kind, "7bit" if header.isascii() else "8bit", header


def build_dsn(
    *,
    kind: Action,
    reporting_mta: str,
    to: str,
    recipients: Sequence[DsnRecipient],
    original: bytes,
    arrival: int | None,
    date: int | float,
    from_address: str | None = None,
    original_envid: str | None = None,
    return_full: bool = False,
    max_full: int = 1_000_000,
    subject: str | None = None,
    text: str | None = None,
    message_id: str | None = None,
) -> bytes:
    """A complete report with CRLF line ends; raises ValueError if there is no recipient.

    `from_address` defaults to MAILER-DAEMON at the reporting MTA; `arrival` and `date` are Unix seconds; the
    utf-8 variant of RFC 6533 is used when `to` or a recipient is not ASCII.
    """
    if not recipients:
        raise ValueError("a delivery report needs a recipient")
    utf8 = not all(
        address.isascii() for address in (to, *(each.final for each in recipients), *(each.original or "" for each in recipients))
    )
    mta = one_line(reporting_mta)
    status = "".join(
        (
            fold("Reporting-MTA", f"dns; {mta}"),
            fold("Original-Envelope-Id", _ascii(one_line(original_envid))) if original_envid else "",
            fold("Arrival-Date", rfc5322_date(arrival)) if arrival is not None else "",
            *("\r\n" + _recipient_fields(recipient, utf8) for recipient in recipients),
        )
    ).encode("utf-8")
    failed = any(recipient.action == "failed" for recipient in recipients)
    returned_type, returned_encoding, returned = _returned(original, return_full and failed, max_full, utf8)
    encoding, human = encode_text(text if text is not None else _human(kind, mta, recipients))
    boundary = secrets.token_hex(16)
    while boundary.encode() in returned or boundary.encode() in human or boundary.encode() in status:
        boundary = secrets.token_hex(16)
    status_type = "message/global-delivery-status" if utf8 else "message/delivery-status"
    header = "".join((
        fold("From", format_address("Mail Delivery System", from_address or f"MAILER-DAEMON@{mta}")),
        fold("To", to),
        fold("Subject", encode_header(subject or _SUBJECTS[kind])),
        fold("Date", rfc5322_date(date)),
        fold("Message-ID", message_id or make_message_id(mta)),
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"\r\n',
    ))  # fmt: skip
    line = f"--{boundary}"
    return b"".join((
        f"{header}\r\n{line}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode(),
        human,
        f"\r\n{line}\r\nContent-Type: {status_type}\r\n"
        f"Content-Transfer-Encoding: {'7bit' if status.isascii() else '8bit'}\r\n\r\n".encode(),
        status,
        f"\r\n{line}\r\nContent-Type: {returned_type}\r\n"
        f"Content-Transfer-Encoding: {returned_encoding}\r\n\r\n".encode(),
        returned,
        f"\r\n{line}--\r\n".encode(),
    ))  # fmt: skip
