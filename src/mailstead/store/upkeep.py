"""When snapshots are taken, segments compacted and orphans removed: the background process's regular work on the store.

Invariants: a snapshot follows soon on a start after an unclean end (the log does not tell all of what came before), on
``SEGMENTS`` new segments, and on a day with any change; orphans are looked for once a day.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from mailstead.store.compaction import Compactor
from mailstead.store.orphans import Orphans
from mailstead.store.recovery import writers_of
from mailstead.store.segment import is_sealed, segment_numbers, segment_path
from mailstead.store.service import Store
from mailstead.store.snapshot import snapshots, take_snapshot

DAY = 86_400.0
SEGMENTS = 16
PAUSE = 0.005


class Upkeep:
    """``run_once`` every few minutes."""

    def __init__(self, data_dir: Path, store: Store, compactor: Compactor | None = None) -> None:
        self._store = store
        self._index = data_dir / "index"
        self._compactor = compactor or Compactor(store)
        self._orphans = Orphans(data_dir, store.indexes, store.files)
        self._orphans_at = 0.0

    async def run_once(self) -> list[str]:
        """Do what is due; returns lines for the log. Raises OSError, apsw errors, Unavailable."""
        said: list[str] = []
        commits = {number: self._store.reader(number).commit_seq() for number in self._store.indexes}
        for number in await asyncio.to_thread(self._due, commits):
            path = await asyncio.to_thread(take_snapshot, self._index, number, self._store.files, None, PAUSE)
            said.append(f"snapshot {path.name}")
        relocated = self._compactor.relocated
        removed = await self._compactor.run_once()
        if removed or self._compactor.relocated > relocated:
            said.append(f"{removed} segments removed, {self._compactor.relocated - relocated} messages moved")
        if time.monotonic() - self._orphans_at > DAY / 2 or not self._orphans_at:
            self._orphans_at = time.monotonic()
            count = await asyncio.to_thread(self._orphans.run_once)
            if count:
                said.append(f"{count} bodies that nothing names removed")
        return said

    @contextlib.contextmanager
    def thorough(self) -> Iterator[None]:
        """While this lasts, segments are rewritten of which a tenth is dead."""
        with self._compactor.thorough():
            yield

    @property
    def emptied(self) -> int:
        """Segments that wait for the last reader to forget them."""
        return self._compactor.emptied

    def _due(self, commits: dict[int, int]) -> list[int]:
        """Indexes that need a snapshot now; ``commits``: where each stands."""
        unsealed, ended = self._log_state()
        due: list[int] = []
        for number, commit in commits.items():
            known = snapshots(self._index, number)
            if not known:
                due.append(number)
                continue
            taken = known[0][1].stat().st_mtime
            old = unsealed > taken or time.time() - taken > DAY or sum(at > taken for at in ended) >= SEGMENTS
            if old and known[0][0] < commit:
                due.append(number)
        return due

    def _log_state(self) -> tuple[float, list[float]]:
        """When a segment last ended without a seal (unix time), and when each finished segment ended."""
        unsealed, ended = 0.0, []
        files, log = self._store.files, self._store.log_path
        for name in writers_of(log, files):
            for number in segment_numbers(files, log / name)[:-1]:
                path = segment_path(log, name, number)
                at = path.stat().st_mtime
                ended.append(at)
                if at > unsealed and not is_sealed(files, path):
                    unsealed = at
        return unsealed, ended

    def close(self) -> None:
        self._compactor.close()
        self._orphans.close()
