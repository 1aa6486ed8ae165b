"""The verbs on rights (RFC 4314; features SHR-01, SHR-04, PUB-01).

Invariants: only who administers a folder (right a) sees or changes who else has rights in it; the owner has all rights
and cannot lose them; a right that is taken away is gone before the verb returns.

A change in a public folder is in the history as soon as it holds, as its author's. The rights are kept with the mail and the
history with the accounts: what is killed between the two, or finds no room there, leaves rights of which the history does not
tell, never the other way round.

Entries come down the tree (see ``rights``): taking away what stands further up makes an empty entry here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mailstead.directory.sharing import RightsChange
from mailstead.mailbox import rights
from mailstead.mailbox.base import Place
from mailstead.mailbox.errors import FolderMissing, LimitReached, NotPermitted, RightMissing
from mailstead.mailbox.folders import FolderVerbs
from mailstead.mailbox.model import ALL_RIGHTS
from mailstead.mailbox.names import canonical
from mailstead.observe.log import get_logger
from mailstead.settings.database import SystemDatabaseError
from mailstead.store.operations import SetAcl

log = get_logger("PROCESSING")

MAX_ENTRIES = 1_000
MAX_ACCOUNT_ENTRIES = 10_000
"""Of all folders of an account: whoever sees one of them has all read."""


class UnknownIdentifier(NotPermitted):
    """Nobody is called that in the owner's domain."""


class SharingVerbs(FolderVerbs):
    """Names are the reader's. A name of "" or of a namespace's owner level ("Other Users/bob", "Public Folders") stands
    for all folders of an account where ``whole`` is allowed."""

    async def _administered(self, account: int, name: str, *, whole: bool = False) -> tuple[Place, int, int]:
        """Place, shard and folder id (0 for the whole account) of what the reader administers."""
        name = canonical(name)
        place = Place(account, "") if whole and not name else self.place(account, name)
        if place is None or (not place.name and not whole):
            raise FolderMissing("no such folder")
        shard = await self._ensure(place.account)
        if getattr(self._limits(place.account), "public", False):  # also for the domain itself
            place = dataclasses.replace(place, public=True)
        folder = 0
        if place.name:
            row = self._store.mail_index(shard).folder(place.account, place.name)
            if row is None:
                raise FolderMissing("no such folder")
            folder = row[0]
        if place.reader:
            given = self._rights(place.reader, place.account, place.name)
            if not given:
                raise FolderMissing("no such folder")
            if "a" not in given:
                raise RightMissing("you do not administer this folder")
        return place, shard, folder

    def _identifier(self, owner: int, text: str) -> str:
        identifier = self._people.identifier(owner, text) if self._people is not None else None
        if identifier is None:
            raise UnknownIdentifier("there is nobody of that name in this domain")
        return identifier

    def _is_owner(self, place: Place, identifier: str) -> bool:
        return identifier == f"u{place.account}"

    async def acl(self, account: int, name: str, *, whole: bool = False) -> list[tuple[str, str]]:
        """(identifier in words, rights) of all who have rights in a folder, the owner first. Raises FolderMissing,
        RightMissing."""
        place, shard, _ = await self._administered(account, name, whole=whole)
        assert self._people is not None or not place.reader
        found: list[tuple[str, str]] = []
        if not place.public:
            owner = self._people.identifier_text(place.account, f"u{place.account}") if self._people is not None else None
            found.append((owner or "owner", ALL_RIGHTS))
        if self._people is None:
            return found
        limits = self._limits(place.account)
        assert limits.shard == shard
        for identifier, given in sorted(rights.entries_at(self._entries(limits, place.account), place.name).items()):
            text = self._people.identifier_text(place.account, identifier)
            if text is not None and not self._is_owner(place, identifier):
                found.append((text, given))
        return found

    async def set_acl(
        self, account: int, name: str, who: str, mode: str, letters: str, *, whole: bool = False, author: str = ""
    ) -> None:
        """``mode``: set, add or remove rights of an identifier. ``author``: who does so, if not the account. Raises
        UnknownIdentifier, UnknownRight, NotPermitted, FolderMissing, RightMissing, LimitReached."""
        place, shard, folder = await self._administered(account, name, whole=whole)
        identifier = self._identifier(place.account, who)
        wanted = set(rights.normalize(letters))
        if self._is_owner(place, identifier):
            if mode == "remove" or (mode == "set" and wanted != set(ALL_RIGHTS)):
                raise NotPermitted("the owner keeps all rights")
            return
        entries = self._entries(self._limits(place.account), place.account)
        have = set(rights.entries_at(entries, place.name).get(identifier, ""))
        value = wanted if mode == "set" else have | wanted if mode == "add" else have - wanted
        change = (rights.ordered(wanted), "") if mode == "add" else ("", rights.ordered(wanted)) if mode == "remove" else ("", "")
        await self._write_entry(
            place, shard, folder, identifier, rights.ordered(value), entries, rights.ordered(have), change, author
        )

    async def delete_acl(self, account: int, name: str, who: str, *, whole: bool = False) -> None:
        """Take all rights of an identifier; one who has none is no error (RFC 4314 section 3.2)."""
        place, shard, folder = await self._administered(account, name, whole=whole)
        identifier = self._identifier(place.account, who)
        if self._is_owner(place, identifier):
            raise NotPermitted("the owner keeps all rights")
        await self._write_entry(place, shard, folder, identifier, "", self._entries(self._limits(place.account), place.account))

    async def own_entry(self, owner: int, folder: int, identifier: str) -> str | None:
        """What an identifier is given in a folder (0: all of the owner's) by an entry there; None where it has none. Raises
        FolderMissing."""
        return self._entries(self._limits(owner), owner).get(await self._name_of(owner, folder), {}).get(identifier)

    async def restore_entry(self, owner: int, folder: int, identifier: str, given: str | None, *, author: str) -> None:
        """Put the entry of an identifier in a public folder (0: all of the domain's) back as it was; None: it had none there.
        Raises FolderMissing, LimitReached."""
        place = Place(owner, await self._name_of(owner, folder), public=True)
        limits = self._limits(owner)
        await self._write_entry(place, limits.shard, folder, identifier, given, self._entries(limits, owner), author=author)

    async def _name_of(self, owner: int, folder: int) -> str:
        name = self._store.sharing(await self._ensure(owner)).folder_name(folder) if folder else ""
        if name is None:
            raise FolderMissing("no such folder")
        return name

    async def _write_entry(
        self, place: Place, shard: int, folder: int, identifier: str, given: str | None, entries: rights.Entries, have: str = "",
        change: tuple[str, str] = ("", ""), author: str = "",
    ) -> None:  # fmt: skip
        """``change``: what is added and taken away, so that two who change an entry at once both have their way."""
        own = entries.get(place.name, {})
        if identifier not in own and given and len(own) >= MAX_ENTRIES:
            raise LimitReached(f"no more than {MAX_ENTRIES} entries for a folder")
        if identifier not in own and sum(map(len, entries.values())) >= MAX_ACCOUNT_ENTRIES:
            raise LimitReached(f"no more than {MAX_ACCOUNT_ENTRIES} entries for all folders")
        above: str | None = None
        for level in rights.levels(place.name)[1:]:
            if identifier in entries.get(level, {}):
                above = entries[level][identifier]
                break
        operations = []
        for_all = place.public and not folder
        unsaid = for_all and not any(not name for name, _, _ in self._store.sharing(shard).acl(place.account))
        if unsaid:
            # What stood for everybody as long as nothing was said must not vanish with the first word.
            operations += [SetAcl(shard, place.account, 0, one, text) for one, text in own.items() if one != identifier]
        value = given if for_all or above or given else None
        if any(change):
            operations.append(SetAcl(shard, place.account, folder, identifier, have, *change))
        else:
            operations.append(SetAcl(shard, place.account, folder, identifier, (value or "") if for_all else value))
        results = await self._done(self._store.change(operations))
        if place.public:
            before, after = results[-1].rights  # of this change alone: others may change the entry at the same time
            done = RightsChange(folder, place.name, identifier, own.get(identifier) if unsaid else before, after)
            author = author or (self._people and self._people.identifier_text(place.account, f"u{place.reader}")) or "system"
            await self.tell_rights(place.account, [done], author)

    async def tell_rights(self, domain: int, changes: Sequence[RightsChange], author: str) -> None:
        """Have the history tell what was done to rights in a domain's public folders; where it cannot, the log does."""
        if self._people is None:
            return
        try:
            await self._people.record_rights(domain, changes, author)
        except SystemDatabaseError as error:
            log.error("rights in public folders changed, without the history", author=author, reason=str(error))

    async def my_rights(self, account: int, name: str) -> str:
        """What the reader may do with a folder. Raises FolderMissing, also where he has no right at all."""
        folder = await self.folder(account, name)
        if folder is None:
            raise FolderMissing("no such folder")
        return folder.rights

    async def possible_rights(self, account: int, name: str, who: str) -> tuple[str, list[str]]:
        """RFC 4314 section 3.4: what an identifier has in any case, and what can be given."""
        place, _, _ = await self._administered(account, name)
        if self._is_owner(place, self._identifier(place.account, who)):
            return ALL_RIGHTS, []
        return "", list(ALL_RIGHTS)
