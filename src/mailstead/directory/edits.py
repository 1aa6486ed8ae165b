"""Many changes in one transaction: what a COMMIT writes, with the rights each needs.

Invariants:
- Each value is checked against the permission of its place and against the limits of its domain (ADM-02), whoever prepared it.
- What `commit` returns from is durable and whole, and seen by the next look-up of every process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from mailstead.directory.account_rows import insert_account, need_class, store_password
from mailstead.directory.accounts import account_permission
from mailstead.directory.address import checked_local, local_key
from mailstead.directory.base import DirectoryBase, check_room, take_name
from mailstead.directory.domains import domain_permission
from mailstead.directory.model import InvalidNameError, LimitReachedError, NotFoundError
from mailstead.directory.password_policy import StoredPassword, check_rules, make_stored, ready_hash
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Setting
from mailstead.settings.edits import Check, Pending, Place, commit_operation
from mailstead.settings.service import context_of

Operation = Callable[[Transaction], object]

#: Settings of an account with the domain's upper bound for them (ADM-02).
_BOUNDS: Mapping[str, str] = {
    "totalMessageSize": "maxAccountMessageSizeQuota",
    "totalMessageCount": "maxAccountMessageCountQuota",
    "mboxCount": "maxAccountFolderCountQuota",
    "messageSize": "maxAccountFolderMessageSizeQuota",
    "messageCount": "maxAccountFolderMessageCountQuota",
}
_DATA_PERMISSION = {"contactInfo": "manageAccountsContactInformation", "webmailData": "manageAccountsWebmailOptions"}
_DOMAIN_PREFIX_PERMISSION = {
    "migrationData": "manageAutomaticMigration",
    "publicFolder": "renamePublicFolder",
    "publicFolderQuotas": "managePublicFoldersQuotas",
}
_LIST_PREFIX_PERMISSION = {
    "listLimits": "manageMailListsWebmailLimits",
    "listQuotas": "manageMailListsFoldersQuotas",
    "listWebmailData": "manageMailListsWebmailOptions",
    "folderRcptLimits": "manageFolderRecipients",
}


class EditVerbs(DirectoryBase):
    """Preparing changes, and committing them."""

    async def commit(self, pending: Pending, *, actor: Actor, own: Callable[[int], bool]) -> tuple[int, int]:
        """Write all of `pending` or nothing; the range of history rows (from, to] it wrote.

        Raises PermissionDeniedError, InvalidValueError, DirectoryError, ChangedMeanwhileError, SystemDatabaseError.
        """
        operation = commit_operation(pending, actor, self.checker(pending, actor), own)
        named = {
            place.scope_id
            for place, name in pending.values
            if place.prefix == "contactInfo." and name in ("firstName", "lastName")
        }

        def whole(transaction: Transaction) -> tuple[int, int]:
            written = operation(transaction)
            for account_id in named:
                _compose_full_name(transaction, account_id)
            return written

        return await self._change(whole)

    def checker(self, pending: Pending, actor: Actor) -> Check:
        """Asks for each value whether the actor may set it, and whether the domain's limits allow it."""

        def check(place: Place, setting: Setting | None, name: str) -> None:
            actor.require(self._permission_at(place, name), place.domain_id)
            if setting is not None and place.domain_id:
                self._check_bounds(place, setting, pending.values[place, name][1])

        return check

    def _permission_at(self, place: Place, name: str) -> str:
        prefix = place.prefix.rstrip(".")
        match place.scope:
            case "service":
                return context_of(prefix).permission if prefix else "manageServerConfig"
            case "defaults" | "server":
                return "manageServerConfig"
            case "class":
                return "manageAccountClasses"
            case "account":
                return account_permission(name)
            case "accountData":
                if name == "filteringOption":
                    return "manageFilteredEmail"
                return _DATA_PERMISSION.get(prefix, "manageAccounts")
            case "domainConfig":
                if prefix:
                    return _DOMAIN_PREFIX_PERMISSION.get(prefix, "manageDomainConfig")
                return domain_permission(name)
            case "recipient":
                return _LIST_PREFIX_PERMISSION.get(prefix, "manageMaillists")
            case _:
                return "manageDomainConfig"

    def _check_bounds(self, place: Place, setting: Setting, text: str | None) -> None:
        if place.scope not in ("account", "class", "domain") or text is None or place.prefix:
            return
        limits: Any = self.domain_settings(place.domain_id)
        value: Any = setting.parse(text)
        if setting.name == "services":
            beyond = value - getattr(limits, "availableServices", value)
            if beyond:
                raise LimitReachedError(f"services: {' '.join(sorted(beyond))} may not be given in this domain")
            return
        bound = getattr(limits, _BOUNDS.get(setting.name, ""), 0)
        if bound and (value == 0 or value > bound):
            raise LimitReachedError(f"{setting.name}: the domain allows 1 to {bound}")

    # -- accounts -----------------------------------------------------------------------------------------------

    async def stored_password(self, password: str | None, hash: str | None = None) -> StoredPassword:
        """What is stored of a clear password or a ready hash; with neither nobody can log in. Raises PasswordRefusedError."""
        if password is not None:
            keep: bool = self.settings.service("server").recoverableSecrets
            return await asyncio.to_thread(make_stored, password, recoverable=keep)
        return ready_hash(hash) if hash else StoredPassword("", "", "")

    def account_creation(self, account_id: int, domain_id: int, name: str, stored: StoredPassword, *, actor: Actor) -> Operation:
        """Create an enabled account under an id drawn before. When run, raises AlreadyExistsError, LimitReachedError."""
        actor.require("createAccounts", domain_id)
        name = checked_local(name)
        self.refuse_reserved(domain_id, name, actor)
        limit = self.domain_settings(domain_id).maxAccounts

        def operation(transaction: Transaction) -> None:
            display = transaction.value("SELECT name FROM domain WHERE id = ?", (domain_id,))
            if display is None:
                raise NotFoundError("the domain does not exist")
            check_room(transaction, domain_id, limit, "SELECT count(*) FROM account WHERE domain_id = ?", "accounts")
            insert_account(transaction, account_id, domain_id, name, 0, "", stored)
            new = {"name": name, "domain": display, "class": 0}
            transaction.record(actor.name, "account", account_id, "create", None, new)

        return operation

    def refuse_reserved(self, domain_id: int, name: str, actor: Actor) -> None:
        """ADM-02: names that only who manages the domain's limits may take. Raises InvalidNameError."""
        reserved = self.reserved_names(domain_id)
        if local_key(name) in reserved and not actor.may("manageDomainAdminLimits", domain_id):
            raise InvalidNameError(f"the name {name} is reserved in this domain")

    def reserved_names(self, domain_id: int) -> frozenset[str]:
        """Reserved recipient names of a domain, as they compare."""
        rows = self.database.query(
            "SELECT key FROM object WHERE scope = 'domainConfig' AND scope_id = ? AND kind = 'reservedRcpt'", (domain_id,)
        )
        return frozenset(local_key(row[0]) for row in rows)

    def account_renaming(self, account_id: int, domain_id: int, name: str, *, actor: Actor) -> Operation:
        """Give an account another main name."""
        actor.require("manageAccountsNaming", domain_id)
        name = checked_local(name)
        self.refuse_reserved(domain_id, name, actor)

        def operation(transaction: Transaction) -> None:
            old = transaction.value("SELECT name FROM account WHERE id = ?", (account_id,))
            transaction.execute("DELETE FROM address WHERE object_id = ? AND main = 1", (account_id,))
            take_name(transaction, domain_id, name, "account", account_id)
            transaction.execute("UPDATE account SET name = ?, auth_version = auth_version + 1 WHERE id = ?", (name, account_id))
            transaction.record(actor.name, "account", account_id, "rename", {"name": old}, {"name": name})

        return operation

    def check_new_password(self, password: str, domain_id: int, account_id: int, class_id: int) -> None:
        """PWD-01, for an administrator who asks for it (`respectEnforcement`). Raises PasswordRefusedError."""
        chain = [("account", account_id)] if account_id else []
        chain += [("class", class_id)] if class_id else []
        check_rules(password, self.settings.account_values([*chain, ("domain", domain_id)]), 0)

    def password_change(self, account_id: int, domain_id: int, stored: StoredPassword, *, actor: Actor) -> Operation:
        """Set a password; every other credential of the account is invalid from the commit on."""
        actor.require("changeAccountsPassword", domain_id)

        def operation(transaction: Transaction) -> None:
            store_password(transaction, account_id, stored, False, 0)
            transaction.record(actor.name, "account", account_id, "set password", None, {"password": ""})

        return operation

    def must_change_password(self, account_id: int, domain_id: int, value: bool, *, actor: Actor) -> Operation:
        """ACC-01 `mustChangePass`."""
        actor.require("changeAccountsPassword", domain_id)

        def operation(transaction: Transaction) -> None:
            transaction.execute("UPDATE account SET must_change = ? WHERE id = ?", (int(value), account_id))
            transaction.record(actor.name, "account", account_id, "set mustChangePass", None, {"mustChangePass": value})

        return operation

    def alias_addition(self, account_id: int, domain_id: int, alias: str, *, actor: Actor) -> Operation:
        """Give an account one more name."""
        actor.require("manageAccountsNaming", domain_id)
        alias = checked_local(alias)
        self.refuse_reserved(domain_id, alias, actor)

        def operation(transaction: Transaction) -> None:
            take_name(transaction, domain_id, alias, "account", account_id, main=False)
            transaction.record(actor.name, "account", account_id, "add alias", None, {"alias": alias, "expires": 0})

        return operation

    def alias_removal(self, account_id: int, domain_id: int, alias: str, *, actor: Actor) -> Operation:
        """Take a name away. When run, raises NotFoundError."""
        actor.require("manageAccountsNaming", domain_id)
        local = local_key(alias)

        def operation(transaction: Transaction) -> None:
            transaction.execute(
                "DELETE FROM address WHERE domain_id = ? AND local = ? AND object_id = ? AND main = 0",
                (domain_id, local, account_id),
            )
            if not transaction.changed():
                raise NotFoundError(f"the alias {alias} does not exist")
            transaction.record(actor.name, "account", account_id, "remove alias", {"alias": alias})

        return operation

    def class_change(self, account_id: int, domain_id: int, class_id: int, *, actor: Actor) -> Operation:
        """Put an account into a class (0: none); its own explicit values go, so that it follows the class (DOM-09)."""
        actor.require("changeAccountsClass", domain_id)

        def operation(transaction: Transaction) -> None:
            if class_id:
                need_class(transaction, class_id, domain_id)
            transaction.execute(
                "UPDATE account SET class_id = ?, auth_version = auth_version + 1 + "
                "coalesce((SELECT version FROM account_class WHERE id = account.class_id), 0) WHERE id = ?",
                (class_id, account_id),
            )
            transaction.record(actor.name, "account", account_id, "set class", None, {"class": class_id})

        return operation


def _compose_full_name(transaction: Transaction, account_id: int) -> None:
    """The display name of an account is its first and last name."""
    rows = transaction.execute(
        "SELECT name, value FROM setting WHERE scope = 'accountData' AND scope_id = ? AND name LIKE 'contactInfo.%'",
        (account_id,),
    )
    values: dict[str, str] = {str(row[0]): str(row[1]) for row in rows}
    parts = (values.get("contactInfo.firstName", ""), values.get("contactInfo.lastName", ""))
    full_name = " ".join(part for part in parts if part)[:255]
    transaction.execute("UPDATE account SET full_name = ? WHERE id = ?", (full_name, account_id))
