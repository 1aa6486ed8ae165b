"""The verbs on folders and messages, for every face alike.

Invariants: a verb returns only when its effect is durable (a plain flag change excepted, which may lag a second);
UIDs and modseqs it returns are durable; nothing is half done: append of several messages, copy, move and rename
are whole or absent, across shards and accounts too.  Limits of the account hold inside the transactions.

Folder views are shared by the sessions of a process and kept for a while after the last one left.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Protocol, TypeVar

from mailstead.mailbox.errors import (
    FolderExists,
    FolderMissing,
    InvalidFolderName,
    LimitReached,
    MailboxError,
    NotPermitted,
    OverQuota,
    StoreUnavailable,
)
from mailstead.mailbox.model import (
    SYSTEM_FLAGS,
    AppendResult,
    CopyResult,
    Folder,
    FolderStatus,
    Location,
    NewMessage,
    Quota,
    StoreResult,
)
from mailstead.mailbox.names import MAX_LEVELS, canonical, normalize, parents
from mailstead.mailbox.view import FolderView
from mailstead.store.apply_changes import Refused
from mailstead.store.apply_delivery import FOLDER_GONE, OVER_QUOTA
from mailstead.store.operations import (
    ChangeFlags,
    CopyMessages,
    CreateFolder,
    DeleteFolder,
    Expunge,
    InsertCopies,
    Operation,
    RemoveAccount,
    RemoveMoved,
    RenameFolder,
    Subscribe,
    to_ranges,
)
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.segment import external_file_id
from mailstead.store.service import Store
from mailstead.store.spool import INLINE_LIMIT, Spool
from mailstead.store.submission import Unavailable

MAX_FOLDERS = 10_000
IDLE_VIEWS = 200
IDLE_MESSAGES = 2_000_000
STREAM_CHUNK = 256 * 1024
SLICE = 500
LAZY_ROWS = 20_000
_T = TypeVar("_T")


class AccountLimits(Protocol):
    """What the mailbox needs to know of an account; the directory's ``Account`` has it."""

    @property
    def shard(self) -> int: ...
    @property
    def quota_bytes(self) -> int: ...
    @property
    def quota_messages(self) -> int: ...


class Accounts(Protocol):
    def account(self, account_id: int) -> AccountLimits | None: ...


class Mailbox:
    """One per process, over its store. ``accounts`` gives shard and limits of an account (the directory does)."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts
        self._views: dict[int, FolderView] = {}
        self._idle: OrderedDict[int, FolderView] = OrderedDict()

    def _limits(self, account: int) -> AccountLimits:
        found = self._accounts.account(account)
        if found is None:
            raise FolderMissing("no such account")
        return found

    async def _done(self, future: Awaitable[_T]) -> _T:
        """Wait for the store and put its refusals in this service's words."""
        try:
            return await future
        except Refused as refused:
            raise _REFUSALS.get(refused.code, MailboxError)(str(refused)) from None
        except (Unavailable, OSError) as error:
            raise StoreUnavailable("the message store cannot do this now") from error

    # -- folders -----------------------------------------------------------------------------------------------

    async def _ensure(self, account: int) -> int:
        """The account's shard, its folders made."""
        shard = self._limits(account).shard
        if not self._store.mail_index(shard).has_account(account):
            # Subscribing to INBOX is the smallest durable operation that makes an account's rows.
            await self._done(self._store.change([Subscribe(shard, account, "INBOX", True)]))
        return shard

    async def folders(self, account: int) -> list[Folder]:
        """All folders, by name, INBOX first."""
        shard = await self._ensure(account)
        rows = self._store.mail_index(shard).folders(account)
        found = [Folder(id, account, shard, name, validity, use, bool(sub), kind) for id, name, validity, use, sub, kind in rows]
        return sorted(found, key=lambda f: (f.name != "INBOX", f.name.split("/")))

    async def folder(self, account: int, name: str) -> Folder | None:
        """The folder of that name; INBOX in any case."""
        shard = await self._ensure(account)
        name = canonical(name)
        row = self._store.mail_index(shard).folder(account, name)
        return Folder(row[0], account, shard, name, row[2], row[3], bool(row[4]), row[5]) if row else None

    async def create_folder(self, account: int, name: str, special_use: str | None = None) -> Folder:
        """Create a folder and those above it. Raises FolderExists, InvalidFolderName, LimitReached."""
        name = normalize(name)
        shard = await self._ensure(account)
        while True:
            have = {folder.name for folder in await self.folders(account)}
            if name in have:
                raise FolderExists("a folder of that name exists already")
            operations = self._create_above(shard, account, name, have, more=1)
            operations.append(CreateFolder(shard, self._store.new_id(), account, name, special_use, "mail", int(time.time())))
            try:
                results = await self._done(self._store.change(operations))
            except FolderExists:
                if len(operations) == 1:
                    raise
                continue  # somebody made one of those above just now
            return Folder(results[-1].folder, account, shard, name, results[-1].uidvalidity, special_use, False)

    def _create_above(self, shard: int, account: int, name: str, have: set[str], more: int) -> list[Operation]:
        """What makes the folders above ``name``; raises LimitReached where they and ``more`` are too many."""
        missing = [above for above in parents(name) if above not in have]
        if len(missing) + more and len(have) + len(missing) + more > MAX_FOLDERS:
            raise LimitReached(f"no more than {MAX_FOLDERS} folders")
        now = int(time.time())
        return [CreateFolder(shard, self._store.new_id(), account, above, None, "mail", now) for above in missing]

    async def delete_folder(self, account: int, name: str) -> None:
        """Delete a folder and its messages (restorable for the retention time). Raises NotPermitted for INBOX and
        where folders lie below it."""
        name = normalize(name)
        if name == "INBOX":
            raise NotPermitted("INBOX cannot be deleted")
        shard = await self._ensure(account)
        below = f"{name}/"
        if any(folder.name.startswith(below) for folder in await self.folders(account)):
            raise NotPermitted("the folder has folders below it")
        await self._done(self._store.change([DeleteFolder(shard, account, name, int(time.time()))]))

    async def rename_folder(self, account: int, old: str, new: str) -> None:
        """Rename a folder and those below it; INBOX gives its messages to the new folder (RFC 3501 6.3.5)."""
        old, new = normalize(old), normalize(new)
        if new == "INBOX":
            raise FolderExists("INBOX exists already")
        if new.startswith(f"{old}/") and old != "INBOX":
            raise NotPermitted("a folder cannot move below itself")
        shard = await self._ensure(account)
        while True:
            have = {folder.name for folder in await self.folders(account)}
            if old not in have:
                raise FolderMissing("no such folder")
            if new in have:
                raise FolderExists("a folder of that name exists already")
            below = [] if old == "INBOX" else [name for name in have if name.startswith(f"{old}/")]
            deepest = max((name.count("/") for name in below), default=old.count("/"))
            if new.count("/") + deepest - old.count("/") >= MAX_LEVELS:
                raise InvalidFolderName(f"a folder would have more than {MAX_LEVELS} levels")
            operations = self._create_above(shard, account, new, have, more=old == "INBOX")
            above = len(operations)
            operations.append(RenameFolder(shard, account, old, new, self._store.new_id(), int(time.time())))
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
        """Counters, as durable as they are shown. Raises FolderMissing."""
        row = self._store.mail_index(folder.shard).counters(folder.id)
        if row is None:
            raise FolderMissing("no such folder")
        waiting = self._store.durable(folder.shard, row[7])
        if waiting is not None:
            await self._done(waiting)
        return FolderStatus(*row[:7])

    async def quota(self, account: int) -> Quota:
        limits = self._limits(account)
        size, messages = self._store.mail_index(limits.shard).usage(account)
        return Quota(size, limits.quota_bytes, messages, limits.quota_messages)

    def usage(self, account: int) -> tuple[int, int]:
        """Octets and messages an account holds, at once, for checks before a message is taken."""
        limits = self._limits(account)
        return self._store.mail_index(limits.shard).usage(account)

    async def remove_account(self, account: int, shard: int) -> None:
        """Remove all of an account's mail; restorable for the retention time."""
        await self._done(self._store.change([RemoveAccount(shard, account, int(time.time()))]))

    # -- views -------------------------------------------------------------------------------------------------

    async def open(self, folder: Folder) -> FolderView:
        """A view of the folder, shared in this process; ``release`` it once. Raises FolderMissing."""
        view = self._views.get(folder.id)
        if view is None:
            view = FolderView(self._store, folder, self._view_idle)
            self._views[folder.id] = view
        self._idle.pop(folder.id, None)
        view.users += 1
        try:
            await view.load()
            await view.refresh()
            if view.gone:
                raise FolderMissing("the folder is gone")
        except BaseException:
            view.users -= 1
            if not view.users:
                self._drop(view)
            raise
        return view

    def _view_idle(self, view: FolderView) -> None:
        if view.gone:
            self._drop(view)
            return
        self._idle[view.folder.id] = view
        while len(self._idle) > IDLE_VIEWS or sum(len(v.uids) for v in self._idle.values()) > IDLE_MESSAGES:
            self._drop(self._idle.popitem(last=False)[1])

    def _drop(self, view: FolderView) -> None:
        view.close()
        self._idle.pop(view.folder.id, None)
        if self._views.get(view.folder.id) is view:
            del self._views[view.folder.id]

    # -- messages ----------------------------------------------------------------------------------------------

    def spool(self) -> Spool:
        """Takes a message of unknown or large size while it arrives; hand it over in ``NewMessage.spool``."""
        return self._store.spool()

    async def _submission(
        self, folder: Folder, message: NewMessage, now: int, spools: list[Spool]
    ) -> tuple[MessageHead, bytes, object]:
        limits = self._limits(folder.account)
        system, keywords = split_flags(message.flags)
        target = Target(
            TargetKind.FOLDER, folder.shard, folder.account, folder.id, system, tuple(keywords), message.date or now,
            quota_size=limits.quota_bytes, quota_messages=limits.quota_messages,
        )  # fmt: skip
        head = MessageHead("", now, [target])
        spool = message.spool
        if spool is None and len(message.octets) > INLINE_LIMIT:
            spool = self._store.spool()
            spools.append(spool)
            await spool.write(message.octets)
        if spool is None:
            return head, message.octets, None
        body, index = await spool.finish(b"")
        if spool.external:
            head.external, head.external_size, head.external_hash = spool.external, spool.size, spool.digest
        return head, body, index

    async def append(self, folder: Folder, messages: list[NewMessage], origin: object | None = None) -> AppendResult:
        """Append messages, all or none. Raises OverQuota, FolderMissing, StoreUnavailable."""
        spools = [message.spool for message in messages if message.spool is not None]
        try:
            return await self._append(folder, messages, spools, origin)
        except MailboxError:
            # Refused is refused for good, so the files of large messages go; where the log broke nobody knows.
            if not self._store.broken.is_set():
                await asyncio.to_thread(_abandon, spools)
            raise
        finally:
            for spool in spools:
                spool.close()

    async def _append(
        self, folder: Folder, messages: list[NewMessage], spools: list[Spool], origin: object | None
    ) -> AppendResult:
        now = int(time.time())
        try:
            prepared = [await self._submission(folder, message, now, spools) for message in messages]
        except OSError as error:
            raise StoreUnavailable("the message could not be stored") from error
        if len(prepared) == 1:
            head, body, index = prepared[0]
            futures = [self._store.submit_message(head, body, index=index, shown=True, origin=origin)]  # type: ignore[arg-type]
        else:
            futures = self._store.submit_group(prepared, origin=origin)  # type: ignore[arg-type]
        results = await asyncio.gather(*futures, return_exceptions=True)
        uids = []
        for result in results:
            if isinstance(result, BaseException):
                raise StoreUnavailable("the message store cannot do this now") from result
            outcome = result[0]
            if outcome.outcome == OVER_QUOTA:
                raise OverQuota("the mailbox is over its quota")
            if outcome.outcome == FOLDER_GONE:
                raise FolderMissing("no such folder")
            uids.append(outcome.uid)
        return AppendResult(results[0][0].uidvalidity, uids)  # type: ignore[index]

    async def copy(self, view: FolderView, uids: Sequence[int], target: Folder, origin: object | None = None) -> CopyResult:
        """Copy messages in order of UID, all or none; those that are gone are left out."""
        return await self._transfer(view, uids, target, move=False, origin=origin)

    async def move(self, view: FolderView, uids: Sequence[int], target: Folder, origin: object | None = None) -> CopyResult:
        """Move messages (RFC 6851), all or none."""
        return await self._transfer(view, uids, target, move=True, origin=origin)

    async def _transfer(
        self, view: FolderView, uids: Sequence[int], target: Folder, *, move: bool, origin: object | None
    ) -> CopyResult:
        if not uids:
            return CopyResult(target.uidvalidity, [], [])
        source, now = view.folder, int(time.time())
        limits = self._limits(target.account)
        quota = limits.quota_bytes, limits.quota_messages
        ranges = to_ranges(uids)
        if source.shard == target.shard:
            copy = CopyMessages(source.shard, source.id, target.id, ranges, move, now, *quota)
            (result,) = await self._done(self._store.change([copy], origin=origin))
            return CopyResult(result.uidvalidity or target.uidvalidity, result.uids, result.new_uids)
        index = self._store.mail_index(source.shard)
        rows, found = [], []
        for start in range(0, len(uids), SLICE):
            part = uids[start : start + SLICE]
            rows += index.copied_rows(source.id, to_ranges(part))
            found += [uid for uid, _, _ in index.flags(source.id, part)]
            await asyncio.sleep(0)
        operations: list[Operation] = [InsertCopies(target.shard, target.id, rows, now, *quota)]
        if move:
            operations.append(RemoveMoved(source.shard, source.id, ranges))
        results = await self._done(self._store.change(operations, origin=origin))
        await view.refresh()
        return CopyResult(results[0].uidvalidity or target.uidvalidity, found, results[0].new_uids)

    async def store_flags(
        self,
        view: FolderView,
        uids: Sequence[int],
        mode: str,
        flags: Sequence[str],
        unchanged_since: int | None = None,
        origin: object | None = None,
        durable: bool = False,
    ) -> StoreResult:
        """``mode``: set, add or remove. The view shows the effect on return. Raises LimitReached (keywords)."""
        if not uids:
            return StoreResult([], [], 0)
        system, keywords = split_flags(flags)
        op = ChangeFlags(
            view.folder.shard, view.folder.id, to_ranges(uids), mode, system, keywords,
            -1 if unchanged_since is None else unchanged_since,
        )  # fmt: skip
        lazy = not durable and len(uids) <= LAZY_ROWS
        change = self._store.change_lazily if lazy else self._store.change
        (result,) = await self._done(change([op], origin=origin))
        await view.refresh()
        failed = set(result.modified)
        changed = [uid for uid in uids if uid not in failed] if failed else uids
        return StoreResult(changed, result.modified, result.modseq)

    async def expunge(self, view: FolderView, uids: Sequence[int] | None, origin: object | None = None) -> list[int]:
        """Remove the \\Deleted ones (of ``uids``, where given); returns their UIDs."""
        ranges = to_ranges(uids) if uids is not None else [1, 0xFFFFFFFF]
        if not ranges:
            return []
        op = Expunge(view.folder.shard, view.folder.id, ranges, False, int(time.time()))
        (result,) = await self._done(self._store.change([op], origin=origin))
        await view.refresh()
        return result.uids

    async def remove(self, view: FolderView, uids: Sequence[int], origin: object | None = None) -> list[int]:
        """Remove messages whatever their flags (POP3 DELE, JMAP destroy); returns the UIDs that went."""
        if not uids:
            return []
        op = Expunge(view.folder.shard, view.folder.id, to_ranges(uids), True, int(time.time()))
        (result,) = await self._done(self._store.change([op], origin=origin))
        await view.refresh()
        return result.uids

    # -- reading -----------------------------------------------------------------------------------------------

    def rows(self, view: FolderView, uids: Sequence[int], columns: tuple[str, ...]) -> list[tuple]:  # type: ignore[type-arg]
        """Rows of messages by rising UID: uid, then ``columns`` (see rows.py). At once; at most about 500 at a time."""
        return self._store.mail_index(view.folder.shard).rows(view.folder.id, uids, columns, self._location)

    @staticmethod
    def _location(file: int, offset: int, length: int, overlay: bytes | None, external: int, external_size: int) -> Location:
        pieces: tuple[tuple[int, int, int], ...] = ((file, offset, length),) if length else ()
        if external:
            pieces += ((external_file_id(external), 0, external_size),)
        return Location(len(overlay or b"") + length + external_size, overlay or b"", pieces)

    def read(self, location: Location, start: int = 0, length: int | None = None) -> bytes:
        """Octets of a message, at once; for at most 256 KB. Raises DamagedRecord, OSError."""
        if not location.overlay and len(location.pieces) == 1 and not start and length is None:
            return self._store.read_log(*location.pieces[0])
        end = location.size if length is None else min(location.size, start + length)
        parts = []
        position = len(location.overlay)
        if start < position:
            parts.append(location.overlay[start:end])
        for file, offset, size in location.pieces:
            low, high = max(start, position), min(end, position + size)
            if low < high:
                parts.append(self._store.read_log(file, offset + low - position, high - low))
            position += size
        return b"".join(parts)

    async def read_large(self, location: Location, start: int = 0, length: int | None = None) -> bytes:
        """The same for any size, in a thread where it is large."""
        if (location.size - start if length is None else length) <= STREAM_CHUNK:
            return self.read(location, start, length)
        return b"".join([chunk async for chunk in self.stream(location, start, length)])

    async def stream(self, location: Location, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Octets in pieces of at most 256 KB."""
        end = location.size if length is None else min(location.size, start + length)
        while start < end:
            size = min(STREAM_CHUNK, end - start)
            yield self.read(location, start, size)
            start += size
            await asyncio.sleep(0)


def _abandon(spools: list[Spool]) -> None:
    for spool in spools:
        try:
            spool.abandon()
        except OSError:
            pass  # the maintenance finds the file later


def split_flags(flags: Sequence[str]) -> tuple[int, list[str]]:
    """System flag bits and keywords of IMAP flag names; \\Recent is nobody's to set."""
    system, keywords = 0, []
    for flag in flags:
        bit = SYSTEM_FLAGS.get(flag) or _FOLDED.get(flag.lower())
        if bit:
            system |= bit
        elif not flag.startswith("\\"):
            keywords.append(flag)
    return system, keywords


_FOLDED = {name.lower(): bit for name, bit in SYSTEM_FLAGS.items()}
_REFUSALS: dict[str, type[MailboxError]] = {
    "missing": FolderMissing,
    "exists": FolderExists,
    "keywords": LimitReached,
    "quota": OverQuota,
}
