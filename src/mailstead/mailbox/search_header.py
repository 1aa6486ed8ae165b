"""Search in header fields.

Invariants: what the rows do not hold is read; the fields in the rows are complete where the header is not larger than
COMPLETE_HEADER.

How: decoded fields are kept per block of messages as one string, so that a repeated search is one substring scan per
block.  Fields that the rows lack are read, of the messages whose header has the needle's words in the search index.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from mailstead.mailbox.search_index import FEW, narrow_header
from mailstead.mailbox.search_keys import Header
from mailstead.mailbox.search_scope import ROWS, Scope, octets_of, rows_of
from mailstead.message.decode import decode_header
from mailstead.message.headers import field_values
from mailstead.message.index import MAX_FIELDS, STORED_FIELDS
from mailstead.store.search_text import fold

BLOCK = 512
#: Octets of decoded header fields kept per process.
FIELD_BUDGET = 16 << 20
#: A header up to this size has all its usual fields in the index, whatever its line ends were.
COMPLETE_HEADER = MAX_FIELDS // 2
_BETWEEN = "\x00"


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
        """Hold a block, at the cost of the least recently used; two searches at once may bring the same."""
        before = self._blocks.pop(key, None)
        self._used += _size(block) - (_size(before) if before is not None else 0)
        self._blocks[key] = block
        while self._used > self._budget and self._blocks:
            self._used -= _size(self._blocks.popitem(last=False)[1])


def _size(block: tuple[str, list[int]]) -> int:
    return len(block[0]) * 2 + len(block[1]) * 8 + 400


_cache = FieldCache()


@lru_cache(maxsize=200)
def _field_pattern(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:^|\n)" + re.escape(name) + rb"[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.I)


def _values(fields: bytes, name: bytes) -> str:
    """All values of a field, decoded and folded; a leading blank each, so that an empty value shows."""
    found = _field_pattern(name).findall(fields)
    if not found:
        return ""
    joined = b" \x01".join(found)
    if joined.isascii() and b"=?" not in joined and b"\n" not in joined:
        return " " + joined.decode("ascii").lower().replace(_BETWEEN, "")
    return " " + fold(" \x01".join(map(decode_header, field_values(fields, name)))).replace(_BETWEEN, "")


async def find_header(scope: Scope, key: Header, candidates: Sequence[int]) -> list[int]:
    if key.name.upper() not in STORED_FIELDS:
        return await _read_header(scope, key, candidates)
    needle = fold(key.text)
    if _BETWEEN in needle:
        return []
    if scope.is_whole(candidates) and scope.uids is scope.view.uids:
        return await _header_blocks(scope, key, needle)
    out: list[int] = []
    for start in range(0, len(candidates), ROWS):
        await scope.breathe()
        cut: list[int] = []
        for at, row in await rows_of(scope, candidates[start : start + ROWS], ("fields", "header_size")):
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
            return out + [at for at in await find_header(scope, key, list(range(start, scope.count))) if at >= start]
        cache_key = _cache.key(scope.view, key.name, start, end)
        block = _cache.get(cache_key)
        if block is None:
            values = [""] * (end - start)
            rows = await rows_of(scope, range(start, end), ("fields", "header_size"))
            large = []
            for at, row in rows:
                if row[2] > COMPLETE_HEADER:
                    large.append(at)
                else:
                    values[at - start] = _values(row[1], key.name)
            for at, row in await rows_of(scope, large, ("location", "header_size")):
                await scope.breathe()
                values[at - start] = _values(await octets_of(scope, row[1], row[2]), key.name)
            block = _join(values)
            if len(rows) == end - start:
                _cache.put(cache_key, block)
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


async def header_values(scope: Scope, name: bytes, candidates: Sequence[int]) -> AsyncIterator[tuple[int, str]]:
    """(position, decoded and folded values) of the candidates that have the field."""
    stored = name.upper() in STORED_FIELDS
    columns = ("header_size", "fields") if stored else ("header_size", "location")
    for start in range(0, len(candidates), 50):
        for at, row in await rows_of(scope, candidates[start : start + 50], columns):
            await scope.breathe()
            if not stored:
                value = _values(await octets_of(scope, row[2], row[1]), name)
            elif row[1] <= COMPLETE_HEADER:
                value = _values(row[2], name)
            else:
                value = ""
                for _at, whole in await rows_of(scope, [at], ("location",)):
                    value = _values(await octets_of(scope, whole[1], row[1]), name)
            if value:
                yield at, value


async def _read_header(scope: Scope, key: Header, candidates: Sequence[int]) -> list[int]:
    needle = fold(key.text)
    if len(candidates) > FEW:
        candidates = await narrow_header(scope, key, candidates)
    out: list[int] = []
    for start in range(0, len(candidates), 50):
        for at, row in await rows_of(scope, candidates[start : start + 50], ("location", "header_size")):
            await scope.breathe()
            header = await octets_of(scope, row[1], row[2])
            value = _values(header, key.name)
            if value and needle in value:
                out.append(at)
    return out
