"""Counters by domain and day: mail received and sent, logins (SHOW AccountingStatistics).

Invariants: counting is a dictionary's work; what is counted becomes durable with `flush`, once a minute and at an orderly end, so
a crash may lose the last minute's figures, and nothing else; days are UTC.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mailstead.settings.database import SystemDatabase, Transaction

RECEIVED, SENT, LOGINS = "received", "sent", "logins"
MAX_WAITING = 100_000
KEEP_DAYS = 3 * 366
DAY = 86_400


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One day of one domain; `day` in days since 1970."""

    domain_id: int
    day: int
    received: int = 0
    received_octets: int = 0
    sent: int = 0
    sent_octets: int = 0
    logins: int = 0


class Accounting:
    """One per process counts; any may read."""

    def __init__(self, database: SystemDatabase, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._waiting: dict[tuple[int, int, str], list[int]] = {}

    def count(self, domain_id: int, what: str, number: int = 1, octets: int = 0) -> None:
        """Add to today's figures."""
        key = (domain_id, int(self._clock()) // DAY, what)
        found = self._waiting.get(key)
        if found is None:
            if len(self._waiting) >= MAX_WAITING:
                return  # the database was not to be written for very long
            self._waiting[key] = [number, octets]
        else:
            found[0] += number
            found[1] += octets

    async def flush(self) -> None:
        """Make what was counted durable. Raises SystemDatabaseError; then it is kept for the next time."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        oldest = int(self._clock()) // DAY - KEEP_DAYS

        def operation(transaction: Transaction) -> None:
            transaction.executemany(
                "INSERT INTO accounting (domain_id, day, what, number, octets) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (domain_id, day, what) DO UPDATE "
                "SET number = number + excluded.number, octets = octets + excluded.octets",
                [(*key, *figures) for key, figures in waiting.items()],
            )
            transaction.execute("DELETE FROM accounting WHERE day < ?", (oldest,))

        try:
            await self._database.write(operation)
        except BaseException:
            for (domain_id, day, what), figures in waiting.items():
                found = self._waiting.setdefault((domain_id, day, what), [0, 0])
                found[0] += figures[0]
                found[1] += figures[1]
            raise

    def days(self, domain_id: int = 0, since: int = 0, until: int = 2**31) -> list[DayFigures]:
        """Durable figures of a domain (0: of all) between two days, these included; the oldest first."""
        where, values = "day BETWEEN ? AND ?", [since, until]
        if domain_id:
            where, values = f"{where} AND domain_id = ?", [*values, domain_id]
        rows = self._database.query(f"SELECT domain_id, day, what, number, octets FROM accounting WHERE {where}", values)
        found: dict[tuple[int, int], dict[str, int]] = {}
        for domain, day, what, number, octets in rows:
            figures = found.setdefault((int(day), int(domain)), {})
            figures[what] = int(number)
            if what in (RECEIVED, SENT):
                figures[f"{what}_octets"] = int(octets)
        known = DayFigures.__dataclass_fields__
        return [
            DayFigures(domain, day, **{name: value for name, value in figures.items() if name in known})
            for (day, domain), figures in sorted(found.items())
        ]
