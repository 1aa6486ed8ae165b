"""What every verb of the directory shares: finding rows inside a transaction, names that may be taken, changing.

Invariants: a verb checks its actor first, changes rows and writes history in one transaction, and returns when that
is durable and this process's caches have seen it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mailstead.directory.address import domain_key, local_key
from mailstead.directory.ids import IdSource
from mailstead.directory.mailbox_counts import within_counts
from mailstead.directory.model import AlreadyExistsError, Domain, NotFoundError
from mailstead.directory.resolve import Resolver
from mailstead.directory.room import check_room, limit_setting
from mailstead.settings.actor import Actor
from mailstead.settings.database import SystemDatabase, Transaction
from mailstead.settings.declaration import Setting
from mailstead.settings.service import Settings, store_value

T = TypeVar("T")

RIGHTS = frozenset({"services"})
"""Settings whose change must end sessions and cached logins."""


class DirectoryBase(Resolver):
    """Base of the groups of verbs."""

    def __init__(self, database: SystemDatabase, settings: Settings, ids: IdSource) -> None:
        super().__init__(database, settings)
        self.ids = ids

    async def _change(self, operation: Callable[[Transaction], T]) -> T:
        result = await self.database.write(within_counts(operation))
        self.database.poll()
        return result

    def _need_domain(self, name_or_id: str | int) -> Domain:
        domain = self.domain(name_or_id) if isinstance(name_or_id, int) else self.domain_by_name(name_or_id)
        if domain is None:
            raise NotFoundError(f"the domain {name_or_id} does not exist")
        return domain

    def limit_of(self, domain_id: int, kind: str) -> int:
        """How many objects of a kind (see `room`) a domain may have; 0 = unlimited."""
        return int(getattr(self.domain_settings(domain_id), limit_setting(kind)))

    def need_room(self, domain_id: int, kind: str) -> None:
        """Raise LimitReachedError where a domain may have no more of a kind now; the verb that makes one asks again."""
        self.database.poll()
        check_room(self.database.query, domain_id, kind, self.limit_of(domain_id, kind))

    async def _store_setting(
        self,
        actor: Actor,
        scope: str,
        scope_id: int,
        setting: Setting,
        value: str | None,
        table: str,
        check: Callable[[Transaction], None] | None = None,
    ) -> None:
        """Store an explicit value of a row of `table`; where it is a right, the row's version rises with it. `check` looks at
        what came of it, inside the transaction."""
        text = None if value is None else setting.render(setting.parse(value))
        column = "auth_version" if table == "account" else "version"
        step = 1 if setting.name in RIGHTS else 0

        def operation(transaction: Transaction) -> None:
            transaction.execute(f"UPDATE {table} SET {column} = {column} + ? WHERE id = ?", (step, scope_id))
            if not transaction.changed():
                raise NotFoundError(f"{table} {scope_id} does not exist")
            store_value(transaction, actor.name, scope, scope_id, setting.name, setting, text)
            if check is not None:
                check(transaction)

        await self._change(operation)


def domain_row(transaction: Transaction, name: str) -> tuple[int, str]:
    """Id and display name of a domain, by name or alias. Raises NotFoundError."""
    key = domain_key(name)
    row = transaction.row("SELECT d.id, d.name FROM domain_name n JOIN domain d ON d.id = n.domain_id WHERE n.key = ?", (key,))
    if row is None:
        raise NotFoundError(f"the domain {name} does not exist")
    return row[0], row[1]


def take_name(
    transaction: Transaction,
    domain_id: int,
    name: str,
    kind: str,
    object_id: int,
    *,
    main: bool = True,
    expires: int = 0,
) -> None:
    """Reserve a local name in a domain. Raises AlreadyExistsError, whatever kind of object holds it."""
    local = local_key(name)
    row = transaction.row("SELECT kind FROM address WHERE domain_id = ? AND local = ?", (domain_id, local))
    if row is not None:
        raise AlreadyExistsError(f"the name {name} already exists in this domain")
    transaction.execute(
        "INSERT INTO address (domain_id, local, name, kind, object_id, main, expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (domain_id, local, name, kind, object_id, int(main), expires),
    )


def as_json(attributes: Mapping[str, Any]) -> str:
    """Attributes as they are stored."""
    return json.dumps(dict(attributes), ensure_ascii=False, sort_keys=True)
