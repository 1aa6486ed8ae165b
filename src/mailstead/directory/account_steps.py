"""Changes of accounts that wait to be committed with others (see `edits`).

Invariants: a step's rights are asked when it is made; what only the database can tell (a taken name, a used-up limit) is
asked when it runs, inside the transaction; a password waits as its hash.
"""

from __future__ import annotations

import asyncio
import fnmatch
import time

from mailstead.directory.account_rows import insert_account, need_account, need_class, store_password
from mailstead.directory.address import checked_local, local_key
from mailstead.directory.base import DirectoryBase, take_name
from mailstead.directory.model import Account, InvalidNameError, LimitReachedError, NotFoundError
from mailstead.directory.named import follow_name
from mailstead.directory.password_policy import StoredPassword, check_rules, make_stored, ready_hash
from mailstead.directory.room import ACCOUNTS, check_room
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction
from mailstead.settings.edits import Step

MAX_TEMPORARY_DAYS = 3650


class AccountSteps(DirectoryBase):
    """Steps of accounts, and what is asked before them."""

    async def stored_password(self, password: str | None, hash: str | None = None) -> StoredPassword:
        """What is stored of a clear password or a ready hash; with neither nobody can log in. Raises PasswordRefusedError."""
        if password is not None:
            keep: bool = self.settings.service("server").recoverableSecrets
            return await asyncio.to_thread(make_stored, password, recoverable=keep)
        return ready_hash(hash) if hash else StoredPassword("", "", "")

    def account_creation(
        self,
        account_id: int,
        domain_id: int,
        name: str,
        stored: StoredPassword,
        *,
        actor: Actor,
        first: bool = False,
        full_name: str = "",
        class_id: int = 0,
    ) -> Step:
        """Create an enabled account under an id drawn before; `first`: of a domain that is made in the same transaction by
        who may make it. When run, raises AlreadyExistsError, LimitReachedError."""
        name = checked_local(name)
        limit = 0
        if not first:
            actor.require("createAccounts", domain_id)
            self.refuse_reserved(domain_id, name, actor)
            limit = self.limit_of(domain_id, ACCOUNTS)

        def operation(transaction: Transaction) -> None:
            display = transaction.value("SELECT name FROM domain WHERE id = ?", (domain_id,))
            if display is None:
                raise NotFoundError("the domain does not exist")
            check_room(transaction.execute, domain_id, ACCOUNTS, limit)
            if class_id:
                need_class(transaction, class_id, domain_id)
            insert_account(transaction, account_id, domain_id, name, class_id, full_name, stored)
            new = {"name": name, "domain": display, "class": class_id}
            transaction.record(actor.name, "account", account_id, "create", None, new)

        return Step(operation)

    def refuse_reserved(self, domain_id: int, name: str, actor: Actor) -> None:
        """ADM-02: names, or patterns of them, that only who manages the domain's limits may take. Raises InvalidNameError."""
        rows = self.database.query(
            "SELECT key FROM object WHERE scope = 'domainConfig' AND scope_id = ? AND kind = 'reservedRcpt'", (domain_id,)
        )
        if not rows or actor.may("manageDomainAdminLimits", domain_id):
            return
        local = local_key(name)
        if any(fnmatch.fnmatchcase(local, local_key(row[0])) for row in rows):
            raise InvalidNameError(f"the name {name} is reserved in this domain")

    def account_renaming(self, account_id: int, domain_id: int, name: str, *, actor: Actor) -> Step:
        """Give an account another main name."""
        actor.require("manageAccountsNaming", domain_id)
        name = checked_local(name)
        self.refuse_reserved(domain_id, name, actor)

        def operation(transaction: Transaction) -> None:
            old = transaction.value("SELECT name FROM account WHERE id = ?", (account_id,))
            if old is None:
                raise NotFoundError("the account does not exist any more")
            transaction.execute("DELETE FROM address WHERE object_id = ? AND main = 1", (account_id,))
            take_name(transaction, domain_id, name, "account", account_id)
            transaction.execute("UPDATE account SET name = ?, auth_version = auth_version + 1 WHERE id = ?", (name, account_id))
            follow_name(transaction, actor.name, domain_id, old, name)
            transaction.record(actor.name, "account", account_id, "rename", {"name": old}, {"name": name})

        return Step(operation, (("account", account_id),))

    def check_new_password(self, password: str, domain_id: int, account_id: int, class_id: int) -> None:
        """PWD-01, for an administrator who asks for it (`respectEnforcement`). Raises PasswordRefusedError."""
        chain = [("account", account_id)] if account_id else []
        chain += [("class", class_id)] if class_id else []
        check_rules(password, self.settings.account_values([*chain, ("domain", domain_id)]), 0)

    def password_change(
        self, account_id: int, domain_id: int, stored: StoredPassword, *, actor: Actor, must_change: bool = False
    ) -> Step:
        """Set a password; every other credential of the account is invalid from the commit on. The account itself
        (Actor.user) needs no permission; its rules are asked by who hashes the password."""
        if actor.account_id != account_id:
            actor.require("changeAccountsPassword", domain_id)
        size = int(str(self.account_settings(account_id)["passHistorySize"].value))

        def operation(transaction: Transaction) -> None:
            store_password(transaction, account_id, stored, must_change, size)
            transaction.record(actor.name, "account", account_id, "set password", None, {"password": ""})

        return Step(operation, (("account", account_id),))

    def must_change_password(self, account_id: int, domain_id: int, value: bool, *, actor: Actor) -> Step:
        """ACC-01 `mustChangePass`."""
        actor.require("changeAccountsPassword", domain_id)

        def operation(transaction: Transaction) -> None:
            need_account(transaction, account_id)
            transaction.execute("UPDATE account SET must_change = ? WHERE id = ?", (int(value), account_id))
            transaction.record(actor.name, "account", account_id, "set mustChangePass", None, {"mustChangePass": value})

        return Step(operation, (("account", account_id),))

    def alias_addition(
        self, account_id: int, domain_id: int, alias: str, *, actor: Actor, days: int = 0, until: int = 0
    ) -> Step:
        """Give an account one more name; with `days`, or `until` (unix seconds), one that takes mail that long and is no login
        (WML-08). Raises AlreadyExistsError, LimitReachedError when run."""
        if until:
            days = -((int(time.time()) - until) // 86_400)
        own = actor.account_id == account_id
        if days:
            if not own:
                actor.require("manageTemporaryAddresses", domain_id)
            values = self.account_settings(account_id)
            longest = int(str(values["temporaryAliasesInterval"].value)) if own else MAX_TEMPORARY_DAYS
            allowed = int(str(values["temporaryAliasesCount"].value))
            if not 1 <= days <= longest:
                raise InvalidNameError(f"a temporary address lives 1 to {longest} days")
        else:
            actor.require("manageAccountsNaming", domain_id)
        alias = checked_local(alias)
        self.refuse_reserved(domain_id, alias, actor)

        def operation(transaction: Transaction) -> None:
            now = transaction.now // 1_000_000
            need_account(transaction, account_id)
            if days:
                transaction.execute("DELETE FROM address WHERE expires > 0 AND expires < ?", (now,))
                living = transaction.value("SELECT count(*) FROM address WHERE object_id = ? AND expires > 0", (account_id,))
                if living >= allowed:
                    raise LimitReachedError(f"the account may have at most {allowed} temporary addresses")
            expires = until or (now + days * 86_400 if days else 0)
            take_name(transaction, domain_id, alias, "account", account_id, main=False, expires=expires)
            transaction.record(actor.name, "account", account_id, "add alias", None, {"alias": alias, "expires": expires})

        return Step(operation, (("account", account_id),))

    def alias_removal(self, account_id: int, domain_id: int, alias: str, *, actor: Actor) -> Step:
        """Take a name away; a temporary one of its own an account may always. When run, raises NotFoundError, and for an
        account's other names PermissionDeniedError."""
        own = actor.account_id == account_id
        if not own:
            actor.require("manageAccountsNaming", domain_id)
        local = local_key(alias)

        def operation(transaction: Transaction) -> None:
            where, key = "WHERE domain_id = ? AND local = ? AND object_id = ? AND main = 0", (domain_id, local, account_id)
            expires = transaction.value(f"SELECT expires FROM address {where}", key)
            if expires is None:
                raise NotFoundError(f"the alias {alias} does not exist")
            if own and not expires:
                actor.require("manageAccountsNaming", domain_id)
            transaction.execute(f"DELETE FROM address {where}", key)
            transaction.record(actor.name, "account", account_id, "remove alias", {"alias": alias, "expires": expires})

        return Step(operation, (("account", account_id),))

    def class_change(self, account_id: int, domain_id: int, class_id: int, *, actor: Actor) -> Step:
        """Put an account into a class (0: none); its own explicit values stay (DOM-09)."""
        actor.require("changeAccountsClass", domain_id)

        def operation(transaction: Transaction) -> None:
            need_account(transaction, account_id)
            if class_id:
                need_class(transaction, class_id, domain_id)
            transaction.execute(
                "UPDATE account SET class_id = ?, auth_version = auth_version + 1 + "
                "coalesce((SELECT version FROM account_class WHERE id = account.class_id), 0) WHERE id = ?",
                (class_id, account_id),
            )
            transaction.record(actor.name, "account", account_id, "set class", None, {"class": class_id})

        return Step(operation, (("account", account_id),))

    def name_taken(self, domain_id: int, name: str) -> bool:
        """Whether a local name of a domain belongs to any object."""
        self.database.poll()
        return self._name(domain_id, local_key(name)) is not None

    def account_named(self, domain_id: int, name: str) -> Account | None:
        """The account that has this main name in a domain."""
        self.database.poll()
        found = self._name(domain_id, local_key(name))
        return self._account(found.object_id) if found is not None and found.kind == "account" and found.main else None
