"""Verbs of groups (GRP-01), mailing lists (LST-01) and folder recipients (PUB-02).

Invariants: their names share one space with accounts and aliases; a member is any address, checked for its form only.
Who may send and whom it reaches is read by `Resolver`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailstead.directory.address import checked_local, domain_key, split_address
from mailstead.directory.base import DirectoryBase, as_json, check_room, take_name
from mailstead.directory.model import InvalidNameError, NotFoundError, Recipient, RecipientKind
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Context, boolean, choice, choice_set, text

MAX_MEMBERS_PER_CALL = 10_000

SENDERS = ("anybody", "server", "domain", "members", "directMembers", "nobody")
GROUP = Context(
    "group",
    (
        boolean("publishContactInfo", True, "Show in the address list"),
        boolean("membersSendMailAsGroup", False, "Members may send with the group's address"),
        choice("distributeEmailTo", "members", ("members", "domain", "server", "cluster", "nobody"), "Who gets mail"),
        choice("receiveEmailFrom", "anybody", SENDERS, "Who may send to the group"),
    ),
    permission="manageGroupsOnAnyDomain",
)
LIST = Context(
    "list",
    (
        text("adminEmail", "", "Address of the list's administrator", longest=254),
        text("description", "", "Description"),
        text("subscribeRcpt", "", "Name that takes subscriptions", longest=64),
        text("unsubscribeRcpt", "", "Name that takes cancellations", longest=64),
        text("requestRcpt", "", "Name that takes requests", longest=64),
        choice_set("enabledRcpts", (), ("subscribe", "unsubscribe", "request"), "Which of these names are in use"),
        boolean("adminConfirm", False, "The administrator confirms subscriptions"),
        choice("senderAllow", "anybody", SENDERS, "Who may send to the list"),
        choice("moderate", "nobody", ("nobody", "nonmembers", "everybody"), "Whose mail waits for approval"),
        choice("ctypeAllow", "any", ("any", "text", "textAndHtml"), "Content that is let through"),
        boolean("publishContactInfo", True, "Show in the address list"),
        boolean("rewriteFrom", False, "Rewrite From and envelope for DMARC"),
    ),
    permission="manageMaillistsOnAnyDomain",
)
FOLDER = Context(
    "folderRecipient",
    (
        text("mboxName", "", "Public folder that gets the mail", longest=1024),
        boolean("publishContactInfo", True, "Show in the address list"),
        boolean("domainSendMailAs", False, "Accounts of the domain may send with this address"),
    ),
    permission="manageFolderRecipientsOnAnyDomain",
)


@dataclass(frozen=True, slots=True)
class _Family:
    """What differs between the three kinds: permissions, the domain's limit, declared attributes."""

    context: Context
    create: str
    remove: str
    rename: str
    manage: str
    members: str
    limit: str
    plural: str


_FAMILIES: Mapping[RecipientKind, _Family] = {
    RecipientKind.GROUP: _Family(
        GROUP, "createGroups", "removeGroups", "manageGroupsNaming", "manageGroups", "manageGroupsMembers",
        "maxGroups", "groups",
    ),
    RecipientKind.LIST: _Family(
        LIST, "createMailLists", "removeMailLists", "manageMailListsNaming", "manageMaillists",
        "manageMailListsMembers", "maxMaillists", "mailing lists",
    ),
    RecipientKind.FOLDER: _Family(
        FOLDER, "manageFolderRecipients", "manageFolderRecipients", "manageFolderRecipients",
        "manageFolderRecipients", "manageFolderRecipients", "maxFolderRecipients", "folder recipients",
    ),
}  # fmt: skip


class RecipientVerbs(DirectoryBase):
    """Verbs on groups, lists and folder recipients; `kind` is GROUP, LIST or FOLDER."""

    def _need_recipient(self, object_id: int) -> Recipient:
        found = self.recipient(object_id)
        if found is None:
            raise NotFoundError(f"recipient {object_id} does not exist")
        return found

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
    ) -> Recipient:
        """Create one of any kind. Raises AlreadyExistsError, InvalidNameError, InvalidValueError, LimitReachedError."""
        family = _FAMILIES[kind]
        owner = self._need_domain(domain)
        actor.require(family.create, owner.id)
        name = checked_local(name)
        stored = _attributes(family.context, attributes)
        addresses = _members(members)
        object_id = self.ids.next()
        limit = getattr(self.domain_settings(owner.id), family.limit)

        def operation(transaction: Transaction) -> None:
            sql = f"SELECT count(*) FROM recipient WHERE domain_id = ? AND kind = '{kind.value}'"
            check_room(transaction, owner.id, limit, sql, family.plural)
            take_name(transaction, owner.id, name, kind.value, object_id)
            transaction.execute(
                "INSERT INTO recipient (id, kind, domain_id, name, enabled, password, attributes, created) "
                "VALUES (?, ?, ?, ?, 1, '', ?, ?)",
                (object_id, kind.value, owner.id, name, as_json(stored), transaction.now),
            )
            _insert_members(transaction, object_id, addresses)
            new = {"kind": kind.value, "name": name, "members": addresses[:100], **stored}
            transaction.record(actor.name, "recipient", object_id, "create", None, new)

        await self._change(operation)
        return self._need_recipient(object_id)

    async def delete_recipient(self, object_id: int, *, actor: Actor) -> None:
        """Delete a group, list or folder recipient."""
        found = self._need_recipient(object_id)
        actor.require(_FAMILIES[found.kind].remove, found.domain_id)

        def operation(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM member WHERE recipient_id = ?", (object_id,))
            transaction.execute("DELETE FROM address WHERE object_id = ?", (object_id,))
            transaction.execute("DELETE FROM recipient WHERE id = ?", (object_id,))
            transaction.record(actor.name, "recipient", object_id, "delete", {"address": found.address})

        await self._change(operation)

    async def rename_recipient(self, object_id: int, name: str, *, actor: Actor) -> None:
        """Give it another name."""
        found = self._need_recipient(object_id)
        actor.require(_FAMILIES[found.kind].rename, found.domain_id)
        name = checked_local(name)

        def operation(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM address WHERE object_id = ? AND main = 1", (object_id,))
            take_name(transaction, found.domain_id, name, found.kind.value, object_id)
            transaction.execute("UPDATE recipient SET name = ? WHERE id = ?", (name, object_id))
            transaction.record(actor.name, "recipient", object_id, "rename", {"name": found.name}, {"name": name})

        await self._change(operation)

    async def enable_recipient(self, object_id: int, enabled: bool = True, *, actor: Actor) -> None:
        """Enable or disable it."""
        found = self._need_recipient(object_id)
        actor.require(_FAMILIES[found.kind].manage, found.domain_id)

        def operation(transaction: Transaction) -> None:
            transaction.execute("UPDATE recipient SET enabled = ? WHERE id = ?", (int(enabled), object_id))
            transaction.record(actor.name, "recipient", object_id, "enable" if enabled else "disable")

        await self._change(operation)

    async def set_recipient_attributes(self, object_id: int, *, actor: Actor, **attributes: str) -> None:
        """Set attributes spelled as in the CLI."""
        found = self._need_recipient(object_id)
        family = _FAMILIES[found.kind]
        actor.require(family.manage, found.domain_id)
        stored = _attributes(family.context, attributes)

        def operation(transaction: Transaction) -> None:
            old = transaction.value("SELECT attributes FROM recipient WHERE id = ?", (object_id,))
            if old is None:
                raise NotFoundError(f"recipient {object_id} does not exist")
            merged = {**json.loads(old), **stored}
            transaction.execute("UPDATE recipient SET attributes = ? WHERE id = ?", (as_json(merged), object_id))
            transaction.record(actor.name, "recipient", object_id, "set", json.loads(old), merged)

        await self._change(operation)

    async def add_members(self, object_id: int, members: Iterable[str], *, actor: Actor) -> None:
        """Add addresses to a group or list; those already there stay."""
        found = self._need_recipient(object_id)
        actor.require(_FAMILIES[found.kind].members, found.domain_id)
        addresses = _members(members)

        def operation(transaction: Transaction) -> None:
            _insert_members(transaction, object_id, addresses)
            transaction.record(actor.name, "recipient", object_id, "add members", None, {"members": addresses[:100]})

        await self._change(operation)

    async def remove_members(self, object_id: int, members: Iterable[str], *, actor: Actor) -> None:
        """Remove addresses; those not there are passed over."""
        found = self._need_recipient(object_id)
        actor.require(_FAMILIES[found.kind].members, found.domain_id)
        addresses = _members(members)

        def operation(transaction: Transaction) -> None:
            transaction.executemany(
                "DELETE FROM member WHERE recipient_id = ? AND address = ?", ((object_id, a) for a in addresses)
            )
            transaction.record(actor.name, "recipient", object_id, "remove members", {"members": addresses[:100]})

        await self._change(operation)


def _attributes(context: Context, attributes: Mapping[str, str]) -> dict[str, str]:
    result = {}
    for name, value in attributes.items():
        setting = context.setting(name)
        result[setting.name] = setting.render(setting.parse(value))
    return result


def _members(members: Iterable[str]) -> list[str]:
    result: dict[str, None] = {}
    for member in members:
        parts = split_address(member.strip())
        key = domain_key(parts[1]) if parts is not None else None
        if parts is None or key is None or any(character in "\r\n\x00" for character in member):
            raise InvalidNameError(f"{member[:80]!r} is not an address")
        result[f"{parts[0]}@{key}"] = None
        if len(result) > MAX_MEMBERS_PER_CALL:
            raise InvalidNameError(f"at most {MAX_MEMBERS_PER_CALL} members in one call")
    return list(result)


def _insert_members(transaction: Transaction, object_id: int, addresses: list[str]) -> None:
    transaction.executemany(
        "INSERT INTO member (recipient_id, address, name) VALUES (?, ?, '') ON CONFLICT (recipient_id, address) DO NOTHING",
        ((object_id, address) for address in addresses),
    )
