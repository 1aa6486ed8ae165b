"""Many changes in one transaction: what a COMMIT writes, with the rights each needs.

Invariants:
- Each value is checked against the permission of its place and against the limits of its domain (ADM-02), whoever prepared it;
  a program that the server runs is named by who has every right alone.
- What `commit` returns from is durable and whole, and seen by the next look-up of every process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from mailstead.directory.activation import LEVEL, check_levels
from mailstead.directory.bounds import FOLDER_OWNERS, check_bounds, check_within
from mailstead.directory.model import LimitReachedError
from mailstead.directory.named import NamedObjects
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Setting
from mailstead.settings.edits import Check, Pending, Place, ValueChange, commit_operation

#: Settings that the server runs: who may name a program may do anything.
PROGRAMS = frozenset({"migrationCommand"})
#: Inherited settings need another permission above the account than on it.
_SCOPE_PERMISSION = {"defaults": "manageServerConfig", "domain": "manageDomainConfig", "class": "manageAccountClasses"}


class EditVerbs(NamedObjects):
    """Preparing changes, and committing them."""

    async def commit(
        self, pending: Pending, *, actor: Actor, own: Callable[[int], bool], as_it_was: bool = False
    ) -> tuple[int, int]:
        """Write all of `pending` or nothing; the range of history rows (from, to] it wrote. No value may name what does not
        exist (see `named`), unless it is brought here `as_it_was` elsewhere.

        Raises PermissionDeniedError, InvalidValueError, DirectoryError, ChangedMeanwhileError, SystemDatabaseError.
        """
        self._check_folder_quotas(pending)
        for (place, name), change in () if as_it_was else pending.values.items():
            self.need_named(place, name, change.text)
        operation = commit_operation(pending, actor, self.checker(actor), own, self.settings.objects, as_it_was=as_it_was)
        named = {
            place.scope_id
            for place, name in pending.values
            if place.prefix == "contactInfo." and name in ("firstName", "lastName")
        }
        ordered = {place.scope_id for place, name in pending.values if name in (LEVEL, "parentDomain")}

        def whole(transaction: Transaction) -> tuple[int, int]:
            written = operation(transaction)
            for account_id in named:
                _compose_full_name(transaction, account_id)
            check_levels(transaction, ordered)
            return written

        return await self._change(whole)

    def checker(self, actor: Actor) -> Check:
        """Asks for each value whether the actor may set it, and whether the domain's limits allow it."""

        def check(place: Place, change: ValueChange) -> None:
            require_value(actor, place, change)
            with _named(_name_of(place, change)):
                self.need_within_bounds(place, change.setting, change.text)

        return check

    def need_within_bounds(self, place: Place, setting: Setting, text: str | None) -> None:
        """Refuse a value beyond what the limits of its domain allow now (ADM-02). Raises LimitReachedError."""
        if place.domain_id:
            check_bounds(self.domain_settings(place.domain_id), place, setting, text)

    def need_folder_within_bounds(self, place: Place, attributes: Mapping[str, str]) -> None:
        """The same of the quota of a single folder. Raises LimitReachedError."""
        owner = FOLDER_OWNERS.get(place.scope)
        if owner is None or not place.domain_id:
            return
        limits = self.domain_settings(place.domain_id)
        for name in ("messageSize", "messageCount"):
            if name in attributes:
                check_within(limits, owner, name, int(attributes[name]))

    def _check_folder_quotas(self, pending: Pending) -> None:
        """Quotas of single folders are bounded as those of all folders are."""
        for staged in pending.objects.values():
            if staged.kind.name == "mboxQuota" and staged.attributes is not None:
                with _named(f"quotas, of the folder {staged.attributes['mboxName']}"):
                    self.need_folder_within_bounds(staged.place, staged.attributes)


def _name_of(place: Place, change: ValueChange) -> str:
    """What the context of a value is called: what a domain's accounts begin with has the name of its own that CONFIG takes."""
    name = change.context.name
    return f"accountDefault{name[:1].upper()}{name[1:]}" if place.scope == "domain" else name


@contextlib.contextmanager
def _named(context: str) -> Iterator[None]:
    """Name the context in a refusal: what is written together may come from several, with settings of equal names."""
    try:
        yield
    except LimitReachedError as error:
        raise LimitReachedError(f"{context}: {error}") from error


def require_value(actor: Actor, place: Place, change: ValueChange) -> None:
    """Raise PermissionDeniedError unless the actor may make that change of a value."""
    if change.setting.name in PROGRAMS and change.text and not actor.everything:
        raise PermissionDeniedError(f"{change.setting.name}: only an administrator with every right may name a program")
    actor.require(_SCOPE_PERMISSION.get(place.scope) or change.context.permission_for(change.setting), place.domain_id)


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
