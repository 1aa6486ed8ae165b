"""The system database: what it refuses to open, and that a failed change leaves nothing."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from mailstead.settings.database import SchemaTooNewError, SystemDatabase, SystemDatabaseError, Transaction
from mailstead.settings.schema import MIGRATIONS, Migration


def path_of(data_dir: Path) -> Path:
    return data_dir / "index" / "system.db"


def test_missing_foreign_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemDatabaseError, match="no system database"):
        SystemDatabase.open(tmp_path)
    assert not path_of(tmp_path).exists()
    foreign = path_of(tmp_path / "foreign")
    foreign.parent.mkdir(parents=True)
    connection = apsw.Connection(str(foreign))
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    with pytest.raises(SystemDatabaseError, match="not a system database"):
        SystemDatabase.open(tmp_path / "foreign")
    damaged = path_of(tmp_path / "damaged")
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"this is not a database" * 100)
    with pytest.raises(SystemDatabaseError):
        SystemDatabase.open(tmp_path / "damaged")


def test_newer_schema_is_refused_and_older_is_migrated(tmp_path: Path) -> None:
    SystemDatabase.open(tmp_path, create=True).close()
    newer = (*MIGRATIONS, Migration(MIGRATIONS[-1].number + 1, "more", ("CREATE TABLE more (a INTEGER)",)))
    SystemDatabase(path_of(tmp_path), migrations=newer).close()
    with pytest.raises(SchemaTooNewError, match="newer release"):
        SystemDatabase.open(tmp_path)


def test_failed_migration_leaves_the_old_schema(tmp_path: Path) -> None:
    SystemDatabase.open(tmp_path, create=True).close()
    number = MIGRATIONS[-1].number + 1
    broken = (*MIGRATIONS, Migration(number, "broken", ("CREATE TABLE half (a INTEGER)", "NO SUCH STATEMENT")))
    with pytest.raises(SystemDatabaseError):
        SystemDatabase(path_of(tmp_path), migrations=broken)
    opened = SystemDatabase.open(tmp_path)
    assert opened.query("SELECT count(*) FROM sqlite_master WHERE name = 'half'") == [(0,)]
    opened.close()


async def test_failed_change_is_rolled_back_whole(tmp_path: Path) -> None:
    database = SystemDatabase.open(tmp_path, create=True)

    def operation(transaction: Transaction) -> None:
        transaction.execute("INSERT INTO meta VALUES ('a', 'b')")
        transaction.record("test", "x", 1, "y")
        raise KeyError("stop")

    with pytest.raises(KeyError):
        await database.write(operation)
    assert database.query("SELECT count(*) FROM meta WHERE key <> 'welcomed'") == [(0,)]
    assert not database.poll()
    await database.write(lambda t: t.execute("INSERT INTO meta VALUES ('a', 'c')"))
    assert database.query("SELECT value FROM meta WHERE key <> 'welcomed'") == [("c",)]
    database.close()
    database.close()


def test_writes_are_synced(tmp_path: Path) -> None:
    database = SystemDatabase.open(tmp_path, create=True)
    assert database.write_sync(lambda t: t.value("PRAGMA synchronous")) == 2
    assert database.write_sync(lambda t: t.value("PRAGMA journal_mode")) == "wal"
    database.close()
