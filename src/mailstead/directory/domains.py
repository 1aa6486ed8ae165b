"""Verbs of domains: create, enable, disable, rename, aliases, own settings, account defaults, classes."""

from __future__ import annotations

from functools import partial

from mailstead.directory.activation import LEVEL, check_levels
from mailstead.directory.address import checked_local
from mailstead.directory.domain_steps import DomainSteps
from mailstead.directory.model import AccountClass, Domain, NotFoundError
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction
from mailstead.settings.declarations import ACCOUNT, DOMAIN
from mailstead.settings.edits import place_of
from mailstead.settings.objects import remove_owned


def domain_permission(name: str) -> str:
    """The domain permission that changing one of the domain's own settings, or a long text of it, needs."""
    return DOMAIN.permission_by_name(name)


class DomainVerbs(DomainSteps):
    """Verbs on domains and what belongs to a domain as a whole."""

    async def create_domain(self, name: str, *, actor: Actor) -> Domain:
        """Create an enabled domain (DOM-01). Raises AlreadyExistsError, InvalidNameError."""
        domain_id = self.ids.next()
        await self._change(self.domain_creation(domain_id, name, (), actor=actor).operation)
        return self._need_domain(domain_id)

    async def enable_domain(self, name: str, enabled: bool = True, *, actor: Actor) -> None:
        """Enable or disable a domain; its accounts' logins and mail follow at once."""
        domain = self._need_domain(name)
        if enabled:
            actor.require("activateAnyDomain")
        else:
            actor.require("deactivateDomain", domain.id)

        def operation(transaction: Transaction) -> None:
            before = transaction.value("SELECT enabled FROM domain WHERE id = ?", (domain.id,))
            if before is not None and bool(before) == enabled:
                return  # What changes nothing leaves nothing in the history that could be taken back.
            transaction.execute("UPDATE domain SET enabled = ?, version = version + 1 WHERE id = ?", (int(enabled), domain.id))
            transaction.record(actor.name, "domain", domain.id, "enable" if enabled else "disable", {"enabled": not enabled})

        await self._change(operation)

    async def disable_domain(self, name: str, *, actor: Actor) -> None:
        """`enable_domain(name, False)`."""
        await self.enable_domain(name, False, actor=actor)

    async def rename_domain(self, name: str, new_name: str, *, actor: Actor) -> None:
        """Give a domain another main name; the old one is free afterwards."""
        await self._change(self.domain_renaming(self._need_domain(name).id, new_name, actor=actor).operation)

    async def add_domain_alias(self, name: str, alias: str, *, actor: Actor) -> None:
        """Let a domain answer to another name (DOM-05)."""
        await self._change(self.domain_alias_addition(self._need_domain(name).id, alias, actor=actor).operation)

    async def remove_domain_alias(self, name: str, alias: str, *, actor: Actor) -> None:
        """Take an alias away. Raises NotFoundError."""
        await self._change(self.domain_alias_removal(self._need_domain(name).id, alias, actor=actor).operation)

    async def set_domain_setting(self, name: str, setting: str, value: str | None, *, actor: Actor) -> None:
        """Set (None: reset) one of the domain's own settings, spelled as in the CLI: catch-all, services, limits..."""
        domain = self._need_domain(name)
        declared = DOMAIN.setting(setting)
        actor.require(domain_permission(declared.name), domain.id)
        self.need_named(place_of(DOMAIN, domain.id, domain.id), declared.name, value)
        levels = partial(check_levels, domains=[domain.id]) if declared.name == LEVEL else None
        await self._store_setting(actor, "domainConfig", domain.id, declared, value, "domain", levels)

    async def set_domain_default(self, name: str, setting: str, value: str | None, *, actor: Actor) -> None:
        """Set (None: reset) what accounts of the domain inherit (DOM-09)."""
        domain = self._need_domain(name)
        actor.require("manageDomainConfig", domain.id)
        await self._store_setting(actor, "domain", domain.id, ACCOUNT.setting(setting), value, "domain")

    # -- account classes (ACC-02) -------------------------------------------------------------------------------

    async def create_account_class(self, domain: str, name: str, *, actor: Actor) -> AccountClass:
        """Create an empty class."""
        owner = self._need_domain(domain)
        class_id = self.ids.next()
        await self._change(self.class_creation(class_id, owner.id, name, actor=actor).operation)
        return AccountClass(class_id, owner.id, checked_local(name))

    async def rename_account_class(self, class_id: int, name: str, *, actor: Actor) -> None:
        """Give a class another name."""
        owner = self._class_domain(class_id)
        await self._change(self.class_renaming(class_id, owner, name, actor=actor).operation)

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
