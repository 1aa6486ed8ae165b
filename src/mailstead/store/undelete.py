"""What can still be restored of an account: deleted messages and folders, as the index keeps them for the retention time.

Invariants: nothing is changed; each call is one read; for a thread, over a handle of its own, because there is no index by
account (deleted messages are many, and asked for seldom).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailstead.store.files import Files
from mailstead.store.shard import Shard

MOST = 100_000
"""Messages that one call tells of, the youngest deletions."""


@dataclass(frozen=True, slots=True)
class DeletedMessage:
    """``at``: when it was deleted, ``date``: its INTERNALDATE, ``sent``: its Date field (unix time); ``size`` in octets; ``folder``
    is the id of the folder it lay in, ``folder_name`` "" where nothing is known of that any more."""

    at: int
    folder: int
    uid: int
    folder_name: str
    size: int
    date: int
    sent: int
    message_id: str
    subject: str
    sender: str

    @property
    def key(self) -> tuple[int, int, int]:
        """What names it."""
        return self.at, self.folder, self.uid


@dataclass(frozen=True, slots=True)
class DeletedFolder:
    """``messages`` and ``size``: what would come back with it."""

    id: int
    at: int
    name: str
    kind: str
    messages: int
    size: int


def deleted_folders(data_dir: Path, shard: int, account: int) -> list[DeletedFolder]:
    """Folders that can be restored, the youngest deletion first. Blocking. Raises apsw errors."""
    handle = Shard(data_dir / "index", shard, Files())
    try:
        handle.wait_for_lock(5.0)
        rows: Any = handle.execute(
            "SELECT d.id, d.at, d.name, d.kind, count(e.uid), coalesce(sum(e.size), 0) FROM deleted_folder d "
            "LEFT JOIN expunged e ON e.at = d.at AND e.folder = d.id WHERE d.account = ? GROUP BY d.id ORDER BY d.at DESC, d.name",
            (account,),
        )
        return [DeletedFolder(*row) for row in rows]
    finally:
        handle.close()


def deleted_messages(data_dir: Path, shard: int, account: int, since: int = 0) -> list[DeletedMessage]:
    """Messages deleted since then that can be restored, the youngest deletion first. Blocking. Raises apsw errors."""
    handle = Shard(data_dir / "index", shard, Files())
    try:
        handle.wait_for_lock(5.0)
        rows: Any = handle.execute(
            "SELECT e.at, e.folder, e.uid, coalesce(f.name, d.name, ''), e.size, e.date, w.sent, w.message_id, w.subject_base, "
            "w.sort_from FROM expunged e JOIN wide w ON w.mid = e.mid LEFT JOIN folder f ON f.id = e.folder "
            "LEFT JOIN deleted_folder d ON d.id = e.folder WHERE e.account = ? AND e.at >= ? "
            "ORDER BY e.at DESC, e.folder, e.uid LIMIT ?",
            (account, since, MOST),
        )
        return [DeletedMessage(*row) for row in rows]
    finally:
        handle.close()


def removed_messages(data_dir: Path, shard: int, account: int, since: int) -> list[tuple[int, int, int, int, int]]:
    """(folder, uid, when, INTERNALDATE, size) of messages deleted since then, as far as they can still be restored; the youngest
    deletion first, at most MOST. Blocking. Raises apsw errors."""
    handle = Shard(data_dir / "index", shard, Files())
    try:
        handle.wait_for_lock(5.0)
        rows: Any = handle.execute(
            "SELECT folder, uid, at, date, size FROM expunged WHERE at >= ? AND account = ? ORDER BY at DESC, folder, uid LIMIT ?",
            (since, account, MOST),
        )
        return [tuple(row) for row in rows]
    finally:
        handle.close()


def holds_message(data_dir: Path, shard: int, account: int, message_id: str) -> bool:
    """Whether an account has a message of that Message-ID (without its brackets) in any folder, or among what was deleted."""
    handle = Shard(data_dir / "index", shard, Files())
    try:
        return handle.row(_HOLDS, (account, message_id)) is not None
    finally:
        handle.close()


_HOLDS = (
    "SELECT 1 FROM (SELECT m.mid AS mid FROM message m JOIN folder f ON f.id = m.folder WHERE f.account = ?1 "
    "UNION ALL SELECT mid FROM expunged WHERE account = ?1) h JOIN wide w ON w.mid = h.mid WHERE w.message_id = ?2 LIMIT 1"
)
