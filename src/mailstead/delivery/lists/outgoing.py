"""What a list makes of a message before it goes to the members (RFC 2369, 2919, 8058; LST-01).

Invariants
- Every copy says which list it comes from, by List-Id and X-Loop, so that no list takes it a second time.
- Received fields stay: they count hops. Fields that ask for receipts, or would lead replies round the list, go.
- With `rewriteFrom` From is the list's, so that DMARC is asked of the list's domain, and the writer is in Reply-To.
- A signature of the writer's domain goes where the octets it covers are changed; where they are not it stays and is good.
- The fields by which a member leaves are the member's own, so they stand in front of the copy and not in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailstead.delivery.lists.sender import writer_of
from mailstead.directory.model import Recipient
from mailstead.directory.recipient_kinds import checked_header
from mailstead.message.build import encode_header, fold, format_address, one_line
from mailstead.message.headers import field_value, field_values
from mailstead.message.insert_text import insert_text
from mailstead.message.rewrite import split_message, with_fields
from mailstead.settings.declaration import InvalidValueError

_ALWAYS_OUT = (
    b"return-path", b"delivered-to", b"x-original-to", b"list-id", b"list-post", b"list-help", b"list-subscribe",
    b"list-unsubscribe", b"list-unsubscribe-post", b"list-owner", b"list-archive", b"precedence", b"sender", b"errors-to",
    b"return-receipt-to", b"disposition-notification-to", b"disposition-notification-options", b"x-confirm-reading-to",
    b"x-list-request", b"approved", b"apparently-to",
)  # fmt: skip
_SIGNATURES = (b"dkim-signature", b"domainkey-signature", b"x-google-dkim-signature")
_NEVER_OUT = frozenset((b"received", b"x-loop", b"date", b"mime-version"))
MAX_LOOPS = 50
_plain = re.compile(r"[A-Za-z0-9@.\-_~+=]*", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class ListFace:
    """A list as its copies show it. Addresses are "" where they are not in use."""

    recipient: Recipient
    description: str
    post: str
    subscribe: str
    unsubscribe: str
    request: str
    owner: str
    bounces: str
    confirm: str
    rewrite_from: bool
    posting: bool
    remove: tuple[str, ...]
    add: str
    begin: str
    end: str

    @property
    def list_id(self) -> str:
        """RFC 2919: the name and the domain with a dot."""
        return list_id(self.recipient)


def list_id(recipient: Recipient) -> str:
    """The identifier of a list, as in List-Id without brackets."""
    domain = recipient.address.rpartition("@")[2]
    local = re.sub(r"[^A-Za-z0-9._-]", "-", recipient.name)
    return f"{local}.{domain}".lower()


def has_passed(head: bytes, recipient: Recipient) -> bool:
    """Whether a message has been through this list already."""
    wanted = list_id(recipient).encode()
    address = recipient.address.lower().encode()
    for value in field_values(head, b"list-id")[:MAX_LOOPS]:
        if b"<" + wanted + b">" in value.lower() or value.strip().lower() == wanted:
            return True
    return any(value.strip().lower() == address for value in field_values(head, b"x-loop")[:MAX_LOOPS])


def prepare(face: ListFace, octets: bytes) -> bytes:
    """The message as the members get it, without the fields of a single member. Blocking for large messages."""
    header, _ = split_message(octets)
    changed = insert_text(octets, face.begin, face.end)
    remove = {*_ALWAYS_OUT, *(name.lower().encode() for name in face.remove)} - _NEVER_OUT
    last: list[str | bytes] = []
    if face.rewrite_from:
        remove |= {b"from"}
        last += _rewritten(face, header)
    if face.rewrite_from or changed is not octets:
        remove |= set(_SIGNATURES)
    own = face.recipient.address
    description = f"{encode_header(face.description)} " if face.description else ""
    last += [
        fold("Sender", face.bounces),
        fold("List-Id", f"{description}<{face.list_id}>"),
        fold("List-Post", f"<mailto:{_quoted(own)}>" if face.posting else "NO"),
    ]
    if face.request:
        last.append(fold("List-Help", f"<mailto:{_quoted(face.request)}?subject=help>"))
    if face.subscribe:
        last.append(fold("List-Subscribe", f"<mailto:{_quoted(face.subscribe)}>"))
    last += [fold("List-Owner", f"<mailto:{_quoted(face.owner)}>"), "Precedence: list\r\n", fold("X-Loop", own)]
    try:
        last += [re.sub(r"\r?\n", "\r\n", line) + "\r\n" for line in checked_header(face.add)]
    except InvalidValueError:
        pass  # of an older release that took other fields
    return with_fields(changed, remove, (), last)


def _rewritten(face: ListFace, header: bytes) -> list[str | bytes]:
    """From of the list, and the writer where replies go to him."""
    writer = writer_of(header, "")
    shown = writer.name or writer.address.rpartition("@")[0] or "somebody"
    lines: list[str | bytes] = [fold("From", format_address(f"{shown} via {face.recipient.name}", face.recipient.address))]
    original = field_value(header, b"from")
    if original is not None:
        lines.append(fold("X-Original-From", one_line(original.decode("utf-8", "replace"))[:900]))
        if field_value(header, b"reply-to") is None and writer.address:
            lines.append(fold("Reply-To", format_address(writer.name, writer.address)))
    return lines


def leaving(face: ListFace, token: str = "", url: str = "") -> bytes:
    """The fields by which a member leaves: with ``token`` without being asked again, with ``url`` by one click (RFC 8058)."""
    if not face.unsubscribe:
        return b""
    local, _, domain = face.confirm.rpartition("@")
    mailto = f"{local}+{token}@{domain}" if token else face.unsubscribe
    links = f"<{url}>, <mailto:{_quoted(mailto)}>" if url else f"<mailto:{_quoted(mailto)}>"
    post = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" if url else ""
    return (fold("List-Unsubscribe", links) + post).encode("utf-8")


def _quoted(address: str) -> str:
    """An address for a mailto URL (RFC 6068)."""
    if _plain(address):
        return address
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "@.-_~+=*!'") else _percent(sign) for sign in address)


def _percent(sign: str) -> str:
    return "".join(f"%{octet:02X}" for octet in sign.encode("utf-8", "replace"))
