"""A folder as the sessions of one process see it: arrays shared by all of them.

Invariants
- ``uids`` rises strictly and only grows within a generation; an expunge makes new arrays and a new generation.
- Events are numbered without gaps; a session that knows event ``n`` and replays the events after it arrives at the
  arrays.  A session left too far behind compares arrays instead.
- The arrays are what was committed at ``commit``; they may be shown only after ``durable()``.
- A refresh reads folder row, change sequence, new rows and commit number in one read transaction.

Nothing here knows of sequence numbers: those are a session's own.
"""

from __future__ import annotations

import asyncio
import itertools
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from mailstead.mailbox.errors import FolderMissing
from mailstead.mailbox.model import Event, EventKind, Folder
from mailstead.store.apply_changes import FLAGS, GONE
from mailstead.store.operations import from_ranges

if TYPE_CHECKING:
    from mailstead.store.engine import MailIndex, SmallRow
    from mailstead.store.service import Store

MAX_EVENTS = 500
MAX_EVENT_UIDS = 50_000
LOAD_SLICE = 5_000
_decode_ranges = msgspec.msgpack.Decoder(list[int]).decode


class FolderView:
    """Use ``Mailbox.open``; call ``release`` once for each open."""

    def __init__(self, store: Store, folder: Folder, on_idle: Callable[[FolderView], None]) -> None:
        self.folder = folder
        self.uids: array[int] = array("I")
        self.flags: array[int] = array("Q")
        self.modseqs: array[int] = array("Q")
        self.keywords: list[str] = []
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
        self._commit = 0
        self._stale = True
        self._loaded: asyncio.Future[None] | None = None
        self._wake_pending = False
        store.listen(folder.id, self._changed)

    # -- loading -----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Fill the arrays, a slice of at most a few ms at a time. Raises FolderMissing."""
        while self._loaded is not None:
            done = self._loaded
            await asyncio.shield(done)
            if done is self._loaded:
                return
        self._loaded = asyncio.get_running_loop().create_future()
        try:
            row = self._index.head(self.folder.id)
            if row is None:
                raise FolderMissing("the folder is gone")
            # Rows below this uidnext are loaded in slices; what changes meanwhile has a higher modseq and comes
            # with the first refresh.
            uidnext, modseq = row
            last = 0
            while True:
                rows = self._index.slice(self.folder.id, last, uidnext, LOAD_SLICE)
                if not rows:
                    break
                uids, flags, modseqs = zip(*rows, strict=True)
                self.uids.extend(uids)
                self.flags.extend(flags)
                self.modseqs.extend(modseqs)
                last = uids[-1]
                if len(rows) < LOAD_SLICE:
                    break
                await asyncio.sleep(0)
            self.uidnext, self.highest_modseq = uidnext, modseq
            self.keywords = self._index.keyword_names(self.folder.account)
            self._commit = self._index.commit_seq()
            self._refresh_now()
        except BaseException as error:
            # What was read so far must not be read twice; and a session that goes away takes nobody with it.
            waiting, self._loaded = self._loaded, None
            for column in (self.uids, self.flags, self.modseqs):
                del column[:]
            if isinstance(error, Exception):
                waiting.set_exception(error)
                waiting.exception()
            else:
                waiting.set_result(None)
            raise
        self._loaded.set_result(None)

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
        if not self._callbacks or self.gone:
            return
        self._refresh_now()
        for callback in list(self._callbacks):
            callback()

    async def refresh(self) -> None:
        """Bring in what others did. Cheap when nothing changed."""
        self._refresh_now()

    def _refresh_now(self) -> None:
        if self.gone:
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

    def _vanish(self) -> None:
        """The folder was deleted: sessions keep what they see until they leave it."""
        self.gone = True

    def _take(self, changes: Sequence[tuple[int, int, bytes]], new: Sequence[SmallRow], modseq: int) -> None:
        flagged: list[tuple[int, list[int]]] = []
        expunged: list[tuple[int, list[int]]] = []
        for at, kind, packed in changes:
            uids = from_ranges(_decode_ranges(packed))
            if kind == GONE:
                expunged.append((at, uids))
            elif kind == FLAGS:
                flagged.append((at, uids))
        if flagged:
            self._take_flags(flagged)
        if expunged:
            self._take_expunged(expunged)
        if new:
            self.uids.extend([row[0] for row in new])
            self.flags.extend([row[1] for row in new])
            self.modseqs.extend([row[2] for row in new])
            limit = 1 << (5 + len(self.keywords))
            if any(row[1] >= limit for row in new):
                self.keywords = self._index.keyword_names(self.folder.account)
            self._event(EventKind.EXISTS, [row[0] for row in new], modseq)

    def _take_flags(self, flagged: list[tuple[int, list[int]]]) -> None:
        wanted = sorted({uid for _, uids in flagged for uid in uids})
        keywords = 1 << (5 + len(self.keywords))
        for start in range(0, len(wanted), LOAD_SLICE):
            part = wanted[start : start + LOAD_SLICE]
            found = self._index.flags(self.folder.id, part)
            if not found:
                continue
            first = self.index(found[0][0])
            if first >= 0 and self.uids[first : first + len(found)] == array("I", [row[0] for row in found]):
                self.flags[first : first + len(found)] = array("Q", [row[1] for row in found])
                self.modseqs[first : first + len(found)] = array("Q", [row[2] for row in found])
            else:
                for uid, flags, modseq in found:
                    position = self.index(uid)
                    if position >= 0:
                        self.flags[position] = flags
                        self.modseqs[position] = modseq
            if any(row[1] >= keywords for row in found):
                self.keywords = self._index.keyword_names(self.folder.account)
                keywords = 1 << (5 + len(self.keywords))
        for at, uids in flagged:
            known = [uid for uid in uids if uid < self.uidnext]
            if known:
                self._event(EventKind.FLAGS, known, at)

    def _take_expunged(self, expunged: list[tuple[int, list[int]]]) -> None:
        """All of them in one pass: a view that nobody looked at for long may have thousands to take in."""
        told: list[tuple[int, list[int]]] = []
        dropped: set[int] = set()
        for at, uids in expunged:
            present = [uid for uid in uids if uid not in dropped and self.index(uid) >= 0]
            if present:
                told.append((at, present))
                dropped.update(present)
        if not dropped:
            return
        keep = [] if len(dropped) == len(self.uids) else [0 if uid in dropped else 1 for uid in self.uids]
        self.uids = array("I", itertools.compress(self.uids, keep))
        self.flags = array("Q", itertools.compress(self.flags, keep))
        self.modseqs = array("Q", itertools.compress(self.modseqs, keep))
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
        """Call back (in the loop) after news have been taken in."""
        self._callbacks.append(callback)

    def detach(self, callback: Callable[[], None]) -> None:
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def release(self) -> None:
        self.users -= 1
        if not self.users:
            self._on_idle(self)

    def close(self) -> None:
        self._store.unlisten(self.folder.id, self._changed)


def _compact(uids: Sequence[int]) -> Sequence[int]:
    """The same UIDs in a few octets each: events of many folders stay for a while."""
    if uids and uids[-1] - uids[0] == len(uids) - 1:
        return range(uids[0], uids[-1] + 1)
    return array("I", uids)
