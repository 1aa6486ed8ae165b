"""Accounts, domains, groups and lists as documents (JSON) that can be kept anywhere and come back.

Invariants: what a document holds is checked as the input of a stranger: tables, columns' names, ids and sizes; nothing outside of
the object it is of can be reached with it; a setting that its bearer may not change is left out; passwords are in it as they
are stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from mailstead.directory.address import checked_local, domain_key, local_key
from mailstead.directory.model import DirectoryError
from mailstead.directory.object_rows import ACCOUNT_TABLES, DOMAIN_TABLES, RECIPIENT_TABLES, ObjectRow, Read, rows_of

FORMAT = 1
MAX_OCTETS = 64 << 20
MAX_ROWS = 300_000
_COLUMN = re.compile(r"[a-z_]{1,40}\Z")
_IDS = ("domain_id", "object_id", "scope_id", "account_id", "recipient_id")
_SCOPES = {"account", "accountData", "recipient", "domain", "domainConfig", "class"}
#: Those of a domain itself: its accounts are documents of their own, and administrators' rights are nobody's to bring along.
_OWN_TABLES = tuple(
    (table, where) for table, where in DOMAIN_TABLES if table not in ("account", "admin_permission", "login", "password_history")
)
_OF_ACCOUNTS = {"account", "accountData"}
MaySet = Callable[[str, str], bool]
"""Whether its bearer may change a setting, by the scope and name of its row."""
TABLES = {"account": ACCOUNT_TABLES, "recipient": RECIPIENT_TABLES, "domain": _OWN_TABLES}


class BadDocument(DirectoryError):
    """It cannot be taken; the text says why."""


def document(read: Read, kind: str, object_id: int) -> bytes:
    """An account, recipient (group, list, folder recipient) or domain as a document."""
    rows = list(rows_of(read, TABLES[kind], object_id))
    if kind == "domain":
        rows = [(table, row) for table, row in rows if row.get("scope") not in _OF_ACCOUNTS]
        rows = [(table, row) for table, row in rows if table != "address" or row["kind"] not in ("account",)]
    table = {"format": FORMAT, "kind": kind, "rows": [[name, row] for name, row in rows]}
    return json.dumps(table, ensure_ascii=False, indent=1, sort_keys=True).encode()


def rows_in(octets: bytes, kind: str, may_set: MaySet) -> tuple[list[ObjectRow], list[str]]:
    """The rows of a document of that kind, and what was left out of it. Raises BadDocument."""
    if len(octets) > MAX_OCTETS:
        raise BadDocument("the document is too large")
    try:
        table = json.loads(octets)
        if not isinstance(table, dict) or table.get("kind") != kind or not isinstance(table.get("rows"), list):
            raise BadDocument(f"it is no document of kind {kind}")
        if table.get("format") != FORMAT:
            raise BadDocument("it was written by another release")
        if len(table["rows"]) > MAX_ROWS:
            raise BadDocument("it has too many rows")
        return _checked(table["rows"], kind, may_set)
    except BadDocument:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadDocument(f"it is damaged: {type(error).__name__}") from None
    except DirectoryError as error:
        raise BadDocument(str(error)) from None


def _checked(found: Sequence[Any], kind: str, may_set: MaySet) -> tuple[list[ObjectRow], list[str]]:
    allowed = {table for table, _ in TABLES[kind]}
    rows: list[ObjectRow] = []
    left_out: list[str] = []
    for one in found:
        if not isinstance(one, list) or len(one) != 2 or one[0] not in allowed or not isinstance(one[1], dict):
            raise BadDocument("it holds something that does not belong there")
        table, row = one
        for name, value in row.items():
            if not _COLUMN.match(name) or not isinstance(value, str | int | float | None):
                raise BadDocument(f"the column {name[:40]!r} is none")
            if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
                raise BadDocument("a number is too large")
        rows.append((table, row))
    main = [row for table, row in rows if table == kind]
    if len(main) != 1:
        raise BadDocument(f"it must hold one {kind}")
    if kind != "domain" and any(table in ("domain", "account") for table, _ in rows if table != kind):
        raise BadDocument("it holds something that does not belong there")
    own = {_id(row["id"]) for table, row in rows if table in ("account", "recipient", "account_class", "domain")}
    home = _id(main[0].get("domain_id", main[0]["id"]))
    kept: list[ObjectRow] = []
    for table, row in rows:
        for name in _IDS:
            if name in row and row[name] not in own and not (name == "domain_id" and row[name] == home):
                raise BadDocument(f"a row of {table} belongs to something else")
        if "scope" in row and row["scope"] not in _SCOPES:
            raise BadDocument(f"the scope {str(row['scope'])[:40]!r} does not belong there")
        if table == "setting" and not may_set(str(row["scope"]), str(row["name"])):
            left_out.append(f"the setting {row['name']}, which you may not change")
            continue
        _check_names(table, row, kind)
        kept.append((table, row))
    return kept, left_out


def _id(value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise BadDocument("an id is no positive number")
    return value


def _check_names(table: str, row: dict[str, Any], kind: str) -> None:
    """Names fit for what they name, and in the form they are compared in."""
    if table == "address":
        if (row["kind"] == "account") != (kind == "account"):
            raise BadDocument("a name is of another kind of object")
        row["name"] = checked_local(str(row["name"]))
        row["local"] = local_key(row["name"])
    elif table in ("account", "recipient", "account_class"):
        row["name"] = checked_local(str(row["name"]))
    elif table == "domain_name":
        key = domain_key(str(row["name"]))
        if key is None:
            raise BadDocument("a domain's name is none")
        row["key"] = key


__all__ = ["MAX_OCTETS", "BadDocument", "document", "rows_in"]
