"""How long an event loop is held at a time, counted in calls and not in time.

A machine's load, a slow processor and the interpreter's collection of garbage make a callback take longer than the code
asks for; the calls it makes are the same everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Iterator
from types import FrameType


class Turns:
    """What was counted: ``longest`` is the most calls, of Python's and of built-in functions, that one callback made."""

    def __init__(self) -> None:
        self.longest = 0
        self._calls = 0

    def run(self, handle: asyncio.Handle) -> None:
        """One callback of the loop, or one step of a task; what threads do meanwhile is not looked at."""
        self._calls = 0
        sys.setprofile(self._count)
        try:
            _RUN(handle)
        finally:
            sys.setprofile(None)
            self.longest = max(self.longest, self._calls)

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            self._calls += 1


_RUN = asyncio.Handle._run


@contextlib.contextmanager
def counted_turns() -> Iterator[Turns]:
    """Count the callbacks that begin while the block runs. Garbage waits meanwhile: what is told when objects of other tests go
    would be counted too."""
    turns = Turns()
    collecting = gc.isenabled()
    gc.disable()
    asyncio.Handle._run = lambda handle: turns.run(handle)  # type: ignore[method-assign]
    try:
        yield turns
    finally:
        asyncio.Handle._run = _RUN  # type: ignore[method-assign]
        if collecting:
            gc.enable()
    assert turns.longest, "this loop is not asyncio's own: nothing was counted"
