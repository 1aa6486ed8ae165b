"""What an account sees, watched: which of its folders changed, and whether their names, rights or notes did.

Invariants: a change is told after it is committed, by whatever process made it; it is a hint only, the watcher reads
what there is now (``names``, ``status``) and gets what is durable; hints that come before they are taken coalesce, so a
slow watcher costs a set of ids.

How: the store tells of folders by their ids, and of folders made, renamed, deleted, subscribed, shared or annotated under
the id of the account concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mailstead.mailbox.folders import FolderVerbs
from mailstead.mailbox.model import Folder
from mailstead.store.service import Store


@dataclass(frozen=True, slots=True)
class Names:
    """The folders an account sees, by id, and the names it has subscribed to."""

    folders: Mapping[int, Folder]
    subscriptions: frozenset[str]


class Watch:
    """Call ``close`` once. ``woken`` is called in the loop, once until the next ``take``."""

    def __init__(self, store: Store, woken: Callable[[], None]) -> None:
        self._store = store
        self._woken = woken
        self._folders: set[int] = set()
        self._accounts: set[int] = set()
        self._changed: set[int] = set()
        self._names = False

    def set_folders(self, folders: Iterable[int]) -> None:
        """Watch the counters of these folders."""
        wanted = set(folders)
        for folder in self._folders - wanted:
            self._store.unlisten(folder, self._folder_changed)
        for folder in wanted - self._folders:
            self._store.listen(folder, self._folder_changed)
        self._folders = wanted

    def set_accounts(self, accounts: Iterable[int]) -> None:
        """Watch the names, rights and notes of these accounts' folders."""
        wanted = set(accounts)
        for account in self._accounts - wanted:
            self._store.unlisten(account, self._account_changed)
        for account in wanted - self._accounts:
            self._store.listen(account, self._account_changed)
        self._accounts = wanted

    def take(self) -> tuple[set[int], bool]:
        """Folders that have changed since the last call, and whether names, rights or notes have."""
        taken = self._changed, self._names
        self._changed, self._names = set(), False
        return taken

    def close(self) -> None:
        """Watch nothing any more."""
        self.set_folders(())
        self.set_accounts(())

    def _folder_changed(self, folder: int, _modseq: int, _origin: object | None) -> None:
        first = not self._changed and not self._names
        self._changed.add(folder)
        if first:
            self._woken()

    def _account_changed(self, _account: int, _commit: int, _origin: object | None) -> None:
        first = not self._changed and not self._names
        self._names = True
        if first:
            self._woken()


class WatchVerbs(FolderVerbs):
    """What a watcher reads."""

    def watch(self, woken: Callable[[], None]) -> Watch:
        """A watch that watches nothing yet."""
        return Watch(self._store, woken)

    async def names(self, account: int) -> Names:
        """What the account sees now, durable."""
        folders = {folder.id: folder for folder in await self.visible(account)}
        names = Names(folders, frozenset(await self.subscriptions(account)))
        await self._all_durable(self._store.shards)
        return names

    async def notes(self, account: int, owners: Iterable[int]) -> dict[tuple[int, str], bytes]:
        """All entries (RFC 5464) that the account may see of its own folders and of those of ``owners``, by folder id (0:
        the account's) and name; durable. Of others' private ones it gets its own."""
        found: dict[tuple[int, str], bytes] = {}
        for owner in {account, *owners}:
            limits = self._limits(owner)
            for folder, reader, entry, value in self._store.sharing(limits.shard).notes(owner):
                if reader in (0, account) and (folder or owner == account):
                    found[folder, entry] = value
        await self._all_durable(self._store.shards)
        return found

    async def _all_durable(self, shards: Iterable[int]) -> None:
        for shard in shards:
            waiting = self._store.durable(shard, self._store.sharing(shard).commit_seq())
            if waiting is not None:
                await self._done(waiting)
