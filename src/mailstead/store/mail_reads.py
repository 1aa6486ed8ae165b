"""``MailIndex`` over SQLite.

Invariants: see engine.py. A contiguous range of UIDs is one range scan, a scattered set one statement; what FETCH sends
often is stored rendered and comes as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from mailstead.store.apply_changes import copied_rows
from mailstead.store.apply_sharing import merged, own_join
from mailstead.store.engine import FolderChanges, FolderRow, OlderRows, SmallRow
from mailstead.store.keywords import Keywords, read_keywords
from mailstead.store.shard import Shard

_SMALL = {
    "size": "m.size", "date": "m.date", "flags": "m.flags", "modseq": "m.modseq", "saved": "m.saved", "mid": "m.mid",
    "thread": "m.thread",
}  # fmt: skip
_WIDE = {
    name: f"w.{name}"
    for name in (
        "envelope", "body", "bodystructure", "fields", "parts", "preview", "header_size", "message_id", "subject_base", "sent",
        "sort_from", "sort_to", "sort_cc",
    )
}  # fmt: skip
#: A reader who is not the owner sees the younger of two changes: of the message and of his own flags.
_NEWER = "max(m.modseq, coalesce(r.modseq, 0))"
_LOCATION = "w.file, w.offset, w.length, w.overlay, w.external, w.external_size"
_FOLDERS = (
    "SELECT f.id, f.name, f.uidvalidity, f.special_use, s.name IS NOT NULL, f.kind FROM folder f "
    "LEFT JOIN subscription s ON s.account = f.account AND s.name = f.name WHERE f.account = ?"
)


@lru_cache(maxsize=256)
def _statement(columns: tuple[str, ...], contiguous: bool, reader: int) -> tuple[str, int]:
    """SQL and the position of the location's columns in its result (-1: none). Raises KeyError for an unknown column."""
    names, wide, place = ["m.uid"], False, -1
    own = {"flags": merged(), "modseq": _NEWER} if reader else {}
    for column in columns:
        if column in _SMALL:
            names.append(own.get(column) or _SMALL[column])
        elif column == "location":
            place, wide = len(names), True
            names.append(_LOCATION)
        else:
            names.append(_WIDE[column])
            wide = True
    join = " JOIN wide w ON w.mid = m.mid" if wide else ""
    if own.keys() & set(columns):
        join += own_join(reader)
    where = "m.uid BETWEEN ? AND ?" if contiguous else "m.uid IN (SELECT value FROM json_each(?))"
    return f"SELECT {', '.join(names)} FROM message m{join} WHERE m.folder = ? AND {where} ORDER BY m.uid", place


def _contiguous(uids: Sequence[int]) -> bool:
    return uids[-1] - uids[0] == len(uids) - 1


class SqliteMailIndex:
    """Over one process's reading handle of a shard; ``reader`` is who reads, where he is not the owner: his own \\Seen,
    \\Flagged and keywords stand in for the message's."""

    def __init__(self, shard: Shard, reader: int = 0) -> None:
        self._shard = shard
        self._reader = reader
        self._small = f"m.uid, {merged()}, {_NEWER} FROM message m{own_join(reader)}" if reader else (
            "m.uid, m.flags, m.modseq FROM message m"
        )  # fmt: skip

    def has_account(self, account: int) -> bool:
        """Whether the account has rows here."""
        return self._shard.row("SELECT 1 FROM account WHERE id = ?", (account,)) is not None

    def folders(self, account: int) -> list[FolderRow]:
        """All folders of an account."""
        return self._shard.execute(_FOLDERS, (account,)).fetchall()  # type: ignore[return-value]

    def folder(self, account: int, name: str) -> FolderRow | None:
        """The folder of exactly that name."""
        return self._shard.row(f"{_FOLDERS} AND f.name = ?", (account, name))

    def folder_in_any_case(self, account: int, name: str) -> int:
        """Id of a mail folder of that name in any case, INBOX excepted; 0 for none."""
        row = self._shard.row(
            "SELECT id FROM folder WHERE account = ? AND kind = 'mail' AND name <> 'INBOX' AND name = ? COLLATE NOCASE LIMIT 1",
            (account, name),
        )
        return int(row[0]) if row else 0

    def subscriptions(self, account: int) -> list[str]:
        """Subscribed names by name."""
        rows = self._shard.execute("SELECT name FROM subscription WHERE account = ? ORDER BY name", (account,))
        return [str(row[0]) for row in rows]

    def usage(self, account: int) -> tuple[int, int]:
        """Octets and messages an account holds."""
        row = self._shard.row("SELECT size, messages FROM account WHERE id = ?", (account,))
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def keywords(self, account: int) -> Keywords:
        """Names by number, and the sets of those that have no bit."""
        return read_keywords(self._shard, account)

    def counters(self, folder: int) -> tuple[int, int, int, int, int, int, int, int] | None:
        """messages, unseen, deleted, size, uidnext, uidvalidity, modseq, and the commit they were read at."""
        unseen = "f.unseen"
        if self._reader:
            own = f"SELECT count(*) FROM reader_flags WHERE folder = f.id AND reader = {self._reader} AND (flags & 1) <> 0"
            unseen = f"f.messages - ({own})"
        return self._shard.row(
            f"SELECT f.messages, {unseen}, f.deleted, f.size, f.uidnext, f.uidvalidity, f.modseq, s.commit_seq "
            "FROM folder f, state s WHERE f.id = ?",
            (folder,),
        )

    def head(self, folder: int) -> tuple[int, int] | None:
        """uidnext and modseq, None where the folder is gone."""
        return self._shard.row("SELECT uidnext, modseq FROM folder WHERE id = ?", (folder,))

    def slice(self, folder: int, after: int, below: int, limit: int) -> list[SmallRow]:
        """Rows with ``after`` < uid < ``below``, the first ``limit`` of them."""
        return self._shard.execute(  # type: ignore[return-value]
            f"SELECT {self._small} WHERE m.folder = ? AND m.uid > ? AND m.uid < ? ORDER BY m.uid LIMIT ?",
            (folder, after, below, limit),
        ).fetchall()

    def opening(self, folder: int) -> tuple[int, int, int, int] | None:
        """uidnext, modseq, number of messages, and the commit they were read at; None where the folder is gone."""
        return self._shard.row(
            "SELECT f.uidnext, f.modseq, f.messages, s.commit_seq FROM folder f, state s WHERE f.id = ?", (folder,)
        )

    def older(self, folder: int, below: int, limit: int, modseq: int) -> OlderRows | None:
        """Rows with uid < ``below``, the ``limit`` newest of them, and what went after ``modseq``, in one read transaction."""
        shard = self._shard
        shard.execute("BEGIN")
        try:
            row = shard.row("SELECT modseq FROM folder WHERE id = ?", (folder,))
            if row is None:
                return None
            gone: list[bytes] = []
            if row[0] != modseq:
                sql = "SELECT uids FROM change WHERE folder = ? AND modseq > ? AND kind = 3"
                gone = [packed for (packed,) in shard.execute(sql, (folder, modseq))]
            rows: Any = shard.execute(
                f"SELECT {self._small} WHERE m.folder = ? AND m.uid < ? ORDER BY m.uid DESC LIMIT ?", (folder, below, limit)
            ).fetchall()
            return OlderRows(int(row[0]), rows, gone, shard.commit_seq())
        finally:
            shard.execute("COMMIT")

    def changes(self, folder: int, modseq: int, uidnext: int) -> FolderChanges | None:
        """What came after ``modseq`` and from ``uidnext`` on, in one read transaction; None where the folder is gone."""
        shard = self._shard
        shard.execute("BEGIN")
        try:
            row = shard.row("SELECT modseq, uidnext FROM folder WHERE id = ?", (folder,))
            if row is None:
                return None
            changes: Any = shard.execute(
                "SELECT modseq, kind, uids FROM change WHERE folder = ? AND modseq > ? ORDER BY modseq, kind", (folder, modseq)
            ).fetchall()
            if self._reader:
                changes += shard.execute(
                    "SELECT modseq, 2, uids FROM reader_change WHERE folder = ? AND modseq > ? AND reader = ?",
                    (folder, modseq, self._reader),
                ).fetchall()
                changes.sort(key=itemgetter(0, 1))
            new = self.slice(folder, uidnext - 1, int(row[1]), -1) if row[1] != uidnext else []
            return FolderChanges(int(row[0]), int(row[1]), changes, new, shard.commit_seq())
        finally:
            shard.execute("COMMIT")

    def flag_changes(self, folder: int, below: int, limit: int) -> list[tuple[int, int]]:
        """Modseq and time (unix seconds) of the ``limit`` youngest changes of flags with a modseq < ``below``, youngest first."""
        sql = "SELECT modseq, at FROM change WHERE folder = ? AND modseq < ? AND kind = 2 ORDER BY modseq DESC LIMIT ?"
        return self._shard.execute(sql, (folder, below, limit)).fetchall()  # type: ignore[return-value]

    def flags(self, folder: int, uids: Sequence[int]) -> list[SmallRow]:
        """Rows of those of ``uids`` (rising, not empty) that exist."""
        if _contiguous(uids):
            return self._shard.execute(  # type: ignore[return-value]
                f"SELECT {self._small} WHERE m.folder = ? AND m.uid BETWEEN ? AND ? ORDER BY m.uid",
                (folder, uids[0], uids[-1]),
            ).fetchall()
        return self._shard.execute(  # type: ignore[return-value]
            f"SELECT {self._small} WHERE m.folder = ? AND m.uid IN (SELECT value FROM json_each(?)) ORDER BY m.uid",
            (folder, json.dumps(list(uids))),
        ).fetchall()

    def rows(
        self, folder: int, uids: Sequence[int], columns: tuple[str, ...], location: Callable[..., Any]
    ) -> list[tuple[Any, ...]]:
        """``(uid, *columns)`` of those of ``uids`` (rising) that exist; "location" becomes what ``location`` makes of it."""
        if not uids:
            return []
        contiguous = _contiguous(uids)
        sql, place = _statement(columns, contiguous, self._reader)
        bindings = (folder, uids[0], uids[-1]) if contiguous else (folder, json.dumps(list(uids)))
        rows = self._shard.execute(sql, bindings).fetchall()
        if place < 0:
            return rows
        return [(*row[:place], location(*row[place : place + 6]), *row[place + 6 :]) for row in rows]

    def copied_rows(self, folder: int, ranges: list[int]) -> list[tuple[int, list[str], int, int, list[Any]]]:
        """Rows for an InsertCopies of another shard."""
        return copied_rows(self._shard, folder, ranges, self._reader)

    def scripts(self, account: int) -> list[tuple[str, int, bool]]:
        """(name, octets, active) of the account's Sieve scripts, by name."""
        rows = self._shard.execute(
            "SELECT name, length(CAST(content AS BLOB)), active FROM script WHERE account = ? ORDER BY name", (account,)
        )
        return [(str(name), int(size), bool(active)) for name, size, active in rows]

    def script(self, account: int, name: str) -> str | None:
        """A script's text."""
        row = self._shard.row("SELECT content FROM script WHERE account = ? AND name = ?", (account, name))
        return str(row[0]) if row else None

    def active_script(self, account: int) -> str | None:
        """The text of the script that mail runs through."""
        row = self._shard.row("SELECT content FROM script WHERE account = ? AND active = 1", (account,))
        return str(row[0]) if row else None

    def unique_ids(self, folder: int) -> list[tuple[int, str]]:
        """POP3 unique ids that messages brought along, by uid."""
        rows = self._shard.execute("SELECT uid, name FROM uidl WHERE folder = ? ORDER BY uid", (folder,))
        return rows.fetchall()  # type: ignore[return-value]

    def commit_seq(self) -> int:
        """The newest commit."""
        return self._shard.commit_seq()
