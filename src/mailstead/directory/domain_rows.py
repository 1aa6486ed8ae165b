"""Names of domains and classes, as they are taken inside a transaction."""

from __future__ import annotations

from mailstead.directory.model import AlreadyExistsError
from mailstead.settings.database import Transaction


def take_domain_name(transaction: Transaction, key: str, name: str, domain_id: int, *, main: bool) -> None:
    """Let a domain answer to a name. Raises AlreadyExistsError."""
    if transaction.row("SELECT 1 FROM domain_name WHERE key = ?", (key,)) is not None:
        raise AlreadyExistsError(f"the domain {name} already exists")
    transaction.execute(
        "INSERT INTO domain_name (key, name, domain_id, main) VALUES (?, ?, ?, ?)", (key, name, domain_id, int(main))
    )


def refuse_class_name(transaction: Transaction, domain_id: int, name: str) -> None:
    """Raise AlreadyExistsError for a class's name that is taken in the domain."""
    if transaction.row("SELECT 1 FROM account_class WHERE domain_id = ? AND name = ?", (domain_id, name)):
        raise AlreadyExistsError(f"the account class {name} already exists")
