"""Reads of the queue index, each in one short query.

Invariants: no query returns more than its limit; no read transaction outlives the call; walks go by key, so that
a queue of a million entries costs no more per step than one of a hundred.
"""

from __future__ import annotations

from typing import Any, Protocol

from mailstead.queue.entry import Entry, Recipient

_COLUMNS = "mid, number, address, route, due, attempts, notified, status, detail"
Key = tuple[int, int, int]
START: Key = (-1, -1, -1)


class Rows(Protocol):
    """What is needed of a shard's handle."""

    execute: Any

    def row(self, sql: str, bindings: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """First row or None."""


class QueueIndex:
    """Over one handle of the queue's index."""

    def __init__(self, shard: Rows) -> None:
        self._shard = shard

    def due(self, now: int, after: Key, limit: int) -> list[Recipient]:
        """Recipients due by ``now`` behind the key (due, mid, number), in that order."""
        rows = self._shard.execute(
            f"SELECT {_COLUMNS} FROM recipient INDEXED BY recipient_due WHERE state = 0 AND due <= ? "
            "AND (due, mid, number) > (?, ?, ?) ORDER BY due, mid, number LIMIT ?",
            (now, *after, limit),
        )
        return [Recipient(*row) for row in rows]

    def due_of_route(self, route: str, now: int, after: Key, limit: int) -> list[Recipient]:
        """The same of one route."""
        rows = self._shard.execute(
            f"SELECT {_COLUMNS} FROM recipient INDEXED BY recipient_route WHERE route = ? AND state = 0 AND due <= ? "
            "AND (due, mid, number) > (?, ?, ?) ORDER BY due, mid, number LIMIT ?",
            (route, now, *after, limit),
        )
        return [Recipient(*row) for row in rows]

    def next_route(self, after: str) -> str | None:
        """The first route behind ``after`` in the order of octets."""
        row = self._shard.row("SELECT route FROM recipient WHERE route > ? ORDER BY route LIMIT 1", (after,))
        return None if row is None else str(row[0])

    def next_due(self, now: int) -> int | None:
        """When the first recipient after ``now`` becomes due."""
        row = self._shard.row(
            "SELECT due FROM recipient INDEXED BY recipient_due WHERE state = 0 AND due > ? ORDER BY due LIMIT 1", (now,)
        )
        return None if row is None else int(row[0])

    def waits_unreached(self, route: str, now: int) -> bool:
        """True where one of the next recipients of the route waits because no host could be reached (4.4.x)."""
        rows = self._shard.execute(
            "SELECT status FROM recipient INDEXED BY recipient_route WHERE route = ? AND state = 0 AND due > ? LIMIT 20",
            (route, now),
        )
        return any(str(status).startswith("4.4.") for (status,) in rows)

    def entry(self, mid: int) -> Entry | None:
        row = self._shard.row(
            "SELECT mid, file, offset, length, coalesce(overlay, x''), external, external_size, sender, received, size "
            "FROM entry WHERE mid = ?",
            (mid,),
        )
        return None if row is None else Entry(*row)

    def recipients(self, mid: int, limit: int = 100_000) -> list[Recipient]:
        """Recipients of a message that still wait."""
        rows = self._shard.execute(f"SELECT {_COLUMNS} FROM recipient WHERE mid = ? LIMIT ?", (mid, limit))
        return [Recipient(*row) for row in rows]

    def mark(self, mid: int, number: int) -> tuple[int, str] | None:
        """``(notified, status)`` as they are now; None where the recipient is gone."""
        row = self._shard.row("SELECT notified, status FROM recipient WHERE mid = ? AND number = ?", (mid, number))
        return None if row is None else (int(row[0]), str(row[1]))

    def walk(self, after: tuple[int, int], limit: int) -> list[tuple[Recipient, str, int, int]]:
        """Recipients behind the key (mid, number) with sender, size and time of arrival of their message."""
        rows = self._shard.execute(
            "SELECT r.mid, r.number, r.address, r.route, r.due, r.attempts, r.notified, r.status, r.detail, "
            "e.sender, e.size, e.received FROM recipient r JOIN entry e ON e.mid = r.mid "
            "WHERE (r.mid, r.number) > (?, ?) ORDER BY r.mid, r.number LIMIT ?",
            (*after, limit),
        )
        return [(Recipient(*row[:9]), row[9], row[10], row[11]) for row in rows]

    def counts(self, now: int) -> tuple[int, int, int]:
        """``(messages, recipients due, recipients deferred)``; reads whole index trees, so for a thread."""
        row = self._shard.row(
            "SELECT (SELECT count(*) FROM entry), (SELECT count(*) FROM recipient WHERE state = 0 AND due <= ?1), "
            "(SELECT count(*) FROM recipient WHERE state = 0 AND due > ?1)",
            (now,),
        )
        return (0, 0, 0) if row is None else (int(row[0]), int(row[1]), int(row[2]))
