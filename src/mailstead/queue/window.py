"""The part of the queue that is in memory: recipients about to be tried or being tried.

Invariants: at most WINDOW recipients in all and ROUTE_WINDOW of a destination, whatever waits in the index; a
recipient is in at most once, from its admission until its outcome is recorded; a destination whose further
recipients were left in the index says so (``more``).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from mailstead.queue.entry import Recipient
from mailstead.queue.outcome import Outcome
from mailstead.queue.queue_index import START
from mailstead.store.engine import Key

WINDOW = 8192
ROUTE_WINDOW = 512
MAX_KNOWN = 20_000


class Destination:
    """A domain or the smart host. Times are unix seconds."""

    __slots__ = (
        "cursor",
        "down_until",
        "last_error",
        "more",
        "name",
        "pending",
        "queued",
        "recovering",
        "running",
        "settled",
        "size",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.pending: OrderedDict[int, list[Recipient]] = OrderedDict()
        self.size = 0
        self.running = 0
        self.queued = False
        self.more = False
        self.down_until = 0.0
        self.last_error: Outcome | None = None
        self.recovering = False
        self.cursor: Key = START
        self.settled: set[tuple[int, int]] = set()

    @property
    def idle(self) -> bool:
        return not (self.pending or self.running or self.more or self.recovering)

    def end_recovery(self) -> None:
        self.recovering = False
        self.settled.clear()


class Window:
    """Recipients by destination, and whose turn it is."""

    def __init__(self, size: int = WINDOW, route_size: int = ROUTE_WINDOW) -> None:
        self.size = size
        self.route_size = route_size
        self.keys: set[tuple[int, int]] = set()
        self.destinations: OrderedDict[str, Destination] = OrderedDict()
        self.ready: deque[Destination] = deque()
        self._waiters: dict[tuple[int, int], list[asyncio.Future[None]]] = {}

    def destination(self, name: str) -> Destination:
        found = self.destinations.get(name)
        if found is None:
            found = self.destinations[name] = Destination(name)
            if len(self.destinations) > MAX_KNOWN:
                self._forget_idle()
        return found

    def _forget_idle(self) -> None:
        """Let go of the oldest destinations that only their failure is remembered of."""
        for name in [name for name, found in self.destinations.items() if found.idle][: MAX_KNOWN // 10]:
            del self.destinations[name]

    @property
    def full(self) -> bool:
        return len(self.keys) >= self.size

    def room(self, destination: Destination) -> bool:
        """Whether another recipient of this destination may come in."""
        return destination.size < self.route_size and len(self.keys) < self.size

    def admit(self, recipient: Recipient, destination: Destination) -> bool:
        """Take a recipient; False where it is in already or there is no room."""
        if recipient.key in self.keys:
            return False
        if not self.room(destination):
            destination.more = True
            return False
        self.keys.add(recipient.key)
        self._append(recipient, destination)
        return True

    def again(self, recipient: Recipient, destination: Destination) -> None:
        """Put one that is in back in line."""
        self._append(recipient, destination)

    def _append(self, recipient: Recipient, destination: Destination) -> None:
        destination.pending.setdefault(recipient.mid, []).append(recipient)
        destination.size += 1
        self.offer(destination)

    def offer(self, destination: Destination) -> None:
        """Put the destination in line, if it has something to send and is not in line already."""
        if destination.pending and not destination.queued:
            destination.queued = True
            self.ready.append(destination)

    def take(self, destination: Destination, limit: int) -> list[Recipient]:
        """Up to ``limit`` recipients of the destination's next message."""
        mid, waiting = next(iter(destination.pending.items()))
        taken, left = waiting[:limit], waiting[limit:]
        if left:
            destination.pending[mid] = left
        else:
            del destination.pending[mid]
        destination.size -= len(taken)
        return taken

    def empty(self, destination: Destination) -> list[Recipient]:
        """Take all that waits for a destination, and forget what else was to be fetched for it."""
        taken = [recipient for waiting in destination.pending.values() for recipient in waiting]
        destination.pending.clear()
        destination.size = 0
        destination.more = False
        destination.end_recovery()
        return taken

    def done(self, recipient: Recipient) -> None:
        """Its outcome is recorded."""
        self.keys.discard(recipient.key)
        for waiter in self._waiters.pop(recipient.key, ()):
            if not waiter.done():
                waiter.set_result(None)

    def released(self, key: tuple[int, int]) -> asyncio.Future[None] | None:
        """None where the recipient is not in, else a future of its leaving."""
        if key not in self.keys:
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(key, []).append(future)
        return future

    def leave(self, destination: Destination) -> None:
        """Forget a destination that nothing is to be remembered of."""
        if destination.idle and destination.last_error is None and not destination.queued:
            self.destinations.pop(destination.name, None)
