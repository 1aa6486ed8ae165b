"""Which UIDs of a set are gone (RFC 7162 section 3.2.10), told from those that are there.

Invariants: every UID of the set that no message has is in the answer, and no other; the RFC allows more UIDs than
were expunged since the client's modseq, so that no history is needed.  The answer has as many ranges as there are
gaps, whatever the numbers, and so are the steps to it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from mailstead.imap.sequence_set import STAR


def _gaps(low: int, high: int, uids: Sequence[int], count: int) -> Iterable[tuple[int, int]]:
    """Closed ranges within [low, high] that hold no UID."""
    start = bisect_left(uids, low, 0, count)
    end = bisect_right(uids, high, start, count)
    if end - start == high - low + 1:
        return
    following = low
    at = start
    while at < end:
        if uids[at] != following:
            yield following, uids[at] - 1
        at = _end_of_run(uids, at, end)
        following = uids[at - 1] + 1
    if following <= high:
        yield following, high


def _end_of_run(uids: Sequence[int], start: int, end: int) -> int:
    """Where the UIDs that follow each other without a gap from `start` on end; in steps that double, then by bisection."""
    offset, step, at = uids[start] - start, 1, start
    while at + step < end and uids[at + step] - (at + step) == offset:
        at += step
        step *= 2
    while step:
        if at + step < end and uids[at + step] - (at + step) == offset:
            at += step
        step //= 2
    return at + 1


def missing(pairs: Iterable[tuple[int, int]], uids: Sequence[int], count: int, uidnext: int, floor: int = 0) -> bytes:
    """UIDs of a set, above `floor` and below `uidnext`, that are not among the first `count` of `uids`."""
    newest = uidnext - 1
    wanted: list[tuple[int, int]] = []
    for first, last in pairs:
        low, high = (newest if first == STAR else first), (newest if last == STAR else last)
        if low > high:
            low, high = high, low
        low, high = max(low, floor + 1, 1), min(high, newest)
        if low <= high:
            wanted.append((low, high))
    out: list[str] = []
    done = 0
    for low, high in sorted(wanted):
        low = max(low, done + 1)
        if low > high:
            continue
        done = high
        out += [f"{a}" if a == b else f"{a}:{b}" for a, b in _gaps(low, high, uids, count)]
    return ",".join(out).encode("ascii")
