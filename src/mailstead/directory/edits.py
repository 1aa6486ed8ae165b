"""Many changes in one transaction: what a COMMIT writes, with the rights each needs.

Invariants:
- Each value is checked against the permission of its place and against the limits of its domain (ADM-02), whoever prepared it.
- What `commit` returns from is durable and whole, and seen by the next look-up of every process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mailstead.directory.base import DirectoryBase
from mailstead.directory.model import LimitReachedError
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Setting
from mailstead.settings.edits import Check, Pending, Place, ValueChange, commit_operation

#: Settings of an account with the domain's upper bound for them (ADM-02).
_BOUNDS: Mapping[str, str] = {
    "totalMessageSize": "maxAccountMessageSizeQuota",
    "totalMessageCount": "maxAccountMessageCountQuota",
    "mboxCount": "maxAccountFolderCountQuota",
    "messageSize": "maxAccountFolderMessageSizeQuota",
    "messageCount": "maxAccountFolderMessageCountQuota",
}
#: Inherited settings need another permission above the account than on it.
_SCOPE_PERMISSION = {"defaults": "manageServerConfig", "domain": "manageDomainConfig", "class": "manageAccountClasses"}


class EditVerbs(DirectoryBase):
    """Preparing changes, and committing them."""

    async def commit(self, pending: Pending, *, actor: Actor, own: Callable[[int], bool]) -> tuple[int, int]:
        """Write all of `pending` or nothing; the range of history rows (from, to] it wrote.

        Raises PermissionDeniedError, InvalidValueError, DirectoryError, ChangedMeanwhileError, SystemDatabaseError.
        """
        operation = commit_operation(pending, actor, self.checker(actor), own, self.settings.objects)
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

    def checker(self, actor: Actor) -> Check:
        """Asks for each value whether the actor may set it, and whether the domain's limits allow it."""

        def check(place: Place, change: ValueChange) -> None:
            actor.require(_SCOPE_PERMISSION.get(place.scope) or change.context.permission_for(change.setting), place.domain_id)
            if place.domain_id:
                self._check_bounds(place, change.setting, change.text)

        return check

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
