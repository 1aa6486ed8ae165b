"""Everything the store keeps about a message, computed once at delivery.

Invariants
- `index_message` never raises, whatever the octets, and takes linear time.
- Renderings (envelope, body, bodystructure) are complete IMAP lists, ready to be
  sent; FETCH never parses.
- Two calls with the same octets give equal results: the index can be rebuilt.
"""

import re
from dataclasses import dataclass, replace

from .bodystructure import render_structure
from .dates import sent_time
from .envelope import render_envelope
from .headers import MAX_HEADER, header_end, split_fields
from .mime import Entity, Part, parse_entity
from .preview import make_preview
from .sections import load_parts, pack_parts
from .threading import base_subject, message_id, reference_ids

#: Octets of the usual header fields that are kept.
MAX_FIELDS = 16 * 1024
#: Second and later address fields of one name that the envelope shows.
MAX_REPEATED = 100

_ADDRESSES = frozenset((b"from", b"to", b"cc", b"bcc", b"sender", b"reply-to"))
#: Upper-case names of the fields that `MessageIndex.fields` holds, besides X-Spam-*.
STORED_FIELDS = frozenset((
    b"DATE", b"SUBJECT", b"FROM", b"TO", b"CC", b"BCC", b"REPLY-TO", b"SENDER", b"MESSAGE-ID", b"IN-REPLY-TO",
    b"REFERENCES", b"CONTENT-TYPE", b"LIST-ID", b"LIST-UNSUBSCRIBE", b"X-PRIORITY", b"IMPORTANCE", b"RETURN-PATH",
    b"DISPOSITION-NOTIFICATION-TO",
))  # fmt: skip
_STORED = frozenset(name.lower() for name in STORED_FIELDS)
_SIGNATURES = frozenset(("pgp-signature", "pkcs7-signature", "x-pkcs7-signature"))


@dataclass(slots=True)
class MessageIndex:
    """Index of one message.

    `size` and `header_size` (with the blank line) are octets. `envelope`, `body` and `bodystructure` are
    rendered IMAP lists. `parts` is read by `sections.load_parts`. `fields` holds the STORED_FIELDS raw, CRLF
    ended, at most MAX_FIELDS octets. `preview` has at most 200 characters. `message_id` and `references` are
    without angle brackets. `sent` is the Date field as Unix seconds, 0 if it says none. The sort keys are
    those of RFC 5256, upper-case. `eight_bit`: some octet is above 127; `has_header`: it begins with a header field.
    """

    size: int
    header_size: int
    envelope: bytes
    body: bytes
    bodystructure: bytes
    parts: bytes
    fields: bytes
    preview: str
    message_id: str
    references: tuple[str, ...]
    subject_base: str
    sent: int
    sort_from: str
    sort_to: str
    sort_cc: str
    has_attachment: bool
    eight_bit: bool
    fields_complete: bool
    has_header: bool = True


def _stored_fields(pieces: list[bytes]) -> tuple[bytes, bool]:
    """(stored fields with CRLF line ends, whether all fit)."""
    if not pieces:
        return b"", True
    block = b"\n".join(pieces) + b"\n"
    if block.count(b"\r\n") != block.count(b"\n"):
        block = block.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if len(block) <= MAX_FIELDS:
        return block, True
    kept: list[bytes] = []
    left = MAX_FIELDS
    for piece in split_fields(block[:-1]):
        left -= len(piece) + 1
        if left >= 0:
            kept.append(piece)
        else:
            left += len(piece) + 1
    return b"".join(piece + b"\n" for piece in kept), False


def _has_attachment(entity: Entity) -> bool:
    """Whether a mail program would show a paper clip: a part that is neither shown text nor a signature."""
    pending = [entity]
    while pending:
        current = pending.pop()
        if current.children:
            pending.extend(current.children)
            continue
        part = current.part
        if part.disposition == "attachment":
            if part.subtype not in _SIGNATURES:
                return True
        elif part.type == "message":
            if part.subtype in ("rfc822", "global"):
                return True
        elif (part.filename and part.disposition != "inline") or part.type == "application":  # noqa: SIM102
            if not part.content_id and part.subtype not in _SIGNATURES:
                return True
    return False


def index_message(octets: bytes) -> MessageIndex:
    """Index a message of any octets; see MessageIndex. Never raises."""
    header_size = header_end(octets)
    fields: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] | None = None
    stored: list[bytes] = []
    keep = stored.append
    for piece in split_fields(octets[: min(header_size, MAX_HEADER)]):
        colon = piece.find(b":")
        if colon <= 0:
            continue
        name = piece[:colon].rstrip(b" \t").lower()
        if name not in fields:
            fields[name] = piece[colon + 1 :]
        elif name in _ADDRESSES:
            if more is None:
                more = {}
            again = more.setdefault(name, [])
            if len(again) < MAX_REPEATED:
                again.append(piece[colon + 1 :])
        if name in _STORED or name[:7] == b"x-spam-":
            keep(piece)
    entity = parse_entity(octets, fields, header_size)
    envelope, sort_from, sort_to, sort_cc = render_envelope(fields, more)
    body, bodystructure = render_structure(entity)
    kept, complete = _stored_fields(stored)
    get = fields.get
    subject = get(b"subject")
    date = get(b"date")
    return MessageIndex(
        len(octets),
        header_size,
        envelope,
        body,
        bodystructure,
        pack_parts(entity.part),
        kept,
        make_preview(octets, entity),
        message_id(get(b"message-id")),
        reference_ids(get(b"references"), get(b"in-reply-to")),
        base_subject(subject) if subject is not None else "",
        sent_time(date) if date is not None else 0,
        sort_from,
        sort_to,
        sort_cc,
        _has_attachment(entity),
        not octets.isascii(),
        complete and header_size <= MAX_HEADER,
        octets[:1] not in b" \t\r\n>" and b":" in octets[: min(header_size, 1200)].partition(b"\n")[0],
    )


_TRANSPARENT = re.compile(
    rb"(?!(?:date|subject|from|to|cc|bcc|sender|reply-to|message-id|in-reply-to|references|content-[^:]*|mime-version)[ \t]*:)"
    rb"[!-9;-~]+:",
    re.IGNORECASE,
).match


def with_header_in_front(index: MessageIndex, front: bytes) -> MessageIndex | None:
    """The index of ``front`` + a message, from the message's; None where only reading it anew would tell.

    ``front`` are whole header lines. It can be told as long as none of them shows in an envelope or a body structure.
    """
    pieces = split_fields(front)
    if pieces and pieces[-1] in (b"", b"\r"):
        pieces.pop()
    if not front.endswith(b"\n") or not pieces or not all(_TRANSPARENT(piece) for piece in pieces):
        return None
    if not index.has_header or index.header_size + len(front) > MAX_HEADER:
        return None
    kept, complete = _stored_fields([piece for piece in pieces if _is_stored(piece)])
    if not complete or not index.fields_complete or len(kept) + len(index.fields) > MAX_FIELDS:
        return None
    root = load_parts(index.parts)
    _shift(root, len(front))
    root.header_start = 0
    return replace(
        index,
        size=index.size + len(front),
        header_size=index.header_size + len(front),
        parts=pack_parts(root),
        fields=kept + index.fields,
        eight_bit=index.eight_bit or not front.isascii(),
    )


def _is_stored(piece: bytes) -> bool:
    name = piece[: piece.find(b":")].rstrip(b" \t").lower()
    return name in _STORED or name[:7] == b"x-spam-"


def _shift(part: Part, distance: int) -> None:
    pending = [part]
    while pending:
        current = pending.pop()
        current.header_start += distance
        current.body_start += distance
        current.body_end += distance
        pending.extend(current.children)
        if current.embedded is not None:
            pending.append(current.embedded)
