"""Changes of domains and classes that wait to be committed with others (see `edits`).

Invariants: a step's rights are asked when it is made; what only the database can tell (a taken name, a used-up limit) is
asked when it runs, inside the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailstead.directory.activation import LEVEL, level_of, rename_parent
from mailstead.directory.address import checked_domain, checked_local
from mailstead.directory.domain_rows import refuse_class_name, take_domain_name
from mailstead.directory.model import Domain, InvalidNameError, NotFoundError
from mailstead.directory.named import NamedObjects, follow_class, follow_domain
from mailstead.directory.room import CLASSES, SUBDOMAINS, check_room
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Setting
from mailstead.settings.declarations import DOMAIN
from mailstead.settings.edits import Place, Step
from mailstead.settings.service import store_value


class DomainSteps(NamedObjects):
    """Steps of domains and account classes, and subdomains' requests."""

    def domain_creation(
        self, domain_id: int, name: str, values: Iterable[tuple[Place, Setting, str]], *, actor: Actor, parent_id: int = 0
    ) -> Step:
        """Create a domain under an id drawn before, with own settings (DOM-01). One below `parent_id` (DOM-04) may be made by
        who manages the parent's subdomains; without the right to activate domains it stays disabled and asks for it."""
        display, key = checked_domain(name)
        enabled = actor.may("activateAnyDomain")
        limit = 0
        if parent_id:
            actor.require("manageSubdomains", parent_id)
            parent = self._need_domain(parent_id)
            if not key.endswith(f".{parent.key}"):
                raise InvalidNameError(f"{display} is not below {parent.name}")
            limit = self.limit_of(parent_id, SUBDOMAINS)
        else:
            actor.require("activateAnyDomain")
        chosen = list(values)

        def operation(transaction: Transaction) -> None:
            check_room(transaction.execute, parent_id, SUBDOMAINS, limit)
            take_domain_name(transaction, key, display, domain_id, main=True)
            transaction.execute(
                "INSERT INTO domain (id, name, enabled, version, created, shard) VALUES (?, ?, ?, 0, ?, "
                "(SELECT number FROM shard ORDER BY accounts, number LIMIT 1))",
                (domain_id, display, int(enabled), transaction.now),
            )
            transaction.record(actor.name, "domain", domain_id, "create", None, {"name": display, "enabled": enabled})
            for place, setting, text in chosen:
                store_value(transaction, actor.name, place.scope, place.scope_id, place.stored(setting.name), setting, text)
            if parent_id and (level := level_of(transaction, parent_id)) > level_of(transaction, domain_id):
                store_value(transaction, actor.name, "domainConfig", domain_id, LEVEL, DOMAIN.setting(LEVEL), str(level))

        return Step(operation)

    def domain_renaming(self, domain_id: int, name: str, *, actor: Actor) -> Step:
        """Give a domain another main name."""
        actor.require("manageDomainConfig", domain_id)
        display, key = checked_domain(name)

        def operation(transaction: Transaction) -> None:
            row = transaction.row(
                "SELECT d.name, n.key FROM domain d JOIN domain_name n ON n.domain_id = d.id AND n.main = 1 WHERE d.id = ?",
                (domain_id,),
            )
            if row is None:
                raise NotFoundError("the domain does not exist any more")
            old, old_key = row
            rename_parent(transaction, domain_id, display)
            transaction.execute("DELETE FROM domain_name WHERE domain_id = ? AND main = 1", (domain_id,))
            take_domain_name(transaction, key, display, domain_id, main=True)
            transaction.execute("UPDATE domain SET name = ?, version = version + 1 WHERE id = ?", (display, domain_id))
            follow_domain(transaction, actor.name, old_key, key)
            transaction.record(actor.name, "domain", domain_id, "rename", {"name": old}, {"name": display})

        return Step(operation, (("domain", domain_id),))

    def activation_requests(self) -> list[Domain]:
        """Subdomains that wait for somebody who may enable them (DOM-04), in the order in which they are to be."""
        rows = self.database.query(
            "SELECT scope_id FROM setting WHERE scope = 'domainConfig' AND name = 'activationRequested' AND value = 'yes'"
        )
        found = [self.domain(row[0]) for row in rows]

        def order(domain: Domain) -> tuple[int, int, str]:
            return self.domain_settings(domain.id).activationLevel, domain.key.count("."), domain.name

        return sorted((domain for domain in found if domain is not None), key=order)

    async def clear_activation_request(self, domain_id: int, *, actor: Actor) -> None:
        """The domain waits no more; nothing happens where it does not."""
        if not any(domain.id == domain_id for domain in self.activation_requests()):
            return
        actor.require("activateAnyDomain")
        setting = DOMAIN.setting("activationRequested")
        await self._change(
            lambda transaction: store_value(transaction, actor.name, "domainConfig", domain_id, setting.name, setting, None)
        )

    def domain_alias_addition(self, domain_id: int, alias: str, *, actor: Actor) -> Step:
        """Let a domain answer to another name (DOM-05)."""
        actor.require("manageDomainAliases", domain_id)
        display, key = checked_domain(alias)

        def operation(transaction: Transaction) -> None:
            if not transaction.row("SELECT 1 FROM domain WHERE id = ?", (domain_id,)):
                raise NotFoundError("the domain does not exist any more")
            take_domain_name(transaction, key, display, domain_id, main=False)
            transaction.record(actor.name, "domainAlias", domain_id, "add alias", None, {"alias": display})

        return Step(operation)

    def domain_alias_removal(self, domain_id: int, alias: str, *, actor: Actor) -> Step:
        """Take an alias away. When run, raises NotFoundError."""
        actor.require("manageDomainAliases", domain_id)
        _, key = checked_domain(alias)

        def operation(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM domain_name WHERE key = ? AND domain_id = ? AND main = 0", (key, domain_id))
            if not transaction.changed():
                raise NotFoundError(f"the alias {alias} does not exist")
            transaction.record(actor.name, "domainAlias", domain_id, "remove alias", {"alias": alias})

        return Step(operation)

    def class_creation(self, class_id: int, domain_id: int, name: str, *, actor: Actor) -> Step:
        """Create an account class under an id drawn before."""
        actor.require("createAccountClasses", domain_id)
        name = checked_local(name)
        limit = self.limit_of(domain_id, CLASSES)

        def operation(transaction: Transaction) -> None:
            refuse_class_name(transaction, domain_id, name)
            check_room(transaction.execute, domain_id, CLASSES, limit)
            transaction.execute(
                "INSERT INTO account_class (id, domain_id, name, version) VALUES (?, ?, ?, 0)", (class_id, domain_id, name)
            )
            transaction.record(actor.name, "accountClass", class_id, "create", None, {"name": name})

        return Step(operation)

    def class_renaming(self, class_id: int, domain_id: int, name: str, *, actor: Actor) -> Step:
        """Give a class another name."""
        actor.require("renameAccountClasses", domain_id)
        name = checked_local(name)

        def operation(transaction: Transaction) -> None:
            refuse_class_name(transaction, domain_id, name)
            old = transaction.value("SELECT name FROM account_class WHERE id = ?", (class_id,))
            if old is None:
                raise NotFoundError("the account class does not exist any more")
            transaction.execute("UPDATE account_class SET name = ? WHERE id = ?", (name, class_id))
            follow_class(transaction, actor.name, domain_id, str(old), name)
            transaction.record(actor.name, "accountClass", class_id, "rename", None, {"name": name})

        return Step(operation, (("accountClass", class_id),))
