"""Verbs of groups (GRP-01), mailing lists (LST-01) and folder recipients (PUB-02).

Invariants: their names share one space with accounts and aliases, those of a list's commands too; a change of many
things is one transaction; each thing that is changed has its own permission, and all are asked before anything is.
Who may send and whom it reaches is read by `Resolver`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping

from mailstead.directory.address import address_key, checked_local, local_key
from mailstead.directory.base import as_json, take_name
from mailstead.directory.deleted import remove_mailbox
from mailstead.directory.list_names import PREFIX, enabled_roles, spelled
from mailstead.directory.list_templates import DEFAULTS
from mailstead.directory.member_history import Difference, difference, keys_in, rows_of
from mailstead.directory.members import (
    MemberVerbs,
    checked_keys,
    checked_members,
    delete_members,
    insert_members,
    rename_member,
    set_options,
)
from mailstead.directory.model import InvalidNameError, NotFoundError, Recipient, RecipientEdit, RecipientKind
from mailstead.directory.named import follow_name
from mailstead.directory.object_rows import RECIPIENT_TABLES, erase_rows
from mailstead.directory.password_policy import StoredPassword, make_stored
from mailstead.directory.recipient_kinds import FAMILIES, Family, checked_attributes, checked_contents
from mailstead.directory.room import check_room
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Value

SCOPE = "recipient"
"""Scope of long texts (`content`) and explicit values (`setting`) of a recipient."""
_NO_EDIT = RecipientEdit()
Operation = Callable[[Transaction], None]


class RecipientVerbs(MemberVerbs):
    """Verbs on groups, lists and folder recipients; `kind` is GROUP, LIST or FOLDER."""

    # -- looking ------------------------------------------------------------------------------------------------

    def recipient_value(self, object_id: int, name: str) -> Value:
        """An attribute as it holds: its stored value, else the default. Raises NotFoundError, InvalidValueError."""
        found = self._need_recipient(object_id)
        setting = FAMILIES[found.kind].context.setting(name)
        stored = found.attributes.get(setting.name)
        return setting.default if stored is None else setting.parse(stored)

    def recipient_named(self, domain_id: int, name: str, kind: RecipientKind) -> Recipient | None:
        """The group, list or folder recipient that has this main name in a domain."""
        self.database.poll()
        found = self._name(domain_id, local_key(name))
        return self._recipient(found.object_id) if found is not None and found.kind == kind.value and found.main else None

    def recipient_contents(self, object_id: int) -> dict[str, str]:
        """The long texts that were set, by name."""
        rows = self.database.query("SELECT name, value FROM content WHERE scope = ? AND scope_id = ?", (SCOPE, object_id))
        return dict(rows)

    def recipient_content(self, object_id: int, name: str) -> str:
        """A long text as it holds: what was set, else the default."""
        row = self.database.query_row(
            "SELECT value FROM content WHERE scope = ? AND scope_id = ? AND name = ?", (SCOPE, object_id, name)
        )
        return DEFAULTS.get(name, "") if row is None else str(row[0])

    def list_address(self, found: Recipient, role: str) -> str:
        """The address of a list's role (`list_names`); "" where it is not in use."""
        if role not in enabled_roles(found.attributes):
            return ""
        return f"{spelled(found.name, role, found.attributes)}@{found.address.rpartition('@')[2]}"

    # -- creating and changing ----------------------------------------------------------------------------------

    async def create_group(
        self, domain: str, name: str, members: Iterable[str] = (), *, actor: Actor, **attributes: str
    ) -> Recipient:
        """Create an enabled group with members."""
        return await self.create_recipient(RecipientKind.GROUP, domain, name, attributes, members, actor=actor)

    async def create_list(
        self, domain: str, name: str, members: Iterable[str] = (), *, actor: Actor, **attributes: str
    ) -> Recipient:
        """Create an enabled mailing list with members."""
        return await self.create_recipient(RecipientKind.LIST, domain, name, attributes, members, actor=actor)

    async def create_folder_recipient(self, domain: str, name: str, folder: str, *, actor: Actor) -> Recipient:
        """Create an address that delivers into a public folder."""
        return await self.create_recipient(RecipientKind.FOLDER, domain, name, {"mboxName": folder}, (), actor=actor)

    async def create_recipient(
        self,
        kind: RecipientKind,
        domain: str,
        name: str,
        attributes: Mapping[str, str],
        members: Iterable[str],
        *,
        actor: Actor,
        edit: RecipientEdit = _NO_EDIT,
        as_it_was: bool = False,
    ) -> Recipient:
        """Create one of any kind, with everything `edit` holds (its name excepted). A group's members and a folder recipient's
        folder exist, unless it is brought `as_it_was` elsewhere.

        Raises AlreadyExistsError, InvalidNameError, InvalidValueError, LimitReachedError, NotFoundError, PasswordRefusedError.
        """
        added = {**dict.fromkeys(members, ""), **edit.members_added}
        whole = dataclasses.replace(edit, attributes={**attributes, **edit.attributes}, members_added=added)
        object_id, operation = await self.recipient_creation(kind, domain, name, whole, actor=actor, as_it_was=as_it_was)
        await self._change(operation)
        return self._need_recipient(object_id)

    async def recipient_creation(
        self, kind: RecipientKind, domain: str, name: str, edit: RecipientEdit, *, actor: Actor, object_id: int = 0,
        as_it_was: bool = False,
    ) -> tuple[int, Operation]:  # fmt: skip
        """The id (a new one, or `object_id`), and the operation that creates one with everything `edit` holds, for a transaction
        with more in it. Raises as `create_recipient` does."""
        family = FAMILIES[kind]
        owner = self._need_domain(domain)
        actor.require(family.create, owner.id)
        name = checked_local(name)
        stored = checked_attributes(family.context, edit.attributes)
        kept = {key: value for key, value in stored.items() if value is not None}
        contents = checked_contents(family, edit.contents)
        added = await asyncio.to_thread(checked_members, edit.members_added)
        if not as_it_was:
            await self._need_named(kind, owner.id, edit, {})
        password = await self._list_password(family, edit.password)
        object_id = object_id or self.ids.next()
        limit = self.limit_of(owner.id, kind.value)

        def operation(transaction: Transaction) -> None:
            check_room(transaction.execute, owner.id, kind.value, limit)
            take_name(transaction, owner.id, name, kind.value, object_id)
            shard = _take_shard(transaction) if kind is RecipientKind.LIST else 0
            transaction.execute(
                "INSERT INTO recipient (id, kind, domain_id, name, enabled, password, scram, recoverable, attributes, created, "
                "shard) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    object_id, kind.value, owner.id, name, int(edit.enabled is not False), password.password, password.scram,
                    password.recoverable, as_json(kept), transaction.now, shard,
                ),
            )  # fmt: skip
            if kind is RecipientKind.LIST:
                _take_list_names(transaction, owner.id, object_id, name, kept)
            _write_contents(transaction, object_id, contents)
            insert_members(transaction, object_id, added)
            for address, options in edit.members_options.items():
                set_options(transaction, object_id, address, options)
            new = {"kind": kind.value, "name": name, "members": list(added)[:100], **kept}
            transaction.record(actor.name, "recipient", object_id, "create", None, new)

        return object_id, operation

    async def edit_recipient(
        self, object_id: int, edit: RecipientEdit, *, actor: Actor, as_it_was: bool = False
    ) -> Recipient:
        """Change everything `edit` holds in one transaction; what it names exists, unless it is brought `as_it_was`.

        Raises NotFoundError, AlreadyExistsError, InvalidNameError, InvalidValueError, PasswordRefusedError,
        PermissionDeniedError; then nothing was changed.
        """
        await self._change(await self.recipient_change(object_id, edit, actor=actor, as_it_was=as_it_was))
        return self._need_recipient(object_id)

    async def recipient_change(
        self, object_id: int, edit: RecipientEdit, *, actor: Actor, as_it_was: bool = False
    ) -> Operation:
        """The operation of `edit_recipient`, for a transaction with more in it; rights and names are asked here."""
        found = self._need_recipient(object_id)
        family = FAMILIES[found.kind]
        for permission in _needed(family, edit):
            actor.require(permission, found.domain_id)
        added, removed = await asyncio.to_thread(
            lambda: (checked_members(edit.members_added), checked_keys(edit.members_removed))
        )
        if not as_it_was:
            await self._need_named(found.kind, found.domain_id, edit, found.attributes)
        prepared = dataclasses.replace(
            edit,
            name=None if edit.name is None else checked_local(edit.name),
            attributes=checked_attributes(family.context, edit.attributes),
            contents=checked_contents(family, edit.contents),
            members_added=added,
            members_removed=removed,
        )
        password = None if edit.password is None else await self._list_password(family, edit.password)

        def operation(transaction: Transaction) -> None:
            _apply(transaction, object_id, prepared, password, actor)

        return operation

    async def _need_named(
        self, kind: RecipientKind, domain_id: int, edit: RecipientEdit, before: Mapping[str, object]
    ) -> None:
        """Raise NotFoundError for members of a group, or a folder, that a change gives and that are not there. ``before``: the
        attributes that the recipient has."""
        if kind is RecipientKind.GROUP:
            renamed = (new for old, (new, _name) in edit.members_renamed.items() if address_key(new) != address_key(old))
            await self.need_members([*edit.members_added, *renamed])
        elif kind is RecipientKind.FOLDER:
            for given, folder in edit.attributes.items():
                if given.lower() == "mboxname" and folder and folder != before.get("mboxName"):
                    self.need_public_folder(domain_id, "mboxName", folder)

    async def _list_password(self, family: Family, password: str | None) -> StoredPassword:
        if not password:
            return StoredPassword("", "", "")
        if not family.password:
            raise InvalidNameError(f"{family.plural} have no password")
        keep: bool = self.settings.service("server").recoverableSecrets
        return await asyncio.to_thread(make_stored, password, recoverable=keep)

    async def set_list_password(self, object_id: int, password: str, *, actor: Actor) -> None:
        """Set the password of a list's login and commands; "" for none. Its sessions end. Raises PasswordRefusedError."""
        await self.edit_recipient(object_id, RecipientEdit(password=password), actor=actor)

    async def delete_recipient(self, object_id: int, *, actor: Actor) -> None:
        """Delete a group, list or folder recipient; a list's mail is removed by who owns the store."""
        found = self._need_recipient(object_id)
        actor.require(FAMILIES[found.kind].remove, found.domain_id)

        def operation(transaction: Transaction) -> None:
            if transaction.row("SELECT 1 FROM recipient WHERE id = ?", (object_id,)) is None:
                raise NotFoundError(f"recipient {object_id} does not exist")
            erase_rows(transaction, RECIPIENT_TABLES, object_id)
            if found.kind is RecipientKind.LIST:
                transaction.execute("UPDATE shard SET accounts = accounts - 1 WHERE number = ?", (found.shard,))
                remove_mailbox(transaction, object_id, "list", found.domain_id, found.address, found.shard, actor.name)
            transaction.record(actor.name, "recipient", object_id, "delete", {"address": found.address})

        await self._change(operation)

    async def rename_recipient(self, object_id: int, name: str, *, actor: Actor) -> None:
        """Give it another name; the names of a list's commands follow where they were not spelled otherwise."""
        await self.edit_recipient(object_id, RecipientEdit(name=name), actor=actor)

    async def enable_recipient(self, object_id: int, enabled: bool = True, *, actor: Actor) -> None:
        """Enable or disable it."""
        await self.edit_recipient(object_id, RecipientEdit(enabled=enabled), actor=actor)

    async def set_recipient_attributes(self, object_id: int, *, actor: Actor, **attributes: str) -> None:
        """Set attributes spelled as in the CLI."""
        await self.edit_recipient(object_id, RecipientEdit(attributes=attributes), actor=actor)


def _needed(family: Family, edit: RecipientEdit) -> dict[str, None]:
    """The permissions a change needs."""
    needed: dict[str, None] = {}
    if edit.name is not None:
        needed[family.rename] = None
    if edit.enabled is not None:
        needed[family.manage] = None
    if edit.password is not None:
        needed[family.password or family.manage] = None
    for given in edit.attributes:
        needed[family.permission(family.context.setting(given).name)] = None
    known = {name.lower(): name for name in family.contents}
    for given in edit.contents:
        needed[family.permission(known.get(given.lower(), given))] = None
    if edit.members_added or edit.members_removed or edit.members_renamed or edit.members_options or edit.clear_members:
        needed[family.members] = None
    return needed or {family.manage: None}


def _apply(transaction: Transaction, object_id: int, edit: RecipientEdit, password: StoredPassword | None, actor: Actor) -> None:
    row = transaction.row("SELECT kind, domain_id, name, attributes, enabled FROM recipient WHERE id = ?", (object_id,))
    if row is None:
        raise NotFoundError(f"recipient {object_id} does not exist")
    kind, domain_id, name, old = row[0], row[1], row[2], json.loads(row[3])
    told = {"name": name} if edit.name is not None else {}
    told |= {"enabled": bool(row[4])} if edit.enabled is not None else {}
    stored = dict(old)
    for key, value in edit.attributes.items():
        if value is None:
            stored.pop(key, None)
        else:
            stored[key] = value
    renamed = edit.name is not None and edit.name != name
    if edit.name is not None and renamed:
        transaction.execute("DELETE FROM address WHERE object_id = ? AND main = 1", (object_id,))
        if kind == RecipientKind.LIST.value:
            transaction.execute("DELETE FROM address WHERE object_id = ?", (object_id,))
        take_name(transaction, domain_id, edit.name, kind, object_id)
        transaction.execute("UPDATE recipient SET name = ? WHERE id = ?", (edit.name, object_id))
        follow_name(transaction, actor.name, domain_id, name, edit.name)
        name = edit.name
    respelled = any(key.endswith(("Rcpt", "Rcpts")) for key in edit.attributes)
    if kind == RecipientKind.LIST.value and (renamed or respelled):
        transaction.execute("DELETE FROM address WHERE object_id = ? AND main = 0", (object_id,))
        _take_list_names(transaction, domain_id, object_id, name, stored)
        renamed = True
    if stored != old:
        transaction.execute("UPDATE recipient SET attributes = ? WHERE id = ?", (as_json(stored), object_id))
    if edit.enabled is not None:
        transaction.execute(
            "UPDATE recipient SET enabled = ?, auth_version = auth_version + 1 WHERE id = ?", (int(edit.enabled), object_id)
        )
    if "services" in edit.attributes:
        transaction.execute("UPDATE recipient SET auth_version = auth_version + 1 WHERE id = ?", (object_id,))
    if password is not None:
        transaction.execute(
            "UPDATE recipient SET password = ?, scram = ?, recoverable = ?, auth_version = auth_version + 1 WHERE id = ?",
            (password.password, password.scram, password.recoverable, object_id),
        )
    _write_contents(transaction, object_id, edit.contents)
    done = _change_members(transaction, object_id, edit)
    verb = "rename" if renamed else "edit"
    before, after = {**told, **done.old, **old}, {**_summary(edit), **done.new, **stored}
    transaction.record(actor.name, "recipient", object_id, verb, before, after)
    done.keep(transaction)


def _summary(edit: RecipientEdit) -> dict[str, object]:
    """What a change's history row tells besides attributes and members."""
    told: dict[str, object] = {}
    for name, value in (("name", edit.name), ("enabled", edit.enabled), ("password", edit.password)):
        if value is not None:
            told[name] = value
    if edit.contents:
        told["texts"] = sorted(edit.contents)
    return told


def _change_members(transaction: Transaction, object_id: int, edit: RecipientEdit) -> Difference:
    """What was done to them, for the history."""
    keys = keys_in(edit)
    before = rows_of(transaction, object_id, keys)
    all_before = 0
    if edit.clear_members:
        all_before = int(transaction.value("SELECT count(*) FROM member WHERE recipient_id = ?", (object_id,)))
        transaction.execute("DELETE FROM member WHERE recipient_id = ?", (object_id,))
    elif edit.members_removed:
        delete_members(transaction, object_id, edit.members_removed)
    for address, (new, name) in edit.members_renamed.items():
        rename_member(transaction, object_id, address, new, name)
    insert_members(transaction, object_id, edit.members_added)
    for address, options in edit.members_options.items():
        set_options(transaction, object_id, address, options)
    return difference(before, rows_of(transaction, object_id, keys), all_before=all_before)


def _take_list_names(transaction: Transaction, domain_id: int, object_id: int, name: str, attributes: Mapping[str, str]) -> None:
    """Reserve the names of a list's roles. Raises AlreadyExistsError, InvalidNameError."""
    for role in enabled_roles(attributes):
        local = checked_local(spelled(name, role, attributes))
        take_name(transaction, domain_id, local, PREFIX + role, object_id, main=False)


def _take_shard(transaction: Transaction) -> int:
    """The least filled shard, with one more in it: a list has a mailbox."""
    shard = int(transaction.value("SELECT number FROM shard ORDER BY accounts, number LIMIT 1"))
    transaction.execute("UPDATE shard SET accounts = accounts + 1 WHERE number = ?", (shard,))
    return shard


def _write_contents(transaction: Transaction, object_id: int, contents: Mapping[str, str | None]) -> None:
    for name, value in contents.items():
        transaction.execute("DELETE FROM content WHERE scope = ? AND scope_id = ? AND name = ?", (SCOPE, object_id, name))
        if value is not None:
            transaction.execute(
                "INSERT INTO content (scope, scope_id, name, value) VALUES (?, ?, ?, ?)", (SCOPE, object_id, name, value)
            )
