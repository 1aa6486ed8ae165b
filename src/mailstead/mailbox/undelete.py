"""Bringing back deleted messages and folders within the retention time.

Invariants: who owns the mailbox may, and an administrator with the right to restore in its domain; what came back is
durable on return and counts by the quota; doing it twice brings nothing back twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mailstead.mailbox.base import folder_limits
from mailstead.mailbox.errors import NotPermitted
from mailstead.mailbox.folders import FolderVerbs
from mailstead.mailbox.names import canonical, normalize
from mailstead.settings.actor import Actor
from mailstead.store.operations import Operation, RestoreFolder, RestoreMessages, Subscribe
from mailstead.store.undelete import DeletedFolder, DeletedMessage, deleted_folders, deleted_messages

AT_ONCE = 2_000
"""Messages of one change; a change is whole or absent."""


@dataclass(frozen=True, slots=True)
class RestoredMessages:
    """``folders``: name to how many came back there; ``missing``: how many could no longer be restored."""

    folders: dict[str, int]
    missing: int


class UndeleteVerbs(FolderVerbs):
    """By account; ``actor`` is who does it."""

    def _may_restore(self, account: int, actor: Actor) -> None:
        if actor.account_id == account:
            return
        owner = self._people.owner(account) if self._people is not None else None
        if not actor.everything and owner is None:
            raise NotPermitted("you may not restore this")
        actor.require("restoreDomain", owner.domain_id if owner is not None else 0)

    async def deleted_folders(self, account: int, *, actor: Actor) -> list[DeletedFolder]:
        """Folders that can be restored. Raises PermissionDeniedError, NotPermitted, FolderMissing."""
        self._may_restore(account, actor)
        shard = await self._ensure(account)
        return await asyncio.to_thread(deleted_folders, self._store.data_dir, shard, account)

    async def deleted_messages(self, account: int, *, actor: Actor, since: int = 0) -> list[DeletedMessage]:
        """Messages deleted since ``since`` (unix time) that can be restored, the youngest deletion first."""
        self._may_restore(account, actor)
        shard = await self._ensure(account)
        return await asyncio.to_thread(deleted_messages, self._store.data_dir, shard, account, since)

    async def restore_messages(
        self, account: int, messages: Sequence[DeletedMessage], *, actor: Actor, into: str = "", ignore_quota: bool = False
    ) -> RestoredMessages:
        """Bring deleted messages back to the folders they lay in, or all to the folder ``into``; where a folder is missing to one
        made under its name, to INBOX where nothing is known of it. Raises OverQuota, InvalidName, LimitReached,
        PermissionDeniedError."""
        self._may_restore(account, actor)
        shard = await self._ensure(account)
        limits = self._limits(account)
        quota = (0, 0) if ignore_quota and actor.account_id != account else (limits.quota_bytes, limits.quota_messages)
        by_name: dict[str, list[tuple[int, int, int]]] = {}
        wanted = {one.key: one for one in messages}
        for message in sorted(wanted.values(), key=lambda one: (one.folder, one.uid, one.at)):
            by_name.setdefault(canonical(into) if into else message.folder_name or "INBOX", []).append(message.key)
        restored: dict[str, int] = {}
        for name, keys in by_name.items():
            row = self._store.mail_index(shard).folder(account, name)
            target = row[0] if row is not None else (await self.create_folder(account, name)).id
            own = (0, 0) if ignore_quota and actor.account_id != account else folder_limits(limits, name)
            for start in range(0, len(keys), AT_ONCE):
                op = RestoreMessages(shard, account, target, keys[start : start + AT_ONCE], int(time.time()), *quota, *own)
                (result,) = await self._done(self._store.change([op]))
                restored[name] = restored.get(name, 0) + len(result.new_uids)
        return RestoredMessages(restored, len(wanted) - sum(restored.values()))

    async def restore_folder(
        self, account: int, folder: DeletedFolder, *, actor: Actor, name: str = "", ignore_quota: bool = False
    ) -> int:
        """Bring a deleted folder back with its messages, rights and notes, under its name or another; returns how many messages
        came. Raises FolderExists, FolderMissing, OverQuota, LimitReached, PermissionDeniedError."""
        self._may_restore(account, actor)
        shard = await self._ensure(account)
        limits = self._limits(account)
        quota = (0, 0) if ignore_quota and actor.account_id != account else (limits.quota_bytes, limits.quota_messages)
        name = normalize(name) if name else folder.name
        have = {one.name for one in await self.folders(account)}
        own = (0, 0) if ignore_quota and actor.account_id != account else folder_limits(limits, name)
        now = int(time.time())
        operations: list[Operation] = [*self._create_above(shard, account, name, have, more=1)]
        operations.append(RestoreFolder(shard, account, folder.id, self._store.new_id(), name, now, *quota, *own))
        operations.append(Subscribe(shard, account, name, True))
        results = await self._done(self._store.change(operations))
        return len(results[-2].new_uids)
