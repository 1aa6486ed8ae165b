"""How far the search index has come.

Invariants: the numbers are counted from the rows, not estimated; only short reads, beside a running server if there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from mailstead.store.files import Files
from mailstead.store.search_file import NoIndex, open_for_reading, search_path
from mailstead.store.search_segment import load_head
from mailstead.store.shard import Shard


@dataclass(frozen=True, slots=True)
class Progress:
    """Of an account: its messages (bodies shared by copies count once), how many of them are indexed, and jobs waiting."""

    account: int
    messages: int
    indexed: int
    jobs: int

    @property
    def pending(self) -> int:
        """Messages that queries read."""
        return self.messages - self.indexed


def progress(data_dir: Path, number: int, accounts: Iterable[int]) -> Iterator[Progress]:
    """The state of accounts of a shard. Blocking. Raises apsw.Error."""
    with _opened(data_dir, number) as (shard, file):
        jobs: dict[int, int] = dict(shard.execute("SELECT account, count(*) FROM job GROUP BY account").fetchall())  # type: ignore[arg-type]
        for account in accounts:
            live = {
                int(row[0])
                for row in shard.execute(
                    "SELECT m.mid FROM folder f JOIN message m ON m.folder = f.id WHERE f.account = ?", (account,)
                )
            }
            yield Progress(account, len(live), len(live & _held(file, account)), jobs.get(account, 0))


@dataclass(frozen=True, slots=True)
class FolderProgress:
    """Of a folder: its messages, and how many of them are indexed."""

    name: str
    messages: int
    indexed: int


def folder_progress(data_dir: Path, number: int, account: int) -> list[FolderProgress]:
    """The state of an account's folders, by name. Blocking. Raises apsw.Error."""
    with _opened(data_dir, number) as (shard, file):
        held = _held(file, account)
        found: list[FolderProgress] = []
        for folder, name in shard.execute("SELECT id, name FROM folder WHERE account = ? ORDER BY name", (account,)).fetchall():
            mids = [int(row[0]) for row in shard.execute("SELECT mid FROM message WHERE folder = ?", (folder,))]
            found.append(FolderProgress(str(name), len(mids), sum(mid in held for mid in mids)))
        return found


@contextmanager
def _opened(data_dir: Path, number: int) -> Iterator[tuple[Shard, apsw.Connection | None]]:
    """A shard and its search index, None where it has none."""
    shard = Shard(data_dir / "index", number, Files())
    try:
        try:
            file = open_for_reading(search_path(data_dir / "index", number))
        except NoIndex:
            yield shard, None
            return
        with closing(file):
            yield shard, file
    finally:
        shard.close()


def _held(file: apsw.Connection | None, account: int) -> set[int]:
    held: set[int] = set()
    if file is not None:
        try:
            for (column,) in file.execute("SELECT head FROM segment WHERE account = ?", (account,)):
                held.update(load_head(bytes(column)).mids)
        except (apsw.Error, ValueError):
            return set()  # damaged: queries read everything until it is built anew
    return held
