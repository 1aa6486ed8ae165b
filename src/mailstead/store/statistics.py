"""What the store holds: by owner, by folder, by file.

Invariants: figures come from the counters that are kept in the transactions that change them; each call reads through a handle
of its own, so it may run in a thread beside a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from mailstead.store.shard import shard_path


@dataclass(frozen=True, slots=True)
class OwnerUse:
    """Of an account, a list, or a domain's public folders: octets and messages, folders, deleted messages that are kept."""

    octets: int = 0
    messages: int = 0
    folders: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class StoreFile:
    """One storage: an index file, or the log of a writer. ``octets`` are what it takes on the disk, its write-ahead log and
    bodies in files of their own with it."""

    name: str
    path: Path
    octets: int
    files: int


def use_by_owner(data_dir: Path, number: int) -> dict[int, OwnerUse]:
    """The use of every owner in an index, none where it was not made yet. Blocking. Raises apsw.Error."""
    path = shard_path(data_dir / "index", number)
    if not path.exists():
        return {}
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("PRAGMA query_only=1")
        connection.setbusytimeout(5000)
        connection.execute("BEGIN")
        folders = _counts(connection, "folder")
        kept = _counts(connection, "expunged")
        return {
            int(owner): OwnerUse(int(octets), int(messages), folders.get(int(owner), 0), kept.get(int(owner), 0))
            for owner, octets, messages in connection.execute("SELECT id, size, messages FROM account")
        }
    finally:
        connection.close()


def _counts(connection: apsw.Connection, table: str) -> dict[int, int]:
    rows = connection.execute(f"SELECT account, count(*) FROM {table} GROUP BY account")
    return {int(account): int(count) for account, count in rows}


def storages(data_dir: Path) -> list[StoreFile]:
    """Every storage of a data directory, index files first. Blocking."""
    return [*_index_files(data_dir / "index"), *_logs(data_dir / "log")]


def _index_files(index: Path) -> Iterator[StoreFile]:
    for path in sorted(index.glob("*.db")):
        parts = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
        sizes = [size for part in parts if (size := _size(part)) >= 0]
        yield StoreFile(path.stem, path, sum(sizes), len(sizes))


def _logs(log: Path) -> Iterator[StoreFile]:
    for folder in sorted(path for path in log.glob("*") if path.is_dir()):
        sizes = [size for path in folder.rglob("*.m*") if (size := _size(path)) >= 0]
        yield StoreFile(f"log-{folder.name}", folder, sum(sizes), len(sizes))


def _size(path: Path) -> int:
    """Octets on the disk (segments are allocated ahead), -1 for what is not there."""
    try:
        status = path.stat()
    except OSError:
        return -1
    return min(status.st_size, status.st_blocks * 512)
