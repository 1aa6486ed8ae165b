"""Verbs of domains: create, enable, disable, rename, aliases, own settings, account defaults, classes."""

from __future__ import annotations

from mailstead.directory.address import checked_domain, checked_local
from mailstead.directory.base import DirectoryBase, check_room
from mailstead.directory.model import AccountClass, AlreadyExistsError, Domain, NotFoundError
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction
from mailstead.settings.declarations import ACCOUNT, DOMAIN
from mailstead.settings.objects import remove_owned


def domain_permission(name: str) -> str:
    """The domain permission that changing one of the domain's own settings, or a long text of it, needs."""
    return DOMAIN.permission_by_name(name)


class DomainVerbs(DirectoryBase):
    """Verbs on domains and what belongs to a domain as a whole."""

    async def create_domain(self, name: str, *, actor: Actor) -> Domain:
        """Create an enabled domain (DOM-01). Raises AlreadyExistsError, InvalidNameError."""
        actor.require("activateAnyDomain")
        display, key = checked_domain(name)
        domain_id = self.ids.next()

        def operation(transaction: Transaction) -> Domain:
            take_domain_name(transaction, key, display, domain_id, main=True)
            transaction.execute(
                "INSERT INTO domain (id, name, enabled, version, created, shard) VALUES (?, ?, 1, 0, ?, "
                "(SELECT number FROM shard ORDER BY accounts, number LIMIT 1))",
                (domain_id, display, transaction.now),
            )
            transaction.record(actor.name, "domain", domain_id, "create", None, {"name": display})
            return Domain(domain_id, display, key, True, 0, transaction.now)

        return await self._change(operation)

    async def enable_domain(self, name: str, enabled: bool = True, *, actor: Actor) -> None:
        """Enable or disable a domain; its accounts' logins and mail follow at once."""
        domain = self._need_domain(name)
        if enabled:
            actor.require("activateAnyDomain")
        else:
            actor.require("deactivateDomain", domain.id)

        def operation(transaction: Transaction) -> None:
            transaction.execute("UPDATE domain SET enabled = ?, version = version + 1 WHERE id = ?", (int(enabled), domain.id))
            transaction.record(actor.name, "domain", domain.id, "enable" if enabled else "disable", {"enabled": domain.enabled})

        await self._change(operation)

    async def disable_domain(self, name: str, *, actor: Actor) -> None:
        """`enable_domain(name, False)`."""
        await self.enable_domain(name, False, actor=actor)

    async def rename_domain(self, name: str, new_name: str, *, actor: Actor) -> None:
        """Give a domain another main name; the old one is free afterwards."""
        domain = self._need_domain(name)
        actor.require("manageDomainConfig", domain.id)
        display, key = checked_domain(new_name)

        def operation(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM domain_name WHERE domain_id = ? AND main = 1", (domain.id,))
            take_domain_name(transaction, key, display, domain.id, main=True)
            transaction.execute("UPDATE domain SET name = ?, version = version + 1 WHERE id = ?", (display, domain.id))
            transaction.record(actor.name, "domain", domain.id, "rename", {"name": domain.name}, {"name": display})

        await self._change(operation)

    async def add_domain_alias(self, name: str, alias: str, *, actor: Actor) -> None:
        """Let a domain answer to another name (DOM-05)."""
        domain = self._need_domain(name)
        actor.require("manageDomainAliases", domain.id)
        display, key = checked_domain(alias)

        def operation(transaction: Transaction) -> None:
            take_domain_name(transaction, key, display, domain.id, main=False)
            transaction.record(actor.name, "domainAlias", domain.id, "add alias", None, {"alias": display})

        await self._change(operation)

    async def remove_domain_alias(self, name: str, alias: str, *, actor: Actor) -> None:
        """Take an alias away. Raises NotFoundError."""
        domain = self._need_domain(name)
        actor.require("manageDomainAliases", domain.id)
        _, key = checked_domain(alias)

        def operation(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM domain_name WHERE key = ? AND domain_id = ? AND main = 0", (key, domain.id))
            if not transaction.changed():
                raise NotFoundError(f"{domain.name} has no alias {alias}")
            transaction.record(actor.name, "domainAlias", domain.id, "remove alias", {"alias": alias})

        await self._change(operation)

    async def set_domain_setting(self, name: str, setting: str, value: str | None, *, actor: Actor) -> None:
        """Set (None: reset) one of the domain's own settings, spelled as in the CLI: catch-all, services, limits..."""
        domain = self._need_domain(name)
        declared = DOMAIN.setting(setting)
        actor.require(domain_permission(declared.name), domain.id)
        if value and declared.name in ("catchAllAccountName", "postmasterAccount"):
            local = checked_local(value)
            found = self.account_by_address(f"{local}@{domain.name}")
            if found is None:
                raise NotFoundError(f"{domain.name} has no account {local}")
        await self._store_setting(actor, "domainConfig", domain.id, declared, value, "domain")

    async def set_domain_default(self, name: str, setting: str, value: str | None, *, actor: Actor) -> None:
        """Set (None: reset) what accounts of the domain inherit (DOM-09)."""
        domain = self._need_domain(name)
        actor.require("manageDomainConfig", domain.id)
        await self._store_setting(actor, "domain", domain.id, ACCOUNT.setting(setting), value, "domain")

    # -- account classes (ACC-02) -------------------------------------------------------------------------------

    async def create_account_class(self, domain: str, name: str, *, actor: Actor) -> AccountClass:
        """Create an empty class."""
        owner = self._need_domain(domain)
        actor.require("createAccountClasses", owner.id)
        name = checked_local(name)
        class_id = self.ids.next()
        limit = self.domain_settings(owner.id).maxAccountClasses

        def operation(transaction: Transaction) -> AccountClass:
            refuse_class_name(transaction, owner.id, name)
            check_room(transaction, owner.id, limit, "SELECT count(*) FROM account_class WHERE domain_id = ?", "classes")
            transaction.execute(
                "INSERT INTO account_class (id, domain_id, name, version) VALUES (?, ?, ?, 0)",
                (class_id, owner.id, name),
            )
            transaction.record(actor.name, "accountClass", class_id, "create", None, {"name": name})
            return AccountClass(class_id, owner.id, name)

        return await self._change(operation)

    async def rename_account_class(self, class_id: int, name: str, *, actor: Actor) -> None:
        """Give a class another name."""
        owner = self._class_domain(class_id)
        actor.require("renameAccountClasses", owner)
        name = checked_local(name)

        def operation(transaction: Transaction) -> None:
            refuse_class_name(transaction, owner, name)
            transaction.execute("UPDATE account_class SET name = ? WHERE id = ?", (name, class_id))
            transaction.record(actor.name, "accountClass", class_id, "rename", None, {"name": name})

        await self._change(operation)

    async def delete_account_class(self, class_id: int, *, actor: Actor) -> None:
        """Delete a class; its accounts go back to the domain's defaults."""
        owner = self._class_domain(class_id)
        actor.require("removeAccountClasses", owner)

        def operation(transaction: Transaction) -> None:
            transaction.execute(
                "UPDATE account SET class_id = 0, auth_version = auth_version + 1 + "
                "(SELECT version FROM account_class WHERE id = ?) WHERE class_id = ?",
                (class_id, class_id),
            )
            remove_owned(transaction, "class", class_id)
            transaction.execute("DELETE FROM account_class WHERE id = ?", (class_id,))
            transaction.record(actor.name, "accountClass", class_id, "delete", {"domain": owner})

        await self._change(operation)

    async def set_class_setting(self, class_id: int, setting: str, value: str | None, *, actor: Actor) -> None:
        """Set (None: reset) a value of a class."""
        actor.require("manageAccountClasses", self._class_domain(class_id))
        await self._store_setting(actor, "class", class_id, ACCOUNT.setting(setting), value, "account_class")

    def _class_domain(self, class_id: int) -> int:
        row = self.database.query_row("SELECT domain_id FROM account_class WHERE id = ?", (class_id,))
        if row is None:
            raise NotFoundError(f"account class {class_id} does not exist")
        return int(row[0])


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
