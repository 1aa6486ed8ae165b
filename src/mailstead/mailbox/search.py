"""Search over the messages of a folder: a tree of keys against arrays, rows, the search index and, last, the messages.

Invariants: an answer is never wrong: what no index holds is read; comparison is substring, case ignored (Unicode case
folding), over decoded text; the loop is never held for more than some milliseconds; a tree of keys costs what its
cheapest keys leave over, because those are tried first.

How: keys are evaluated set-at-a-time over *positions* in the caller's array of UIDs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence

from mailstead.mailbox.search_fuzzy import find_fuzzy_header, find_fuzzy_text
from mailstead.mailbox.search_header import find_header
from mailstead.mailbox.search_index import find_text
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
from mailstead.mailbox.search_scope import ROWS, Scope, Source, rows_of
from mailstead.message.dates import parse_date
from mailstead.message.headers import field_value

__all__ = [
    "DAY", "All", "Among", "And", "Flags", "Header", "Key", "Modseq", "Not", "Number", "Or", "Scope", "SentDay", "Source",
    "Text", "conjunction", "evaluate",
]  # fmt: skip

DAY = 86400
#: Positions looked at in one go.
STEP = 20_000


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
            await _note(scope, found, await evaluate(scope, one, left))
            left = await _without(scope, left, found)
        return await _sliced(scope, candidates, lambda part: [at for at in part if at in found])
    if isinstance(key, Not):
        without: set[int] = set()
        await _note(scope, without, await evaluate(scope, key.key, candidates))
        return await _without(scope, candidates, without)
    if isinstance(key, Flags):
        return await _sliced(scope, candidates, lambda part: _flags(scope, key, part))
    if isinstance(key, Among):
        if isinstance(candidates, range) and candidates.step == 1:
            return _among(key, candidates)
        return await _sliced(scope, candidates, lambda part: _among(key, part))
    if isinstance(key, Modseq):
        modseqs, low = scope.modseqs, key.low
        return await _sliced(scope, candidates, lambda part: [at for at in part if modseqs[at] >= low])
    if isinstance(key, Number):
        return await _number(scope, key, candidates)
    if isinstance(key, SentDay):
        return await _sent_day(scope, key, candidates)
    return await _words(scope, key, candidates)


async def _sliced(scope: Scope, candidates: Sequence[int], pick: Callable[[Sequence[int]], Sequence[int]]) -> list[int]:
    """What `pick` leaves of the candidates, with a look at the clock now and then."""
    out: list[int] = []
    for start in range(0, len(candidates), STEP):
        await scope.breathe()
        out += pick(candidates[start : start + STEP])
    return out


async def _note(scope: Scope, into: set[int], found: Sequence[int]) -> None:
    for start in range(0, len(found), STEP):
        await scope.breathe()
        into.update(found[start : start + STEP])


async def _without(scope: Scope, candidates: Sequence[int], gone: set[int]) -> list[int]:
    return await _sliced(scope, candidates, lambda part: [at for at in part if at not in gone])


async def _words(scope: Scope, key: Header | Text, candidates: Sequence[int]) -> Sequence[int]:
    found: Sequence[int] | None = None
    if isinstance(key, Header):
        if key.fuzzy:
            found = await find_fuzzy_header(scope, key, candidates)
        return await find_header(scope, key, candidates) if found is None else found
    if key.fuzzy:
        found = await find_fuzzy_text(scope, key, candidates)
    return await find_text(scope, key, candidates) if found is None else found


def _flags(scope: Scope, key: Flags, candidates: Sequence[int]) -> list[int]:
    mask, want, flags = key.mask, key.want, scope.flags
    if isinstance(candidates, range) and candidates.step == 1:
        flags = flags[candidates.start : candidates.stop]
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


async def _number(scope: Scope, key: Number, candidates: Sequence[int]) -> list[int]:
    low = key.low if key.low is not None else -(1 << 62)
    high = key.high if key.high is not None else 1 << 62
    out: list[int] = []
    for start in range(0, len(candidates), ROWS):
        await scope.breathe()
        rows = await rows_of(scope, candidates[start : start + ROWS], (key.column,))
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
        for at, row in await rows_of(scope, candidates[start : start + ROWS], ("sent",)):
            if not row[1]:
                continue
            day = row[1] // DAY
            if low < day < high - 1:
                out.append(at)
            elif low - 1 <= day <= high:
                near.append(at)
        for at, row in await rows_of(scope, near, ("fields", "sent")):
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
