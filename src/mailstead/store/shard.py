"""One index file: its connection, its transactions, and how durable its commits are.

Invariants: a transaction is short (at most a few ms) or runs in a thread; it never syncs under the write lock
(synchronous=NORMAL); ``commit_seq`` rises by one in every transaction that changes rows and is read together with
whatever rows it stands for; nothing read at commit N is shown before ``SharedMarks`` says N is synced.

The write-ahead log is synced through a descriptor of our own, for all processes at once: after a sync that began
when the file held commit N, everything up to N is durable, whoever wrote it.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any

import apsw

from mailstead.store.files import Files
from mailstead.store.operations import QUEUE_SHARDS
from mailstead.store.schema import QUEUE_STEPS, SHARD_STEPS, migrate

_QWORD = struct.Struct("<Q")
MAX_SHARDS = 256
_MARKS_SIZE = MAX_SHARDS * 8 + 8


def shard_path(index: Path, number: int) -> Path:
    if number >= QUEUE_SHARDS:
        return index / f"queue-{number - QUEUE_SHARDS}.db"
    return index / f"shard-{number}.db"


class SharedMarks:
    """A small file mapped by all processes of a node: per shard, the commit number that is known to be durable, and behind
    them a mark that changes whenever a script of an account does.

    It is made anew at each start of the node, for a number from before a power cut would promise too much. A lost
    update between two processes only costs one sync more.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            if fresh or os.fstat(fd).st_size < _MARKS_SIZE:
                os.pwrite(fd, bytes(_MARKS_SIZE), 0)
            self._map = mmap.mmap(fd, _MARKS_SIZE)
        finally:
            os.close(fd)

    @staticmethod
    def _slot(shard: int) -> int:
        return (shard if shard < QUEUE_SHARDS else MAX_SHARDS // 2 + shard - QUEUE_SHARDS) * 8

    def synced(self, shard: int) -> int:
        return int(_QWORD.unpack_from(self._map, self._slot(shard))[0])

    def raise_to(self, shard: int, commit: int) -> None:
        slot = self._slot(shard)
        if commit > _QWORD.unpack_from(self._map, slot)[0]:
            _QWORD.pack_into(self._map, slot, commit)

    def scripts(self) -> int:
        """The mark of the youngest change of a script."""
        return int(_QWORD.unpack_from(self._map, MAX_SHARDS * 8)[0])

    def scripts_changed(self) -> None:
        """Another value than any before, whoever else changes it in the same moment."""
        _QWORD.pack_into(self._map, MAX_SHARDS * 8, time.time_ns())

    def close(self) -> None:
        self._map.close()


def _busy(tries: int) -> bool:
    """Wait a moment for another process's short transaction; give up after about 2 ms and let the loop go on."""
    if tries > 20:
        return False
    time.sleep(0.0001)
    return True


class Shard:
    """One process's handle on an index file. Not thread safe: one thread uses it at a time."""

    def __init__(self, index: Path, number: int, files: Files, vfs: str | None = None) -> None:
        self.number = number
        self.path = shard_path(index, number)
        self.is_queue = number >= QUEUE_SHARDS
        self._files = files
        created = not self.path.exists()
        self.connection = apsw.Connection(str(self.path), vfs=vfs, statementcachesize=256)
        # Statements are planned once, not for each value bound to them.
        self.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        self.connection.setbusytimeout(10_000)
        self.execute = self.connection.execute
        self.executemany = self.connection.executemany
        if created:
            self.execute("PRAGMA page_size=4096")
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")
        self.execute("PRAGMA wal_autocheckpoint=0")
        self.execute("PRAGMA cache_size=-8192")
        self.execute("PRAGMA temp_store=MEMORY")
        # Another process's commit empties this one's page cache, so pages must be cheap to read again; what is mapped
        # counts as resident, so it is bounded.
        self.execute("PRAGMA mmap_size=67108864")
        migrate(self.connection, QUEUE_STEPS if self.is_queue else SHARD_STEPS)
        if created:
            files.sync_directory(index)
        self.connection.setbusyhandler(_busy)
        self._wal_fd = -1
        self.inboxes: dict[int, int] = {}
        self.keywords: dict[int, list[str]] = {}
        self.noted: list[list[Any]] = []
        """Effects of the open transaction that came about by the way: accounts and keywords made."""

    def wait_for_lock(self, seconds: float) -> None:
        """How long a statement waits for another process; 0 for the 2 ms of a process that serves."""
        if seconds:
            self.connection.setbusytimeout(int(seconds * 1000))
        else:
            self.connection.setbusyhandler(_busy)

    def begin(self) -> None:
        """BEGIN IMMEDIATE; raises apsw.BusyError when another process holds the lock for longer than about 2 ms."""
        self.execute("BEGIN IMMEDIATE")
        self.noted.clear()

    def commit(self) -> int:
        """Count and commit the transaction; returns its commit number (not durable yet)."""
        row = self.row("UPDATE state SET commit_seq = commit_seq + 1 RETURNING commit_seq")
        assert row is not None
        self.execute("COMMIT")
        return int(row[0])

    def rollback(self) -> None:
        if self.connection.in_transaction:
            self.execute("ROLLBACK")
        self.inboxes.clear()
        self.keywords.clear()

    def commit_seq(self) -> int:
        row = self.row("SELECT commit_seq FROM state")
        assert row is not None
        return int(row[0])

    def applied(self, writer: int, stream: int) -> int:
        row = self.execute("SELECT seq FROM applied WHERE writer = ? AND stream = ?", (writer, stream)).fetchone()
        return int(row[0]) if row else 0

    def mark_applied(self, writer: int, stream: int, seq: int) -> None:
        self.execute(
            "INSERT INTO applied VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
            (writer, stream, seq),
        )

    def sync_wal(self) -> None:
        """Make every commit so far durable. Runs in a thread. Raises OSError."""
        if self._wal_fd < 0:
            self._wal_fd = self._files.open(Path(f"{self.path}-wal"), write=True)
            # SQLite would make the new file's name durable at its own first sync, which may come much later.
            self._files.sync_directory(self.path.parent)
        self._files.sync(self._wal_fd)

    def row(self, sql: str, bindings: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        return self.execute(sql, bindings).fetchone()

    def close(self) -> None:
        self.connection.close()
        if self._wal_fd >= 0:
            self._files.close(self._wal_fd)
            self._wal_fd = -1
