"""All rows of an account or a domain, whatever table they lie in: what is put aside, brought back, backed up or erased.

Invariants: every table that holds something of an account or a domain is named here and nowhere else; rows are taken parents
first and erased children first; a row is kept with the names of its columns, so that one of an earlier release still fits.

Ids are unique over all kinds of objects, so what belongs to a scope is found by the id alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mailstead.settings.database import Row, Transaction
from mailstead.settings.objects import OBJECT_SCOPE, remove_owned

Read = Callable[[str, Sequence[Any]], list[Row]]
ObjectRow = tuple[str, dict[str, Any]]
"""Table, and column to value."""

_SCOPED = ("setting", "object", "content")

ACCOUNT_TABLES: tuple[tuple[str, str], ...] = (
    ("account", "id = ?1"),
    ("address", "object_id = ?1"),
    *((table, "scope_id = ?1") for table in _SCOPED),
    ("login", "account_id = ?1"),
    ("password_history", "account_id = ?1"),
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
)
"""The same for a domain with everything in it."""

RECIPIENT_TABLES: tuple[tuple[str, str], ...] = (
    ("recipient", "id = ?1"),
    ("address", "object_id = ?1"),
    ("member", "recipient_id = ?1"),
    *((table, "scope_id = ?1") for table in _SCOPED),
    ("login", "account_id = ?1"),
)
"""The same for a group, list or folder recipient."""

#: Numbers that tables give themselves, and that nothing refers to.
_OWN_NUMBERS = {"object": "id"}


def columns(read: Read, table: str) -> list[str]:
    """Names of a table's columns; [] where there is no such table."""
    return [str(row[0]) for row in read("SELECT name FROM pragma_table_info(?)", (table,))]


def rows_of(read: Read, tables: Sequence[tuple[str, str]], object_id: int) -> Iterator[ObjectRow]:
    """All rows of an object, parents first."""
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
    """Insert a row, but for columns that the table no longer has; ``known`` keeps the columns between calls."""
    if table not in known:
        known[table] = columns(transaction.execute, table)
    names = [name for name in row if name in known[table] and _OWN_NUMBERS.get(table) != name]
    marks = ", ".join("?" * len(names))
    transaction.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", [row[name] for name in names])
