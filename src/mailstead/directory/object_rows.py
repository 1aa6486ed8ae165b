"""All rows of an account or a domain, whatever table they lie in: what is put aside, brought back, backed up or erased.

Invariants: every table that holds something of an account or a domain is named here and nowhere else; rows are taken parents
first and erased children first; a row is kept with the names of its columns, so that one of an earlier release still fits.

Ids are unique over all kinds of objects, so what belongs to a scope is found by the id alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mailstead.settings.database import Row, Transaction
from mailstead.settings.objects import OBJECT_SCOPE, new_object_id, remove_owned

Read = Callable[[str, Sequence[Any]], list[Row]]
ObjectRow = tuple[str, dict[str, Any]]
"""Table, and column to value."""

_SCOPED = ("setting", "object", "content")

_OWNED_BY_OBJECT = tuple((table, f"scope = '{OBJECT_SCOPE}' AND scope_id = ?1") for table in _SCOPED)

ACCOUNT_TABLES: tuple[tuple[str, str], ...] = (
    ("account", "id = ?1"),
    ("address", "object_id = ?1"),
    *((table, "scope_id = ?1") for table in _SCOPED),
    ("login", "account_id = ?1"),
    ("password_history", "account_id = ?1"),
    ("sent_quota", "account_id = ?1"),
    ("notice", "account_id = ?1"),
)
"""Table, and which of its rows are of the account with that id."""

_ACCOUNTS = "(SELECT id FROM account WHERE domain_id = ?1)"
_RECIPIENTS = "(SELECT id FROM recipient WHERE domain_id = ?1)"
_OWNED = (
    "(SELECT id FROM account WHERE domain_id = ?1 UNION ALL SELECT id FROM recipient WHERE domain_id = ?1 "
    "UNION ALL SELECT id FROM account_class WHERE domain_id = ?1 UNION ALL SELECT ?1)"
)
DOMAIN_TABLES: tuple[tuple[str, str], ...] = (
    ("domain", "id = ?1"),
    ("domain_name", "domain_id = ?1"),
    ("account_class", "domain_id = ?1"),
    ("account", "domain_id = ?1"),
    ("recipient", "domain_id = ?1"),
    ("address", "domain_id = ?1"),
    ("admin_permission", "domain_id = ?1"),
    ("member", f"recipient_id IN {_RECIPIENTS}"),
    *((table, f"scope_id IN {_OWNED}") for table in _SCOPED),
    ("login", f"account_id IN {_OWNED}"),
    ("password_history", f"account_id IN {_ACCOUNTS}"),
    ("sent_quota", f"account_id IN {_OWNED}"),
    ("notice", f"account_id IN {_OWNED}"),
)
"""The same for a domain with everything in it."""

RECIPIENT_TABLES: tuple[tuple[str, str], ...] = (
    ("recipient", "id = ?1"),
    ("address", "object_id = ?1"),
    ("member", "recipient_id = ?1"),
    *((table, "scope_id = ?1") for table in _SCOPED),
    ("login", "account_id = ?1"),
    ("sent_quota", "account_id = ?1"),
    ("notice", "account_id = ?1"),
)
"""The same for a group, list or folder recipient."""


def columns(read: Read, table: str) -> list[str]:
    """Names of a table's columns; [] where there is no such table."""
    return [str(row[0]) for row in read("SELECT name FROM pragma_table_info(?)", (table,))]


def rows_of(read: Read, tables: Sequence[tuple[str, str]], object_id: int) -> Iterator[ObjectRow]:
    """All rows of an object, parents first; what its named objects own comes last."""
    owners: list[int] = []
    for table, row in _rows(read, tables, object_id):
        if table == OBJECT_SCOPE:
            owners.append(int(row["id"]))
        yield table, row
    while owners:
        for table, row in _rows(read, _OWNED_BY_OBJECT, owners.pop(0)):
            if table == OBJECT_SCOPE:
                owners.append(int(row["id"]))
            yield table, row


def _rows(read: Read, tables: Sequence[tuple[str, str]], object_id: int) -> Iterator[ObjectRow]:
    for table, where in tables:
        names = columns(read, table)
        if not names:
            continue
        for values in read(f"SELECT {', '.join(names)} FROM {table} WHERE {where}", (object_id,)):
            yield table, dict(zip(names, values, strict=True))


def erase_rows(transaction: Transaction, tables: Sequence[tuple[str, str]], object_id: int) -> None:
    """Delete all rows of an object, children first; with its named objects goes what those own."""
    for table, where in tables:
        if table == OBJECT_SCOPE:
            for row in transaction.execute(f"SELECT id FROM {table} WHERE {where}", (object_id,)):
                remove_owned(transaction, OBJECT_SCOPE, row[0])
    for table, where in reversed(tables):
        transaction.execute(f"DELETE FROM {table} WHERE {where}", (object_id,))


def insert_row(transaction: Transaction, table: str, row: dict[str, Any], known: dict[str, list[str]]) -> None:
    """Insert a row, but for columns that the table no longer has; ``known`` keeps columns between the calls of one batch.

    A named object whose number is taken gets a new one, and what it owns follows it; that of an object which the batch does
    not have is left out.
    """
    if table not in known:
        known[table] = columns(transaction.execute, table)
    if row.get("scope") == OBJECT_SCOPE:
        owner = known.get(f"{OBJECT_SCOPE} {row['scope_id']}")
        if owner is None:
            return
        row = {**row, "scope_id": int(owner[0])}
        identity = [name for name in ("scope", "scope_id", "kind", "key", "name") if name in row]
        where = " AND ".join(f"{name} = ?" for name in identity)
        transaction.execute(f"DELETE FROM {table} WHERE {where}", [row[name] for name in identity])
    if table == OBJECT_SCOPE and "id" in row:
        taken = transaction.row("SELECT 1 FROM object WHERE id = ?", (row["id"],)) is not None
        number = new_object_id() if taken else int(row["id"])
        known[f"{OBJECT_SCOPE} {row['id']}"] = [str(number)]
        row = {**row, "id": number}
    names = [name for name in row if name in known[table]]
    marks = ", ".join("?" * len(names))
    transaction.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", [row[name] for name in names])
