"""Bodies and header fields as what they mean: transfer decoding and text.

Invariants
- Nothing raises, whatever the octets; damaged encodings give what can be read.
- Work is linear in the octets handed in; text for search is cut at its limit
  before it is decoded, not after.
"""

import binascii
from collections.abc import Iterator

from .addresses import parse_addresses
from .charset import decode_charset
from .encoded_words import decode_parameters, decode_words
from .headers import MAX_HEADER, iter_fields, unfold
from .html_text import html_to_text
from .mime import Part

__all__ = [
    "decode_base64", "decode_body", "decode_header", "decode_parameters", "decode_quoted_printable", "decode_transfer",
    "decode_uuencode", "searchable_text", "text_of", "walk",
]  # fmt: skip

_NOT_BASE64 = bytes(sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")))


def decode_header(value: bytes) -> str:
    """Text of a header field's value: unfolded, encoded words and raw 8-bit decoded (RFC 2047)."""
    return decode_words(unfold(value))


def decode_base64(octets: bytes) -> bytes:
    """Base64 as mail has it: foreign octets skipped, missing padding added, padding in the middle passed over."""
    clean = octets.translate(None, _NOT_BASE64)
    padding = clean.find(b"=")
    if padding < 0:
        return _base64_piece(clean)
    rest = octets[octets.index(b"=") :].translate(None, b"\r\n\t ")
    if len(rest) > 2 and len(clean) % 4 == 0 and len(rest) == len(clean) - padding:
        # Encoders that flush piecewise leave padding inside; each piece stands for itself.
        return b"".join(map(_base64_piece, filter(None, clean.split(b"="))))
    # What follows the padding is none of the data (RFC 2045 section 6.8): a mailing list's footer, say.
    return _base64_piece(clean[:padding])


def _base64_piece(clean: bytes) -> bytes:
    rest = len(clean) % 4
    if rest == 1:
        clean = clean[:-1]
    elif rest:
        clean += b"=" * (4 - rest)
    return binascii.a2b_base64(clean)


def decode_quoted_printable(octets: bytes) -> bytes:
    """Quoted-printable, blanks at line ends removed (RFC 2045 section 6.7 rule 3), broken escapes kept."""
    if b" \n" in octets or b" \r\n" in octets or b"\t\n" in octets or b"\t\r\n" in octets:
        end = b"\r\n" if b"\r\n" in octets else b"\n"
        lines = octets.split(b"\n")
        octets = end.join([*(line.rstrip(b" \t\r") for line in lines[:-1]), lines[-1]])
    return binascii.a2b_qp(octets)


def decode_uuencode(octets: bytes) -> bytes:
    """The first uuencoded file in the body; the body itself if there is none."""
    start = octets.find(b"begin ") if octets.startswith(b"begin ") else octets.find(b"\nbegin ") + 1
    if start == 0 and not octets.startswith(b"begin "):
        return octets
    out: list[bytes] = []
    for line in octets[start:].splitlines()[1:]:
        if line.rstrip() == b"end":
            break
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            # Trailing junk: take the octets that the length character promises.
            wanted = (((line[0] - 32) & 63) * 4 + 5) // 3 if line else 0
            try:
                out.append(binascii.a2b_uu(line[:wanted]))
            except binascii.Error:
                continue
    return b"".join(out)


def decode_transfer(octets: bytes, encoding: str) -> bytes:
    """`octets` with a Content-Transfer-Encoding (lower case) undone; unknown encodings are identity."""
    if encoding == "base64":
        return decode_base64(octets)
    if encoding == "quoted-printable":
        return decode_quoted_printable(octets)
    if encoding in ("x-uuencode", "x-uue", "uuencode", "uue", "x-uu"):
        return decode_uuencode(octets)
    return octets


def decode_body(octets: bytes, part: Part) -> bytes:
    """The part's body, transfer encoding undone."""
    return decode_transfer(octets[part.body_start : part.body_end], part.encoding)


def text_of(octets: bytes, part: Part, limit: int | None = None) -> str:
    """The part's body as text, line ends as they are; at most `limit` encoded octets are read."""
    end = part.body_end if limit is None else min(part.body_end, part.body_start + limit)
    return decode_charset(decode_transfer(octets[part.body_start : end], part.encoding), part.charset)


def walk(root: Part) -> Iterator[Part]:
    """All parts of a tree in the order of the message, embedded messages included."""
    pending = [root]
    while pending:
        part = pending.pop()
        yield part
        if part.embedded is not None:
            pending.append(part.embedded)
        pending.extend(reversed(part.children))


_ADDRESS_FIELDS = {b"from", b"to", b"cc", b"bcc", b"sender", b"reply-to"}
_TEXT_FIELDS = {b"subject", b"comments", b"keywords", b"list-id", b"message-id", b"organization"}


def _header_text(header: bytes) -> Iterator[str]:
    for name, _, value in iter_fields(header):
        lowered = name.lower()
        if lowered in _ADDRESS_FIELDS:
            for entry in parse_addresses(value):
                yield f"{entry.display_name} {entry.addr}"
        elif lowered in _TEXT_FIELDS:
            yield decode_header(value)


def searchable_text(octets: bytes, parts: Part, limit: int = 2_000_000) -> str:
    """Everything a reader would search in a message, at most `limit` characters.

    The usual header fields decoded (of embedded messages, too), the names of
    attached files, and the text of all text parts, HTML stripped.
    """
    out: list[str] = []
    left = limit
    messages = {id(parts)}
    for part in walk(parts):
        if left <= 0:
            break
        if part.embedded is not None:
            messages.add(id(part.embedded))
        pieces: list[str] = []
        if id(part) in messages:
            header_end = min(part.body_start, part.header_start + MAX_HEADER)
            pieces.extend(_header_text(octets[part.header_start : header_end]))
        if part.filename:
            pieces.append(part.filename)
        if part.type == "text":
            # Base64 and quoted-printable need up to three encoded octets for one.
            text = text_of(octets, part, left * 3)
            pieces.append(html_to_text(text) if part.subtype == "html" else text)
        for piece in pieces:
            out.append(piece[:left])
            left -= len(piece) + 1
            if left <= 0:
                break
    return "\n".join(out)[:limit].replace("\0", "")
