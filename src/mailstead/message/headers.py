"""Header blocks as octets (RFC 5322 section 2.2).

Invariants
- Nothing raises, whatever the octets; bare LF ends a line as CRLF does.
- A header block ends with the first empty line. Without one, all is header;
  but octets whose first line is no field have no header at all: all is body.
- A field runs to the last octet before a line that does not begin with a
  blank or tab; its raw octets are never altered.
- A line without a colon (or an mbox "From " line) is no field: readers of
  fields skip it, it stays in the block.
"""

import re
from collections.abc import Iterator

#: Octets of one header block that are looked at; the rest is carried, not read.
MAX_HEADER = 256 * 1024

_split_fields = re.compile(rb"\n(?![ \t])").split
_fold = re.compile(rb"\r?\n(?=[ \t])")
# A field name with its colon, the separator line of an mbox file, or a fold of nothing.
_first_line = re.compile(rb"[!-9;-~]{1,1000}[ \t]{0,99}:|>?From |[ \t]").match
_name = re.compile(rb"[!-9;-~]+[ \t]*:").match


def header_end(octets: bytes, start: int = 0, end: int | None = None) -> int:
    """Offset of the first body octet: after the blank line, or `end` if there is none.

    It is `start` where the first line is no header field.
    """
    if end is None:
        end = len(octets)
    if octets.startswith(b"\r\n", start, end):
        return start + 2
    if octets.startswith(b"\n", start, end):
        return start + 1
    if _first_line(octets, start, end) is None:
        return start
    crlf = octets.find(b"\n\r\n", start, end)
    bare = octets.find(b"\n\n", start, end if crlf < 0 else crlf + 1)
    if bare >= 0:
        return bare + 2
    return crlf + 3 if crlf >= 0 else end


def split_fields(block: bytes) -> list[bytes]:
    """Cut a header block into fields, each without its last LF.

    The blank line at the end gives one or two pieces without a colon.
    """
    return _split_fields(block)


def unfold(value: bytes) -> bytes:
    """The value of a field on one line, outer blanks removed (RFC 5322 section 2.2.3)."""
    value = value.strip(b" \t\r\n")
    return _fold.sub(b"", value) if b"\n" in value else value


def iter_fields(header: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (name as written, raw octets with line end, unfolded value) of each field, in order."""
    offset = 0
    for piece in _split_fields(header):
        start, offset = offset, offset + len(piece) + 1
        if _name(piece) is not None:
            colon = piece.index(b":")
            yield piece[:colon].rstrip(b" \t"), header[start:offset], unfold(piece[colon + 1 :])


def field_values(header: bytes, name: bytes) -> list[bytes]:
    """Unfolded values of all fields called `name` (any case), in order."""
    name = name.lower()
    return [value for found, _, value in iter_fields(header) if found.lower() == name]


def field_value(header: bytes, name: bytes) -> bytes | None:
    """Unfolded value of the first field called `name` (any case), or None."""
    name = name.lower()
    for found, _, value in iter_fields(header):
        if found.lower() == name:
            return value
    return None


def count_received(header: bytes) -> int:
    """Number of Received fields, for loop detection (RFC 5321 section 6.3)."""
    lowered = header.lower()
    return lowered.count(b"\nreceived:") + lowered.startswith(b"received:")
