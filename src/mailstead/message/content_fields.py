"""Values of Content-* fields (RFC 2045, 2183), parsed once and rendered for IMAP.

Invariants
- A value that cannot be understood is as if the field were absent
  (RFC 2045 section 5.2); nothing raises; linear time.
- Parameters are kept twice: raw for BODYSTRUCTURE, decoded (RFC 2231, RFC 2047) for use.
- Results are shared by a cache: they are immutable by convention.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from .encoded_words import decode_parameters
from .headers import unfold
from .imap_strings import quote

MAX_PARAMETERS = 100
_MAX_VALUE = 16 * 1024

_TOKEN = rb"[ \t]{0,99}([!#$%&'*+.^_`{|}~0-9A-Za-z-]{1,100})"
_type = re.compile(_TOKEN + rb"[ \t]{0,99}/" + _TOKEN).match
_token = re.compile(_TOKEN).match
_parameter = re.compile(
    rb';[ \t\r\n]*([^\x00-\x20=;"()<>@,\\]{1,100})[ \t]{0,99}=[ \t]{0,99}'
    rb'(?:"([^"\\]*(?:\\.[^"\\]*)*)"?|([^;"]*))',
    re.DOTALL,
)
_quoted_pair = re.compile(rb"\\(.)", re.DOTALL)
_comment = re.compile(rb"\([^()]*\)")


class ContentType(NamedTuple):
    """A parsed Content-Type; `media` and `parameters` are rendered for IMAP."""

    type: str
    subtype: str
    params: dict[str, str]
    media: bytes
    parameters: bytes
    boundary: bytes


class Disposition(NamedTuple):
    """A parsed Content-Disposition and its rendering."""

    kind: str
    params: dict[str, str]
    rendered: bytes


def _raw_parameters(value: bytes) -> tuple[tuple[bytes, bytes], ...]:
    found: list[tuple[bytes, bytes]] = []
    for match in _parameter.finditer(value):
        name, quoted, bare = match.groups()
        if quoted is not None:
            text = _quoted_pair.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        else:
            text = bare.strip()
            if b"(" in text:
                text = _comment.sub(b"", text).strip()
        found.append((name, text))
        if len(found) == MAX_PARAMETERS:
            break
    return tuple(found)


def _render_parameters(raw: tuple[tuple[bytes, bytes], ...]) -> bytes:
    if not raw:
        return b"NIL"
    return b"(%b)" % b" ".join(b"%b %b" % (quote(name.lower()), quote(text)) for name, text in raw)


def _parse_type(value: bytes) -> ContentType | None:
    value = unfold(value[:_MAX_VALUE])
    found = _type(value)
    if found is None and b"(" in value:
        value = _comment.sub(b"", value)
        found = _type(value)
    if found is None:
        return None
    kind, subtype = found.groups()
    kind, subtype = kind.lower(), subtype.lower()
    raw = _raw_parameters(value[found.end() :])
    params = decode_parameters(raw)
    boundary = b""
    if kind == b"multipart":
        boundary = next((text for name, text in raw if name.lower() == b"boundary"), b"")
        if not boundary and "boundary" in params:
            boundary = params["boundary"].encode("utf-8", "replace")
    return ContentType(kind.decode(), subtype.decode(), params, b'"%b" "%b"' % (kind, subtype), _render_parameters(raw), boundary)


_parse_type_cached = lru_cache(1024)(_parse_type)


def parse_content_type(value: bytes) -> ContentType | None:
    """The Content-Type that a raw field value states, or None if it states none."""
    # Boundaries differ in every message: they would only push useful entries out.
    return _parse_type(value) if len(value) > 200 or b"oundary" in value else _parse_type_cached(value)


def _parse_disposition(value: bytes) -> Disposition | None:
    value = unfold(value[:_MAX_VALUE])
    found = _token(value)
    if found is None or value[found.end() :].lstrip().startswith(b"="):
        # The kind is missing: what has a file name is to be saved as one.
        if b"filename" not in value.lower():
            return None
        kind, rest = b"attachment", b";" + value.lstrip(b" \t;")
    else:
        kind, rest = found.group(1).lower(), value[found.end() :]
    raw = _raw_parameters(rest)
    return Disposition(kind.decode(), decode_parameters(raw), b"(%b %b)" % (quote(kind), _render_parameters(raw)))


_parse_disposition_cached = lru_cache(1024)(_parse_disposition)


def parse_disposition(value: bytes) -> Disposition | None:
    """The Content-Disposition that a raw field value states, or None if it states none."""
    return _parse_disposition_cached(value) if len(value) <= 200 else _parse_disposition(value)


@lru_cache(256)
def parse_encoding(value: bytes) -> str:
    """Content-Transfer-Encoding in lower case; '7bit' for what states none (RFC 2045 section 6.1)."""
    found = _token(unfold(value[:200]))
    return found.group(1).lower().decode() if found is not None else "7bit"


DEFAULT_TYPE = ContentType("text", "plain", {}, b'"text" "plain"', b'("charset" "us-ascii")', b"")
MESSAGE_TYPE = ContentType("message", "rfc822", {}, b'"message" "rfc822"', b"NIL", b"")
