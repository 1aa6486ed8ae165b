"""Copies of the index files as they stood at one commit: where a rebuild begins.

Invariants: a snapshot holds durable commits only (the write-ahead log is synced before it counts), is whole or absent
(written under another name, synced, renamed), and is never written to again; the newest ``KEEP`` of each index stay.

``index/snapshots/shard-<k>-<commit>.db``, made through SQLite's online backup in one read transaction, so writers go on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from mailstead.store.files import Files
from mailstead.store.shard import Shard, shard_path

KEEP = 2
_STEP_PAGES = 500
_NAME = re.compile(r"(?P<stem>[a-z]+-[0-9]+)-(?P<commit>[0-9]{18})\.db\Z")


def snapshots(index: Path, number: int) -> list[tuple[int, Path]]:
    """Commit and path of the snapshots of an index, newest first."""
    stem = shard_path(index, number).stem
    found = [(_NAME.match(path.name), path) for path in (index / "snapshots").glob(f"{stem}-*.db")]
    return sorted(((int(match["commit"]), path) for match, path in found if match and match["stem"] == stem), reverse=True)


def take_snapshot(index: Path, number: int, files: Files, vfs: str | None = None, pause: float = 0.0) -> Path:
    """Copy one index file as it is now. ``pause``: seconds of rest between steps of 2 MB. Blocking.

    Raises OSError, apsw errors; then there is no new snapshot.
    """
    home = index / "snapshots"
    files.make_directory(home)
    source = Shard(index, number, files, vfs)
    try:
        source.execute("BEGIN")
        commit = source.commit_seq()
        source.sync_wal()
        path = home / f"{source.path.stem}-{commit:018d}.db"
        draft = path.with_suffix(".part")
        draft.unlink(missing_ok=True)
        _copy(source.connection, draft, pause)
        source.execute("COMMIT")
    finally:
        source.close()
    fd = files.open(draft, write=True)
    try:
        files.sync(fd)
    finally:
        files.close(fd)
    files.rename(draft, path)
    files.sync_directory(home)
    for _, old in snapshots(index, number)[KEEP:]:
        files.unlink(old)
    return path


def _copy(source: apsw.Connection, path: Path, pause: float) -> None:
    target = apsw.Connection(str(path))
    try:
        target.execute("PRAGMA synchronous=OFF")
        with target.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(_STEP_PAGES)
                if pause:
                    time.sleep(pause)
    finally:
        target.close()


def snapshot_all(
    index: Path, numbers: list[int], files: Files, pause: float = 0.0, told: Callable[[Path], None] | None = None
) -> None:
    """A snapshot of each index, one after the other."""
    for number in numbers:
        path = take_snapshot(index, number, files, pause=pause)
        if told is not None:
            told(path)
