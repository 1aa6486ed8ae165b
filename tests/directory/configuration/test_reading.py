"""The tree of a server is that of one moment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mailstead.directory import Directory
from mailstead.directory.configuration import as_toml, read_configuration
from mailstead.settings.database import Query, Transaction


async def test_a_commit_while_it_is_read_is_in_it_whole_or_not_at_all(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = directory.database
    snapshot = database.snapshot
    asked: list[str] = []

    def commit(transaction: Transaction) -> None:
        transaction.execute(
            "INSERT INTO setting (scope, scope_id, name, value) VALUES ('service', 0, 'server.serverName', 'late.test')"
        )
        transaction.execute("INSERT INTO admin_group (id, name, description) VALUES (5, 'latecomers', '')")
        transaction.record("somebody", "adminGroup", 5, "create")

    @contextlib.contextmanager
    def watched() -> Iterator[Query]:
        with snapshot() as query:

            def ask(sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
                rows = query(sql, values)
                asked.append(sql)
                if len(asked) == 3:
                    # The lock is free: look-ups of the process go on meanwhile.
                    database.write_sync(commit)
                    assert database.poll()
                return rows

            yield ask

    monkeypatch.setattr(database, "snapshot", watched)
    text = as_toml(read_configuration(database), ())
    assert len(asked) > 3
    assert "late.test" not in text and "latecomers" not in text
    monkeypatch.undo()
    text = as_toml(read_configuration(database), ())
    assert "late.test" in text and "latecomers" in text
