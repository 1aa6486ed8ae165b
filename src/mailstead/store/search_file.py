"""The file of the search index of a shard: ``index/search-<shard>.db``.

Invariants: it is derived from the messages and never the truth: a file that is missing, damaged, or of another version or
byte order is replaced by an empty one, and filled again; one process writes it (the indexer), any reads it; a
transaction leaves every document in some segment that was in one before, unless its message is gone.

``segment`` rows are immutable; ids are never given twice within a file, and ``mark`` tells one file from another.
``todo`` holds accounts all of whose messages are to be looked through, ``suspect`` messages that the indexer died of,
``attachment`` the text of attachments.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import apsw

VERSION = f"1 {sys.byteorder}"

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS segment(id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL,
        documents INTEGER NOT NULL, octets INTEGER NOT NULL, head BLOB NOT NULL, header BLOB NOT NULL, body BLOB NOT NULL,
        attachments BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS segment_account ON segment(account, id, documents);
    CREATE TABLE IF NOT EXISTS todo(account INTEGER PRIMARY KEY, fresh INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS suspect(mid INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS attachment(mid INTEGER PRIMARY KEY, text BLOB NOT NULL);
"""


def search_path(index: Path, shard: int) -> Path:
    return index / f"search-{shard}.db"


class NoIndex(Exception):
    """There is no search index of this shard that could be read."""


def open_for_reading(path: Path) -> apsw.Connection:
    """A connection that only reads. Raises NoIndex."""
    try:
        if not path.exists():
            raise NoIndex("there is none yet")
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=16)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.setbusytimeout(1000)
        connection.execute("PRAGMA query_only=1")
        connection.execute("PRAGMA cache_size=-512")
        if meta(connection, "version") != VERSION:
            connection.close()
            raise NoIndex("it has another version")
        return connection
    except apsw.Error as error:
        raise NoIndex(str(error)) from error


def open_for_writing(path: Path) -> tuple[apsw.Connection, bool]:
    """A connection to the file, made anew where it cannot be used, and whether it is new. Raises OSError, apsw.Error."""
    for attempt in (1, 2):
        try:
            connection = apsw.Connection(str(path), statementcachesize=32)
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
            connection.setbusytimeout(10_000)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA journal_size_limit=16777216")
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute(_SCHEMA)
            version = meta(connection, "version")
            if version == VERSION:
                return connection, False
            if version is None and connection.execute("SELECT 1 FROM segment LIMIT 1").fetchone() is None:
                with connection:
                    connection.execute("INSERT OR REPLACE INTO meta VALUES('mark', ?)", (os.urandom(8).hex(),))
                    connection.execute("INSERT OR REPLACE INTO meta VALUES('version', ?)", (VERSION,))
                return connection, True
            connection.close()
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.FormatError):
            if attempt == 2:
                raise
        remove(path)
    raise NoIndex("the search index cannot be made")


def remove(path: Path) -> None:
    """Remove the file with what belongs to it; who has it open goes on with what it has."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")


def meta(connection: apsw.Connection, key: str) -> Any:
    """A value of the table meta, None where it is not there."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None
