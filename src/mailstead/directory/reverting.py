"""Taking a change back that the history has.

Invariants:
- A change is taken back by the verb that makes its opposite, with the rights and checks of that verb, and leaves an entry of
  its own; nothing is ever removed from the history.
- What the history does not hold (secrets, long texts, what a deleted object had around it) is not guessed: it is refused, with
  the reason.
- A later change of the same value is not undone by accident: it is refused unless forced.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from mailstead.directory.history_names import NAMES, SCOPE_KIND, ObjectNames
from mailstead.directory.member_history import COUNT, CUT, KEPT, MEMBERS, MOST, Members, how_many, members_of, opposite
from mailstead.directory.model import DirectoryError
from mailstead.directory.service import Directory
from mailstead.settings.actor import Actor
from mailstead.settings.database import SystemDatabase
from mailstead.settings.declaration import Context, InvalidValueError
from mailstead.settings.declarations import (
    ACCOUNT,
    ACCOUNT_DATA,
    ACCOUNT_DATA_CONTEXTS,
    DOMAIN,
    DOMAIN_CONTEXTS,
    LISTENER,
    OBJECT_KINDS,
    RECIPIENT_CONTEXTS,
    SERVICE_CONTEXTS,
    SMS_CONNECTOR_AUTH,
)
from mailstead.settings.edits import Pending, Place
from mailstead.settings.history import HIDDEN, Filter, HistoryEntry, entries, entry
from mailstead.settings.listeners import listener_defaults
from mailstead.settings.service import Settings, check_pair
from mailstead.settings.transaction_view import TransactionView, whole

MAX_LATER = 10_000
_OWN = frozenset({"name", "enabled"})
"""What an entry of a group, list or folder recipient has besides attributes and members."""
_OF_MEMBERS = frozenset({MEMBERS, COUNT})
_FORMERLY = frozenset({"added", "removed", "renamed"})
"""What entries of earlier releases had of members: addresses alone."""
_OF_RECIPIENTS = frozenset({"edit", "rename", "add members", "remove members", "update member", "member state"})


class RevertError(DirectoryError):
    """The change cannot be taken back; the text says why."""


async def revert(directory: Directory, seq: int, *, actor: Actor, force: bool = False) -> tuple[int, int]:
    """Take a change back, in one transaction; the range (from, to] of history rows this wrote.

    Raises RevertError, PermissionDeniedError, InvalidValueError, DirectoryError; then nothing was changed.
    """

    async def work(view: TransactionView) -> tuple[int, int]:
        first = view.position()
        inner = Directory(view, Settings(view), directory.ids)
        await _Revert(inner, actor, force).run(seq)
        return first, view.position()

    result = await directory.database.write(whole(directory.database, work))
    directory.poll()
    return result


class _Revert:
    def __init__(self, directory: Directory, actor: Actor, force: bool) -> None:
        self._directory = directory
        self._settings = directory.settings
        self._database = directory.database
        self._actor = actor
        self._force = force

    async def run(self, seq: int) -> None:
        found = entry(self._database, seq)
        if found is None:
            raise RevertError(f"the history has no entry {seq}")
        members = self._known_members(found)
        if not self._force:
            refuse_later(self._database, found, members)
        if found.is_rights:
            raise RevertError("rights in folders are kept with the mail, and taken back there")
        if found.is_text:
            raise RevertError("the history has the size of long texts, not the texts")
        if found.verb in ("set password", "upgrade password"):
            raise RevertError("the history has no passwords; set another one")
        if found.is_value:
            await self._value(found)
            return
        match found.kind:
            case "object":
                await self._object(found)
            case "listener":
                await self._listener(found)
            case "accessRule":
                await self._rule(found)
            case "domain" | "domainAlias":
                await self._domain(found)
            case "account":
                await self._account(found)
            case "recipient":
                await self._recipient(found, members)
            case "admin" | "adminGroup":
                await self._admin(found)
            case _:
                raise self._no_way(found)

    def _no_way(self, found: HistoryEntry) -> RevertError:
        what = ObjectNames(self._database).of(found)
        return RevertError(f"{found.verb!r} of {what} cannot be taken back; do the opposite by hand")

    # -- values ---------------------------------------------------------------------------------------------

    async def _value(self, found: HistoryEntry) -> None:
        new, old = found.new or {}, found.old or {}
        scope, stored, before = str(new["scope"]), str(new["name"]), old.get("value")
        context, name = declared(scope, stored)
        setting = context.setting(name)
        if setting.secret or before == HIDDEN:
            raise RevertError(f"{setting.name} is a secret, of which the history has no value")
        if scope in ("domain", "domainConfig") and self._directory.domain(found.object_id) is None:
            raise RevertError("its domain does not exist any more")
        domain = 0
        if scope in ("domain", "domainConfig"):
            domain = found.object_id
        elif scope != "service" and scope != "defaults":
            domain = self._domain_of(scope, found.object_id)
        prefix = stored[: len(stored) - len(name)]
        if scope == "service":
            check_pair(context, setting, before, self._settings.service(context.name))
        pending = Pending()
        pending.set_value(Place(scope, found.object_id, prefix, domain), context, setting, before)
        await self._directory.commit(pending, actor=self._actor, own=lambda _seq: True, as_it_was=True)

    def _domain_of(self, scope: str, object_id: int) -> int:
        table = {"class": "account_class", "recipient": "recipient"}.get(scope, "account")
        if scope == "object":
            return 0
        row = self._database.query_row(f"SELECT domain_id FROM {table} WHERE id = ?", (object_id,))
        if row is None:
            raise RevertError("what it was set on does not exist any more")
        return int(row[0])

    # -- named objects, listeners, rules --------------------------------------------------------------------

    async def _object(self, found: HistoryEntry) -> None:
        verb, _, name = found.verb.partition(" ")
        kind = OBJECT_KINDS.get(name)
        if kind is None:
            raise self._no_way(found)
        told = {**(found.old or {}), **(found.new or {})}
        scope, scope_id = str(told.get("scope", "service")), int(told.get("scopeId", 0))
        place_kind = SCOPE_KIND.get(scope)
        domain = 0
        if place_kind is not None:
            domain = scope_id if place_kind == "domain" else self._domain_of(scope, scope_id)
            if self._directory.domain(domain) is None:
                raise RevertError("what it belonged to does not exist any more")
        self._actor.require(kind.permission_for(scope), domain)
        old, new = _attributes(found.old), _attributes(found.new)
        objects, author = self._settings.objects, self._actor.name
        if verb == "add":
            await self._write(objects.remover(kind, new.get(kind.key, ""), author, scope, scope_id))
        elif verb == "remove":
            secrets = [name for name, text in old.items() if text == HIDDEN]
            if secrets:
                raise RevertError(f"the history has no {', '.join(secrets)}; add the {kind.name} anew")
            await self._write(objects.adder(kind, old, author, scope, scope_id))
        else:
            changes = {name: old.get(name) for name in {*old, *new} if old.get(name) != new.get(name)}
            if HIDDEN in changes.values() or not changes:
                raise RevertError("secrets are not in the history; set them by hand")
            await self._write(objects.updater(kind, new.get(kind.key, ""), changes, author, scope, scope_id))

    async def _listener(self, found: HistoryEntry) -> None:
        old, new = _attributes(found.old), _attributes(found.new)
        service = str({**old, **new}.get("service", ""))
        if found.verb == "add":
            await self._settings.remove_listener(service, new["address"], self._actor)
        elif found.verb == "remove":
            attributes = {name: text for name, text in old.items() if name not in ("service", "address")}
            await self._settings.add_listener(service, old["address"], attributes, self._actor)
        else:
            if "address" not in old:
                raise RevertError("this entry is of an earlier release, which did not keep what was there before")
            defaults = listener_defaults(service)
            changes = {}
            for name in {*old, *new}:
                if old.get(name) != new.get(name):
                    setting = LISTENER.by_name.get(name.lower())
                    value: Any = defaults.get(name, "")
                    changes[name] = old[name] if name in old or setting is None else setting.render(value)
            await self._settings.update_listener(service, new["address"], changes, self._actor)

    async def _rule(self, found: HistoryEntry) -> None:
        told = _attributes(found.new or found.old)
        if "ipSet" not in told or (found.verb == "update" and not found.old):
            raise RevertError("this entry is of an earlier release, which did not keep what was there before")
        service, action, ip_set = told["service"], told["action"], told["ipSet"]
        listener = int(told["listener"])
        own = {"service", "listener", "action", "ipSet"}
        old = {name: text for name, text in _attributes(found.old).items() if name not in own}
        if found.verb == "add":
            await self._settings.remove_access_rule(service, action, ip_set, self._actor, listener_id=listener)
        elif found.verb == "remove":
            await self._settings.add_access_rule(service, action, ip_set, old, self._actor, listener_id=listener)
        else:
            added = {name: "0" for name in told if name not in own and name not in old}
            await self._settings.update_access_rule(
                service, action, ip_set, {**old, **added}, self._actor, listener_id=listener
            )

    async def _write(self, operation: Any) -> None:
        await self._database.write(operation)
        self._directory.poll()

    # -- the directory --------------------------------------------------------------------------------------

    async def _domain(self, found: HistoryEntry) -> None:
        directory, actor = self._directory, self._actor
        if found.verb == "delete":
            await directory.restore_domain(found.object_id, actor=actor)
            return
        domain = directory.domain(found.object_id)
        if domain is None:
            raise RevertError("the domain does not exist any more")
        match found.verb:
            case "enable" | "disable":
                await directory.enable_domain(domain.name, found.verb == "disable", actor=actor)
            case "rename":
                await directory.rename_domain(domain.name, str((found.old or {})["name"]), actor=actor)
            case "add alias":
                await directory.remove_domain_alias(domain.name, str((found.new or {})["alias"]), actor=actor)
            case "remove alias":
                await directory.add_domain_alias(domain.name, str((found.old or {})["alias"]), actor=actor)
            case "create":
                raise RevertError("deleting a domain with everything in it has a command of its own: mailstead domain delete")
            case _:
                raise self._no_way(found)

    async def _account(self, found: HistoryEntry) -> None:
        directory, actor, number = self._directory, self._actor, found.object_id
        old, new = found.old or {}, found.new or {}
        if found.verb == "delete":
            await directory.restore_account(number, actor=actor)
            return
        if directory.account(number) is None:
            raise RevertError("the account does not exist any more")
        match found.verb:
            case "enable" | "disable":
                await directory.enable_account(number, found.verb == "disable", actor=actor)
            case "rename" if "name" in old:
                await directory.rename_account(number, str(old["name"]), actor=actor)
            case "add alias":
                await directory.remove_account_alias(number, str(new["alias"]), actor=actor)
            case "remove alias":
                until = int(old.get("expires", 0))
                if until and until <= time.time():
                    raise RevertError("the temporary address has expired")
                await directory.add_account_alias(number, str(old["alias"]), actor=actor, until=until)
            case "set class" if "class" in old:
                await directory.set_account_class(number, int(old["class"]), actor=actor)
            case "create" | "import":
                raise RevertError("deleting an account with its mail has a command of its own: mailstead user delete")
            case _:
                raise self._no_way(found)

    async def _recipient(self, found: HistoryEntry, members: Members | None) -> None:
        old, new = found.old or {}, found.new or {}
        if found.verb in ("create", "delete"):
            raise RevertError(f"{found.verb!r} of a group, list or folder recipient cannot be taken back")
        if "texts" in new or "password" in new:
            raise RevertError("it changed texts or a password, of which the history has no values")
        if found.verb not in ("edit", "rename", "add members", "remove members", "update member"):
            raise self._no_way(found)
        if members is None or new.keys() & _FORMERLY or not new.keys() & _OWN <= old.keys() & _OWN:
            raise RevertError("this entry is of an earlier release, which did not keep what was there before")
        attributes = {name: old.get(name) for name in {*old, *new} - _OWN - _OF_MEMBERS if old.get(name) != new.get(name)}
        edit = dataclasses.replace(
            opposite(members), attributes=attributes, enabled=old.get("enabled"),
            name=old["name"] if old.get("name") != new.get("name") else None,
        )  # fmt: skip
        await self._directory.edit_recipient(found.object_id, edit, actor=self._actor, as_it_was=True)

    def _known_members(self, found: HistoryEntry) -> Members | None:
        """Whom an entry of a group or list is about; None of an earlier release's. Raises for more than can be known."""
        if found.kind != "recipient":
            return None
        count = how_many(found)
        if count > KEPT:
            raise RevertError(f"it changed {count} members, and the history keeps them of changes of at most {KEPT}")
        if (found.old or {}).get(CUT) or (found.new or {}).get(CUT):
            raise RevertError(f"this entry is of an earlier release, which kept {MOST} members at most, and there were more")
        members = members_of(self._database.query, found)
        if count and members is None:
            raise RevertError("the members of so great a change are kept of the newest ones alone, and this is none of them")
        return members

    async def _admin(self, found: HistoryEntry) -> None:
        directory, actor = self._directory, self._actor
        row = self._database.query_row(NAMES["admin"], (found.object_id,))
        if row is None:
            raise RevertError("the administrator does not exist any more, and its password is not in the history")
        name, old, new = str(row[0]), found.old or {}, found.new or {}
        match found.verb:
            case "enable" | "disable":
                await directory.enable_admin(name, found.verb == "disable", actor=actor)
            case "rename" if "name" in old:
                await self._write(directory.admin_renaming(name, str(old["name"]), actor=actor).operation)
            case "add member":
                await directory.remove_admin_member(name, str(new["member"]), actor=actor)
            case "remove member":
                await directory.add_admin_member(name, str(new["member"]), actor=actor)
            case "grant" | "deny" | "revoke":
                permission, domain = str(new["permission"]), new.get("domain")
                effect = self._effect_before(found, permission, domain)
                verb = {"grant": directory.grant, "deny": directory.deny}.get(effect, directory.revoke)
                await verb(name, permission, domain, actor=actor)
            case _:
                raise self._no_way(found)

    def _effect_before(self, found: HistoryEntry, permission: str, domain: object) -> str:
        """What the holder's entry for a permission was before; the verb of the change before, if there was one."""
        rows = self._database.query(
            "SELECT verb, new FROM history WHERE kind = 'admin' AND object_id = ? AND seq < ? "
            "AND verb IN ('grant', 'deny', 'revoke') ORDER BY seq DESC",
            (found.object_id, found.seq),
        )
        for verb, _new in rows:
            one = HistoryEntry(0, 0, "", "admin", found.object_id, verb, None, _json(_new))
            if one.new and one.new.get("permission") == permission and one.new.get("domain") == domain:
                return str(verb)
        return "revoke"


def refuse_later(database: SystemDatabase, found: HistoryEntry, members: Members | None = None) -> None:
    """Raise RevertError for a later entry of the same object that touched the same value. ``members``: whom `found` is about."""
    mine = _touched(found, members)
    wanted = Filter([(found.kind, found.object_id, "")], after=found.seq)
    for one in entries(database, wanted, limit=MAX_LATER, newest_first=False):
        theirs = _touched(one, members_of(database.query, one) if one.kind == "recipient" else None)
        if "*" in mine or "*" in theirs or mine & theirs:
            raise RevertError(f"entry {one.seq} by {one.author} changed it later; look at it, then use force")


def _touched(found: HistoryEntry, members: Members | None) -> frozenset[str]:
    """Names of what an entry changed; apart for each scope, since one id may have values in several, and for each member."""
    if found.kind == "recipient" and found.verb in _OF_RECIPIENTS:
        old, new = dict(found.old or {}), dict(found.new or {})
        if found.verb == "member state":
            return frozenset()  # bookkeeping
        if members is None:
            return frozenset("*")
        names = {name for name in {*old, *new} - _OF_MEMBERS if old.get(name) != new.get(name)}
        return frozenset(names | {f"member {key}" for key in members.keys})
    if found.is_rights:
        told = found.new or {}
        return frozenset({f"{told.get('folderId')} {told.get('identifier')}"})
    scope = str((found.new or {}).get("scope", "")) if found.is_value or found.is_text else ""
    return frozenset(f"{scope}.{name}" if scope else name for name in found.changes())


def _attributes(told: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (told or {}).items() if name not in ("scope", "scopeId")}


def _json(text: str | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text or "{}")
    return found


def declared(scope: str, stored: str) -> tuple[Context, str]:
    """The context and name that a row of `setting` is of. Raises RevertError for what this release does not know."""
    prefix, dot, name = stored.partition(".")
    families: Mapping[str, tuple[Context | None, Iterable[Context]]] = {
        "service": (None, SERVICE_CONTEXTS.values()),
        "domainConfig": (DOMAIN, DOMAIN_CONTEXTS.values()),
        "accountData": (ACCOUNT_DATA, ACCOUNT_DATA_CONTEXTS.values()),
        "recipient": (None, RECIPIENT_CONTEXTS.values()),
        "object": (SMS_CONNECTOR_AUTH, ()),
    }
    plain, prefixed = families.get(scope, (ACCOUNT, ()))
    try:
        if dot:
            for context in prefixed:
                if context.name == prefix:
                    return context, context.setting(name).name
        elif plain is not None:
            return plain, plain.setting(stored).name
    except InvalidValueError:
        pass
    raise RevertError(f"this release has no setting {stored!r}")

