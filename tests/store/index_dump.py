"""The rows of an index file, to hold one against another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from mailstead.store.shard import shard_path

ORDER = {
    "account": "id", "folder": "id", "subscription": "account, name", "keyword": "account, bit", "keyword_set": "account, number",
    "message": "folder, uid",
    "wide": "mid", "copies": "mid", "thread": "account, hash", "change": "folder, modseq, kind",
    "expunged": "at, folder, uid", "acl": "account, folder, identifier", "metadata": "account, folder, reader, entry",
    "reader_flags": "folder, reader, uid", "uidl": "folder, uid", "script": "account, name",
    "reader_change": "folder, modseq, reader",
    "url_key": "reader, folder", "deleted_folder": "id",
}  # fmt: skip
QUEUE_ORDER = {"entry": "mid", "recipient": "mid, number"}


def dump(data_dir: Path, number: int) -> dict[str, list[tuple[Any, ...]]]:
    """Table name to rows, without what only counts commits."""
    connection = apsw.Connection(str(shard_path(data_dir / "index", number)))
    try:
        tables = ORDER if number < 1000 else QUEUE_ORDER
        shown = {"change": "folder, modseq, kind, uids"}  # when it was is another time after a replay
        return {
            table: list(connection.execute(f"SELECT {shown.get(table, '*')} FROM {table} ORDER BY {order}"))
            for table, order in tables.items()
        }
    finally:
        connection.close()


def difference(left: dict[str, list[tuple[Any, ...]]], right: dict[str, list[tuple[Any, ...]]]) -> list[str]:
    """Rows of one that the other lacks, in words."""
    found = []
    for table, rows in left.items():
        found += [f"{table}: only left {row[:10]}" for row in rows if row not in set(right[table])][:5]
        found += [f"{table}: only right {row[:10]}" for row in right[table] if row not in set(rows)][:5]
    return found
