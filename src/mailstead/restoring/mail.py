"""The mail of one owner from a backup into a mailbox: folders, messages with flags and dates, subscriptions, scripts, rights.

Invariants: nothing that is there is changed or removed; a message that is still there, in its folder or where it was moved to, does
not come twice, whether it is the one of then or one that an earlier restore brought; a batch of messages is whole or absent.

A message is known by its id in the log, or by Message-ID, size and date (without a Message-ID subject and Date field
stand in for it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailstead.directory.sharing import RightsChange
from mailstead.mailbox.errors import LimitReached, MailboxError
from mailstead.mailbox.model import Folder, NewMessage
from mailstead.mailbox.names import canonical
from mailstead.mailbox.scripts import checked_name
from mailstead.mailbox.service import Mailbox
from mailstead.restoring.source import SourceFolder, SourceMailbox, SourceMessage, SourceOwner
from mailstead.store.backup.repository import Damaged
from mailstead.store.files import Files
from mailstead.store.operations import ChangeScripts, Operation, SetAcl, SetMetadata
from mailstead.store.record import DamagedRecord
from mailstead.store.service import Store
from mailstead.store.shard import Shard

AT_ONCE = 100
OCTETS_AT_ONCE = 8 << 20
Key = tuple[str, int, int]


@dataclass(slots=True)
class MailReport:
    """What became of an owner's mail: messages restored, still there, and now in another folder; ``notes`` in words."""

    restored: int = 0
    there: int = 0
    moved: int = 0
    folders: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of an owner's mail is restored: everything, or a ``folder`` (with those ``below``), of it one ``message_id`` or ``uid``;
    into the folder ``into`` instead of that one."""

    folder: str = ""
    below: bool = False
    message_id: str = ""
    uid: int = 0
    into: str = ""

    @property
    def everything(self) -> bool:
        """Whether what is not a folder comes, too."""
        return not (self.folder or self.message_id or self.uid)

    def target(self, name: str) -> str | None:
        """Where messages of a folder go; None where they are not wanted."""
        if not self.folder:
            return self.into or name
        if name == self.folder or (self.below and name.startswith(f"{self.folder}/")):
            return (self.into or self.folder) + name[len(self.folder) :]
        return None

    def wants(self, message: SourceMessage) -> bool:
        """Whether a message of a wanted folder is."""
        if self.uid and message.uid != self.uid:
            return False
        return not self.message_id or message.message_id.strip("<> ") == self.message_id.strip("<> ")


class Present:
    """What a mailbox has, and in which folders."""

    def __init__(self) -> None:
        self.mids: dict[int, set[str]] = {}
        self.keys: dict[Key, set[str]] = {}
        self.undated: dict[tuple[str, int], set[str]] = {}

    def add(self, name: str, mid: int, key: Key) -> None:
        """Note a message of folder ``name``."""
        if mid:
            self.mids.setdefault(mid, set()).add(name)
        self.keys.setdefault(key, set()).add(name)
        self.undated.setdefault(key[:2], set()).add(name)

    def take_away(self, name: str, key: Key) -> None:
        """It did not come after all."""
        for places in (self.keys.get(key), self.undated.get(key[:2])):
            if places is not None:
                places.discard(name)

    def places(self, message: SourceMessage) -> set[str]:
        """Folders that have it."""
        return self.mids.get(message.mid, set()) | self.keys.get(_key_of(message), set())


def _key_of(message: SourceMessage) -> Key:
    return key_of(message.message_id, message.subject, message.sent, message.size, message.date)


def key_of(message_id: str, subject: str, sent: int, size: int, date: int) -> Key:
    """What a message is known by, whatever its id in the log."""
    return message_id or f" {sent} {subject}", size, date


def present(data_dir: Path, shard: int, account: int) -> Present:
    """What an owner's folders have. Blocking."""
    found = Present()
    handle = Shard(data_dir / "index", shard, Files())
    try:
        handle.wait_for_lock(5.0)
        rows: Any = handle.execute(
            "SELECT f.name, m.mid, w.message_id, w.subject_base, w.sent, m.size, m.date FROM folder f "
            "JOIN message m ON m.folder = f.id JOIN wide w ON w.mid = m.mid WHERE f.account = ?",
            (account,),
        )
        for name, mid, *rest in rows:
            found.add(str(name), int(mid), key_of(*rest))
    finally:
        handle.close()
    return found


Translate = Callable[[str], str | None]
"""An identifier of an access list in the backup, and what it is here; None for nobody."""


class MailRestorer:
    """Into one mailbox service; ``limited`` whether quotas hold."""

    def __init__(self, mailbox: Mailbox, store: Store, *, limited: bool = False) -> None:
        self._mailbox = mailbox
        self._store = store
        self._limited = limited

    async def restore(
        self,
        source: SourceMailbox,
        owner: SourceOwner,
        account: int,
        shard: int,
        wanted: Wanted,
        translate: Translate,
        acting: Collection[str] = (),
    ) -> MailReport:
        """From an owner in the backup to an account (or a domain's public folders) here. Folders ``acting`` on what comes into them
        get it only where a folder was named. Raises OverQuota, StoreUnavailable, MailboxError; what was restored by then stays."""
        report = MailReport()
        mailbox = self._mailbox
        have = {folder.name: folder for folder in await mailbox.folders(account)}
        there = await asyncio.to_thread(present, self._store.data_dir, shard, account)
        keywords = source.index.keywords(owner.id)
        folders = source.folders(owner.id)
        then = Present()
        for folder in folders:
            for message in await asyncio.to_thread(source.all_messages, folder.id, keywords):
                then.add(folder.name, message.mid, _key_of(message))
        for folder in folders:
            target = wanted.target(folder.name)
            if target is None:
                continue
            messages = [one for one in await asyncio.to_thread(source.all_messages, folder.id, keywords) if wanted.wants(one)]
            if (wanted.message_id or wanted.uid) and not messages:
                continue
            target = canonical(target)
            if target in acting and not (wanted.folder or wanted.into):
                missing = sum(target not in there.places(one) for one in messages)
                if missing:
                    left = f"{target}: {missing} messages left out, which the list would act on again"
                    report.notes.append(f"{left}; `restore folder` restores them")
                continue
            if target not in have:
                use = folder.special_use if target == folder.name else None
                if use and any(one.special_use == use for one in have.values()):
                    use = None
                have[target] = await mailbox.create_folder(account, target, use, folder.kind)
                report.folders += 1
            moves_count = not wanted.into and wanted.everything
            await self._messages(source, messages, have[target], target, there, then if moves_count else None, report)
        if wanted.everything:
            await self._rest(source, owner, account, shard, folders, translate, report)
        return report

    async def _messages(
        self,
        source: SourceMailbox,
        messages: Iterable[SourceMessage],
        folder: Folder,
        name: str,
        there: Present,
        then: Present | None,
        report: MailReport,
    ) -> None:
        batch: list[NewMessage] = []
        octets = 0
        for message in messages:
            places = there.places(message)
            if name in places:
                report.there += 1
                continue
            if then is not None and places - then.places(message):
                report.moved += 1
                continue
            try:
                body = await asyncio.to_thread(source.octets, message)
            except (Damaged, DamagedRecord, OSError) as error:
                report.notes.append(f"{name}, uid {message.uid}: {error}")
                continue
            there.add(name, 0, _key_of(message))
            batch.append(NewMessage(body, message.flags, message.date))
            octets += len(body)
            if len(batch) >= AT_ONCE or octets >= OCTETS_AT_ONCE:
                await self._append(folder, batch, report)
                batch, octets = [], 0
        if batch:
            await self._append(folder, batch, report)

    async def _append(self, folder: Folder, batch: list[NewMessage], report: MailReport) -> None:
        try:
            await self._mailbox.append(folder, batch, limited=self._limited)
        except LimitReached as error:
            report.notes.append(f"{folder.name}: keywords left out: {error}")
            for message in batch:
                message.flags = tuple(flag for flag in message.flags if flag.startswith("\\"))
            await self._mailbox.append(folder, batch, limited=self._limited)
        report.restored += len(batch)

    async def _rest(
        self,
        source: SourceMailbox,
        owner: SourceOwner,
        account: int,
        shard: int,
        folders: list[SourceFolder],
        translate: Translate,
        report: MailReport,
    ) -> None:
        """Subscriptions, scripts, rights and notes that are missing."""
        mailbox = self._mailbox
        if owner.id != owner.domain_id:
            subscribed = set(await mailbox.subscriptions(account))
            for name in source.index.subscriptions(owner.id):
                if name not in subscribed:
                    await mailbox.set_subscribed(account, name, True)
            await self._scripts(source, owner, account, shard, report)
        names = {folder.id: folder.name for folder in folders} | {0: ""}
        ids = {folder.name: folder.id for folder in await mailbox.folders(account)} | {"": 0}
        operations: list[Operation] = []
        given: list[RightsChange] = []
        rows = list(source.shard.execute("SELECT folder, identifier, rights FROM acl WHERE account = ?", (owner.id,)))
        have = {(name, who) for name, who, _ in self._store.sharing(shard).acl(account)}
        for folder, identifier, rights in rows:
            name, here = names.get(folder, "?"), translate(identifier)
            if name not in ids:
                continue
            if here is None:
                report.notes.append(f"{name or 'all folders'}: rights of somebody who is not here")
            elif (name, here) not in have:
                operations.append(SetAcl(shard, account, ids[name], here, rights))
                given.append(RightsChange(ids[name], name, here, None, rights))
        noted = {(folder, reader, entry) for folder, reader, entry, _ in self._store.sharing(shard).notes(account)}
        for folder, reader, entry, value in list(
            source.shard.execute("SELECT folder, reader, entry, value FROM metadata WHERE account = ?", (owner.id,))
        ):
            name, who = names.get(folder, "?"), 0
            if reader:
                found = translate(f"u{reader}")
                who = int(found[1:]) if found else -1
            if name not in ids or who < 0 or (ids[name], who, entry) in noted:
                continue
            operations.append(SetMetadata(shard, account, ids[name], who, [(entry, value)]))
        for start in range(0, len(operations), AT_ONCE):
            await self._store.change(operations[start : start + AT_ONCE])
        if owner.id == owner.domain_id:
            await mailbox.tell_rights(account, given, "restore")

    async def _scripts(self, source: SourceMailbox, owner: SourceOwner, account: int, shard: int, report: MailReport) -> None:
        present = await self._mailbox.scripts(account)
        names, active = {name for name, _, _ in present}, any(on for _, _, on in present)
        for name, _, on in source.index.scripts(owner.id):
            if name in names:
                continue
            text = source.index.script(owner.id, name) or ""
            try:
                # It passed the check of its time, so it is kept even where today's is stricter.
                await self._store.change([ChangeScripts(shard, account, "put", checked_name(name), text)])
                if on and not active:
                    await self._mailbox.activate_script(account, name)
            except MailboxError as error:
                report.notes.append(f"script {name}: {error}")
