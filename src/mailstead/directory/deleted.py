"""Deleted accounts and domains, kept for the retention time, and bringing them back (feature DOM-03).

Invariants: deleting takes an object out of every look-up in the transaction that puts its rows aside, secrets included; what
comes back has its ids, so its mail, the rights it gave and those it was given are its own again; names that others
took meanwhile stay theirs; once its mail is being removed nothing comes back.

The mail stays where it is until the retention ends (``server.retentionDays``), or goes at once where no copy is kept.
``deleted_mailbox`` says whose mail is still to be removed, in which shard.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.directory.address import checked_domain, checked_local, domain_key, local_key
from mailstead.directory.base import DirectoryBase
from mailstead.directory.model import Account, AlreadyExistsError, DirectoryError, Domain, NotFoundError
from mailstead.directory.object_rows import ACCOUNT_TABLES, DOMAIN_TABLES, ObjectRow, erase_rows, insert_row, rows_of
from mailstead.directory.readdressing import Readdressed, names_left, readdress
from mailstead.directory.room import ACCOUNTS, check_room
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.database import Transaction

DAY_US = 86_400 * 1_000_000
ERASED, WANTED, KEPT = -1, 0, 1
"""States of a deleted object: its mail is being removed, is to be removed at once, is kept for the retention time."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deleted account (``kind`` account, ``name`` its address) or domain. Times in microseconds since 1970; ``until``: when
    its mail goes."""

    id: int
    kind: str
    domain_id: int
    name: str
    time: int
    until: int
    author: str


@dataclass(frozen=True, slots=True)
class RestoredAccount:
    """``left_out``: what could not come back, in words."""

    account: Account
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestoredDomain:
    """``accounts``: how many came with it; ``readdressed``: what became of addresses of its old name, in words."""

    domain: Domain
    accounts: int
    left_out: tuple[str, ...]
    readdressed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeletedMailbox:
    """Mail that is to go: its owner (an account, or a domain for public folders), the shard it lies in, and when it was
    deleted (microseconds; 0 where no copy is kept)."""

    owner: int
    shard: int
    time: int


class DeletedVerbs(DirectoryBase):
    """Verbs on what was deleted."""

    # -- deleting ---------------------------------------------------------------------------------------------

    async def delete_account(self, account_id: int, *, actor: Actor, keep_copy: bool = True) -> None:
        """Delete an account with its names; no new account gets its id. It can be restored within the retention time unless
        ``keep_copy`` is false; then its mail goes at once."""
        account = self.account(account_id)
        if account is None:
            raise NotFoundError(f"account {account_id} does not exist")
        actor.require("removeAccounts", account.domain_id)

        def operation(transaction: Transaction) -> None:
            if transaction.row("SELECT 1 FROM account WHERE id = ?", (account_id,)) is None:
                raise NotFoundError(f"account {account_id} does not exist")
            self._put_aside(transaction, actor, account_id, "account", account.domain_id, account.address, keep_copy)
            _keep_mailboxes(transaction, account_id, [(account_id, account.shard)])
            transaction.execute("UPDATE shard SET accounts = accounts - 1 WHERE number = ?", (account.shard,))
            erase_rows(transaction, ACCOUNT_TABLES, account_id)
            old = {"address": account.address, "shard": account.shard, "copy": keep_copy}
            transaction.record(actor.name, "account", account_id, "delete", old)

        await self._change(operation)

    async def delete_domain(self, name: str, *, actor: Actor, keep_copy: bool = True) -> list[int]:
        """Delete a domain with everything in it; returns the ids of its accounts. It can be restored within the retention time
        unless ``keep_copy`` is false (CLI: dontKeepCopy); then all mail in it goes at once."""
        domain = self._need_domain(name)
        actor.require("deactivateDomain", domain.id)

        def operation(transaction: Transaction) -> list[int]:
            row = transaction.row("SELECT shard FROM domain WHERE id = ?", (domain.id,))
            if row is None:
                raise NotFoundError(f"the domain {name} does not exist")
            accounts = transaction.execute("SELECT id, shard FROM account WHERE domain_id = ?", (domain.id,))
            lists = transaction.execute("SELECT id, shard FROM recipient WHERE domain_id = ? AND kind = 'list'", (domain.id,))
            self._put_aside(transaction, actor, domain.id, "domain", domain.id, domain.name, keep_copy)
            _keep_mailboxes(transaction, domain.id, [(domain.id, int(row[0])), *accounts, *lists])
            for _owner, shard in (*accounts, *lists):
                transaction.execute("UPDATE shard SET accounts = accounts - 1 WHERE number = ?", (shard,))
            erase_rows(transaction, DOMAIN_TABLES, domain.id)
            old = {"name": domain.name, "accounts": len(accounts), "copy": keep_copy}
            transaction.record(actor.name, "domain", domain.id, "delete", old)
            return [int(row[0]) for row in accounts]

        return await self._change(operation)

    def _put_aside(
        self, transaction: Transaction, actor: Actor, id: int, kind: str, domain_id: int, name: str, keep_copy: bool
    ) -> None:
        transaction.execute(
            "INSERT INTO deleted (id, kind, domain_id, name, time, author, state) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (id, kind, domain_id, name, transaction.now, actor.name, KEPT if keep_copy else WANTED),
        )
        if keep_copy:
            tables = ACCOUNT_TABLES if kind == "account" else DOMAIN_TABLES
            transaction.executemany(
                "INSERT INTO deleted_row (deleted_id, number, name, content) VALUES (?, ?, ?, ?)",
                [
                    (id, number, table, json.dumps(row, ensure_ascii=False))
                    for number, (table, row) in enumerate(rows_of(transaction.execute, tables, id))
                ],
            )

    # -- listing ----------------------------------------------------------------------------------------------

    def deleted_objects(self) -> list[Deleted]:
        """Domains, and accounts of all domains, that can be restored, the youngest first."""
        return self._deleted("kind IN ('domain', 'account')", ())

    def deleted_domains(self) -> list[Deleted]:
        """Domains that can be restored, the youngest first."""
        return self._deleted("kind = 'domain'", ())

    def deleted_accounts(self, domain: str | int) -> list[Deleted]:
        """Accounts of a domain that can be restored, the youngest first. Raises NotFoundError."""
        return self._deleted("kind = 'account' AND domain_id = ?", (self._need_domain(domain).id,))

    def _deleted(self, where: str, values: Sequence[Any]) -> list[Deleted]:
        retention = int(self.settings.service("server").retentionDays) * DAY_US
        rows = self.database.query(
            f"SELECT id, kind, domain_id, name, time, author FROM deleted WHERE state = {KEPT} AND {where} ORDER BY time DESC, id",
            values,
        )
        return [Deleted(id, kind, domain, name, at, at + retention, author) for id, kind, domain, name, at, author in rows]

    # -- bringing back ----------------------------------------------------------------------------------------

    async def restore_account(self, account: int | str, *, actor: Actor, name: str = "") -> RestoredAccount:
        """Bring a deleted account back, by id or by the address it had (then the one deleted last), with names, password,
        settings, class and mail; as ``name`` where its own is taken. Raises NotFoundError, AlreadyExistsError,
        LimitReachedError, PermissionDeniedError."""
        found = self._find("account", account)
        actor.require("restoreDomain", found.domain_id)
        domain = self.domain(found.domain_id)
        if domain is None:
            raise NotFoundError("its domain is deleted as well; restore the domain first")
        new_name = checked_local(name) if name else ""
        limit = self.limit_of(domain.id, ACCOUNTS)
        left_out: list[str] = []

        def operation(transaction: Transaction) -> None:
            rows = _take_rows(transaction, found.id)
            check_room(transaction.execute, domain.id, ACCOUNTS, limit)
            left_out[:] = bring_account(transaction, rows, domain.id, new_name)
            _forget(transaction, found.id)
            new = {"address": found.name, "name": new_name or None}
            transaction.record(actor.name, "account", found.id, "restore", None, new)

        await self._change(operation)
        restored = self.account(found.id)
        assert restored is not None
        return RestoredAccount(restored, tuple(left_out))

    async def restore_domain(self, domain: int | str, *, actor: Actor, name: str = "", enable: bool = False) -> RestoredDomain:
        """Bring a deleted domain back, by id or by the name it had (then the one deleted last), with all that was in it; as
        ``name`` where its own is taken. It is enabled or disabled as it was, or, with ``enable``, enabled. Raises NotFoundError,
        AlreadyExistsError, InvalidNameError, PermissionDeniedError."""
        found = self._find("domain", domain)
        actor.require("restoreDomain", found.id)
        if enable:
            actor.require("activateAnyDomain")
        new_name = checked_domain(name) if name else None
        left_out: list[str] = []
        readdressed: list[str] = []

        def operation(transaction: Transaction) -> int:
            rows = _take_rows(transaction, found.id)
            left_out[:], readdressed[:] = bring_domain(transaction, rows, new_name)
            _forget(transaction, found.id)
            accounts = sum(table == "account" for table, _ in rows)
            new = {"name": new_name[0] if new_name else found.name, "accounts": accounts}
            transaction.record(actor.name, "domain", found.id, "restore", None, new)
            if enable and not transaction.value("SELECT enabled FROM domain WHERE id = ?", (found.id,)):
                transaction.execute("UPDATE domain SET enabled = 1, version = version + 1 WHERE id = ?", (found.id,))
                transaction.record(actor.name, "domain", found.id, "enable", {"enabled": False})
            return accounts

        accounts = await self._change(operation)
        restored = self.domain(found.id)
        assert restored is not None
        return RestoredDomain(restored, accounts, tuple(left_out), tuple(readdressed))

    async def erase_deleted(self, kind: str, what: int | str, *, actor: Actor) -> None:
        """Give up the copy of a deleted account or domain before its time: its mail goes now. Raises NotFoundError."""
        found = self._find(kind, what)
        actor.require("removeAccounts" if kind == "account" else "deactivateDomain", found.domain_id)

        def operation(transaction: Transaction) -> None:
            transaction.execute(f"UPDATE deleted SET state = {WANTED} WHERE id = ? AND state = {KEPT}", (found.id,))
            transaction.execute("DELETE FROM deleted_row WHERE deleted_id = ?", (found.id,))
            transaction.record(actor.name, kind, found.id, "erase", {"name": found.name})

        await self._change(operation)

    def deleted_domains_at(self, location: str) -> list[Deleted]:
        """Those of `deleted_domains` that were given a location (DOM-02). Reads what is kept of all domains: not for the loop."""
        at = (
            "SELECT deleted_id FROM deleted_row WHERE name = 'setting' AND json_extract(content, '$.scope') = 'domainConfig' "
            "AND json_extract(content, '$.name') = 'domainLocation' AND json_extract(content, '$.value') = ?"
        )
        return self._deleted(f"kind = 'domain' AND id IN ({at})", (location,))

    def _find(self, kind: str, what: int | str) -> Deleted:
        if isinstance(what, int):
            found = self._deleted("kind = ? AND id = ?", (kind, what))
        elif kind == "domain":
            key = domain_key(what)
            found = [one for one in self._deleted("kind = ?", (kind,)) if domain_key(one.name) == key]
        else:
            local, _, domain = what.rpartition("@")
            owner = self._need_domain(domain)
            accounts = self._deleted("kind = ? AND domain_id = ?", (kind, owner.id))
            found = [one for one in accounts if local_key(one.name.rpartition("@")[0]) == local_key(local)]
        if not found:
            raise NotFoundError(f"no deleted {kind} {what} can be restored")
        return found[0]

    # -- the end of the retention time ------------------------------------------------------------------------

    async def claim_deleted_mailboxes(self) -> list[DeletedMailbox]:
        """Mail whose time has come: from here on its owner cannot be restored. Call ``mailbox_removed`` for each."""
        retention = int(self.settings.service("server").retentionDays) * DAY_US

        def operation(transaction: Transaction) -> list[DeletedMailbox]:
            due = f"state = {WANTED} OR (state = {KEPT} AND time <= ?)"
            before = (transaction.now - retention,)
            rows = "SELECT id FROM deleted WHERE " + due
            transaction.execute(f"DELETE FROM deleted_row WHERE deleted_id IN ({rows})", before)
            # Without a copy its mail counts as deleted long ago, so nothing keeps it any longer.
            transaction.execute(f"UPDATE deleted SET time = 0 WHERE state = {WANTED}")
            transaction.execute(f"UPDATE deleted SET state = {ERASED} WHERE {due}", before)
            transaction.execute(
                f"DELETE FROM deleted WHERE state = {ERASED} AND id NOT IN (SELECT deleted_id FROM deleted_mailbox)"
            )
            found = transaction.execute(
                "SELECT m.owner, m.shard, d.time FROM deleted_mailbox m JOIN deleted d ON d.id = m.deleted_id "
                f"WHERE d.state = {ERASED} ORDER BY m.owner"
            )
            return [DeletedMailbox(*row) for row in found]

        if not self.database.query("SELECT 1 FROM deleted LIMIT 1"):
            return []
        return await self._change(operation)

    async def mailbox_removed(self, owner: int) -> None:
        """The mail of a deleted owner is gone; the last one of a deleted object takes its memory along."""

        def operation(transaction: Transaction) -> None:
            id = transaction.value("SELECT deleted_id FROM deleted_mailbox WHERE owner = ?", (owner,))
            transaction.execute("DELETE FROM deleted_mailbox WHERE owner = ?", (owner,))
            transaction.execute(
                f"DELETE FROM deleted WHERE id = ? AND state = {ERASED} "
                "AND NOT EXISTS (SELECT 1 FROM deleted_mailbox WHERE deleted_id = deleted.id)",
                (id,),
            )

        await self._change(operation)

    def is_deleted(self, owner: int) -> bool:
        """Whether the mail of an owner is kept for a deleted account or domain."""
        return bool(self.database.query("SELECT 1 FROM deleted_mailbox WHERE owner = ?", (owner,)))


def remove_mailbox(transaction: Transaction, owner: int, kind: str, domain_id: int, name: str, shard: int, author: str) -> None:
    """Have the mail of a mailing list that was deleted removed at once; nothing of it can be restored."""
    transaction.execute(
        "INSERT INTO deleted (id, kind, domain_id, name, time, author, state) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (owner, kind, domain_id, name, transaction.now, author, WANTED),
    )
    _keep_mailboxes(transaction, owner, [(owner, shard)])


def _keep_mailboxes(transaction: Transaction, deleted_id: int, owners: Iterable[tuple[int, int]]) -> None:
    transaction.executemany(
        "INSERT INTO deleted_mailbox (owner, deleted_id, shard) VALUES (?, ?, ?)",
        [(owner, deleted_id, shard) for owner, shard in owners],
    )


def _take_rows(transaction: Transaction, id: int) -> list[ObjectRow]:
    if transaction.value("SELECT state FROM deleted WHERE id = ?", (id,)) != KEPT:
        raise NotFoundError("it can no longer be restored")
    rows = transaction.execute("SELECT name, content FROM deleted_row WHERE deleted_id = ? ORDER BY number", (id,))
    return [(str(table), json.loads(content)) for table, content in rows]


def _forget(transaction: Transaction, id: int) -> None:
    for table, column in (("deleted_row", "deleted_id"), ("deleted_mailbox", "deleted_id"), ("deleted", "id")):
        transaction.execute(f"DELETE FROM {table} WHERE {column} = ?", (id,))


def bring_account(transaction: Transaction, rows: Sequence[ObjectRow], domain_id: int, name: str = "") -> list[str]:
    """Insert the rows of an account into a domain, under another ``name`` where one is given; returns in words what was left
    out. Raises AlreadyExistsError, DirectoryError."""
    left_out: list[str] = []
    known: dict[str, list[str]] = {}
    for table, row in rows:
        if table == "account":
            row["domain_id"], row["name"] = domain_id, name or row["name"]
            row["auth_version"] = int(row["auth_version"]) + 1
            if row["class_id"] and not transaction.row(
                "SELECT 1 FROM account_class WHERE id = ? AND domain_id = ?", (row["class_id"], domain_id)
            ):
                row["class_id"] = 0
                left_out.append("its account class, which is gone")
            _count_in_shard(transaction, int(row["shard"]))
        elif table == "address":
            row["domain_id"] = domain_id
            if row["main"] and name:
                row["name"], row["local"] = name, local_key(name)
            taken = transaction.value("SELECT kind FROM address WHERE domain_id = ? AND local = ?", (domain_id, row["local"]))
            if taken is not None and row["main"]:
                raise AlreadyExistsError(f"the name {row['name']} belongs to another {taken} now; give another name")
            if taken is not None:
                left_out.append(f"the alias {row['name']}, which is taken")
                continue
        insert_row(transaction, table, row, known)
    return left_out


def bring_domain(
    transaction: Transaction, rows: Sequence[ObjectRow], name: tuple[str, str] | None = None
) -> tuple[list[str], list[str]]:
    """Insert the rows of a domain, under another ``name`` (display form, key) where one is given; returns in words what was
    left out, and what became of addresses of its old name. Raises AlreadyExistsError, DirectoryError."""
    left_out: list[str] = []
    readdressed: list[str] = []
    if name:
        # Aliases that come along lead to it still.
        coming = {row["key"] for table, row in rows if table == "domain_name" and not row["main"]}
        taken = {key for key in coming if transaction.row("SELECT 1 FROM domain_name WHERE key = ?", (key,))}
        old, keys = names_left(rows, {name[1]} | (coming - taken))
        count = Readdressed()
        rows = readdress(rows, keys, name[0], count)
        readdressed = count.words(old, name[0])
    known: dict[str, list[str]] = {}
    for table, row in rows:
        if table == "domain" and name:
            row["name"] = name[0]
        if table == "domain":
            row["version"] = int(row["version"]) + 1
        elif table == "domain_name":
            if row["main"] and name:
                row["name"], row["key"] = name
            if transaction.row("SELECT 1 FROM domain_name WHERE key = ?", (row["key"],)):
                if row["main"]:
                    raise AlreadyExistsError(f"the name {row['name']} belongs to another domain now; give another name")
                left_out.append(f"the domain alias {row['name']}, which is taken")
                continue
        elif table == "account":
            row["auth_version"] = int(row["auth_version"]) + 1
            _count_in_shard(transaction, int(row["shard"]))
        elif table == "recipient" and row["kind"] == "list":
            row["auth_version"] = int(row.get("auth_version", 0)) + 1
            _count_in_shard(transaction, int(row.get("shard", 0)))
        elif table == "admin_permission":
            holders = "SELECT 1 FROM admin WHERE id = ?1 UNION ALL SELECT 1 FROM admin_group WHERE id = ?1"
            if transaction.row(holders, (row["holder_id"],)) is None:
                left_out.append("a permission of an administrator who is gone")
                continue
        insert_row(transaction, table, row, known)
    return left_out, readdressed


def _count_in_shard(transaction: Transaction, shard: int) -> None:
    transaction.execute("UPDATE shard SET accounts = accounts + 1 WHERE number = ?", (shard,))
    if not transaction.changed():
        raise DirectoryError(f"this server has no shard {shard}")


__all__ = ["Deleted", "DeletedMailbox", "DeletedVerbs", "PermissionDeniedError", "RestoredAccount", "RestoredDomain"]
