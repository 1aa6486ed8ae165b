"""Turns among large messages, so that many of them at once do not keep small ones waiting.

Invariants: in one turn of the event loop at most `AT_ONCE` sessions get to take their next piece of a spooled
message, first come first served; who waits holds its connection, so at most one more piece of it is in memory.

Why: a piece of 256 KB takes about half a millisecond; fifty at once would add 25 milliseconds to each of the
four or five turns that a small message needs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

AT_ONCE = 2


class Turns:
    """One for each process."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def next(self, proceed: Callable[[], None]) -> None:
        """Have `proceed` called when it is the caller's turn, never at once."""
        self._waiting.append(proceed)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        waiting = self._waiting
        for _ in range(min(AT_ONCE, len(waiting))):
            waiting.popleft()()
        self._scheduled = bool(waiting)
        if waiting:
            asyncio.get_running_loop().call_soon(self._run)

    async def turn(self) -> None:
        """Wait for a turn."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.next(lambda: None if future.done() else future.set_result(None))
        await future
