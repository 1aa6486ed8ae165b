"""Parts by IMAP section number and the octets of sections (RFC 3501 section 6.4.5, RFC 9051 section 6.4.5).

Invariants
- A packed tree begins with one octet of version; another version is refused
  with ValueError, so that an index of another age is never misread.
- `locate` follows the RFC: part 1 of a message that is no multipart is its
  body; numbers below a message/rfc822 part are those of the message in it.
"""

import re

import msgspec

from .mime import Part

__all__ = [
    "Part", "body_octets", "filter_header_fields", "header_octets", "load_parts", "locate", "mime_octets",
    "pack_parts", "section_octets", "section_range",
]  # fmt: skip

_VERSION = b"\x01"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Part).decode


def pack_parts(root: Part) -> bytes:
    """The part tree in the compact form that `load_parts` reads."""
    return _VERSION + _encode(root)


def load_parts(packed: bytes) -> Part:
    """The part tree of a message from its packed form; raises ValueError if it is none of this version."""
    if packed[:1] != _VERSION:
        raise ValueError("packed part tree of an unknown version")
    return _decode(packed[1:])


def locate(root: Part, section: tuple[int, ...]) -> Part | None:
    """The part that an IMAP part number names; the message itself for (), None if there is no such part."""
    part = root
    message = True
    for number in section:
        if not message:
            if part.embedded is not None:
                part, message = part.embedded, True
            elif not part.children:
                return None
        if part.children:
            if not 0 < number <= len(part.children):
                return None
            part = part.children[number - 1]
        elif number != 1:
            return None
        message = False
    return part


def header_octets(octets: bytes, part: Part) -> bytes:
    """The header of the part itself, with its blank line.

    For BODY[n.HEADER] of a message/rfc822 part hand in `part.embedded`.
    """
    return octets[part.header_start : part.body_start]


def mime_octets(octets: bytes, part: Part) -> bytes:
    """The MIME header of a part, BODY[n.MIME], with its blank line."""
    return octets[part.header_start : part.body_start]


def body_octets(octets: bytes, part: Part) -> bytes:
    """The body of a part, transfer encoding and all: BODY[n], and BODY[TEXT] for the root."""
    return octets[part.body_start : part.body_end]


def section_range(root: Part, section: tuple[int, ...], text: str = "") -> tuple[int, int] | None:
    """[start, end) of the section BODY[section.text] in the message, None if there is no such section.

    `text` is '', 'HEADER', 'TEXT' or 'MIME'.
    """
    part = locate(root, section)
    if part is None:
        return None
    if not section:
        if text == "HEADER":
            return part.header_start, part.body_start
        if text == "TEXT":
            return part.body_start, part.body_end
        return None if text else (part.header_start, part.body_end)
    if text == "":
        return part.body_start, part.body_end
    if text == "MIME":
        return part.header_start, part.body_start
    inner = part.embedded
    if inner is None:
        return None
    return (inner.header_start, inner.body_start) if text == "HEADER" else (inner.body_start, inner.body_end)


def section_octets(octets: bytes, root: Part, section: tuple[int, ...], text: str = "") -> bytes | None:
    """The octets of BODY[section.text]; see `section_range`."""
    found = section_range(root, section, text)
    return None if found is None else octets[found[0] : found[1]]


_split_fields = re.compile(rb"\n(?![ \t])").split


def filter_header_fields(header: bytes, names: frozenset[bytes], invert: bool = False) -> bytes:
    """HEADER.FIELDS (or .NOT, with `invert`) of a header block, raw octets, with a blank line at the end.

    `names` are upper-case. Lines that are no field count as not named.
    """
    found: list[bytes] = []
    for piece in _split_fields(header):
        colon = piece.find(b":")
        listed = colon > 0 and piece[:colon].rstrip(b" \t").upper() in names
        if listed is not invert and (colon > 0 or piece.strip(b"\r")):
            found.append(piece)
    if not found:
        return b"\r\n"
    block = b"\n".join(found)
    return block + (b"\n\r\n" if block.endswith(b"\r") else b"\r\n\r\n")
