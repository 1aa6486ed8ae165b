"""Checkpoints of the index files, by one process of the node.

Invariants: auto-checkpoint is off everywhere, so nothing ever checkpoints in the event loop of a worker; the long part
runs without the write lock (PASSIVE), then a short RESTART takes the few frames that came meanwhile and lets the
next writer begin the log anew, so the write-ahead log stays small under any load.

A PASSIVE checkpoint alone never resets a log that is being written (it grew by 80 MB a second in the prototype).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import apsw

WAL_LIMIT = 8 * 1024 * 1024
INTERVAL = 0.5


class Checkpointer:
    """Watches the write-ahead logs under ``index``; ``run`` never returns."""

    def __init__(self, paths: list[Path], vfs: str | None = None) -> None:
        self._paths = paths
        self._vfs = vfs
        self._connections: dict[Path, apsw.Connection] = {}

    def _connection(self, path: Path) -> apsw.Connection:
        connection = self._connections.get(path)
        if connection is None:
            connection = apsw.Connection(str(path), vfs=self._vfs)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.setbusytimeout(50)
            self._connections[path] = connection
        return connection

    def checkpoint(self, path: Path) -> tuple[int, int]:
        """Checkpoint one file now; returns (frames in the log, frames copied). Blocking, for a thread."""
        connection = self._connection(path)
        copied = (0, 0)
        try:
            copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            pass  # writers or readers are at it: the next round finishes
        return copied

    @staticmethod
    def log_size(path: Path) -> int:
        try:
            return os.stat(f"{path}-wal").st_size
        except FileNotFoundError:
            return 0

    async def run(self) -> None:
        marks: dict[Path, tuple[int, int]] = {}
        while True:
            for path in self._paths:
                # After a restart the log keeps its size, so what counts is whether it was written since.
                try:
                    stat = os.stat(f"{path}-wal")
                except FileNotFoundError:
                    continue
                mark = (stat.st_size, stat.st_mtime_ns)
                if stat.st_size > WAL_LIMIT and marks.get(path) != mark:
                    await asyncio.to_thread(self.checkpoint, path)
                    stat = os.stat(f"{path}-wal")
                    marks[path] = (stat.st_size, stat.st_mtime_ns)
            await asyncio.sleep(INTERVAL)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
