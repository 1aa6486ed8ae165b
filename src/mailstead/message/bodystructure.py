"""Rendered IMAP BODY and BODYSTRUCTURE (RFC 3501 section 7.4.2, RFC 9051 section 7.5.2).

Invariants
- Output is a balanced parenthesised list, 7-bit and without NUL outside literals.
- What a client could not read as its type says is shown as
  application/octet-stream: a multipart that was not entered, a message that is
  transfer encoded (RFC 2046 section 5.2.1 forbids it) or was not entered.
"""

from .envelope import render_envelope
from .headers import unfold
from .imap_strings import nstring, quote
from .mime import Entity

_EXTENSION = b" NIL NIL NIL NIL)"


def _field(fields: dict[bytes, bytes], name: bytes) -> bytes:
    value = fields.get(name)
    return b"NIL" if value is None else nstring(unfold(value))


def _language(fields: dict[bytes, bytes]) -> bytes:
    value = fields.get(b"content-language")
    if value is None:
        return b"NIL"
    tags = [tag for tag in (piece.strip() for piece in unfold(value[:2000]).split(b",")) if tag]
    return b"(%b)" % b" ".join(map(quote, tags)) if tags else b"NIL"


def _disposition(entity: Entity) -> bytes:
    return b"NIL" if entity.disposition is None else entity.disposition.rendered


def _extension(entity: Entity) -> bytes:
    fields = entity.fields
    return b" %b %b %b %b)" % (
        _field(fields, b"content-md5"),
        _disposition(entity),
        _language(fields),
        _field(fields, b"content-location"),
    )


def render_structure(entity: Entity) -> tuple[bytes, bytes]:
    """(BODY, BODYSTRUCTURE) of a parsed part."""
    part = entity.part
    ctype = entity.ctype
    fields = entity.fields
    if entity.children:
        short, full = zip(*map(render_structure, entity.children), strict=True)
        subtype = quote(ctype.subtype.encode())
        return (
            b"(%b %b)" % (b"".join(short), subtype),
            b"(%b %b %b %b %b %b)"
            % (
                b"".join(full),
                subtype,
                ctype.parameters,
                _disposition(entity),
                _language(fields),
                _field(fields, b"content-location"),
            ),
        )
    media, parameters = ctype.media, ctype.parameters
    kind = part.type
    if kind == "multipart" or (entity.embedded is None and kind == "message" and part.subtype in ("rfc822", "global")):
        media, parameters, kind = b'"application" "octet-stream"', b"NIL", "application"
    basic = b"(%b %b %b %b %b %d" % (
        media,
        parameters,
        _field(fields, b"content-id"),
        _field(fields, b"content-description"),
        quote(part.encoding.encode()),
        part.body_end - part.body_start,
    )
    extension = _extension(entity)
    if kind == "text":
        basic = b"%b %d" % (basic, part.lines)
    elif entity.embedded is not None:
        inner = entity.embedded
        envelope = render_envelope(inner.fields)[0]
        short_inner, full_inner = render_structure(inner)
        return (
            b"%b %b %b %d)" % (basic, envelope, short_inner, part.lines),
            b"%b %b %b %d%b" % (basic, envelope, full_inner, part.lines, extension),
        )
    return basic + b")", basic + extension
