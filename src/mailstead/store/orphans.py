"""Bodies in files of their own that nothing names any more.

Invariants: a file goes only when it is older than ``age`` seconds, no row of any index named it in two rounds one after
the other, and every index was asked twice in each round, in opposite orders (a message may be on its way from one to
another).  Spools that a crash left behind go the same way.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from mailstead.store.backup.hold import removing
from mailstead.store.files import Files
from mailstead.store.recovery import writers_of
from mailstead.store.segment import external_path
from mailstead.store.shard import Shard

AGE = 3600.0
SLICE = 5000


class Orphans:
    """``run_once`` blocks: call it in a thread, once in a while."""

    def __init__(self, data_dir: Path, numbers: list[int], files: Files, *, age: float = AGE, vfs: str | None = None) -> None:
        self._log = data_dir / "log"
        self._index = data_dir / "index"
        self._files = files
        self._age = age
        self._shards = [Shard(data_dir / "index", number, files, vfs) for number in numbers]
        self._suspects: set[int] = set()

    def run_once(self) -> int:
        """Remove what was unnamed last time and still is; returns how many files. Raises OSError, apsw errors."""
        known = self._old_files()
        named = self._named()
        unnamed = known - named
        doomed = unnamed & self._suspects
        self._suspects = unnamed - doomed
        folders = set()
        with removing(self._index) as allowed:
            if not allowed:  # a backup is reading
                return 0
            for external in doomed:
                path = external_path(self._log, external)
                self._files.unlink(path)
                folders.add(path.parent)
        for folder in folders:
            self._files.sync_directory(folder)
        return len(doomed)

    def _old_files(self) -> set[int]:
        found: set[int] = set()
        for name in writers_of(self._log, self._files):
            try:
                entries = list(os.scandir(self._log / name / "x"))
            except FileNotFoundError:
                continue
            for entry in entries:
                if entry.name.endswith(".mext") and time.time() - entry.stat().st_mtime > self._age:
                    found.add(int(entry.name[:-5], 16))
        return found

    def _named(self) -> set[int]:
        named: set[int] = set()
        for shard in (*self._shards, *reversed(self._shards)):
            table = "entry" if shard.is_queue else "wide"
            last = 0
            while True:
                rows: list[Any] = shard.execute(
                    f"SELECT mid, external FROM {table} WHERE mid > ? ORDER BY mid LIMIT ?", (last, SLICE)
                ).fetchall()
                named.update(int(external) for _, external in rows if external)
                if len(rows) < SLICE:
                    break
                last = int(rows[-1][0])
        return named

    def close(self) -> None:
        for shard in self._shards:
            shard.close()
