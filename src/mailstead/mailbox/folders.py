"""The verbs on folders: one's own, and those of others as far as one has the right.

Invariants: a verb returns only when its effect is durable; renaming takes everything below along or nothing; names of a
reader's own folders never lie in the namespaces of others, but for those that were made before there were any: they can
be opened, renamed and deleted where no folder of others has the name.
"""

from __future__ import annotations

import time

from mailstead.mailbox.base import OTHER_USERS, PUBLIC_FOLDERS, MailboxBase, Place, folder_limits
from mailstead.mailbox.errors import (
    FolderExists,
    FolderHasChildren,
    FolderMissing,
    InvalidFolderName,
    LimitReached,
    NotPermitted,
    OverQuota,
    RightMissing,
)
from mailstead.mailbox.model import ALL_RIGHTS, Folder, FolderStatus, Quota
from mailstead.mailbox.names import MAX_LEVELS, canonical, normalize, parents
from mailstead.store.operations import CreateFolder, DeleteFolder, Operation, RemoveAccount, RenameFolder, Subscribe

MAX_FOLDERS = 10_000


class FolderVerbs(MailboxBase):
    """Names are the reader's (see ``base.place``)."""

    async def folders(self, account: int) -> list[Folder]:
        """All folders that the account owns, by name, INBOX first."""
        shard = await self._ensure(account)
        rows = self._store.mail_index(shard).folders(account)
        found = [Folder(id, account, shard, name, validity, use, bool(sub), kind) for id, name, validity, use, sub, kind in rows]
        return sorted(found, key=lambda f: (f.name != "INBOX", f.name.split("/")))

    async def folder(self, account: int, name: str) -> Folder | None:
        """The folder that ``account`` knows by that name; INBOX in any case."""
        name = canonical(name)
        place = self.place(account, name)
        if place is not None and place.name and place.reader:
            shard = await self._ensure(place.account)
            row = self._store.mail_index(shard).folder(place.account, place.name)
            given = self._rights(place.reader, place.account, place.name) if row is not None else ""
            if row is not None and given:
                shown = place.prefix + place.name
                return Folder(row[0], place.account, shard, shown, row[2], None, False, row[5], given, place.reader)
        # One's own, also one that was there before its name was a namespace's.
        shard = self._limits(account).shard
        row = self._store.mail_index(shard).folder(account, name)
        if row is None:  # perhaps nothing was ever delivered to the account
            row = self._store.mail_index(await self._ensure(account)).folder(account, name)
        return Folder(row[0], account, shard, name, row[2], row[3], bool(row[4]), row[5]) if row is not None else None

    def top_names(self, account: int) -> set[str]:
        """Names of the account's folders at the top, at once."""
        rows = self._store.mail_index(self._limits(account).shard).folders(account)
        return {row[1] for row in rows if "/" not in row[1]}

    def namespaces(self, account: int) -> tuple[bool, bool]:
        """Whether there may be folders of others, and public ones."""
        if self._people is None:
            return False, False
        return True, self._people.public_owner(account) is not None

    async def visible(self, account: int) -> list[Folder]:
        """All folders that the account may see (RFC 4314 right l): its own, those of others, the public ones."""
        found = await self.folders(account)
        if self._people is None:
            return found
        subscribed = set(await self.subscriptions(account))
        owners = {
            owner for shard in self._store.shards for owner in self._store.sharing(shard).owners(self._people.identifiers(account))
        }
        public = self._people.public_owner(account)
        if public is not None:
            owners.add(public.id)
        for id in owners - {account}:
            owner = self._people.owner(id)
            if owner is None or not owner.shares:
                continue
            if owner.public and (public is None or public.id != id):
                continue  # another domain's
            entries = self._entries(owner, id)
            prefix = f"{PUBLIC_FOLDERS}/" if owner.public else f"{OTHER_USERS}/{owner.name}/"
            for row in self._store.mail_index(owner.shard).folders(id):
                given = self._rights_of(account, owner, entries, row[1])
                if "l" in given:
                    name = prefix + row[1]
                    found.append(Folder(row[0], id, owner.shard, name, row[2], None, name in subscribed, row[5], given, account))
        return sorted(found, key=lambda f: f.name.split("/"))

    def public_folder(self, domain_id: int, name: str) -> Folder | None:
        """A public folder of a domain as its owner has it, for mail that is addressed to it (PUB-02); at once."""
        owner = self._people.owner(domain_id) if self._people is not None else None
        if owner is None or not owner.public or not name:
            return None
        row = self._store.mail_index(owner.shard).folder(domain_id, canonical(name))
        return Folder(row[0], domain_id, owner.shard, row[1], row[2], None, False, row[5]) if row else None

    def has_public_folder(self, domain_id: int, name: str) -> bool:
        """Whether a domain has a public folder of that name."""
        return self.public_folder(domain_id, name) is not None

    def _place_for(self, account: int, name: str) -> Place:
        """Whose the folder ``name`` (normalized) is or would be. Raises FolderMissing, NotPermitted."""
        place = self.place(account, name)
        if place is None:
            raise FolderMissing("no such folder")
        if not place.name or (not place.reader and name in (OTHER_USERS, PUBLIC_FOLDERS) and self._people is not None):
            raise NotPermitted("this name is that of a namespace")
        return place

    def _new_place(self, account: int, name: str) -> Place:
        """The same for a folder that is to be. Raises InvalidFolderName, too."""
        place = self._place_for(account, name)
        if place.public and place.name.partition("/")[0].upper() == "INBOX":
            raise InvalidFolderName("public folders have no INBOX")  # it could be neither renamed nor deleted
        return place

    async def _place_of(self, account: int, name: str) -> Place:
        """Whose the folder ``name`` (normalized) is: also one's own that was there before its name was a namespace's.
        Raises FolderMissing, NotPermitted."""
        found = await self.folder(account, name)
        return Place(account, name) if found is not None and not found.reader else self._place_for(account, name)

    def _need_at(self, place: Place, wanted: str, name: str) -> None:
        """Raises RightMissing, or FolderMissing where the reader may not even know of it."""
        if not place.reader:
            return
        given = self._rights(place.reader, place.account, name)
        if not given:
            raise FolderMissing("no such folder")
        if set(wanted) - set(given):
            raise RightMissing("you have no right to do this")

    async def create_folder(self, account: int, name: str, special_use: str | None = None, kind: str = "mail") -> Folder:
        """Create a folder and those above it. Raises FolderExists, InvalidFolderName, LimitReached, RightMissing."""
        name = normalize(name)
        place = self._new_place(account, name)
        owner, own = place.account, place.name
        shard = await self._ensure(owner)
        while True:
            have = {folder.name for folder in await self.folders(owner)}
            self._need_at(place, "k", next((above for above in reversed(parents(own)) if above in have), ""))
            if own in have:
                raise FolderExists("a folder of that name exists already")
            operations = self._create_above(shard, owner, own, have, more=1)
            use = None if place.reader else special_use
            new, now = self._store.new_id(), int(time.time())
            operations.append(CreateFolder(shard, new, owner, own, use, kind, now, self.folder_limit(owner)))
            try:
                results = await self._done(self._store.change(operations))
            except FolderExists:
                if len(operations) == 1:
                    raise
                continue  # somebody made one of those above just now
            given = self._rights(place.reader, owner, own) if place.reader else ALL_RIGHTS
            validity = results[-1].uidvalidity
            return Folder(results[-1].folder, owner, shard, name, validity, use, False, kind, given, place.reader)

    def _create_above(self, shard: int, account: int, name: str, have: set[str], more: int) -> list[Operation]:
        """What makes the folders above ``name``; raises LimitReached, OverQuota where they and ``more`` are too
        many."""
        missing = [above for above in parents(name) if above not in have]
        total, own = len(have) + len(missing) + more, self.folder_limit(account)
        if len(missing) + more and total > MAX_FOLDERS:
            raise LimitReached(f"no more than {MAX_FOLDERS} folders")
        if len(missing) + more and own and total > own:
            raise OverQuota(f"no more than {own} folders")
        now = int(time.time())
        return [CreateFolder(shard, self._store.new_id(), account, above, None, "mail", now, own) for above in missing]

    async def delete_folder(self, account: int, name: str) -> None:
        """Delete a folder and its messages (restorable for the retention time). Raises NotPermitted for INBOX and
        where folders lie below it, RightMissing."""
        name = normalize(name)
        place = await self._place_of(account, name)
        shard = await self._ensure(place.account)
        self._need_at(place, "x", place.name)
        if place.name == "INBOX":
            raise NotPermitted("INBOX cannot be deleted")
        below = f"{place.name}/"
        if any(folder.name.startswith(below) for folder in await self.folders(place.account)):
            raise FolderHasChildren("the folder has folders below it")
        await self._done(self._store.change([DeleteFolder(shard, place.account, place.name, int(time.time()))]))

    async def rename_folder(self, account: int, old: str, new: str) -> None:
        """Rename a folder and those below it; INBOX gives its messages to the new folder (RFC 3501 6.3.5)."""
        source, target = await self._place_of(account, normalize(old)), self._new_place(account, normalize(new))
        if source.account != target.account:
            raise NotPermitted("a folder cannot be renamed into another's mailbox")
        owner, old, new = source.account, source.name, target.name
        if new == "INBOX":
            raise FolderExists("INBOX exists already")
        if new.startswith(f"{old}/") and old != "INBOX":
            raise NotPermitted("a folder cannot move below itself")
        shard = await self._ensure(owner)
        while True:
            have = {folder.name for folder in await self.folders(owner)}
            self._need_at(source, "x", old)
            self._need_at(target, "k", next((above for above in reversed(parents(new)) if above in have), ""))
            if old not in have:
                raise FolderMissing("no such folder")
            if new in have:
                raise FolderExists("a folder of that name exists already")
            if source.reader and old == "INBOX":
                raise NotPermitted("another's INBOX cannot be renamed")
            below = [] if old == "INBOX" else [name for name in have if name.startswith(f"{old}/")]
            deepest = max((name.count("/") for name in below), default=old.count("/"))
            if new.count("/") + deepest - old.count("/") >= MAX_LEVELS:
                raise InvalidFolderName(f"a folder would have more than {MAX_LEVELS} levels")
            operations = self._create_above(shard, owner, new, have, more=old == "INBOX")
            above = len(operations)
            operations.append(RenameFolder(shard, owner, old, new, self._store.new_id(), int(time.time())))
            try:
                await self._done(self._store.change(operations))
            except FolderExists:
                if not above:
                    raise
                continue  # somebody made one of those above just now
            return

    async def set_subscribed(self, account: int, name: str, on: bool) -> None:
        """Subscribe or unsubscribe a name, whether there is such a folder or not. Raises LimitReached."""
        name = normalize(name)
        shard = await self._ensure(account)
        if on:
            have = self._store.mail_index(shard).subscriptions(account)
            if len(have) >= MAX_FOLDERS and name not in have:
                raise LimitReached(f"no more than {MAX_FOLDERS} subscriptions")
        await self._done(self._store.change([Subscribe(shard, account, name, on)], shown=False))

    async def subscriptions(self, account: int) -> list[str]:
        """Subscribed names, also of folders that are gone (RFC 3501 6.3.9)."""
        shard = await self._ensure(account)
        return self._store.mail_index(shard).subscriptions(account)

    async def status(self, folder: Folder) -> FolderStatus:
        """Counters, as durable as they are shown. Raises FolderMissing, RightMissing."""
        self._need(folder, "r")
        row = self._reads(folder).counters(folder.id)
        if row is None:
            raise FolderMissing("no such folder")
        waiting = self._store.durable(folder.shard, row[7])
        if waiting is not None:
            await self._done(waiting)
        return FolderStatus(*row[:7])

    def folder_limit(self, account: int) -> int:
        """How many folders an account may have, 0 for no limit of its own."""
        return int(getattr(self._limits(account), "folder_limit", 0))

    async def quota(self, account: int) -> Quota:
        """Use and limits of an account (or of a domain's public folders)."""
        limits = self._limits(account)
        size, messages = self._store.mail_index(limits.shard).usage(account)
        return Quota(size, limits.quota_bytes, messages, limits.quota_messages)

    def quota_limits(self, account: int) -> tuple[int, int]:
        """Octets and messages that an account may hold, 0 for no limit, at once."""
        limits = self._limits(account)
        return limits.quota_bytes, limits.quota_messages

    def folder_quota(self, folder: Folder) -> Quota | None:
        """Use and limits of a folder where it has a quota of its own (QTA-01)."""
        size, messages = self._folder_limits(self._limits(folder.account), folder)
        if not size and not messages:
            return None
        row = self._store.mail_index(folder.shard).counters(folder.id)
        return Quota(row[3], size, row[0], messages) if row is not None else None

    def limits_of(self, account: int, folder: int) -> tuple[int, int]:
        """Octets and messages that a folder (0: INBOX) may hold by a quota of its own, at once; 0 for no limit."""
        limits = self._limits(account)
        name = self._store.sharing(limits.shard).folder_name(folder) if folder else "INBOX"
        return folder_limits(limits, name) if name else (0, 0)

    def usage(self, account: int) -> tuple[int, int]:
        """Octets and messages an account holds, at once, for checks before a message is taken."""
        limits = self._limits(account)
        return self._store.mail_index(limits.shard).usage(account)

    async def remove_account(self, account: int, shard: int, at: int | None = None) -> None:
        """Remove all of an account's mail; its messages are kept for the retention time from ``at`` (unix time, None for now)."""
        await self._done(self._store.change([RemoveAccount(shard, account, int(time.time()) if at is None else at)]))
