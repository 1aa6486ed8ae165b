"""Search over the messages of a folder: a tree of keys against arrays, rows and, last, the messages' text.

Invariants: an answer is never wrong: what the index does not hold is read; comparison is substring, case ignored
(Unicode case folding), over decoded text; the loop is never held for more than some milliseconds; a tree of keys
costs what its cheapest keys leave over, because those are tried first.

How: keys are evaluated set-at-a-time over *positions* in the caller's array of UIDs.  Decoded header fields are kept
per block of messages as one string, so that a repeated header search is one substring scan per block.
"""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from mailstead.mailbox.model import Location
from mailstead.mailbox.search_keys import (
    All,
    Among,
    And,
    Flags,
    Header,
    Key,
    Modseq,
    Not,
    Number,
    Or,
    SentDay,
    Text,
    conjunction,
    cost,
)
from mailstead.message.dates import parse_date
from mailstead.message.decode import decode_header, text_of, walk
from mailstead.message.headers import field_value, field_values
from mailstead.message.html_text import html_to_text
from mailstead.message.index import MAX_FIELDS, STORED_FIELDS
from mailstead.message.mime import Part
from mailstead.message.sections import load_parts

__all__ = [
    "DAY", "All", "Among", "And", "Flags", "Header", "Key", "Modseq", "Not", "Number", "Or", "Scope", "SentDay", "Text",
    "conjunction", "evaluate",
]  # fmt: skip

ROWS = 500
BLOCK = 512
SLICE_SECONDS = 0.003
SMALL = 256 * 1024
DAY = 86400
#: Octets of decoded header fields kept per process.
FIELD_BUDGET = 16 << 20
#: A header up to this size has all its usual fields in the index, whatever its line ends were.
COMPLETE_HEADER = MAX_FIELDS // 2
_BETWEEN = "\x00"
_ASCII_SAFE = frozenset(("", "us-ascii", "ascii", "utf-8", "utf8", "iso-8859-1", "iso-8859-15", "windows-1252"))
_IDENTITY = frozenset(("", "7bit", "8bit", "binary"))


class Source(Protocol):
    """What search needs of the mailbox service."""

    def rows(self, view: Any, uids: Sequence[int], columns: tuple[str, ...]) -> list[tuple[Any, ...]]: ...
    def read(self, location: Location, start: int = 0, length: int | None = None) -> bytes: ...
    async def read_large(self, location: Location, start: int = 0, length: int | None = None) -> bytes: ...


@dataclass(slots=True)
class Scope:
    """What is searched: `uids`, `flags` and `modseqs` run parallel and must not change but in place.

    Fuzzy keys note in `relevancy` how good a hit a position is, 1 to 100 (RFC 6203 section 4)."""

    source: Source
    view: Any
    uids: Sequence[int]
    flags: Sequence[int]
    modseqs: Sequence[int]
    count: int
    relevancy: dict[int, int] = field(default_factory=dict)
    _until: float = field(default=0.0, init=False)

    async def breathe(self) -> None:
        """Let others have their turn once ours is used up."""
        now = time.monotonic()
        if now >= self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + SLICE_SECONDS


async def evaluate(scope: Scope, key: Key, candidates: Sequence[int] | None = None) -> Sequence[int]:
    """Positions, rising, of the messages among `candidates` (default: all) that the key finds."""
    if candidates is None:
        candidates = range(scope.count)
    if not candidates:
        return ()
    await scope.breathe()
    if isinstance(key, All):
        return candidates
    if isinstance(key, And):
        for one in sorted(key.keys, key=cost):
            candidates = await evaluate(scope, one, candidates)
        return candidates
    if isinstance(key, Or):
        found: set[int] = set()
        left: Sequence[int] = candidates
        for one in sorted(key.keys, key=cost):
            found.update(await evaluate(scope, one, left))
            left = [at for at in candidates if at not in found]
        return sorted(found)
    if isinstance(key, Not):
        without = set(await evaluate(scope, key.key, candidates))
        return [at for at in candidates if at not in without]
    if isinstance(key, Flags):
        return _flags(scope, key, candidates)
    if isinstance(key, Among):
        return _among(key, candidates)
    if isinstance(key, Modseq):
        modseqs, low = scope.modseqs, key.low
        return [at for at in candidates if modseqs[at] >= low]
    if isinstance(key, Number):
        return await _number(scope, key, candidates)
    if isinstance(key, SentDay):
        return await _sent_day(scope, key, candidates)
    if isinstance(key, Header):
        return await _header(scope, key, candidates)
    return await _text(scope, key, candidates)


def _whole(scope: Scope, candidates: Sequence[int]) -> bool:
    return isinstance(candidates, range) and len(candidates) == scope.count


def _flags(scope: Scope, key: Flags, candidates: Sequence[int]) -> list[int]:
    mask, want, flags = key.mask, key.want, scope.flags
    if _whole(scope, candidates):
        if mask == want and not mask & (mask - 1):
            return [at for at, bits in zip(candidates, flags, strict=False) if bits & mask]
        return [at for at, bits in zip(candidates, flags, strict=False) if bits & mask == want]
    return [at for at in candidates if flags[at] & mask == want]


def _among(key: Among, candidates: Sequence[int]) -> Sequence[int]:
    if isinstance(candidates, range) and candidates.step == 1:
        if len(key.ranges) == 1:
            start, end = key.ranges[0]
            return range(max(start, candidates.start), min(end, candidates.stop))
        return [at for s, e in key.ranges for at in range(max(s, candidates.start), min(e, candidates.stop))]
    out = []
    starts = [start for start, _ in key.ranges]
    for at in candidates:
        index = bisect_right(starts, at) - 1
        if index >= 0 and at < key.ranges[index][1]:
            out.append(at)
    return out


async def _rows(scope: Scope, candidates: Sequence[int], columns: tuple[str, ...]) -> list[tuple[int, Any]]:
    """(position, row) of the next candidates that still exist; the caller slices."""
    uids = [scope.uids[at] for at in candidates]
    rows = scope.source.rows(scope.view, uids, columns)
    if len(rows) == len(uids):
        return list(zip(candidates, rows, strict=True))
    by_uid = {row[0]: row for row in rows}
    return [(at, by_uid[uid]) for at, uid in zip(candidates, uids, strict=True) if uid in by_uid]


async def _number(scope: Scope, key: Number, candidates: Sequence[int]) -> list[int]:
    low = key.low if key.low is not None else -(1 << 62)
    high = key.high if key.high is not None else 1 << 62
    out: list[int] = []
    for start in range(0, len(candidates), ROWS):
        await scope.breathe()
        rows = await _rows(scope, candidates[start : start + ROWS], (key.column,))
        out += [at for at, row in rows if low <= (row[1] or 0) < high]
    return out


async def _sent_day(scope: Scope, key: SentDay, candidates: Sequence[int]) -> list[int]:
    """Most are decided by the time in UTC; near the borders the Date field itself is read for its own day."""
    low = key.low if key.low is not None else -(1 << 40)
    high = key.high if key.high is not None else 1 << 40
    out: list[int] = []
    for start in range(0, len(candidates), ROWS):
        await scope.breathe()
        near: list[int] = []
        for at, row in await _rows(scope, candidates[start : start + ROWS], ("sent",)):
            if not row[1]:
                continue
            day = row[1] // DAY
            if low < day < high - 1:
                out.append(at)
            elif low - 1 <= day <= high:
                near.append(at)
        for at, row in await _rows(scope, near, ("fields", "sent")):
            if low <= _own_day(row[1], row[2]) < high:
                out.append(at)
    out.sort()
    return out


_zone = re.compile(rb"([+-])(\d\d)(\d\d)\b").search


def _own_day(fields: bytes, sent: int) -> int:
    """The day, since 1970, that a Date field names in its own zone."""
    value = field_value(fields, b"date") or b""
    found = _zone(value)
    if found and parse_date(value) is not None:
        offset = int(found[2]) * 3600 + int(found[3]) * 60
        sent += offset if found[1] == b"+" else -offset
    return sent // DAY


# ---- header fields -----------------------------------------------------------------------------------------------


class FieldCache:
    """Decoded, case-folded values of one header field for a block of messages, `budget` octets in all."""

    def __init__(self, budget: int = FIELD_BUDGET) -> None:
        self._budget = budget
        self._used = 0
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._next = 0
        self._blocks: OrderedDict[tuple[int, int, bytes, int, int], tuple[str, list[int]]] = OrderedDict()

    def key(self, view: Any, name: bytes, start: int, end: int) -> tuple[int, int, bytes, int, int]:
        """The key of a block of a view in its generation."""
        number = self._numbers.get(view)
        if number is None:
            self._next += 1
            number = self._numbers[view] = self._next
        return number, view.generation, name, start, end

    def get(self, key: tuple[int, int, bytes, int, int]) -> tuple[str, list[int]] | None:
        """A block, if it is held."""
        found = self._blocks.get(key)
        if found is not None:
            self._blocks.move_to_end(key)
        return found

    def put(self, key: tuple[int, int, bytes, int, int], block: tuple[str, list[int]]) -> None:
        """Hold a block, at the cost of the least recently used."""
        self._blocks[key] = block
        self._used += _size(block)
        while self._used > self._budget and self._blocks:
            self._used -= _size(self._blocks.popitem(last=False)[1])


def _size(block: tuple[str, list[int]]) -> int:
    return len(block[0]) * 2 + len(block[1]) * 8 + 400


_cache = FieldCache()


@lru_cache(maxsize=200)
def _field_pattern(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:^|\n)" + re.escape(name) + rb"[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.I)


def fold(text: str) -> str:
    """`text` as it is compared."""
    return text.lower() if text.isascii() else text.casefold()


def _values(fields: bytes, name: bytes) -> str:
    """All values of a field, decoded and folded; a leading blank each, so that an empty value shows."""
    found = _field_pattern(name).findall(fields)
    if not found:
        return ""
    joined = b" \x01".join(found)
    if joined.isascii() and b"=?" not in joined and b"\n" not in joined:
        return " " + joined.decode("ascii").lower().replace(_BETWEEN, "")
    return " " + fold(" \x01".join(map(decode_header, field_values(fields, name)))).replace(_BETWEEN, "")


async def _header(scope: Scope, key: Header, candidates: Sequence[int]) -> list[int]:
    if key.name.upper() not in STORED_FIELDS:
        return await _read_header(scope, key, candidates)
    needle = fold(key.text)
    if _BETWEEN in needle:
        return []
    if _whole(scope, candidates) and scope.uids is scope.view.uids:
        return await _header_blocks(scope, key, needle)
    out: list[int] = []
    for start in range(0, len(candidates), ROWS):
        await scope.breathe()
        cut: list[int] = []
        for at, row in await _rows(scope, candidates[start : start + ROWS], ("fields", "header_size")):
            value = _values(row[1], key.name)
            if value and needle in value:
                out.append(at)
            elif row[2] > COMPLETE_HEADER:
                cut.append(at)
        out += await _read_header(scope, key, cut)
    out.sort()
    return out


async def _header_blocks(scope: Scope, key: Header, needle: str) -> list[int]:
    out: list[int] = []
    generation = scope.view.generation
    for start in range(0, scope.count, BLOCK):
        await scope.breathe()
        end = min(start + BLOCK, scope.count)
        if scope.view.generation != generation:  # the array is no longer the view's: go on message by message
            return out + [
                at for at in await _header(scope, key, list(range(start, scope.count))) if at >= start
            ]
        cache_key = _cache.key(scope.view, key.name, start, end)
        block = _cache.get(cache_key)
        if block is None:
            values = [""] * (end - start)
            rows = await _rows(scope, range(start, end), ("fields", "header_size"))
            for at, row in rows:
                if row[2] > COMPLETE_HEADER:
                    break
                values[at - start] = _values(row[1], key.name)
            else:
                block = _join(values)
                if len(rows) == end - start:
                    _cache.put(cache_key, block)
        if block is None:
            out += await _header(scope, key, list(range(start, end)))
        else:
            out += [start + at for at in _hits(block, needle)]
    return out


def _join(values: list[str]) -> tuple[str, list[int]]:
    starts = []
    length = 0
    for value in values:
        starts.append(length)
        length += len(value) + 1
    return _BETWEEN.join(values), starts


def _hits(block: tuple[str, list[int]], needle: str) -> list[int]:
    text, starts = block
    if not needle:
        needle = " "  # every value that exists begins with a blank
    out: list[int] = []
    at = text.find(needle)
    while at >= 0:
        index = bisect_right(starts, at) - 1
        out.append(index)
        if index + 1 >= len(starts):
            break
        at = text.find(needle, starts[index + 1])
    return out


async def _read_header(scope: Scope, key: Header, candidates: Sequence[int]) -> list[int]:
    needle = fold(key.text)
    out: list[int] = []
    for start in range(0, len(candidates), 50):
        for at, row in await _rows(scope, candidates[start : start + 50], ("location", "header_size")):
            await scope.breathe()
            header = await _octets(scope, row[1], row[2])
            value = _values(header, key.name)
            if value and needle in value:
                out.append(at)
    return out


async def _octets(scope: Scope, location: Location, length: int) -> bytes:
    if length <= SMALL:
        return scope.source.read(location, 0, length)
    return await scope.source.read_large(location, 0, length)


# ---- text --------------------------------------------------------------------------------------------------------


async def _text(scope: Scope, key: Text, candidates: Sequence[int]) -> list[int]:
    needle = fold(key.text)
    if not needle:
        return list(candidates)
    ascii_needle = needle.encode("ascii") if needle.isascii() else b""
    out: list[int] = []
    for start in range(0, len(candidates), 50):
        rows = await _rows(scope, candidates[start : start + 50], ("location", "header_size", "parts"))
        for at, (_, location, header_size, packed) in rows:
            await scope.breathe()
            octets = await _octets(scope, location, location.size)
            if location.size > SMALL:
                hit = await asyncio.to_thread(contains, octets, packed, header_size, needle, ascii_needle, key.headers)
            else:
                hit = contains(octets, packed, header_size, needle, ascii_needle, key.headers)
            if hit:
                out.append(at)
    return out


def contains(
    octets: bytes, packed: bytes, header_size: int, needle: str, ascii_needle: bytes, headers: bool
) -> bool:
    """Whether the message's text contains the (folded) needle; `ascii_needle` is the same in octets, or empty."""
    if headers:
        head = octets[:header_size]
        if ascii_needle and ascii_needle in head.lower():
            return True
        if (b"=?" in head or not head.isascii() or b"\n " in head or b"\n\t" in head) and needle in fold(
            decode_header(head.replace(b"\r\n", b"\n ").replace(b"\n  ", b"\n "))
        ):
            return True
    return any(_part_contains(octets, part, needle, ascii_needle) for part in walk(load_parts(packed)))


def _part_contains(octets: bytes, part: Part, needle: str, ascii_needle: bytes) -> bool:
    if part.embedded is not None:
        inner = part.embedded
        head = octets[inner.header_start : inner.body_start]
        return needle in fold(decode_header(head.replace(b"\r\n", b"\n ").replace(b"\n  ", b"\n ")))
    if part.type != "text":
        return False
    if ascii_needle and part.encoding in _IDENTITY and part.charset.lower() in _ASCII_SAFE:
        body = octets[part.body_start : part.body_end]
        if ascii_needle in body.lower():
            return True
        if part.subtype != "html" and body.isascii():
            return False
    text = text_of(octets, part)
    return needle in fold(text) or (part.subtype == "html" and needle in fold(html_to_text(text)))
