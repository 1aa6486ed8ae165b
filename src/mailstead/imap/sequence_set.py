"""Message sets: `1:5,7,*` (RFC 9051 sequence-set) against an array of UIDs.

Invariants: a set is resolved to sorted, disjoint, half-open ranges of positions in the array, so that `1:*` costs
the same for one message as for a million; no list of numbers is ever made from what a client wrote.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from mailstead.imap.grammar import MAX_NUMBER, BadSyntax

Ranges = list[tuple[int, int]]
"""Half-open ranges of positions, sorted and disjoint."""

#: Stands for "*" in a parsed set.
STAR = 0


@lru_cache(maxsize=512)
def _parse_short(octets: bytes) -> tuple[tuple[int, int], ...]:
    return _parse(octets)


def _number(octets: bytes) -> int:
    if octets == b"*":
        return STAR
    if not octets.isdigit() or len(octets) > 10:
        raise BadSyntax("Invalid message set")
    value = int(octets)
    if not 1 <= value <= MAX_NUMBER:
        raise BadSyntax("Invalid message set")
    return value


def _parse(octets: bytes) -> tuple[tuple[int, int], ...]:
    ranges = []
    for piece in octets.split(b","):
        first, colon, last = piece.partition(b":")
        low = _number(first)
        ranges.append((low, _number(last) if colon else low))
    return tuple(ranges)


def parse(octets: bytes) -> tuple[tuple[int, int], ...]:
    """The (first, last) pairs of a set as written, STAR (0) for "*". Raises BadSyntax."""
    return _parse_short(octets) if len(octets) <= 64 else _parse(octets)


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sort half-open ranges and join those that touch."""
    out: Ranges = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if out and start <= out[-1][1]:
            if end > out[-1][1]:
                out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def by_number(pairs: Iterable[tuple[int, int]], count: int) -> Ranges:
    """Positions of message sequence numbers in a mailbox of `count` messages.

    Raises BadSyntax for a number beyond it (RFC 9051 section 9, seq-number); `count+1:*` is let pass as empty,
    because clients ask so for what is new.
    """
    out = []
    for first, last in pairs:
        if STAR in (first, last):
            other = first or last
            if other == count + 1:
                continue
            low, high = other or count, count
            if low > high or count == 0:
                raise BadSyntax("No such message")
        else:
            low, high = (first, last) if first <= last else (last, first)
            if high > count:
                raise BadSyntax("No such message")
        out.append((low - 1, high))
    return merge(out)


def by_uid(pairs: Iterable[tuple[int, int]], uids: Sequence[int], count: int) -> Ranges:
    """Positions of the UIDs in the set among the first `count` of `uids`; UIDs that are not there are ignored."""
    if count == 0:
        return []
    newest = uids[count - 1]
    out = []
    for first, last in pairs:
        low, high = first or newest, last or newest
        if low > high:
            low, high = high, low
        start = bisect_left(uids, low, 0, count)
        out.append((start, bisect_right(uids, high, start, count)))
    return merge(out)


def from_positions(positions: Sequence[int]) -> Ranges:
    """Ranges of rising positions."""
    if not positions:
        return []
    if positions[-1] - positions[0] + 1 == len(positions):
        return [(positions[0], positions[-1] + 1)]
    out: Ranges = []
    start = positions[0]
    for before, after in pairwise(positions):
        if after != before + 1:
            out.append((start, before + 1))
            start = after
    out.append((start, positions[-1] + 1))
    return out


def total(ranges: Ranges) -> int:
    """Number of positions in `ranges`."""
    return sum(end - start for start, end in ranges)


def uids_of(ranges: Ranges, uids: Sequence[int]) -> list[int]:
    """The UIDs at the positions in `ranges`, rising."""
    out: list[int] = []
    for start, end in ranges:
        out += uids[start:end]
    return out


def compact(numbers: Sequence[int]) -> bytes:
    """A set as short as it gets for numbers in the order given: runs of consecutive ones become `a:b`."""
    if not numbers:
        return b""
    first, last = numbers[0], numbers[-1]
    if last - first + 1 == len(numbers) and (len(numbers) < 3 or all(b == a + 1 for a, b in pairwise(numbers))):
        return b"%d" % first if first == last else b"%d:%d" % (first, last)
    out: list[str] = []
    start = before = first
    for number in numbers[1:]:
        if number != before + 1:
            out.append(f"{start}" if start == before else f"{start}:{before}")
            start = number
        before = number
    out.append(f"{start}" if start == before else f"{start}:{before}")
    return ",".join(out).encode("ascii")
