"""Verbs of many kinds in one transaction: a SystemDatabase that is the inside of a transaction of another.

Invariants:
- Everything a view reads and writes is in the one transaction it was made in; nothing is durable, and nobody else sees
  anything, before that transaction ends.
- A view is used by the thread and inside the operation that made it, and is nothing afterwards.

How it works: services built over a view run their verbs as always. Their writes are done at once on the transaction's
connection, their caches follow the history rows these leave, and an error of any verb rolls back everything.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mailstead.settings.database import Change, SystemDatabase, Transaction

T = TypeVar("T")


class TransactionView(SystemDatabase):
    """The database as it is inside a running transaction."""

    def __init__(self, outer: SystemDatabase, transaction: Transaction) -> None:
        self.path = outer.path
        self.lock = threading.RLock()
        self._listeners = []
        self._closed = False
        self._transaction = transaction
        self._reader = self._writer = transaction.connection
        self._seen = self._last_seq()
        self.generation = 0

    def close(self) -> None:
        """Nothing: the transaction ends with the operation it is of."""

    def poll(self) -> bool:
        """Tell the caches what this transaction has changed since the last look."""
        rows = self.query("SELECT seq, kind, object_id, verb FROM history WHERE seq > ? ORDER BY seq", (self._seen,))
        if not rows:
            return False
        self._seen = rows[-1][0]
        changes = [Change(*row) for row in rows]
        for listener in tuple(self._listeners):
            listener(changes)
        return True

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Run an operation as a part of the transaction."""
        return operation(self._transaction)

    def write_sync(self, operation: Callable[[Transaction], T]) -> T:
        """The same without an event loop."""
        return operation(self._transaction)


def whole(outer: SystemDatabase, work: Callable[[TransactionView], Awaitable[T]]) -> Callable[[Transaction], T]:
    """The operation that runs `work`, a coroutine function over a view, as one transaction.

    It runs in the writer thread with an event loop of its own, so `work` must not touch what belongs to another loop;
    other processes' writes wait as long as it takes.
    """

    def operation(transaction: Transaction) -> T:
        async def run() -> T:
            return await work(TransactionView(outer, transaction))

        return asyncio.run(run())

    return operation
