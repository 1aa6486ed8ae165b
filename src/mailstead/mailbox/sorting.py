"""Sorting messages (RFC 5256, RFC 5957) by what the index holds of them; knows no protocol.

Invariants: messages that are equal in all criteria come in the order of the mailbox, whatever is reversed; the loop is
never held for more than some milliseconds, whatever the number of messages.

How: rows are read in slices; text becomes its collation's key, and where it is to be reversed the negative of its rank.
`sorted_slowly` sorts many values in buckets of which each takes a moment only (a thread would not help: sorting
holds the interpreter's lock from beginning to end).
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, total_ordering
from typing import Any

from mailstead.mailbox.collation import MAX_KEPT, sort_key
from mailstead.mailbox.search_scope import ROWS, Scope, rows_of
from mailstead.message.addresses import parse_addresses
from mailstead.message.encoded_words import decode_words
from mailstead.message.headers import field_value, unfold

#: The criteria of RFC 5256 section 3, RFC 5957 and RFC 6203, and the columns they need.
CRITERIA: dict[str, tuple[str, ...]] = {
    "arrival": ("date",),
    "cc": ("sort_cc",),
    "date": ("sent", "date"),
    "displayfrom": ("fields",),
    "displayto": ("fields",),
    "from": ("sort_from",),
    "relevancy": (),
    "size": ("size",),
    "subject": ("subject_base",),
    "to": ("sort_to",),
}
_TEXT = frozenset(("cc", "displayfrom", "displayto", "from", "subject", "to"))
#: Values sorted in one go: about a millisecond.
BUCKET = 2000
MAX_ADDRESSES = 4096
#: Told how many of how many messages have been read.
Note = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One of CRITERIA. `reverse`: in descending order."""

    name: str
    reverse: bool = False


@total_ordering
class Reversed:
    """A text that compares the other way round."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reversed) and self.text == other.text

    def __lt__(self, other: Reversed) -> bool:
        return other.text < self.text

    def __hash__(self) -> int:
        return hash(self.text)


def display_key(value: bytes) -> str:
    """RFC 5957 section 3: the name of the first address, or the address itself, of an address field's raw value."""
    for entry in parse_addresses(unfold(value[:MAX_ADDRESSES])):
        if entry.name:
            return sort_key(decode_words(entry.name))
        if entry.mailbox:
            if entry.host is None:  # the name of a group
                return sort_key(decode_words(entry.mailbox))
            return sort_key((entry.mailbox + b"@" + entry.host).decode("utf-8", "replace"))
    return ""


_kept_display_key = lru_cache(maxsize=4096)(display_key)


def _display_key(value: bytes) -> str:
    return _kept_display_key(value) if len(value) <= MAX_KEPT else display_key(value)


def _value_of(name: str, first: int) -> Callable[[tuple[Any, ...]], Any]:
    """What a criterion compares, from a row in which its columns begin at `first`."""
    if name in ("arrival", "size"):
        return lambda row: row[first]
    if name == "date":
        return lambda row: row[first] or row[first + 1]  # RFC 5256 section 2.2
    if name in ("displayfrom", "displayto"):
        field = name.removeprefix("display").encode()
        return lambda row: _display_key((field_value(row[first], field) or b"").strip())
    return lambda row: sort_key(row[first])


async def keys_of(
    scope: Scope, criteria: Sequence[Criterion], positions: Sequence[int], note: Note | None = None
) -> tuple[list[int], list[list[Any]]]:
    """The positions of those messages that still exist, and for each criterion a list of values that runs parallel;
    numbers are negated already where they are to be reversed."""
    columns: list[str] = []
    makers: list[Callable[[int, tuple[Any, ...]], Any]] = []
    for criterion in criteria:
        if criterion.name == "relevancy":
            # RFC 6203 section 5: the best first.
            sign = 1 if criterion.reverse else -1
            makers.append(lambda at, row, sign=sign: sign * scope.relevancy.get(at, 0))  # type: ignore[misc]
            continue
        value = _value_of(criterion.name, len(columns) + 1)
        columns += CRITERIA[criterion.name]
        if criterion.reverse and criterion.name not in _TEXT:
            makers.append(lambda at, row, value=value: -value(row))  # type: ignore[misc]
        else:
            makers.append(lambda at, row, value=value: value(row))  # type: ignore[misc]
    there: list[int] = []
    found: list[list[Any]] = [[] for _ in criteria]
    step = ROWS if "fields" not in columns else ROWS // 4
    for start in range(0, len(positions), step):
        await scope.breathe()
        if note is not None:
            note(start, len(positions))
        rows = await rows_of(scope, positions[start : start + step], tuple(columns) or ("size",))
        there += [at for at, _ in rows]
        for values, make in zip(found, makers, strict=True):
            values += [make(at, row) for at, row in rows]
    return there, found


async def comparables(
    scope: Scope, criteria: Sequence[Criterion], positions: Sequence[int], uids: Sequence[int]
) -> dict[int, tuple[Any, ...]]:
    """By UID, for each message that still exists, a key by which it compares with others at any time."""
    there, columns = await keys_of(scope, criteria, positions)
    made: dict[int, tuple[Any, ...]] = {}
    for start in range(0, len(there), BUCKET // 4):
        await scope.breathe()
        for number in range(start, min(start + BUCKET // 4, len(there))):
            uid = uids[there[number]]
            made[uid] = comparable(criteria, [values[number] for values in columns], uid)
    return made


def comparable(criteria: Sequence[Criterion], values: Sequence[Any], uid: int) -> tuple[Any, ...]:
    """A key by which a message compares with others at any time."""
    made = [
        Reversed(value) if criterion.reverse and criterion.name in _TEXT else value
        for criterion, value in zip(criteria, values, strict=True)
    ]
    return (*made, uid)


async def sorted_slowly(values: Iterable[Any], breathe: Callable[[], Awaitable[None]]) -> list[Any]:
    """`sorted`, a bucket at a time."""
    items = list(values)
    if len(items) <= BUCKET:
        items.sort()
        return items
    sample = random.Random(len(items)).sample(items, min(len(items), 16 * (len(items) // BUCKET + 1)))
    if len(sample) > BUCKET:
        sample = await sorted_slowly(sample, breathe)
    else:
        sample.sort()
    splitters = sample[8::16]
    buckets: list[list[Any]] = [[] for _ in range(len(splitters) + 1)]
    for start in range(0, len(items), BUCKET):
        await breathe()
        for item in items[start : start + BUCKET]:
            buckets[bisect_right(splitters, item)].append(item)
    out: list[Any] = []
    for bucket in buckets:
        await breathe()
        bucket.sort()
        out += bucket
    return out


async def sort_positions(
    scope: Scope, criteria: Sequence[Criterion], positions: Sequence[int], note: Note | None = None
) -> list[int]:
    """The positions in the order of the criteria; messages that are gone meanwhile are left out."""
    there, columns = await keys_of(scope, criteria, positions, note)
    slices = [slice(start, start + BUCKET) for start in range(0, len(there), BUCKET)]
    for index, criterion in enumerate(criteria):
        if criterion.reverse and criterion.name in _TEXT:
            columns[index] = await _negative_ranks(columns[index], scope.breathe)
    keys: list[tuple[Any, ...]] = []
    for part in slices:
        await scope.breathe()
        keys += zip(*(values[part] for values in columns), there[part], strict=True)
    keys = await sorted_slowly(keys, scope.breathe)
    ordered: list[int] = []
    for part in slices:
        await scope.breathe()
        ordered += [key[-1] for key in keys[part]]
    return ordered


async def _negative_ranks(texts: list[str], breathe: Callable[[], Awaitable[None]]) -> list[int]:
    """Numbers that compare as the texts do, the other way round."""
    different: set[str] = set()
    for start in range(0, len(texts), BUCKET):
        await breathe()
        different.update(texts[start : start + BUCKET])
    ordered = await sorted_slowly(different, breathe)
    rank: dict[str, int] = {}
    for start in range(0, len(ordered), BUCKET):
        await breathe()
        rank.update({text: -number for number, text in enumerate(ordered[start : start + BUCKET], start)})
    found: list[int] = []
    for start in range(0, len(texts), BUCKET):
        await breathe()
        found += [rank[text] for text in texts[start : start + BUCKET]]
    return found
