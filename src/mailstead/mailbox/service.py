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
from collections.abc import AsyncIterator, Sequence

from mailstead.mailbox.base import AccountLimits, Accounts, People
from mailstead.mailbox.errors import (
    FolderMissing,
    LimitReached,
    MailboxError,
    MessageMissing,
    OverQuota,
    RightMissing,
    StoreUnavailable,
)
from mailstead.mailbox.model import (
    DELETED,
    FLAGGED,
    SEEN,
    SYSTEM_FLAGS,
    AppendResult,
    CopyResult,
    Folder,
    Location,
    NewMessage,
    StoreResult,
)
from mailstead.mailbox.replacing import insert_and_expunge
from mailstead.mailbox.scripts import ScriptVerbs
from mailstead.mailbox.undelete import UndeleteVerbs
from mailstead.mailbox.url_keys import UrlKeyVerbs
from mailstead.mailbox.view import FolderView
from mailstead.mailbox.watch import WatchVerbs
from mailstead.store.apply_delivery import FOLDER_GONE, OVER_QUOTA, REPLACED_GONE
from mailstead.store.apply_sharing import SHARED_FLAGS
from mailstead.store.keywords import MAX_PER_MESSAGE
from mailstead.store.operations import (
    ChangeFlags,
    CopyMessages,
    Expunge,
    InsertCopies,
    Operation,
    RemoveMoved,
    to_ranges,
)
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.search_reader import SearchReader
from mailstead.store.segment import external_file_id
from mailstead.store.service import Store
from mailstead.store.spool import INLINE_LIMIT, Spool

__all__ = ["AccountLimits", "Accounts", "Mailbox", "People", "split_flags"]

IDLE_VIEWS = 200
IDLE_MESSAGES = 2_000_000
STREAM_CHUNK = 256 * 1024
SLICE = 500
LAZY_ROWS = 20_000


class Mailbox(ScriptVerbs, UndeleteVerbs, UrlKeyVerbs, WatchVerbs):
    """One per process, over its store. ``accounts`` gives shard and limits of an account, ``people`` who shares with whom
    (the directory is both)."""

    def __init__(self, store: Store, accounts: Accounts, people: People | None = None) -> None:
        super().__init__(store, accounts, people)
        self.search_reader = SearchReader(store.data_dir / "index")
        self._views: dict[tuple[int, int], FolderView] = {}
        self._idle: OrderedDict[tuple[int, int], FolderView] = OrderedDict()

    # -- views -------------------------------------------------------------------------------------------------

    async def open(self, folder: Folder, *, whole: bool = True) -> FolderView:
        """A view of the folder, shared in this process by all who see the same; ``release`` it once. Unless ``whole``, a
        large one may still be filling (``FolderView.filled``). Raises FolderMissing, RightMissing."""
        self._need(folder, "r")
        key = folder.id, folder.reader
        view = self._views.get(key)
        if view is None:
            view = FolderView(self._store, folder, self._view_idle)
            self._views[key] = view
        self._idle.pop(key, None)
        view.users += 1
        try:
            await view.begin()
            if whole:
                await view.filled()
            else:
                view.fill()
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
        self._idle[view.folder.id, view.folder.reader] = view
        while len(self._idle) > IDLE_VIEWS or sum(len(v.uids) for v in self._idle.values()) > IDLE_MESSAGES:
            self._drop(self._idle.popitem(last=False)[1])

    def _drop(self, view: FolderView) -> None:
        view.close()
        key = view.folder.id, view.folder.reader
        self._idle.pop(key, None)
        if self._views.get(key) is view:
            del self._views[key]

    # -- messages ----------------------------------------------------------------------------------------------

    def spool(self) -> Spool:
        """Takes a message of unknown or large size while it arrives; hand it over in ``NewMessage.spool``."""
        return self._store.spool()

    async def _submission(
        self, folder: Folder, message: NewMessage, now: int, spools: list[Spool], limited: bool
    ) -> tuple[MessageHead, bytes, object]:
        limits = self._limits(folder.account)
        quota = (limits.quota_bytes, limits.quota_messages) if limited else (0, 0)
        own = self._folder_limits(limits, folder) if limited else (0, 0)
        system, keywords = split_flags(message.flags)
        if len(keywords) > MAX_PER_MESSAGE:
            raise LimitReached(f"no more than {MAX_PER_MESSAGE} keywords for a message")
        if folder.reader:
            system, keywords = system & SHARED_FLAGS & self._mask(folder), []  # the rest is the reader's own and follows
        target = Target(
            TargetKind.FOLDER, folder.shard, folder.account, folder.id, system, tuple(keywords), message.date or now,
            quota_size=quota[0], quota_messages=quota[1], folder_size=own[0], folder_messages=own[1],
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

    async def append(
        self, folder: Folder, messages: list[NewMessage], origin: object | None = None, *, limited: bool = True
    ) -> AppendResult:
        """Append messages, all or none; unless ``limited``, whatever the quota. Raises OverQuota, FolderMissing,
        StoreUnavailable."""
        return await self._append_all(folder, messages, origin, limited=limited)

    async def replace(
        self, view: FolderView, uid: int, folder: Folder, message: NewMessage, origin: object | None = None
    ) -> AppendResult:
        """Append a message and remove another in one step (RFC 8508). Raises MessageMissing and what ``append`` does."""
        self._need(view.folder, "te")
        if not self._store.mail_index(view.folder.shard).flags(view.folder.id, [uid]):
            raise MessageMissing("the message to be replaced is gone")
        result = await self._append_all(folder, [message], origin, (view.folder.shard, view.folder.id, uid))
        await view.refresh()
        return result

    async def _append_all(
        self,
        folder: Folder,
        messages: list[NewMessage],
        origin: object | None,
        replaces: tuple[int, int, int] | None = None,
        limited: bool = True,
    ) -> AppendResult:
        spools = [message.spool for message in messages if message.spool is not None]
        try:
            self._need(folder, "i")
            result = await self._append(folder, messages, spools, origin, replaces, limited)
            if folder.reader:
                await self._own_flags(folder, messages, result.uids, origin)
            return result
        except MailboxError:
            # Refused is refused for good, so the files of large messages go; where the log broke nobody knows.
            if not self._store.broken.is_set():
                await asyncio.to_thread(_abandon, spools)
            raise
        finally:
            for spool in spools:
                spool.close()

    async def _own_flags(self, folder: Folder, messages: Sequence[NewMessage], uids: Sequence[int], origin: object | None) -> None:
        """What a reader marks in another's folder is marked for himself, as far as he has the right."""
        operations: list[Operation] = []
        mask = self._mask(folder)
        for message, uid in zip(messages, uids, strict=True):
            system, keywords = split_flags(message.flags)
            own, keywords = system & ~SHARED_FLAGS & mask, keywords if mask & FLAGGED else []
            if own or keywords:
                operations.append(ChangeFlags(folder.shard, folder.id, [uid, uid], "add", own, keywords, -1, folder.reader))
        if operations:
            await self._done(self._store.change(operations, origin=origin))

    async def _append(
        self,
        folder: Folder,
        messages: list[NewMessage],
        spools: list[Spool],
        origin: object | None,
        replaces: tuple[int, int, int] | None,
        limited: bool,
    ) -> AppendResult:
        now = int(time.time())
        try:
            prepared = [await self._submission(folder, message, now, spools, limited) for message in messages]
        except OSError as error:
            raise StoreUnavailable("the message could not be stored") from error
        if len(prepared) == 1:
            head, body, index = prepared[0]
            if replaces and replaces[0] != folder.shard:
                making = insert_and_expunge(self._store, head, body, index, replaces)  # type: ignore[arg-type]
                operations = await self._done(making)
                inserted = (await self._done(self._store.change(operations, origin=origin)))[0]
                return AppendResult(inserted.uidvalidity, list(inserted.new_uids))
            if replaces:
                _, head.targets[0].replaces_folder, head.targets[0].replaces_uid = replaces
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
            if outcome.outcome == REPLACED_GONE:
                raise MessageMissing("the message to be replaced is gone")
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
        self._need(target, "i")
        self._need(source, "rte" if move else "r")
        limits = self._limits(target.account)
        quota = limits.quota_bytes, limits.quota_messages
        own = self._folder_limits(limits, target)
        ranges = to_ranges(uids)
        mask = self._mask(target) if target.reader else -1  # RFC 4314 section 4
        if source.shard == target.shard:
            readers = source.reader, target.reader, mask
            copy = CopyMessages(source.shard, source.id, target.id, ranges, move, now, *quota, *readers, *own)
            (result,) = await self._done(self._store.change([copy], origin=origin))
            return CopyResult(result.uidvalidity or target.uidvalidity, result.uids, result.new_uids)
        index = self._reads(source)
        rows, found = [], []
        for start in range(0, len(uids), SLICE):
            part = uids[start : start + SLICE]
            rows += index.copied_rows(source.id, to_ranges(part))
            found += [uid for uid, _, _ in index.flags(source.id, part)]
            await asyncio.sleep(0)
        operations: list[Operation] = [InsertCopies(target.shard, target.id, rows, now, *quota, target.reader, mask, *own)]
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
        mask = self._allowed(view.folder, system, keywords) if view.folder.reader else -1
        op = ChangeFlags(
            view.folder.shard, view.folder.id, to_ranges(uids), mode, system, keywords,
            -1 if unchanged_since is None else unchanged_since, view.folder.reader, mask,
        )  # fmt: skip
        lazy = not durable and len(uids) <= LAZY_ROWS
        change = self._store.change_lazily if lazy else self._store.change
        (result,) = await self._done(change([op], origin=origin))
        if not result.by_row:
            view.changed_here(result.modseq, result.uids, mode, result.bits)
        if view.highest_modseq != result.modseq:
            await view.refresh()
        failed = set(result.modified)
        changed = [uid for uid in uids if uid not in failed] if failed else uids
        return StoreResult(changed, result.modified, result.modseq)

    def _allowed(self, folder: Folder, system: int, keywords: list[str]) -> int:
        """A mask of the flags that a reader may change (RFC 4314 section 4). Raises RightMissing where none is wanted."""
        mask = self._mask(folder)
        if not mask or ((system or keywords) and not system & mask and not (keywords and mask & FLAGGED)):
            raise RightMissing("you have no right to change these flags")
        return mask

    def _mask(self, folder: Folder) -> int:
        given = self._now(folder)
        return sum(bits for right, bits in (("s", SEEN), ("t", DELETED), ("w", ~(SEEN | DELETED))) if right in given)

    async def expunge(self, view: FolderView, uids: Sequence[int] | None, origin: object | None = None) -> list[int]:
        """Remove the \\Deleted ones (of ``uids``, where given); returns their UIDs."""
        ranges = to_ranges(uids) if uids is not None else [1, 0xFFFFFFFF]
        if not ranges:
            return []
        self._need(view.folder, "e")
        op = Expunge(view.folder.shard, view.folder.id, ranges, False, int(time.time()))
        (result,) = await self._done(self._store.change([op], origin=origin))
        await view.refresh()
        return list(result.uids)

    async def remove(self, view: FolderView, uids: Sequence[int], origin: object | None = None) -> list[int]:
        """Remove messages whatever their flags (POP3 DELE, JMAP destroy); returns the UIDs that went."""
        if not uids:
            return []
        self._need(view.folder, "te")
        op = Expunge(view.folder.shard, view.folder.id, to_ranges(uids), True, int(time.time()))
        (result,) = await self._done(self._store.change([op], origin=origin))
        await view.refresh()
        return list(result.uids)

    # -- reading -----------------------------------------------------------------------------------------------

    def rows(self, view: FolderView, uids: Sequence[int], columns: tuple[str, ...]) -> list[tuple]:  # type: ignore[type-arg]
        """Rows of messages by rising UID: uid, then ``columns`` (see rows.py). At once; at most about 500 at a time. Raises
        RightMissing where the reader may no longer read."""
        self._need(view.folder, "r")
        return self._reads(view.folder).rows(view.folder.id, uids, columns, self.location_of)

    @staticmethod
    def location_of(file: int, offset: int, length: int, overlay: bytes | None, external: int, external_size: int) -> Location:
        """Where the octets of a row lie, from the columns that say so."""
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
