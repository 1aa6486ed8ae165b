"""Octets of messages and their parts for FETCH (RFC 9051 section 6.4.5: BODY[], BINARY[], BINARY.SIZE[]).

Invariants: only the octets that are asked for are read; nothing larger than `SMALL` is read or decoded in the event
loop; a section that does not exist is NIL; NUL leaves only in a literal8 of BINARY (RFC 9051 section 4.3.1), elsewhere
0x80 stands for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from mailstead.imap.fetch_items import Body
from mailstead.imap.responses import Refusal
from mailstead.mailbox.model import Location
from mailstead.message.decode import decode_transfer
from mailstead.message.sections import Part, filter_header_fields, load_parts, locate, section_range

SMALL = 256 * 1024
_IDENTITY = frozenset(("", "7bit", "8bit", "binary"))
_KNOWN_ENCODINGS = frozenset((
    "", "7bit", "8bit", "binary", "base64", "quoted-printable", "x-uuencode", "x-uue", "uuencode", "uue", "x-uu",
))  # fmt: skip


class OctetSource(Protocol):
    """What reading needs of the mailbox service."""

    def read(self, location: Location, start: int = 0, length: int | None = None) -> bytes:
        """At most 256 KB, in the loop."""

    async def read_large(self, location: Location, start: int = 0, length: int | None = None) -> bytes:
        """More, in a thread."""

    def stream(self, location: Location, start: int, length: int) -> AsyncIterator[bytes]:
        """Piece by piece."""


@dataclass(slots=True)
class Stored:
    """One message as its row has it. `packed` is the part tree, loaded when first needed."""

    location: Location
    header_size: int
    packed: bytes
    _root: Part | None = None

    @property
    def root(self) -> Part:
        """The part tree."""
        if self._root is None:
            self._root = load_parts(self.packed)
        return self._root


def columns_for(bodies: tuple[Body, ...]) -> tuple[str, ...]:
    """The columns of rows that these items need besides uid, in the order of `Stored`."""
    if any(body.part or body.binary for body in bodies):
        return ("location", "header_size", "parts")
    if any(body.text for body in bodies):
        return ("location", "header_size")
    return ("location",)


def extent(stored: Stored, body: Body) -> tuple[int, int] | None:
    """[start, end) of the section in the message, None where there is none. HEADER.FIELDS gives the header."""
    if body.binary and body.part:
        return section_range(stored.root, body.part)
    text = "HEADER" if body.text in ("FIELDS", "FIELDS.NOT") else body.text
    if body.part:
        return section_range(stored.root, body.part, text)
    if text == "HEADER":
        return 0, stored.header_size
    if text == "TEXT":
        return stored.header_size, stored.location.size
    return 0, stored.location.size


def without_nul(octets: bytes) -> bytes:
    """`octets` fit for a literal that is no literal8."""
    return octets.replace(b"\0", b"\x80") if b"\0" in octets else octets


async def _octets(source: OctetSource, location: Location, start: int, end: int) -> bytes:
    if end - start <= SMALL:
        return source.read(location, start, end - start) if end > start else b""
    return await source.read_large(location, start, end - start)


async def _decoded(source: OctetSource, stored: Stored, body: Body, start: int, end: int) -> bytes:
    """The section with its transfer encoding undone (RFC 3516)."""
    part = locate(stored.root, body.part) if body.part else None
    octets = await _octets(source, stored.location, start, end)
    if part is None:
        return octets
    if part.encoding not in _KNOWN_ENCODINGS:
        raise Refusal("Cannot decode this part", "UNKNOWN-CTE")
    if end - start > SMALL:
        return await asyncio.to_thread(decode_transfer, octets, part.encoding)
    return decode_transfer(octets, part.encoding)


def plain_extent(stored: Stored, body: Body) -> tuple[int, int] | None:
    """[start, end) to be sent as it is stored, with the partial applied, for items that need no work on the octets."""
    if body.binary or body.text in ("FIELDS", "FIELDS.NOT"):
        return None
    found = extent(stored, body)
    if found is None:
        return None
    start, end = found
    if body.length >= 0:
        start = min(start + body.start, end)
        end = min(start + body.length, end)
    return start, end


async def octets_of(source: OctetSource, stored: Stored, body: Body) -> bytes | None:
    """The item's octets, None where there is no such section. Raises Refusal UNKNOWN-CTE."""
    found = extent(stored, body)
    if found is None:
        return None
    if body.binary:
        octets = await _decoded(source, stored, body, *found)
    else:
        octets = await _octets(source, stored.location, *found)
        if body.text in ("FIELDS", "FIELDS.NOT"):
            octets = filter_header_fields(octets, body.fields, body.text == "FIELDS.NOT")
    if body.length >= 0:
        octets = octets[body.start : body.start + body.length]
    return octets


def _plain_size(stored: Stored, body: Body) -> int | None:
    """The size of a section that is stored as it is meant, without reading it; None where it is encoded."""
    found = extent(stored, body)
    part = locate(stored.root, body.part) if body.part else None
    if found is None or (part is not None and part.encoding not in _IDENTITY):
        return None
    return found[1] - found[0]


async def value(source: OctetSource, stored: Stored, body: Body) -> bytes:
    """The item's value with its literal head: what stands after the label. Raises Refusal UNKNOWN-CTE."""
    if body.size_only and (found := _plain_size(stored, body)) is not None:
        return b"%d" % found
    octets = await octets_of(source, stored, body)
    if body.size_only:
        return b"%d" % len(octets or b"")
    if octets is None:
        return b"NIL"
    if b"\0" in octets:
        if body.binary:
            return b"~{%d}\r\n%b" % (len(octets), octets)
        octets = without_nul(octets)
    return b"{%d}\r\n%b" % (len(octets), octets)
