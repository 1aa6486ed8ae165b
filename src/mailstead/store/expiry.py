"""Forgetting what was deleted, after the retention time.

Invariants: only the background process forgets; each transaction takes a few hundred rows at most; a change sequence
older than ``CHANGE_ROWS`` entries of a folder may go, and a client that knows less is told to start anew.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw

from mailstead.store.apply_folders import purge_expunged
from mailstead.store.files import Files
from mailstead.store.shard import Shard

BATCH = 200
PAUSE = 0.02


class Expiry:
    """``retention`` in seconds. Opens handles of its own; call ``run_once`` now and then."""

    def __init__(self, index: Path, shards: list[int], retention: int, files: Files | None = None, vfs: str | None = None) -> None:
        self._handles = [Shard(index, number, files or Files(), vfs) for number in shards]
        self.retention = retention

    def _purge(self, shard: Shard, before: int) -> int:
        shard.begin()
        try:
            count = purge_expunged(shard, before, BATCH)
            shard.commit()
        except BaseException:
            shard.rollback()
            raise
        return count

    async def run_once(self, now: float | None = None) -> int:
        """Forget all that is due; returns how many messages."""
        before = int((time.time() if now is None else now) - self.retention)
        total = 0
        for shard in self._handles:
            while True:
                try:
                    count = await asyncio.to_thread(self._purge, shard, before)
                except apsw.BusyError:
                    await asyncio.sleep(PAUSE)
                    continue
                total += count
                if count < BATCH:
                    break
                await asyncio.sleep(PAUSE)
        return total

    def close(self) -> None:
        for shard in self._handles:
            shard.close()
