"""Offsets of the parts of a message (RFC 2045, 2046).

Invariants
- Nothing raises, whatever the octets. Every offset lies within the message, a
  child lies within its parent's body, and siblings do not overlap.
- Linear time: each nesting level passes over its octets a fixed number of
  times, and levels, parts, delimiter candidates and the sum of the headers
  read are capped. Beyond a cap the remainder is one leaf.
- No octet is copied but headers.

How it works: a delimiter is found by `bytes.find` for LF, two hyphens and the
boundary, then the rest of its line is checked. An outer boundary therefore ends
an inner multipart that was never closed (RFC 2046 section 5.1.2).
"""

from __future__ import annotations

import msgspec

from .content_fields import (
    DEFAULT_TYPE,
    MESSAGE_TYPE,
    ContentType,
    Disposition,
    parse_content_type,
    parse_disposition,
    parse_encoding,
)
from .headers import MAX_HEADER, header_end, split_fields, unfold

MAX_PARTS = 1000
MAX_DEPTH = 50
#: Lines that begin like a delimiter but are none, over the whole message.
MAX_FALSE_DELIMITERS = 20_000
#: Octets of part and embedded headers that are read, over the whole message.
MAX_HEADERS = 512 * 1024
_BLANKS = (b"", b" ", b"\t", b"\r", b"\n")


class Part(msgspec.Struct, array_like=True, gc=False):
    """One part of a message; offsets are octets from the start of the message.

    The header is [header_start, body_start), with its blank line, the body
    [body_start, body_end). `lines` counts LF in the body of text and message
    parts. `charset` is '' where undeclared. `embedded` is the message inside a
    message/rfc822 part.
    """

    type: str
    subtype: str
    header_start: int
    body_start: int
    body_end: int
    encoding: str = "7bit"
    charset: str = ""
    lines: int = 0
    disposition: str = ""
    filename: str = ""
    content_id: str = ""
    params: dict[str, str] = {}
    children: list[Part] = []
    embedded: Part | None = None


class Entity:
    """A part while it is parsed: the offsets and the fields that renderings need."""

    __slots__ = ("children", "ctype", "disposition", "embedded", "fields", "more", "part")

    def __init__(self, part: Part, ctype: ContentType, disposition: Disposition | None, fields: dict[bytes, bytes]):
        self.part = part
        self.ctype = ctype
        self.disposition = disposition
        self.fields = fields
        self.children: list[Entity] = []
        self.embedded: Entity | None = None
        self.more: dict[bytes, list[bytes]] | None = None


def read_fields(block: bytes) -> dict[bytes, bytes]:
    """First raw value of each field by lower-case name."""
    fields: dict[bytes, bytes] = {}
    for piece in split_fields(block):
        colon = piece.find(b":")
        if colon > 0:
            name = piece[:colon].rstrip(b" \t").lower()
            if name not in fields:
                fields[name] = piece[colon + 1 :]
    return fields


class _Parser:
    __slots__ = ("false_delimiters", "headers", "octets", "parts")

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.parts = 0
        self.headers = 0
        self.false_delimiters = 0

    def entity(self, start: int, end: int, default: ContentType, depth: int) -> Entity:
        """Parse the part whose header begins at `start`."""
        octets = self.octets
        limit = min(end, start + MAX_HEADER)
        body = header_end(octets, start, limit)
        if body == limit:
            body = end
        self.headers += min(body, limit) - start
        return self.with_header(read_fields(octets[start : min(body, limit)]), start, body, end, default, depth)

    def with_header(self, fields: dict[bytes, bytes], start: int, body: int, end: int, default: ContentType, depth: int) -> Entity:
        """Build the part from its header's fields and go into its body."""
        self.parts += 1
        get = fields.get
        value = get(b"content-type")
        ctype = (parse_content_type(value) or DEFAULT_TYPE) if value is not None else default
        part = Part(ctype.type, ctype.subtype, start, body, end, params=ctype.params)
        value = get(b"content-transfer-encoding")
        if value is not None:
            part.encoding = parse_encoding(value)
        value = get(b"content-disposition")
        disposition = None
        filename = ""
        if value is not None:
            disposition = parse_disposition(value)
            if disposition is not None:
                part.disposition = disposition.kind
                filename = disposition.params.get("filename", "")
        if ctype.params:
            part.charset = ctype.params.get("charset", "")
            filename = filename or ctype.params.get("name", "")
        part.filename = filename
        value = get(b"content-id")
        if value is not None:
            part.content_id = unfold(value).strip(b"<> ").decode("utf-8", "replace")
        entity = Entity(part, ctype, disposition, fields)
        kind = ctype.type
        if kind == "text":
            part.lines = self.octets.count(b"\n", body, end)
        elif kind == "multipart":
            self.multipart(entity, depth)
        elif kind == "message" and ctype.subtype in ("rfc822", "global"):
            part.lines = self.octets.count(b"\n", body, end)
            if part.encoding not in ("base64", "quoted-printable") and self.may_descend(depth):
                entity.embedded = self.entity(body, end, DEFAULT_TYPE, depth + 1)
                part.embedded = entity.embedded.part
        return entity

    def may_descend(self, depth: int) -> bool:
        return depth < MAX_DEPTH and self.parts < MAX_PARTS and self.headers < MAX_HEADERS

    def multipart(self, entity: Entity, depth: int) -> None:
        """Find the children of a multipart; one without any delimiter gets its whole body as a text child."""
        if not self.may_descend(depth):
            return
        part = entity.part
        boundary = entity.ctype.boundary
        if boundary:
            self.split(entity, boundary, depth)
            if not entity.children and boundary != boundary.rstrip():
                # Blanks at its end are none of the sender's (RFC 2046 section 5.1.1), unless the lines have them.
                self.split(entity, boundary.rstrip(), depth)
        if not entity.children:
            child = Part("text", "plain", part.body_start, part.body_start, part.body_end)
            child.lines = self.octets.count(b"\n", child.body_start, child.body_end)
            self.parts += 1
            entity.children.append(Entity(child, DEFAULT_TYPE, None, {}))
        part.children = [child.part for child in entity.children]

    def split(self, entity: Entity, boundary: bytes, depth: int) -> None:
        """Append a child for each delimiter; the last one is the remainder when a cap is reached."""
        part = entity.part
        end = part.body_end
        default = MESSAGE_TYPE if part.subtype == "digest" else DEFAULT_TYPE
        line, position, closing = self.delimiter(boundary, part.body_start, end)
        while line >= 0 and not closing:
            start = position
            line, position, closing = self.delimiter(boundary, start, end)
            if line >= 0 and not closing and not self.may_descend(depth):
                line = -1
            entity.children.append(self.entity(start, end if line < 0 else max(start, line), default, depth + 1))

    def delimiter(self, boundary: bytes, position: int, end: int) -> tuple[int, int, bool]:
        """(end of the content before, offset after the line, whether it closes) of the next delimiter, or (-1, ..)."""
        octets = self.octets
        needle = b"\n--" + boundary
        position -= 1
        while True:
            found = octets.find(needle, position, end)
            if found < 0:
                return -1, end, False
            position = found + len(needle)
            tail = octets[position : min(end, position + 80)]
            # RFC 2046 section 5.1.1: what follows the boundary on its line does not matter. But a longer word is
            # another boundary: real mail has ones that begin alike.
            closing = tail.startswith(b"--") and tail[2:3] in _BLANKS
            if closing or tail[:1] in _BLANKS:
                closing = closing or tail.partition(b"\n")[0].strip() == b"--"
                line_end = octets.find(b"\n", position, end)
                if found and octets[found - 1] == 13:
                    found -= 1
                return found, line_end + 1 if line_end >= 0 else end, closing
            self.false_delimiters += 1
            if self.false_delimiters > MAX_FALSE_DELIMITERS:
                return -1, end, False


def parse_entity(octets: bytes, fields: dict[bytes, bytes], body: int) -> Entity:
    """Parse a whole message whose header's fields are read already and whose body begins at `body`."""
    return _Parser(octets).with_header(fields, 0, body, len(octets), DEFAULT_TYPE, 0)
