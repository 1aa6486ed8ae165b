"""``QueueReads`` over SQLite: each in one short query.

Invariants: no query returns more than its limit; no read transaction outlives the call; walks go by key, so that
a queue of a million entries costs no more per step than one of a hundred.
"""

from __future__ import annotations

from typing import Any

from mailstead.store.apply_delivery import EXPANDING
from mailstead.store.engine import Key, RecipientRow
from mailstead.store.shard import Shard

_COLUMNS = "mid, number, address, route, due, attempts, notified, status, detail"


class SqliteQueueReads:
    """Over one process's reading handle of the queue's index."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def due(self, now: int, after: Key, limit: int) -> list[RecipientRow]:
        """Recipients due by ``now`` behind the key (due, mid, number), in that order."""
        rows = self._shard.execute(
            f"SELECT {_COLUMNS} FROM recipient INDEXED BY recipient_due WHERE state = 0 AND due <= ? "
            "AND (due, mid, number) > (?, ?, ?) ORDER BY due, mid, number LIMIT ?",
            (now, *after, limit),
        )
        return rows.fetchall()  # type: ignore[return-value]

    def due_of_route(self, route: str, now: int, after: Key, limit: int) -> list[RecipientRow]:
        """The same of one route."""
        rows = self._shard.execute(
            f"SELECT {_COLUMNS} FROM recipient INDEXED BY recipient_route WHERE route = ? AND state = 0 AND due <= ? "
            "AND (due, mid, number) > (?, ?, ?) ORDER BY due, mid, number LIMIT ?",
            (route, now, *after, limit),
        )
        return rows.fetchall()  # type: ignore[return-value]

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

    def later_statuses(self, route: str, now: int, limit: int) -> list[str]:
        """Last words of recipients of the route that wait beyond ``now``."""
        rows = self._shard.execute(
            "SELECT status FROM recipient INDEXED BY recipient_route WHERE route = ? AND state = 0 AND due > ? LIMIT ?",
            (route, now, limit),
        )
        return [str(status) for (status,) in rows]

    def expansions(self, after: Key, limit: int) -> list[RecipientRow]:
        """Lists and groups to be expanded, behind the key (due, mid, number), in that order, due or not."""
        rows = self._shard.execute(
            f"SELECT {_COLUMNS} FROM recipient INDEXED BY recipient_due WHERE state = {EXPANDING} "
            "AND (due, mid, number) > (?, ?, ?) ORDER BY due, mid, number LIMIT ?",
            (*after, limit),
        )
        return rows.fetchall()  # type: ignore[return-value]

    def entry(self, mid: int) -> tuple[Any, ...] | None:
        """Columns of an entry: mid, place of its octets, sender, received, size."""
        return self._shard.row(
            "SELECT mid, file, offset, length, coalesce(overlay, x''), external, external_size, sender, received, size "
            "FROM entry WHERE mid = ?",
            (mid,),
        )

    def recipients(self, mid: int, limit: int) -> list[RecipientRow]:
        """Recipients of a message that still wait; not expansions."""
        rows = self._shard.execute(f"SELECT {_COLUMNS} FROM recipient WHERE mid = ? AND state = 0 LIMIT ?", (mid, limit))
        return rows.fetchall()  # type: ignore[return-value]

    def mark(self, mid: int, number: int) -> tuple[int, str] | None:
        """``(notified, status)`` as they are now; None where the recipient is gone."""
        row = self._shard.row("SELECT notified, status FROM recipient WHERE mid = ? AND number = ?", (mid, number))
        return None if row is None else (int(row[0]), str(row[1]))

    def walk(self, after: tuple[int, int], limit: int) -> list[tuple[Any, ...]]:
        """Recipients behind the key (mid, number) with sender, size and time of arrival of their message."""
        rows = self._shard.execute(
            "SELECT r.mid, r.number, r.address, r.route, r.due, r.attempts, r.notified, r.status, r.detail, "
            "e.sender, e.size, e.received FROM recipient r JOIN entry e ON e.mid = r.mid "
            "WHERE (r.mid, r.number) > (?, ?) AND r.state = 0 ORDER BY r.mid, r.number LIMIT ?",
            (*after, limit),
        )
        return rows.fetchall()

    def counts(self, now: int) -> tuple[int, int, int]:
        """``(messages, recipients due, recipients deferred)``; reads whole index trees, so for a thread."""
        row = self._shard.row(
            "SELECT (SELECT count(*) FROM entry), (SELECT count(*) FROM recipient WHERE state = 0 AND due <= ?1), "
            "(SELECT count(*) FROM recipient WHERE state = 0 AND due > ?1)",
            (now,),
        )
        return (0, 0, 0) if row is None else (int(row[0]), int(row[1]), int(row[2]))

    def close(self) -> None:
        """Let go of the handle; only of one that is not the store's."""
        self._shard.close()
