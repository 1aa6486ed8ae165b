"""One coarse timer for all connections of an event loop.

Invariants: a deadline fires at or after its time and at most `TICK` plus one loop turn late; moving a deadline later
costs one attribute store and no allocation; an entry lies in one bucket at most, and `forget` lets go of it at once (a
closed connection must not stay in memory until its idle time would have been over).

How: entries lie in buckets by tick. A later deadline leaves the entry where it is; when the bucket comes due the
entry is put where it belongs by then. An earlier deadline moves it at once.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

TICK = 0.5


class Timed(Protocol):
    """What the wheel holds: `deadline` in loop seconds (0 = none), `bucket` belongs to the wheel (-1 = absent)."""

    deadline: float
    bucket: int

    def deadline_reached(self, now: float) -> None:
        """The deadline has passed; it has been cleared before the call."""


class Wheel:
    """Deadlines of one event loop."""

    __slots__ = ("_buckets", "_handle", "_last", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, dict[int, Timed]] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._last = int(loop.time() / TICK)

    def watch(self, entry: Timed) -> None:
        """Make sure that `entry` is looked at by its deadline."""
        bucket = max(int(entry.deadline / TICK) + 1, self._last + 1)
        if entry.bucket >= 0:
            if entry.bucket <= bucket:
                return
            self.forget(entry)
        entry.bucket = bucket
        self._buckets.setdefault(bucket, {})[id(entry)] = entry
        if self._handle is None:
            self._last = int(self._loop.time() / TICK)
            self._handle = self._loop.call_later(TICK, self._tick)

    def forget(self, entry: Timed) -> None:
        """Look at `entry` no more; it may be watched again."""
        bucket = self._buckets.get(entry.bucket)
        if bucket is not None:
            bucket.pop(id(entry), None)
        entry.bucket = -1

    def _tick(self) -> None:
        now = self._loop.time()
        current = int(now / TICK)
        first, self._last = self._last + 1, current
        buckets = self._buckets
        # After a long stall (suspended machine) there are fewer buckets than ticks missed.
        due = range(first, current + 1) if current - first < 4096 else sorted(b for b in buckets if b <= current)
        for number in due:
            for entry in list(buckets.pop(number, {}).values()):
                if entry.bucket != number:
                    continue  # an entry before it in this bucket has closed it
                entry.bucket = -1
                if entry.deadline <= 0:
                    continue
                if entry.deadline <= now:
                    entry.deadline = 0.0
                    entry.deadline_reached(now)
                else:
                    self.watch(entry)
        self._handle = self._loop.call_later(TICK, self._tick) if buckets else None


_wheel: tuple[asyncio.AbstractEventLoop, Wheel] | None = None


def wheel_of(loop: asyncio.AbstractEventLoop) -> Wheel:
    """The wheel of `loop`; a process runs one loop at a time, so the last one used is all that is remembered."""
    global _wheel
    if _wheel is None or _wheel[0] is not loop:
        _wheel = (loop, Wheel(loop))
    return _wheel[1]
