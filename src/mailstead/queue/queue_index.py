"""The queue's index as the dispatcher and its verbs see it: rows as values.

Invariants: those of store/engine.py; no call returns more than its limit, so that a queue of a million entries costs no
more per step than one of a hundred.
"""

from __future__ import annotations

from mailstead.queue.entry import Entry, Recipient
from mailstead.store.engine import Key, QueueReads

START: Key = (-1, -1, -1)
_SAMPLE = 20


class QueueIndex:
    """Over the engine's reads of the queue (``Store.queue_index``)."""

    def __init__(self, reads: QueueReads) -> None:
        self._reads = reads

    def due(self, now: int, after: Key, limit: int) -> list[Recipient]:
        """Recipients due by ``now`` behind the key (due, mid, number), in that order."""
        return [Recipient(*row) for row in self._reads.due(now, after, limit)]

    def due_of_route(self, route: str, now: int, after: Key, limit: int) -> list[Recipient]:
        """The same of one route."""
        return [Recipient(*row) for row in self._reads.due_of_route(route, now, after, limit)]

    def next_route(self, after: str) -> str | None:
        """The first route behind ``after`` in the order of octets."""
        return self._reads.next_route(after)

    def next_due(self, now: int) -> int | None:
        """When the first recipient after ``now`` becomes due."""
        return self._reads.next_due(now)

    def waits_unreached(self, route: str, now: int) -> bool:
        """True where one of the next recipients of the route waits because no host could be reached (4.4.x)."""
        return any(status.startswith("4.4.") for status in self._reads.later_statuses(route, now, _SAMPLE))

    def expansions(self, after: Key, limit: int) -> list[Recipient]:
        """Lists and groups to be expanded, behind the key (due, mid, number), in that order."""
        return [Recipient(*row) for row in self._reads.expansions(after, limit)]

    def entry(self, mid: int) -> Entry | None:
        """A message in the queue."""
        row = self._reads.entry(mid)
        return None if row is None else Entry(*row)

    def recipients(self, mid: int, limit: int = 100_000) -> list[Recipient]:
        """Recipients of a message that still wait."""
        return [Recipient(*row) for row in self._reads.recipients(mid, limit)]

    def mark(self, mid: int, number: int) -> tuple[int, str] | None:
        """``(notified, status)`` as they are now; None where the recipient is gone."""
        return self._reads.mark(mid, number)

    def walk(self, after: tuple[int, int], limit: int) -> list[tuple[Recipient, str, int, int]]:
        """Recipients behind the key (mid, number) with sender, size and time of arrival of their message."""
        return [(Recipient(*row[:9]), row[9], row[10], row[11]) for row in self._reads.walk(after, limit)]

    def counts(self, now: int) -> tuple[int, int, int]:
        """``(messages, recipients due, recipients deferred)``; reads whole index trees, so for a thread."""
        return self._reads.counts(now)
