"""Global ids from a hybrid clock.

Invariants: ids of one writer rise strictly, also over restarts and when the clock steps back (``observe`` what was
seen before); two writers never give the same id, for the writer's number is part of it.  So an id stays valid
when its object moves to another shard or node, and rows keyed by it are appended in order.

An id is 63 bits: 51 bits of microseconds since 2024-01-01, 12 bits of writer number.
"""

from __future__ import annotations

import re
import time

EPOCH = 1_704_067_200_000_000
WRITER_BITS = 12
WRITER_MASK = (1 << WRITER_BITS) - 1

_NAME = re.compile(r"([wbdc])([0-9]{1,3})\Z")
_BASE = {"w": 0, "b": 1024, "d": 2048, "c": 3072}


def writer_number(name: str) -> int:
    """The number of a writer: w0.. workers, b0.. background, d0.. dispatchers, c0.. commands. Raises ValueError."""
    match = _NAME.match(name)
    if not match:
        raise ValueError(f"not a writer's name: {name!r}")
    return _BASE[match[1]] + int(match[2])


def writer_name(number: int) -> str:
    for letter, base in _BASE.items():
        if base <= number < base + 1000:
            return f"{letter}{number - base}"
    raise ValueError(f"not a writer's number: {number}")


def id_time(id: int) -> float:
    """Unix time in seconds at which an id was given."""
    return ((id >> WRITER_BITS) + EPOCH) / 1e6


class HybridClock:
    """Gives ids: ``max(last + 1, now)`` in microseconds."""

    __slots__ = ("_last", "writer")

    def __init__(self, writer: int) -> None:
        self.writer = writer
        self._last = 0

    def observe(self, id: int) -> None:
        self._last = max(self._last, id >> WRITER_BITS)

    def next(self) -> int:
        now = time.time_ns() // 1000 - EPOCH
        self._last = now if now > self._last else self._last + 1
        return self._last << WRITER_BITS | self.writer
