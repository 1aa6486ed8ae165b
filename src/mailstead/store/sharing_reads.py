"""``SharingReads`` over SQLite.

Invariants: see engine.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailstead.store.shard import Shard


class SqliteSharingReads:
    """Over one process's reading handle of a shard."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def acl(self, account: int) -> list[tuple[str, str, str]]:
        """(folder name, identifier, rights) of all entries of an account's folders; "" is the account as a whole."""
        return self._shard.execute(  # type: ignore[return-value]
            "SELECT coalesce(f.name, ''), a.identifier, a.rights FROM acl a LEFT JOIN folder f ON f.id = a.folder "
            "WHERE a.account = ? AND (a.folder = 0 OR f.id IS NOT NULL) ORDER BY 1, 2",
            (account,),
        ).fetchall()

    def folder_name(self, folder: int) -> str | None:
        """The owner's name of a folder."""
        row = self._shard.row("SELECT name FROM folder WHERE id = ?", (folder,))
        return str(row[0]) if row else None

    def owners(self, identifiers: Sequence[str]) -> list[int]:
        """Accounts that have given one of the identifiers anything."""
        marks = ", ".join("?" * len(identifiers))
        rows = self._shard.execute(
            f"SELECT DISTINCT account FROM acl WHERE identifier IN ({marks}) AND rights <> ''", tuple(identifiers)
        )
        return [int(row[0]) for row in rows]

    def metadata(self, account: int, folder: int, reader: int) -> list[tuple[str, bytes]]:
        """(entry, value) of a folder (0: the account) by entry, shared (reader 0) or a reader's own."""
        return self._shard.execute(  # type: ignore[return-value]
            "SELECT entry, value FROM metadata WHERE account = ? AND folder = ? AND reader = ? ORDER BY entry",
            (account, folder, reader),
        ).fetchall()

    def metadata_size(self, account: int, reader: int) -> int:
        """Octets of all notes on an account and its folders, shared (reader 0) or a reader's own."""
        row = self._shard.row(
            "SELECT coalesce(sum(length(entry) + length(value)), 0) FROM metadata WHERE account = ? AND reader = ?",
            (account, reader),
        )
        return int(row[0]) if row else 0

    def notes(self, account: int) -> list[tuple[int, int, str, bytes]]:
        """(folder, reader, entry, value) of all of an account's notes."""
        return self._shard.execute(  # type: ignore[return-value]
            "SELECT folder, reader, entry, value FROM metadata WHERE account = ? ORDER BY 1, 2, 3", (account,)
        ).fetchall()

    def url_key(self, reader: int, folder: int) -> bytes | None:
        """The secret that signs a reader's URLs of a folder."""
        row = self._shard.row("SELECT key FROM url_key WHERE reader = ? AND folder = ?", (reader, folder))
        return bytes(row[0]) if row else None

    def commit_seq(self) -> int:
        """The newest commit."""
        return self._shard.commit_seq()
