"""The tree that an administrator sees: what a path stands for, and what lies in a directory.

    /<domain>/domain.json                                          settings, classes, names
             /accounts/<name>/account.json, mailbox.json           password, settings; subscriptions, rights, scripts
                             /folders/<folder>/<message>.eml       or messages.tar
             /lists/<name>/list.json, mailbox.json, folders/...
             /groups/<name>/group.json      /folderRecipients/<name>/folderRecipient.json
             /publicFolders/mailbox.json, <folder>/...
    /@since-<label>/...                                            the same, with what came or changed since a backup label only

A mount shows removed.json beside, in folders and above them, with what was removed since its label (see removed.py).

Invariants: an administrator sees the domains that he may back up or restore, and of others not even whether they exist; nothing is
changed here; a path stands for one thing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from mailstead.backup_tree.paths import (
    REMOVED,
    TAR,
    BadPath,
    level_file,
    message_file,
    object_file,
    read_level,
    read_message_file,
    read_object,
)
from mailstead.backup_tree.removed import Removals
from mailstead.backup_tree.services import TreeServices
from mailstead.backup_tree.stored_message import StoredMessage
from mailstead.backup_tree.tar import tar_size
from mailstead.directory.address import join_address
from mailstead.directory.model import Domain, NotFoundError, Recipient, RecipientKind
from mailstead.mailbox.model import Folder
from mailstead.restoring.documents import document
from mailstead.restoring.labels import BackupLabels
from mailstead.restoring.mailbox_document import mailbox_document
from mailstead.settings.actor import Actor
from mailstead.store.engine import MailIndex

SLICE = 500
MOST_KNOWN = 1000
"""Owners whose folders, and folders whose first change, are held."""
UNDER_WAY_SECONDS = 1
"""A change may have begun so long before it was to be seen."""
SINCE = "@since-"
KINDS = {"lists": RecipientKind.LIST, "groups": RecipientKind.GROUP, "folderRecipients": RecipientKind.FOLDER}
DOCUMENTS = {"accounts": "account.json", "lists": "list.json", "groups": "group.json", "folderRecipients": "folderRecipient.json"}
PUBLIC = "publicFolders"
MAILBOX = "mailbox.json"


class Missing(Exception):
    """There is nothing under that path, or nothing that may be seen."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in a directory; ``modified`` is unix time, ``unique`` names it whatever it is called (RFC 3659 section 7.5.2)."""

    name: str
    directory: bool
    size: int = 0
    modified: int = 0
    unique: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """What a path stands for: root, domain, kind (accounts, lists ...), object, folders, folder, document, message or tar.

    ``owner`` has the folders; ``document`` is (kind, id), ("mailbox", owner) or ("removed", owner); ``name`` the last
    part of the path; ``since``: only messages that came then or later, or whose flags changed (unix time)."""

    what: str
    name: str = ""
    domain: Domain | None = None
    kind: str = ""
    object: str = ""
    owner: int = 0
    shard: int = 0
    folder: Folder | None = None
    levels: tuple[str, ...] = ()
    uid: int = 0
    document: tuple[str, int] = ("", 0)
    since: int = 0

    @property
    def directory(self) -> bool:
        """Whether something may lie in it."""
        return self.what not in ("document", "message", "tar")


class Tree:
    """One administrator's view; ``utf8`` and ``tar`` as the settings say. ``since`` (unix time): all of it shows only messages that
    came then or later, or whose flags changed, and with ``removals`` also what was removed since. ``held``: seconds for which an
    owner's folders are taken for known, for whoever asks for one path after the other."""

    def __init__(
        self,
        services: TreeServices,
        actor: Actor,
        *,
        utf8: bool,
        tar: bool,
        since: int = 0,
        removals: bool = False,
        held: float = 0.0,
    ) -> None:
        self.services = services
        self.actor = actor
        self.utf8 = utf8
        self.tar = tar
        self.labels = BackupLabels(services.directory)
        self._since = since
        self._removals = Removals(services, since) if since and removals else None
        self._held = held
        self._known: dict[int, tuple[float, dict[str, Folder]]] = {}
        self._first_changes: dict[tuple[int, int], int] = {}

    # -- paths ------------------------------------------------------------------------------------------------

    def sees(self, domain: Domain) -> bool:
        """Whether the administrator has to do with a domain."""
        return any(self.actor.may(permission, domain.id) for permission in ("backupDomain", "restoreDomain"))

    def domain(self, name: str) -> Domain | None:
        """A domain he sees, by its main name."""
        found = self.services.directory.domain_by_name(name)
        return found if found is not None and self.sees(found) else None

    async def node(self, path: tuple[str, ...]) -> Node:
        """Raises Missing, BadPath."""
        since = self._since
        if path and path[0].startswith(SINCE) and not since:
            domain = path[1] if len(path) > 1 else ""
            try:
                since = self.labels.find(path[0][len(SINCE) :], domain, actor=self.actor).time
            except NotFoundError:
                raise Missing("no such label") from None
            path = path[1:]
        if not path:
            return Node("root", since=since)
        found = self.domain(path[0])
        if found is None:
            raise Missing("no such domain")
        node = Node("domain", path[0], found, since=since)
        if len(path) == 1:
            return node
        if path[1:] == ("domain.json",):
            return replace(node, what="document", name="domain.json", document=("domain", found.id))
        if path[1] == PUBLIC:
            owner = self.services.directory.owner(found.id)
            shard = owner.shard if owner is not None else 0
            node = replace(node, what="folders", name=PUBLIC, kind=PUBLIC, owner=found.id, shard=shard)
            return await self._below_folders(node, path[2:])
        if path[1] not in DOCUMENTS:
            raise Missing("no such directory")
        node = replace(node, what="kind", name=path[1], kind=path[1])
        if len(path) == 2:
            return node
        return await self._object(node, found, path[2:])

    async def _object(self, node: Node, domain: Domain, path: tuple[str, ...]) -> Node:
        name = read_object(path[0])
        if node.kind == "accounts":
            account = self.services.directory.account_by_address(join_address(name, domain.name))
            if account is None or account.domain_id != domain.id or account.name != name:
                raise Missing("no such account")
            kind, id, shard = "account", account.id, account.shard
        else:
            found = self._recipient(domain, node.kind, name)
            if found is None:
                raise Missing("no such object")
            kind, id, shard = "recipient", found.id, found.shard
        node = replace(node, what="object", name=name, object=name, owner=id, shard=shard)
        rest = path[1:]
        if not rest:
            return node
        if rest == (DOCUMENTS[node.kind],):
            return replace(node, what="document", name=rest[0], document=(kind, id))
        if node.kind in ("accounts", "lists"):
            if rest == (MAILBOX,):
                return replace(node, what="document", name=MAILBOX, document=("mailbox", id))
            if rest[0] == "folders":
                return await self._below_folders(replace(node, what="folders", name="folders"), rest[1:])
        raise Missing("no such file or directory")

    def _recipient(self, domain: Domain, kind: str, name: str) -> Recipient | None:
        found = self.services.directory.recipients(domain.id, KINDS[kind])
        return next((one for one in found if one.name == name), None)

    async def _below_folders(self, node: Node, path: tuple[str, ...]) -> Node:
        if not path:
            return node
        if node.kind == PUBLIC and path == (MAILBOX,):
            return replace(node, what="document", name=MAILBOX, document=("mailbox", node.owner))
        last = path[-1]
        if last == REMOVED:
            if self._removals is None:
                raise Missing("no such file or directory")
            if len(path) > 1:
                node = await self._below_folders(node, path[:-1])
                if node.what != "folder":
                    raise Missing("no such file or directory")
            return replace(node, what="document", name=REMOVED, document=("removed", node.owner))
        is_message = read_message_file(last) is not None
        levels = tuple(read_level(part, self.utf8) for part in (path[:-1] if is_message or last == TAR else path))
        folder = await self._folder(node.owner, "/".join(levels)) if levels else None
        if folder is None:
            raise Missing("no such folder")
        node = replace(node, what="folder", name=last, folder=folder, levels=levels)
        if last == TAR:
            return replace(node, what="tar")
        return self.message_in(node, last) if is_message else node

    def message_in(self, folder: Node, name: str) -> Node:
        """The message that a name of a file means in a folder; whether it is there is not asked. Raises Missing."""
        uid = name.partition(".")[0]
        if not uid.isdigit() or len(uid) > 10:
            raise Missing("no such message")
        return replace(folder, what="message", name=name, uid=int(uid))

    async def _folder(self, owner: int, name: str) -> Folder | None:
        if not self._held:
            return next((one for one in await self.services.mailbox.folders(owner) if one.name == name), None)
        looked, known = self._known.get(owner, (0.0, {}))
        if not looked or time.monotonic() - looked >= self._held:
            known = {one.name: one for one in await self.services.mailbox.folders(owner)}
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[owner] = time.monotonic(), known
        return known.get(name)

    def forget(self) -> None:
        """What was held of folders, because one was made."""
        self._known.clear()

    # -- contents ---------------------------------------------------------------------------------------------

    def needs(self, node: Node, permission: str) -> bool:
        """Whether the administrator has a permission (backupDomain, restoreDomain) on what a node belongs to."""
        return node.domain is not None and self.actor.may(permission, node.domain.id)

    async def entries(self, node: Node) -> AsyncIterator[Entry]:
        """What lies in a directory, in a steady order."""
        now = int(time.time())
        directory = self.services.directory
        if node.what == "root":
            for domain in directory.domains():
                if self.sees(domain):
                    yield Entry(domain.name, True, modified=domain.created // 1_000_000, unique=f"d{domain.id}")
        elif node.what == "domain":
            assert node.domain is not None
            yield await self.entry(replace(node, what="document", name="domain.json", document=("domain", node.domain.id)))
            for name in (*DOCUMENTS, PUBLIC):
                yield Entry(name, True, modified=now, unique=f"d{node.domain.id}-{name}")
        elif node.what == "kind":
            assert node.domain is not None
            if node.kind == "accounts":
                for account in directory.accounts(node.domain.id):
                    yield Entry(object_file(account.name), True, modified=now, unique=f"o{account.id}")
            else:
                for found in directory.recipients(node.domain.id, KINDS[node.kind]):
                    yield Entry(object_file(found.name), True, modified=now, unique=f"o{found.id}")
        elif node.what == "object":
            kind = "account" if node.kind == "accounts" else "recipient"
            name = DOCUMENTS[node.kind]
            yield await self.entry(replace(node, what="document", name=name, document=(kind, node.owner)))
            if node.kind in ("accounts", "lists"):
                yield await self.entry(replace(node, what="document", name=MAILBOX, document=("mailbox", node.owner)))
                yield Entry("folders", True, modified=now, unique=f"o{node.owner}-folders")
        elif node.what in ("folders", "folder"):
            async for entry in self._folder_entries(node, now):
                yield entry

    async def _folder_entries(self, node: Node, now: int) -> AsyncIterator[Entry]:
        if node.what == "folders" and node.kind == PUBLIC:
            yield await self.entry(replace(node, what="document", name=MAILBOX, document=("mailbox", node.owner)))
        if self._removals is not None:
            yield await self.entry(replace(node, what="document", name=REMOVED, document=("removed", node.owner)))
        depth = len(node.levels)
        seen: set[str] = set()
        for folder in await self.services.mailbox.folders(node.owner):
            levels = tuple(folder.name.split("/"))
            if levels[:depth] == node.levels and len(levels) > depth and levels[depth] not in seen:
                seen.add(levels[depth])
                unique = f"f{folder.id}" if len(levels) == depth + 1 else ""
                yield Entry(level_file(levels[depth], self.utf8), True, modified=now, unique=unique)
        if node.folder is None:
            return
        if self.tar:
            yield await self.entry(replace(node, what="tar", name=TAR))
            return
        async for message in self.messages(node):
            yield Entry(message.name, False, message.size, message.date, f"m{node.folder.id}-{message.uid}")

    async def messages(self, node: Node, uid: int = 0) -> AsyncIterator[StoredMessage]:
        """Messages of a folder by uid (or the one of ``uid``), those since the label where there is one."""
        assert node.folder is not None
        index = self.services.store.mail_index(node.folder.shard)
        changed = await self._first_change(index, node.folder.id, node.since) if node.since else 0
        keywords = index.keywords(node.owner)
        columns = ("flags", "date", "size", "location")
        last = uid - 1 if uid else 0
        while True:
            found = index.slice(node.folder.id, last, uid + 1 if uid else 1 << 40, SLICE)
            if not found:
                return
            last = found[-1][0]
            uids = [row[0] for row in found]
            place = self.services.mailbox.location_of
            if node.since:
                shown = {row[0] for row in found if row[2] >= changed}
                shown.update(uid for uid, saved in index.rows(node.folder.id, uids, ("saved",), place) if saved >= node.since)
                uids = [uid for uid in uids if uid in shown]
            for number, bits, date, size, location in index.rows(node.folder.id, uids, columns, place) if uids else ():
                names = keywords.names(bits)
                yield StoredMessage(number, message_file(number, date, bits, names), size, date, location, tuple(names), bits)
            if len(found) < SLICE:
                return
            await asyncio.sleep(0)

    async def _first_change(self, index: MailIndex, folder: int, since: int) -> int:
        """The modseq of the first change of flags since a moment: no message has it, or a higher one, of whom nothing changed."""
        known = self._first_changes.get((folder, since))
        if known is not None:
            return known
        head = index.head(folder)
        first = below = head[1] + 1 if head is not None else 1
        while changes := index.flag_changes(folder, below, SLICE):
            later = [modseq for modseq, at in changes if at >= since - UNDER_WAY_SECONDS]
            first = min([first, *later])
            if len(later) < SLICE:
                break
            below = changes[-1][0]
            await asyncio.sleep(0)
        if len(self._first_changes) >= MOST_KNOWN:
            self._first_changes.clear()
        self._first_changes[folder, since] = first
        return first

    async def message(self, node: Node) -> StoredMessage:
        """The message of a node. Raises Missing, also where another message has that UID now."""
        name = read_message_file(node.name)
        async for found in self.messages(node, node.uid):
            if name is None or not name.date or name.date == found.date:
                return found
        raise Missing("no such message")

    async def entry(self, node: Node) -> Entry:
        """A node itself. Raises Missing."""
        if node.directory:
            return Entry(node.name or "/", True, modified=int(time.time()))
        if node.what == "message":
            message = await self.message(node)
            return Entry(node.name, False, message.size, message.date, f"m{node.folder.id if node.folder else 0}-{message.uid}")
        if node.what == "tar":
            assert node.folder is not None
            size, newest = 0, node.folder.uidvalidity
            async for message in self.messages(node):
                size += tar_size(message)
                newest = max(newest, message.date)
            return Entry(TAR, False, size + 1024, newest, f"f{node.folder.id}-tar")
        octets = await self.document(node)
        if node.document[0] == "removed":
            return Entry(node.name, False, len(octets), node.since)
        return Entry(node.name, False, len(octets), self._changed(node), f"{node.document[0][0]}{node.document[1]}")

    def _changed(self, node: Node) -> int:
        """When an object last changed, by the history."""
        rows = self.services.directory.database.query(
            "SELECT max(time) FROM history WHERE kind IN ('account', 'recipient', 'domain', 'setting') AND object_id = ?",
            (node.document[1],),
        )
        return int(rows[0][0] or 0) // 1_000_000

    async def document(self, node: Node) -> bytes:
        """The octets of a document."""
        kind, id = node.document
        if kind == "removed":
            assert self._removals is not None
            return await self._removals.document(node.owner, node.shard, node.folder)
        if kind == "mailbox":
            return await mailbox_document(self.services.mailbox, self.services.store, self.services.directory, id, node.shard)
        return await asyncio.to_thread(document, self.services.directory.database.query, kind, id)


__all__ = ["BadPath", "Entry", "Missing", "Node", "StoredMessage", "Tree"]
