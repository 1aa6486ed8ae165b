"""Rows of accounts as the verbs write them, inside a transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mailstead.directory.address import checked_local, domain_key, split_address
from mailstead.directory.base import take_name
from mailstead.directory.model import DirectoryError, InvalidNameError, NewAccount, NotFoundError
from mailstead.directory.password_policy import StoredPassword, make_stored, ready_hash
from mailstead.directory.room import ACCOUNTS, refuse_full
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.database import Transaction

ImportLine = tuple[int, NewAccount, StoredPassword | str]
"""Index in the list, the account, and its stored password or why there is none."""

_INSERT = (
    "INSERT INTO account (id, domain_id, name, shard, class_id, enabled, full_name, password, scram, recoverable, "
    "must_change, password_changed, auth_version, created) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, 0, ?, 1, ?)"
)


def import_password(account: NewAccount, recoverable: bool) -> StoredPassword | str:
    """Stored form of one line's password, or why it is refused. Hashes (in a thread) when it is a clear one."""
    try:
        if account.password:
            return make_stored(account.password, recoverable=recoverable)
        return ready_hash(account.hash)
    except DirectoryError as error:
        return str(error)


def import_lines(
    transaction: Transaction,
    actor: Actor,
    lines: Sequence[ImportLine],
    limits: Mapping[int, int],
    next_id: Callable[[], int],
) -> tuple[int, list[tuple[int, str]]]:
    """Insert what can be inserted; (number created, refused lines)."""
    refused: list[tuple[int, str]] = []
    made: list[tuple[int, Mapping[str, Any]]] = []
    domains: dict[str, tuple[int, int]] = {}
    for index, account, stored in lines:
        try:
            if isinstance(stored, str):
                raise InvalidNameError(stored)
            parts = split_address(account.address.strip())
            if parts is None:
                raise InvalidNameError(f"{account.address[:80]!r} is not an address")
            name, domain = checked_local(parts[0]), parts[1]
            domain_id, count = _domain_count(transaction, domain, domains)
            actor.require("createAccounts", domain_id)
            limit = limits.get(domain_id, 0)
            refuse_full(ACCOUNTS, limit, count)
            account_id = next_id()
            insert_account(transaction, account_id, domain_id, name, 0, account.full_name, stored)
        except (DirectoryError, PermissionDeniedError) as error:
            refused.append((index, str(error)))
            continue
        domains[domain_key(domain) or ""] = (domain_id, count + 1)
        made.append((account_id, {"name": name, "domain": domain}))
    transaction.record_many(actor.name, "account", "import", made)
    return len(made), refused


def _domain_count(transaction: Transaction, domain: str, known: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Id and number of accounts of a domain, asked once for each domain of an import."""
    key = domain_key(domain) or ""
    if key not in known:
        domain_id = transaction.value("SELECT domain_id FROM domain_name WHERE key = ?", (key,))
        if domain_id is None:
            raise NotFoundError(f"the domain {domain[:80]} does not exist")
        count = transaction.value("SELECT count(*) FROM account WHERE domain_id = ?", (domain_id,))
        known[key] = (domain_id, count)
    return known[key]


def insert_account(
    transaction: Transaction,
    account_id: int,
    domain_id: int,
    name: str,
    class_id: int,
    full_name: str,
    stored: StoredPassword,
) -> None:
    """Insert an account with its main name, in the least filled shard. Raises AlreadyExistsError."""
    take_name(transaction, domain_id, name, "account", account_id)
    shard = transaction.value("SELECT number FROM shard ORDER BY accounts, number LIMIT 1")
    transaction.execute("UPDATE shard SET accounts = accounts + 1 WHERE number = ?", (shard,))
    now = transaction.now
    password = (stored.password, stored.scram, stored.recoverable)
    transaction.execute(_INSERT, (account_id, domain_id, name, shard, class_id, full_name[:255], *password, now, now))


def store_password(transaction: Transaction, account_id: int, stored: StoredPassword, must_change: bool, history: int) -> None:
    """Replace a password; the old hash goes to the history when `history` > 0 are kept. Raises NotFoundError."""
    old = transaction.value("SELECT password FROM account WHERE id = ?", (account_id,))
    if old is None:
        raise NotFoundError(f"account {account_id} does not exist")
    if history and old:
        transaction.execute(
            "INSERT INTO password_history (account_id, time, password) VALUES (?, ?, ?)",
            (account_id, transaction.now, old),
        )
    transaction.execute(
        "DELETE FROM password_history WHERE account_id = ? AND time NOT IN "
        "(SELECT time FROM password_history WHERE account_id = ? ORDER BY time DESC LIMIT ?)",
        (account_id, account_id, history),
    )
    transaction.execute(
        "UPDATE account SET password = ?, scram = ?, recoverable = ?, must_change = ?, password_changed = ?, "
        "auth_version = auth_version + 1 WHERE id = ?",
        (stored.password, stored.scram, stored.recoverable, int(must_change), transaction.now, account_id),
    )


def need_account(transaction: Transaction, account_id: int) -> None:
    """Raise NotFoundError unless the account is still there."""
    if not transaction.row("SELECT 1 FROM account WHERE id = ?", (account_id,)):
        raise NotFoundError("the account does not exist any more")


def need_class(transaction: Transaction, class_id: int, domain_id: int) -> None:
    """Raise NotFoundError unless the class is one of the domain's."""
    if not transaction.row("SELECT 1 FROM account_class WHERE id = ? AND domain_id = ?", (class_id, domain_id)):
        raise NotFoundError(f"account class {class_id} does not exist in this domain")
