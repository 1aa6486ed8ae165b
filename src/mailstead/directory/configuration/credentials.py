"""Stored forms of passwords as a file has them, written by another server of ours: rows that no verb takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailstead.directory.configuration.schema import ACCOUNT_NODE, ADMIN, LIST_NODE, SECRET, Node
from mailstead.settings.database import Transaction

SECRETS = ("password", "scram", "recoverable")
"""Fields that hold them."""
_TABLES = {ADMIN.name: "admin", ACCOUNT_NODE.name: "account", LIST_NODE.name: "recipient"}


def credentials_operation(node: Node, values: Mapping[str, str], author: str) -> Callable[[Transaction], None] | None:
    """What stores those the file tells; None where it tells none."""
    told = {name: text for name, text in values.items() if name in SECRETS and text != SECRET}
    table = _TABLES[node.type.name]
    if table == "admin":
        told.pop("recoverable", None)
    if not told:
        return None

    def operation(transaction: Transaction) -> None:
        columns = ", ".join(f"{name} = ?" for name in told)
        transaction.execute(
            f"UPDATE {table} SET {columns}, auth_version = auth_version + 1 WHERE id = ?", (*told.values(), node.number)
        )
        transaction.record(author, table, node.number, "set password", None, {"password": ""})

    return operation


def must_change_operation(account: int, value: bool, author: str) -> Callable[[Transaction], None]:
    """What says whether an account's password has to be changed at its next login."""

    def operation(transaction: Transaction) -> None:
        transaction.execute("UPDATE account SET must_change = ? WHERE id = ?", (int(value), account))
        transaction.record(author, "account", account, "set mustChangePass", None, {"mustChangePass": value})

    return operation
