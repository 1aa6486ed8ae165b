"""The system database: one SQLite file that holds settings and directory, shared by all processes of a node.

Invariants:
- A write that has returned is durable (WAL, synchronous=FULL) and visible to every process's next look-up.
- Every change carries a `history` row written in the same transaction, with secrets removed.
- A node refuses a schema newer than its own.

How it works: reads use one connection per process, guarded by a lock, and never leave a read transaction open.
Writes run in one thread of their own (they sync), as short BEGIN IMMEDIATE transactions. Caches built over this
database stay right because `poll` compares `PRAGMA data_version` (about 3 us), which moves with every commit of any
other connection, also of this process's writer; then the new history rows name the touched objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from mailstead.settings.schema import APPLICATION_ID, MIGRATIONS, Migration

T = TypeVar("T")
Row = tuple[Any, ...]

SECRET_FIELDS = frozenset(
    {"password", "scram", "recoverable", "hash", "secret", "secretAnswer", "token", "smartHostPassword", "srsSecretKey",
     "serverSecretKey", "clusterKey", "SNMPCommunity", "bindPass", "clientSecret"}
)  # fmt: skip
MAPPED = 1 << 30
"""Octets of the file that a reader maps: a look-up whose pages nobody has read yet then copies none of them."""
LOST_REMEDY = (
    "settings and accounts come back from a backup: stop the server, `mailstead restore server BACKUPS --to NEW`, remove "
    "index/system.db-wal and index/system.db-shm, `cp -p NEW/index/system.db index/`"
)
"""What to do about a system database that is missing or damaged; mail, which is elsewhere, stays as it is."""
MAX_CHANGES = 512
"""More changes than this since the last look, and every cache is dropped whole."""


class SystemDatabaseError(Exception):
    """The system database cannot be opened or written; the text says why."""


class SchemaTooNewError(SystemDatabaseError):
    """The database was written by a newer release."""


@dataclass(frozen=True, slots=True)
class Change:
    """One history row: what was done (`verb`) to which object (`kind`, `object_id`)."""

    seq: int
    kind: str
    object_id: int
    verb: str


Query = Callable[..., list[Row]]
"""As `SystemDatabase.query`."""
ChangeListener = Callable[[Sequence[Change] | None], None]
"""Called with the changes since the last look, or None when everything may have changed."""


class Transaction:
    """A write transaction, alive only inside `SystemDatabase.write`; used from the writer thread alone."""

    __slots__ = ("_connection", "now")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.now = time.time_ns() // 1000
        """Time of the transaction in microseconds since 1970."""

    @property
    def connection(self) -> apsw.Connection:
        """The connection it runs on, for a view of the database inside it (`transaction_view`)."""
        return self._connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one statement and return all its rows."""
        return self._connection.execute(sql, tuple(values)).fetchall()

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        self._connection.executemany(sql, rows)

    def row(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        rows = self._connection.execute(sql, tuple(values)).fetchall()
        return rows[0] if rows else None

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        found = self.row(sql, values)
        return found[0] if found else None

    def changed(self) -> int:
        """Rows touched by the last statement."""
        return int(self._connection.changes())

    def record(
        self,
        author: str,
        kind: str,
        object_id: int,
        verb: str,
        old: Mapping[str, Any] | None = None,
        new: Mapping[str, Any] | None = None,
    ) -> None:
        """Append the history row of a change; secrets are replaced by a mark that they changed."""
        self._connection.execute(
            "INSERT INTO history (time, author, kind, object_id, verb, old, new) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.now, author, kind, object_id, verb, _as_json(old), _as_json(new)),
        )

    def record_many(self, author: str, kind: str, verb: str, objects: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """History rows of many objects of one kind that were made by one verb."""
        self._connection.executemany(
            "INSERT INTO history (time, author, kind, object_id, verb, old, new) VALUES (?, ?, ?, ?, ?, NULL, ?)",
            ((self.now, author, kind, object_id, verb, _as_json(new)) for object_id, new in objects),
        )


def _as_json(fields: Mapping[str, Any] | None) -> str | None:
    if fields is None:
        return None
    clean = {name: ("(secret)" if name in SECRET_FIELDS else value) for name, value in fields.items()}
    return json.dumps(clean, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)


class SystemDatabase:
    """One process's view of `index/system.db`; open it after forking, close it at the end."""

    def __init__(self, path: Path, *, create: bool = False, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        """Open (or with `create` make) the database and bring its schema up to date.

        Raises SystemDatabaseError for a missing, foreign or damaged file, SchemaTooNewError for a newer one.
        """
        self.path = path
        if not path.exists():
            if not create:
                raise SystemDatabaseError(f"no system database at {path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            # Password hashes are inside: for this user only; SQLite gives its side files the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self.lock = threading.RLock()
        """Held while changes are told; a cache that reads a row and keeps it does both under this lock, so that no
        change can fall in between."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="system-db")
        self._listeners: list[ChangeListener] = []
        self._telling = False
        self._closed = False
        try:
            self._writer = self._connect(busy_ms=15_000)
            self._check_identity(create)
            self._migrate(migrations)
            self._reader = self._connect(busy_ms=2_000)
            self._reader.execute("PRAGMA query_only=1")
            self._reader.execute(f"PRAGMA mmap_size={MAPPED}")
            if create:
                _sync_directory(path.parent)
                _sync_directory(path.parent.parent)
        except apsw.Error as error:
            self._executor.shutdown(wait=False)
            raise SystemDatabaseError(f"{path}: {error}") from error
        except SystemDatabaseError:
            self._executor.shutdown(wait=False)
            raise
        self._version = self._reader.execute("PRAGMA data_version").fetchall()[0][0]
        self._seen = self._last_seq()
        self.generation = 0
        """Rises whenever `poll` finds changes of something else than accounts, of which there may be thousands in a minute:
        what was read of anything else at one generation is true as long as that holds."""

    @classmethod
    def open(cls, data_dir: Path, *, create: bool = False) -> SystemDatabase:
        """The system database of a data directory."""
        return cls(Path(data_dir) / "index" / "system.db", create=create)

    def close(self) -> None:
        """Finish the running write and close; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._executor.shutdown(wait=True)
        with self.lock:
            self._reader.close()
            self._writer.close()

    # -- reading --------------------------------------------------------------------------------------------

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a read; no transaction stays open."""
        with self.lock:
            return self._reader.execute(sql, tuple(values)).fetchall()

    def query_row(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row of a read, or None."""
        rows = self.query(sql, values)
        return rows[0] if rows else None

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """The point queries inside are of one moment, and cost half of what they cost apart; never held across an await."""
        with self.lock:
            if self._reader.in_transaction:
                yield
                return
            self._reader.execute("BEGIN")
            try:
                yield
            finally:
                self._reader.execute("COMMIT")

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Query]:
        """A `query` of which all reads are of one moment, on a connection of its own: nobody waits for them, however many
        there are. For one thread; raises SystemDatabaseError."""
        try:
            connection = apsw.Connection(str(self.path))
        except apsw.Error as error:
            raise SystemDatabaseError(f"{self.path}: {error}") from error
        try:
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
            connection.set_busy_timeout(2_000)
            connection.execute("PRAGMA query_only=1")
            connection.execute("BEGIN")
            yield lambda sql, values=(): connection.execute(sql, tuple(values)).fetchall()
        finally:
            connection.close()

    def subscribe(self, listener: ChangeListener) -> None:
        """Have `listener` called by `poll` with what has changed, in the thread that polls."""
        self._listeners.append(listener)

    def poll(self) -> bool:
        """Notice commits of any process; True when listeners were called. Costs about 3 us when nothing changed.

        A listener that reads does not hear, in the middle of what it does, of what came meanwhile: it would go on with older values
        afterwards, and have the last word with them. It is called again when all listeners have heard.
        """
        with self.lock:
            version = self._reader.execute("PRAGMA data_version").get
            if version == self._version or self._telling:
                return False
            told = False
            self._telling = True
            try:
                while version != self._version:
                    told = self._refresh(version) or told
                    version = self._reader.execute("PRAGMA data_version").get
            finally:
                self._telling = False
            return told

    def _refresh(self, version: int) -> bool:
        # The version is read before the rows: a commit in between is looked at twice, never missed.
        rows: list[Row] = self._reader.execute(
            "SELECT seq, kind, object_id, verb FROM history WHERE seq > ? ORDER BY seq LIMIT ?",
            (self._seen, MAX_CHANGES + 1),
        ).fetchall()
        self._version = version
        if not rows:
            return False
        changes: list[Change] | None
        if len(rows) > MAX_CHANGES:
            changes, self._seen = None, self._last_seq()
        else:
            changes, self._seen = [Change(*row) for row in rows], rows[-1][0]
        if changes is None or any(change.kind != "account" for change in changes):
            self.generation += 1
        for listener in tuple(self._listeners):
            listener(changes)
        return True

    def position(self) -> int:
        """Number of the newest history row now: what a look at the database has seen."""
        with self.lock:
            self.poll()
            return self._seen

    def _last_seq(self) -> int:
        row: Row = self._reader.execute("SELECT coalesce(max(seq), 0) FROM history").fetchall()[0]
        return int(row[0])

    # -- writing --------------------------------------------------------------------------------------------

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Run `operation` in one transaction in the writer thread; returns when it is durable.

        An exception of the operation rolls back and is raised here; SystemDatabaseError when the database refuses.
        """
        return await asyncio.wrap_future(self._executor.submit(self._run, operation))

    def write_sync(self, operation: Callable[[Transaction], T]) -> T:
        """The same for callers without an event loop (commands, tests); blocks for a sync."""
        return self._executor.submit(self._run, operation).result()

    def _run(self, operation: Callable[[Transaction], T]) -> T:
        connection = self._writer
        try:
            connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise SystemDatabaseError(f"the system database is not writable now: {error}") from error
        try:
            result = operation(Transaction(connection))
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, apsw.Error) and not isinstance(error, apsw.ConstraintError):
                raise SystemDatabaseError(f"the system database refused a change: {error}") from error
            raise
        return result

    # -- opening --------------------------------------------------------------------------------------------

    def _connect(self, *, busy_ms: int) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        # Without it a statement of a join or over a partial index is planned anew for each value bound to it: 37 us instead of 7.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.set_busy_timeout(busy_ms)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _check_identity(self, create: bool) -> None:
        identity = self._writer.execute("PRAGMA application_id").fetchall()[0][0]
        if identity == APPLICATION_ID:
            return
        tables = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchall()[0][0]
        if identity or tables:
            raise SystemDatabaseError(f"{self.path} is not a system database of this server")
        if not create:  # it would be made anew, and a server without any domain refuses all mail
            raise SystemDatabaseError(f"{self.path} is empty")

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        writer = self._writer
        if self._schema_number() == migrations[-1].number and not self._missing(migrations):
            return
        writer.execute("BEGIN IMMEDIATE")
        try:
            # Looked at again under the lock: another process may have migrated meanwhile.
            present = self._schema_number()
            if present > migrations[-1].number:
                raise SchemaTooNewError(
                    f"{self.path} has schema {present}, this release knows {migrations[-1].number}; use a newer release"
                )
            if present == 0:
                writer.execute(f"PRAGMA application_id={APPLICATION_ID}")
                writer.execute("CREATE TABLE migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, time INTEGER)")
            # Numbers are given when work begins, so a lower one may come to a file later than a higher one.
            for migration in self._missing(migrations):
                for statement in migration.statements:
                    writer.execute(statement)
                writer.execute(
                    "INSERT INTO migration VALUES (?, ?, ?)",
                    (migration.number, migration.name, time.time_ns() // 1000),
                )
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise

    def _missing(self, migrations: Sequence[Migration]) -> list[Migration]:
        """Migrations that the file has not had yet."""
        rows = self._writer.execute("SELECT number FROM migration").fetchall()
        had = {int(row[0]) for row in rows}  # type: ignore[arg-type]
        return [migration for migration in migrations if migration.number not in had]

    def _schema_number(self) -> int:
        if not self._writer.execute("SELECT 1 FROM sqlite_master WHERE name = 'migration'").fetchall():
            return 0
        row: Row = self._writer.execute("SELECT coalesce(max(number), 0) FROM migration").fetchall()[0]
        return int(row[0])


def _sync_directory(path: Path) -> None:
    """Make the directory's entries durable, so that a new database survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
