"""Accounts, domains, groups, lists and classes from rows of another time or server (a backup): what is missing is made.

Invariants: what is here is not changed, but for an account whose password or settings are asked for; an object keeps its id where
that was never used here, so that rights and mail of it fit again, and gets a new one where it was; names that are taken stay
with whom has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mailstead.directory.address import checked_domain, checked_local
from mailstead.directory.deleted import DeletedVerbs, RestoredAccount, RestoredDomain, bring_account, bring_domain
from mailstead.directory.model import AlreadyExistsError, NotFoundError
from mailstead.directory.object_rows import ObjectRow, insert_row
from mailstead.directory.readdressing import Readdressed, names_left, readdress
from mailstead.directory.room import ACCOUNTS, check_room
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction

_OBJECTS = ("domain", "account", "account_class", "recipient")
_REFERENCES = ("domain_id", "object_id", "scope_id", "account_id", "recipient_id", "class_id")
_SECRETS = ("password", "scram", "recoverable", "must_change", "password_changed")


def renumbered(rows: Sequence[ObjectRow], ids: Mapping[int, int]) -> list[ObjectRow]:
    """Rows with other ids of objects in all the columns that may name them."""
    found: list[ObjectRow] = []
    for table, row in rows:
        copy = dict(row)
        for name in (*_REFERENCES, *(("id",) if table in _OBJECTS else ())):
            if name in copy:
                copy[name] = ids.get(copy[name], copy[name])
        if table == "member":
            copy.pop("id", None)
        found.append((table, copy))
    return found


class BringingVerbs(DeletedVerbs):
    """Verbs that take rows as ``object_rows.rows_of`` gives them."""

    async def bring_account(self, rows: Sequence[ObjectRow], domain: str | int, *, actor: Actor, name: str = "") -> RestoredAccount:
        """Make an account of its rows, under ``name`` where that is given. Raises AlreadyExistsError, NotFoundError,
        LimitReachedError, InvalidNameError."""
        owner = self._need_domain(domain)
        actor.require("restoreDomain", owner.id)
        new_name = checked_local(name) if name else ""
        old = next(int(row["id"]) for table, row in rows if table == "account")
        new = self.ids.next()
        limit = self.limit_of(owner.id, ACCOUNTS)
        left_out: list[str] = []

        def operation(transaction: Transaction) -> int:
            check_room(transaction.execute, owner.id, ACCOUNTS, limit)
            id = new if _in_use(transaction, old) else old
            mine = _with_shard(transaction, renumbered(rows, {old: id}))
            left_out[:] = bring_account(transaction, mine, owner.id, new_name)
            shown = new_name or next(str(row["name"]) for table, row in mine if table == "account")
            transaction.record(actor.name, "account", id, "restore", None, {"name": shown, "domain": owner.name})
            return id

        id = await self._change(operation)
        account = self.account(id)
        assert account is not None
        return RestoredAccount(account, tuple(left_out))

    async def bring_domain(self, rows: Sequence[ObjectRow], *, actor: Actor, name: str = "") -> RestoredDomain:
        """Make a domain with everything in it of its rows, under ``name`` where that is given; permissions of administrators
        do not come with another name. Raises AlreadyExistsError, InvalidNameError."""
        actor.require("restoreAnyDomain")
        new_name = checked_domain(name) if name else None
        permissions = 0
        if new_name and not any(table == "domain_name" and row["main"] and row["key"] == new_name[1] for table, row in rows):
            # Who was trusted with a domain was not for that with a copy of it.
            own = [one for one in rows if one[0] != "admin_permission"]
            permissions, rows = len(rows) - len(own), own
        old = {int(row["id"]) for table, row in rows if table in _OBJECTS}
        domain_id = next(int(row["id"]) for table, row in rows if table == "domain")
        fresh = {id: self.ids.next() for id in sorted(old)}
        left_out: list[str] = []
        readdressed: list[str] = []

        def operation(transaction: Transaction) -> tuple[int, int]:
            ids = {id: fresh[id] for id in old if _in_use(transaction, id)}
            mine = _with_shard(transaction, renumbered(rows, ids))
            left_out[:], readdressed[:] = bring_domain(transaction, mine, new_name)
            if permissions:
                left_out.append(f"{permissions} permissions of administrators, which a copy under another name does not get")
            id = ids.get(domain_id, domain_id)
            accounts = sum(table == "account" for table, _ in mine)
            transaction.record(actor.name, "domain", id, "restore", None, {"name": name or None, "accounts": accounts})
            return id, accounts

        id, accounts = await self._change(operation)
        domain = self.domain(id)
        assert domain is not None
        return RestoredDomain(domain, accounts, tuple(left_out), tuple(readdressed))

    async def bring_missing(self, rows: Sequence[ObjectRow], domain: str | int, *, actor: Actor) -> list[str]:
        """Make the account classes, groups, lists and folder recipients of a domain's rows that a domain here lacks, by name,
        with addresses of another name that the domain had as its own; returns in words what was made and what could not be."""
        owner = self._need_domain(domain)
        actor.require("restoreDomain", owner.id)
        there = {int(row["id"]) for table, row in rows if table == "domain"}
        fresh = {int(row["id"]): self.ids.next() for table, row in rows if table in ("account_class", "recipient")}
        said: list[str] = []

        def operation(transaction: Transaction) -> None:
            said.clear()
            count = Readdressed()
            here = {key for (key,) in transaction.execute("SELECT key FROM domain_name WHERE domain_id = ?", (owner.id,))}
            old_name, old_keys = names_left(rows, here)
            for table, row in rows:
                if table not in ("account_class", "recipient"):
                    continue
                kind = "class" if table == "account_class" else str(row["kind"])
                sql = f"SELECT 1 FROM {table} WHERE domain_id = ? AND name = ?"
                values: tuple[Any, ...] = (owner.id, row["name"])
                if table == "recipient":
                    sql, values = f"{sql} AND kind = ?", (*values, row["kind"])
                if transaction.row(sql, values):
                    continue
                old = int(row["id"])
                id = fresh[old] if _in_use(transaction, old) else old
                own = [one for one in rows if _belongs(one, old)]
                try:
                    mine = _with_shard(transaction, renumbered(own, {old: id, **dict.fromkeys(there, owner.id)}))
                    own_count = Readdressed()
                    _insert(transaction, readdress(mine, old_keys, owner.name, own_count), owner.id)
                except AlreadyExistsError as error:
                    said.append(f"not restored: {kind} {row['name']}: {error}")
                    continue
                count.changed, count.left = count.changed + own_count.changed, count.left + own_count.left
                noted = "accountClass" if kind == "class" else "recipient"
                transaction.record(actor.name, noted, id, "restore", None, values_of(row))
                said.append(f"restored: {kind} {row['name']}")
            said.extend(count.words(old_name, owner.name))

        await self._change(operation)
        return said

    async def take_back(
        self, account_id: int, rows: Sequence[ObjectRow], *, actor: Actor, password: bool, settings: bool
    ) -> list[str]:
        """Give an account that is here the password or the settings and aliases of its rows; returns in words what could not
        come. Raises NotFoundError."""
        account = self.account(account_id)
        if account is None:
            raise NotFoundError(f"account {account_id} does not exist")
        actor.require("restoreDomain", account.domain_id)
        left_out: list[str] = []

        def operation(transaction: Transaction) -> None:
            left_out.clear()
            known: dict[str, list[str]] = {}
            old = next(row for table, row in rows if table == "account")
            for table, row in renumbered(rows, {int(old["id"]): account_id}):
                if table == "account" and password:
                    assignment = ", ".join(f"{name} = ?" for name in _SECRETS)
                    transaction.execute(f"UPDATE account SET {assignment} WHERE id = ?", [*(row[n] for n in _SECRETS), account_id])
                if table == "account" and settings:
                    transaction.execute("UPDATE account SET full_name = ? WHERE id = ?", (row["full_name"], account_id))
                elif table in ("setting", "content") and settings:
                    key = (row["scope"], account_id, row["name"])
                    transaction.execute(f"DELETE FROM {table} WHERE scope = ? AND scope_id = ? AND name = ?", key)
                    insert_row(transaction, table, row, known)
                elif table == "object" and settings:
                    sql = "DELETE FROM object WHERE scope = ? AND scope_id = ? AND kind = ? AND key = ?"
                    transaction.execute(sql, (row["scope"], account_id, row["kind"], row["key"]))
                    insert_row(transaction, table, row, known)
                elif table == "address" and settings and not row["main"]:
                    row["domain_id"] = account.domain_id
                    sql = "SELECT object_id FROM address WHERE domain_id = ? AND local = ?"
                    holder = transaction.value(sql, (account.domain_id, row["local"]))
                    if holder is None:
                        insert_row(transaction, table, row, known)
                    elif holder != account_id:
                        left_out.append(f"the alias {row['name']}, which is taken")
            transaction.execute("UPDATE account SET auth_version = auth_version + 1 WHERE id = ?", (account_id,))
            what = {"password": "" if password else None, "settings": settings}
            transaction.record(actor.name, "account", account_id, "restore", None, what)

        await self._change(operation)
        return left_out


def values_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row the history shows."""
    return {name: row[name] for name in ("name", "kind") if name in row}


def _in_use(transaction: Transaction, id: int) -> bool:
    """Whether an id is that of an object here, of one that can still be restored, or of one that was erased for good: deleted
    mail of that stays in the index until its time has come, and is not for who comes after."""
    tables = ("domain", "account", "account_class", "recipient", "deleted", "admin", "admin_group")
    return (
        any(transaction.row(f"SELECT 1 FROM {table} WHERE id = ?", (id,)) for table in tables)
        or bool(transaction.row("SELECT 1 FROM deleted_mailbox WHERE owner = ?", (id,)))
        or bool(
            transaction.row(
                "SELECT 1 FROM history WHERE kind IN ('domain', 'account', 'recipient') AND object_id = ? LIMIT 1", (id,)
            )
        )
    )


def _with_shard(transaction: Transaction, rows: list[ObjectRow]) -> list[ObjectRow]:
    """Rows whose shards exist here; the least filled one where it does not."""
    for _, row in rows:
        if "shard" in row and transaction.row("SELECT 1 FROM shard WHERE number = ?", (row["shard"],)) is None:
            row["shard"] = transaction.value("SELECT number FROM shard ORDER BY accounts, number LIMIT 1")
    return rows


def _belongs(one: ObjectRow, id: int) -> bool:
    """Whether a row is of the class or recipient with that id."""
    table, row = one
    if table in ("account_class", "recipient"):
        return bool(row["id"] == id)
    names = {"address": "object_id", "member": "recipient_id", "setting": "scope_id", "object": "scope_id", "content": "scope_id"}
    return table in names and row[names[table]] == id


def _insert(transaction: Transaction, rows: list[ObjectRow], domain_id: int) -> None:
    """Insert a class or recipient. Raises AlreadyExistsError before anything is inserted."""
    for table, row in rows:
        if "domain_id" in row:
            row["domain_id"] = domain_id
        if table == "address":
            taken = transaction.value("SELECT kind FROM address WHERE domain_id = ? AND local = ?", (domain_id, row["local"]))
            if taken is not None:
                raise AlreadyExistsError(f"the name {row['name']} belongs to another {taken}")
    known: dict[str, list[str]] = {}
    for table, row in rows:
        if table == "recipient" and row["kind"] == "list":
            transaction.execute("UPDATE shard SET accounts = accounts + 1 WHERE number = ?", (row.get("shard", 0),))
        insert_row(transaction, table, row, known)
