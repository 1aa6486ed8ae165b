"""A folder as the sessions of one process see it: arrays shared by all of them.

Invariants
- ``uids`` rises strictly and only grows within a generation; an expunge makes new arrays and a new generation.
- Events are numbered without gaps; a session that knows event ``n`` and replays the events after it arrives at the
  arrays.  A session left too far behind compares arrays instead.
- The arrays are what was committed at ``commit``; they may be shown only after ``durable()``.
- A refresh reads folder row, change sequence, new rows and commit number in one read transaction.
- While a large folder's arrays are being filled (``low`` > 0) the view stands still at what it was when it was opened:
  there are no news.  Positions from ``low`` on can be used; who needs others waits for ``filled``.
- A change of flags made through this view is done to the arrays without reading rows again, in its place in the
  sequence of changes; rows changed by others are read after that.

Nothing here knows of sequence numbers: those are a session's own.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from mailstead.mailbox import view_filling
from mailstead.mailbox.errors import FolderMissing
from mailstead.mailbox.model import Event, EventKind, Folder
from mailstead.mailbox.view_filling import Filling
from mailstead.store.apply_changes import FLAGS, GONE
from mailstead.store.keywords import Keywords
from mailstead.store.operations import to_ranges, uids_in

if TYPE_CHECKING:
    from mailstead.store.engine import MailIndex, SmallRow
    from mailstead.store.service import Store

MAX_EVENTS = 500
MAX_EVENT_UIDS = 50_000
#: Up to so many ranges are cut out of an array; for more it is gone through message by message.
MAX_CUTS = 64
#: Arrays of more messages are made one at a time, for the system takes some milliseconds to find the room.
MANY = 200_000
#: How long sessions are called back before others get their turn.
CALL_BACK_SECONDS = 0.002
logger = logging.getLogger("mailstead.mailbox")
_decode_ranges = msgspec.msgpack.Decoder(list[int]).decode


class FolderView:
    """Use ``Mailbox.open``; call ``release`` once for each open."""

    def __init__(self, store: Store, folder: Folder, on_idle: Callable[[FolderView], None]) -> None:
        self.folder = folder
        self.uids: array[int] = array("I")
        self.flags: array[int] = array("Q")
        self.modseqs: array[int] = array("Q")
        self.keywords = Keywords()
        self.highest_modseq = 0
        self.uidnext = 1
        self.generation = 0
        self.event_no = 0
        self.gone = False
        self.users = 0
        self._store = store
        self._index: MailIndex = (
            store.reader_index(folder.shard, folder.reader) if folder.reader else store.mail_index(folder.shard)
        )
        self._on_idle = on_idle
        self._events: deque[Event] = deque()
        self._event_uids = 0
        self._callbacks: list[Callable[[], None]] = []
        self._origins: dict[int, object] = {}
        self._own: dict[int, tuple[str, int]] = {}
        self._commit = 0
        self._stale = True
        self._opened = False
        self._opening = asyncio.Lock()
        self._filling: Filling | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake_pending = False
        store.listen(folder.id, self._changed)

    # -- loading -----------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Open the folder with its newest messages in place; ``filled`` waits for the others. Raises FolderMissing."""
        if not self._opened:
            async with self._opening:
                if not self._opened:
                    await self._open()

    async def _open(self) -> None:
        row = self._index.opening(self.folder.id)
        if row is None:
            raise FolderMissing("the folder is gone")
        uidnext, modseq, count, self._commit = row
        filling = Filling(self._index, self.folder.id, uidnext, modseq)
        for column in (filling.uids, filling.flags, filling.modseqs):
            column.append(0)
            column *= count
            if count > MANY:
                await asyncio.sleep(0)
        filling.low = count
        filling.step(view_filling.LOAD_SLICE)
        self.keywords = self._index.keywords(self.folder.account)
        self.uids, self.flags, self.modseqs = filling.uids, filling.flags, filling.modseqs
        self.uidnext, self.highest_modseq = uidnext, modseq
        self._commit = max(self._commit, filling.commit)
        self._opened = True
        self._filling = filling
        if filling.done:
            self._complete(filling)
            self._refresh_now()

    @property
    def low(self) -> int:
        """The first position whose message is known; 0 once the arrays are complete."""
        return self._filling.low if self._filling is not None else 0

    @property
    def is_filled(self) -> bool:
        """Whether the arrays are complete."""
        return self._filling is None

    async def load(self) -> None:
        """Until the arrays are complete. Raises FolderMissing."""
        await self.begin()
        await self.filled()

    async def filled(self) -> None:
        """Until the arrays are complete, and what happened meanwhile is taken in. Raises FolderMissing, OSError."""
        self.fill()
        if self._filling is not None and self._task is not None:
            # A session that goes away takes nobody with it.
            await asyncio.shield(self._task)

    def fill(self) -> None:
        """Begin to fill the arrays, unless that is done or under way."""
        if self._filling is not None and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._fill(self._filling))
            self._task.add_done_callback(_seen)

    async def _fill(self, filling: Filling) -> None:
        while not filling.done:
            await asyncio.sleep(0)
            try:
                filling.step(view_filling.LOAD_SLICE)
            except FolderMissing:
                self._vanish()
                raise
            self._commit = max(self._commit, filling.commit)
        self._complete(filling)
        self._refresh_now()
        self._call_back_when_durable()

    def _complete(self, filling: Filling) -> None:
        self._filling = None
        if filling.low:
            # Fewer messages than the folder counts; those who look compare arrays.
            logger.error("folder %d has fewer messages than it counts; fsck repairs it", self.folder.id)
            self.uids, self.flags, self.modseqs = self.uids[filling.low :], self.flags[filling.low :], self.modseqs[filling.low :]
            self.generation += 1
            self.event_no += 1
            self._events.clear()
            self._event_uids = 0

    # -- news --------------------------------------------------------------------------------------------------

    def _changed(self, _folder: int, modseq: int, origin: object | None) -> None:
        self._stale = True
        # Of use to those who look at the folder only; while nobody does, each would be held for nothing.
        if origin is not None and self.users and modseq > self.highest_modseq:
            self._origins[modseq] = origin
        if self._callbacks and not self._wake_pending:
            self._wake_pending = True
            self._store.loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._wake_pending = False
        if not self._callbacks or self.gone or self._filling is not None:
            return
        self._refresh_now()
        self._call_back_when_durable()

    def _call_back_when_durable(self, synced: asyncio.Future[None] | None = None) -> None:
        """One wait for all who look; where the sync failed they find out themselves."""
        failed = synced is not None and synced.exception() is not None
        waiting = None if failed else self._store.durable(self.folder.shard, self._commit)
        if waiting is None:
            self._call_back(list(self._callbacks))
        else:
            waiting.add_done_callback(self._call_back_when_durable)

    def _call_back(self, callbacks: list[Callable[[], None]]) -> None:
        """In slices, for a thousand sessions may look at one folder."""
        until = time.monotonic() + CALL_BACK_SECONDS
        for done, callback in enumerate(callbacks, 1):
            callback()
            if time.monotonic() > until and done < len(callbacks):
                self._store.loop.call_soon(self._call_back, callbacks[done:])
                return

    async def refresh(self) -> None:
        """Bring in what others did. Cheap when nothing changed."""
        self._refresh_now()

    def _refresh_now(self) -> None:
        if self.gone or self._filling is not None:
            return
        folder = self.folder.id
        self._stale = False
        head = self._index.head(folder)
        if head is None:
            self._vanish()
            return
        if head[1] == self.highest_modseq:
            return
        news = self._index.changes(folder, self.highest_modseq, self.uidnext)
        if news is None:
            self._vanish()
            return
        self._take(news.changes, news.new, news.modseq)
        self.uidnext, self.highest_modseq = news.uidnext, news.modseq
        # Flags of changed rows were read a moment later than the rest.
        self._commit = self._index.commit_seq() if news.changes else news.commit
        self._origins.clear()
        self._own.clear()

    def changed_here(self, modseq: int, uids: Sequence[int], mode: str, bits: int) -> None:
        """The change with this modseq was made through this view and is known: flags set, added or removed. Where it is the
        next one, nothing needs to be read at all."""
        if modseq <= self.highest_modseq or self.folder.reader:
            return
        if modseq != self.highest_modseq + 1 or self._filling is not None or self.gone:
            self._own[modseq] = mode, bits
            return
        self._change_here(modseq, uids, mode, bits)
        self._event(EventKind.FLAGS, uids, modseq)
        self.highest_modseq = modseq
        self._commit = max(self._commit, self._store.last_commit(self.folder.shard))
        self._origins.pop(modseq, None)

    def _vanish(self) -> None:
        """The folder was deleted: sessions keep what they see until they leave it."""
        self.gone = True

    def _take(self, changes: Sequence[tuple[int, int, bytes]], new: Sequence[SmallRow], modseq: int) -> None:
        flagged: list[tuple[int, Sequence[int]]] = []
        expunged: list[tuple[int, Sequence[int]]] = []
        for at, kind, packed in changes:
            uids = uids_in(_decode_ranges(packed))
            if kind == GONE:
                expunged.append((at, uids))
            elif kind == FLAGS:
                flagged.append((at, uids))
        if flagged:
            self._take_flags(flagged)
        if expunged:
            self._take_expunged(expunged)
        if new:
            uids, flags, modseqs = zip(*new, strict=True)
            self.uids.extend(uids)
            self.flags.extend(flags)
            self.modseqs.extend(modseqs)
            if not self.keywords.cover(max(flags)):
                self.keywords = self._index.keywords(self.folder.account)
            self._event(EventKind.EXISTS, uids, modseq)

    def _take_flags(self, flagged: list[tuple[int, Sequence[int]]]) -> None:
        foreign: list[Sequence[int]] = []
        for at, uids in flagged:
            known = self._own.get(at)
            if known is None:
                foreign.append(uids)
            else:
                self._change_here(at, uids, *known)
        if foreign:
            self._read_flags(foreign[0] if len(foreign) == 1 else sorted({uid for uids in foreign for uid in uids}))
        for at, uids in flagged:
            there = uids if uids and uids[-1] < self.uidnext else [uid for uid in uids if uid < self.uidnext]
            if there:
                self._event(EventKind.FLAGS, there, at)

    def _change_here(self, modseq: int, uids: Sequence[int], mode: str, bits: int) -> None:
        if not self.keywords.cover(bits):
            self.keywords = self._index.keywords(self.folder.account)
        for low, high in _runs(uids):
            start = bisect_left(self.uids, low)
            end = bisect_right(self.uids, high, start)
            if start < end:
                self.flags[start:end] = changed_flags(self.flags[start:end], mode, bits)
                self.modseqs[start:end] = array("Q", [modseq]) * (end - start)

    def _read_flags(self, wanted: Sequence[int]) -> None:
        for begin in range(0, len(wanted), view_filling.LOAD_SLICE):
            found = self._index.flags(self.folder.id, wanted[begin : begin + view_filling.LOAD_SLICE])
            if not found:
                continue
            uids, flags, modseqs = zip(*found, strict=True)
            first = self.index(uids[0])
            if first >= 0 and self.uids[first : first + len(uids)] == array("I", uids):
                self.flags[first : first + len(uids)] = array("Q", flags)
                self.modseqs[first : first + len(uids)] = array("Q", modseqs)
            else:
                for uid, bits, modseq in found:
                    position = self.index(uid)
                    if position >= 0:
                        self.flags[position] = bits
                        self.modseqs[position] = modseq
            if not self.keywords.cover(max(flags)):
                self.keywords = self._index.keywords(self.folder.account)

    def _take_expunged(self, expunged: list[tuple[int, Sequence[int]]]) -> None:
        """All of them in one pass: a view that nobody looked at for long may have thousands to take in."""
        told: list[tuple[int, Sequence[int]]] = []
        cuts: list[tuple[int, int]] = []
        for at, uids in expunged:
            start = bisect_left(self.uids, uids[0])
            if len(expunged) == 1 and self.uids[start : start + len(uids)] == array("I", uids):
                # The usual case: a run of messages that are all here.
                told.append((at, uids))
                cuts.append((start, start + len(uids)))
                continue
            dropped = [(position, uid) for uid in uids if (position := self.index(uid)) >= 0]
            if dropped:
                told.append((at, [uid for _, uid in dropped]))
                cuts += [(position, position + 1) for position, _ in dropped]
        if not cuts:
            return
        self.uids, self.flags, self.modseqs = _without(cuts, self.uids, self.flags, self.modseqs)
        self.generation += 1
        for at, present in told:
            self._event(EventKind.EXPUNGE, present, at)

    def _event(self, kind: EventKind, uids: Sequence[int], modseq: int) -> None:
        self.event_no += 1
        self._events.append(Event(kind, _compact(uids), modseq, self._origins.get(modseq)))
        self._event_uids += len(uids)
        while len(self._events) > MAX_EVENTS or (self._event_uids > MAX_EVENT_UIDS and len(self._events) > 1):
            self._event_uids -= len(self._events.popleft().uids)

    def events_since(self, number: int) -> list[Event] | None:
        """Events after ``number``; None where some of them are no longer known."""
        missing = self.event_no - number
        if missing == 0:
            return []
        if missing > len(self._events):
            return None
        return list(itertools.islice(self._events, len(self._events) - missing, None))

    # -- use ---------------------------------------------------------------------------------------------------

    async def durable(self) -> None:
        """Until what the view holds would survive a power cut, what it gains meanwhile too. Raises OSError when the
        sync failed."""
        while (waiting := self._store.durable(self.folder.shard, self._commit)) is not None:
            await waiting

    @property
    def is_durable(self) -> bool:
        return self._store.is_durable(self.folder.shard, self._commit)

    def index(self, uid: int) -> int:
        """Position of a UID, -1 where it is not there."""
        position = bisect_left(self.uids, uid)
        return position if position < len(self.uids) and self.uids[position] == uid else -1

    def attach(self, callback: Callable[[], None]) -> None:
        """Call back (in the loop) after news have been taken in and are durable."""
        self._callbacks.append(callback)

    def detach(self, callback: Callable[[], None]) -> None:
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def release(self) -> None:
        self.users -= 1
        if not self.users:
            self._on_idle(self)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._store.unlisten(self.folder.id, self._changed)


def changed_flags(flags: array[int], mode: str, bits: int) -> array[int]:
    """Flag bits set to, with or without ``bits``: one long number instead of many small ones."""
    count = len(flags)
    if mode == "set":
        return array("Q", [bits]) * count
    if count < 16:
        return array("Q", [flag | bits for flag in flags] if mode == "add" else [flag & ~bits for flag in flags])
    mask = int.from_bytes((array("Q", [bits]) * count).tobytes(), "little")
    number = int.from_bytes(flags.tobytes(), "little")
    number = number | mask if mode == "add" else number & ~mask
    return array("Q", number.to_bytes(8 * count, "little"))


def _runs(uids: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive ones as (first, last)."""
    ranges = to_ranges(uids)
    return list(zip(ranges[::2], ranges[1::2], strict=True))


def _without(cuts: list[tuple[int, int]], *columns: array[int]) -> list[array[int]]:
    """Copies of the columns without some ranges of positions."""
    cuts = sorted(set(cuts))
    if len(cuts) <= MAX_CUTS:
        kept: list[array[int]] = []
        for column in columns:
            rest = column[: cuts[0][0]]
            for (_, start), (end, _) in zip(cuts, [*cuts[1:], (len(column), 0)], strict=True):
                rest += column[start:end]
            kept.append(rest)
        return kept
    keep = bytearray(b"\1") * len(columns[0])
    for start, end in cuts:
        keep[start:end] = bytes(end - start)
    return [array(column.typecode, itertools.compress(column, keep)) for column in columns]


def _seen(task: asyncio.Task[None]) -> None:
    """Whoever waits for it hears of the error; the next one who does tries again."""
    if not task.cancelled():
        task.exception()


def _compact(uids: Sequence[int]) -> Sequence[int]:
    """The same UIDs in a few octets each: events of many folders stay for a while."""
    if uids and uids[-1] - uids[0] == len(uids) - 1:
        return range(uids[0], uids[-1] + 1)
    return array("I", uids)
