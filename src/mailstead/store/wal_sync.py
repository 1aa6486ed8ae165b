"""One sync of an index's write-ahead log for all who need it.

Invariant: ``wait(commit)`` lets go only when a sync that began after commit ``commit`` has succeeded, or another
process has said so in the shared marks.  A failed sync is passed on to everyone who waited for it, and from then on
this process shows nothing younger than the last good mark.
"""

from __future__ import annotations

import asyncio

from mailstead.store.shard import Shard, SharedMarks
from mailstead.store.threads import WorkerThread


class WalSync:
    def __init__(self, reader: Shard, marks: SharedMarks, thread: WorkerThread, loop: asyncio.AbstractEventLoop) -> None:
        self._reader = reader
        self._marks = marks
        self._thread = thread
        self._loop = loop
        self._running = False
        self._waiting: list[asyncio.Future[None]] = []

    def is_durable(self, commit: int) -> bool:
        return self._marks.synced(self._reader.number) >= commit

    def wait(self, commit: int) -> asyncio.Future[None] | None:
        """A future done when commit ``commit`` is durable, or None where it is already."""
        if self._marks.synced(self._reader.number) >= commit:
            return None
        future = self._loop.create_future()
        self._waiting.append(future)
        if not self._running:
            self._start()
        return future

    def _start(self) -> None:
        self._running = True
        waiting, self._waiting = self._waiting, []
        covered = self._reader.commit_seq()

        def done(_: object, error: BaseException | None) -> None:
            self._running = False
            if error is None:
                self._marks.raise_to(self._reader.number, covered)
            for future in waiting:
                if future.done():
                    continue
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
            if self._waiting:
                self._start()

        self._thread.submit(self._reader.sync_wal, done)
