"""FETCH responses made of attributes, and the cache of those that were made.

Invariants: a cached piece is what would be rendered now: pieces with flags die with the FLAGS event that touches
their block, all pieces of a view with its generation; the cache never holds more than its budget in octets, over
all views of the process.  No Python object is made for a message but the values that are formatted.

How: the messages of a view are cut into aligned blocks of `BLOCK`; the part of a request that falls into a block is
one piece, keyed by item list and positions.  A piece is rendered with one `%` over all its messages.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from mailstead.imap.fetch_items import COMPLETE_HEADER, FLAGS, FetchList, IncompleteFields
from mailstead.imap.flags import FlagTexts
from mailstead.mailbox.model import SEEN, EventKind

if TYPE_CHECKING:
    from mailstead.mailbox.view import FolderView

BLOCK = 512
#: Pieces of fewer messages are not worth keeping.
MIN_PIECE = 8
DEFAULT_BUDGET = 32 << 20
_OVERHEAD = 300
#: Messages looked at for the first unseen one, and at a time.
MAX_LOOK, _LOOK = 250_000, 4096
#: How many refused pieces are remembered, and how many are refused for one that comes in all the same.
_WANTED, _TURNS = 64, 16

#: (item list, first position, end position)
Key = tuple[bytes, int, int]


class RowSource(Protocol):
    """What rendering needs of the mailbox service."""

    def rows(self, view: FolderView, uids: Sequence[int], columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Rows in ascending uid order; those that are gone are left out."""


class ViewCache:
    """The pieces of one view. `texts` are its rendered flag lists."""

    __slots__ = ("__weakref__", "_event_no", "_first_unseen", "_generation", "_owner", "blocks", "number", "texts")

    def __init__(self, owner: RenderCache, view: FolderView, number: int) -> None:
        self._owner = owner
        self.number = number
        self._generation = view.generation
        self._event_no = view.event_no
        self._first_unseen: tuple[int, int] | None = None
        self.texts = FlagTexts(view.keywords)
        #: Keys by block: (volatile, others).
        self.blocks: dict[int, tuple[set[Key], set[Key]]] = {}

    def catch_up(self, view: FolderView) -> None:
        """Drop what the events since the last call made untrue."""
        if view.keywords is not self.texts.keywords:
            self.texts = FlagTexts(view.keywords)
            self._drop_volatile(list(self.blocks))
        if view.generation != self._generation:
            self._generation = view.generation
            self._event_no = view.event_no
            self.drop_all()
            return
        if view.event_no == self._event_no:
            return
        events = view.events_since(self._event_no)
        self._event_no = view.event_no
        self._first_unseen = None
        if not self.blocks:
            return
        if events is None:
            self._drop_volatile(list(self.blocks))
            return
        touched: set[int] = set()
        for event in events:
            if event.kind == EventKind.FLAGS:
                if len(event.uids) > MIN_PIECE:  # the blocks in between go as well: cheaper than to ask for each
                    first = bisect_left(view.uids, event.uids[0]) // BLOCK
                    last = bisect_left(view.uids, event.uids[-1]) // BLOCK
                    touched.update(range(first, last + 1))
                else:
                    touched.update(view.index(uid) // BLOCK for uid in event.uids)
        self._drop_volatile(touched)

    def drop_all(self) -> None:
        """Forget every piece."""
        for volatile, others in self.blocks.values():
            self._owner.remove(self.number, volatile | others)
        self.blocks.clear()
        self._first_unseen = None

    def _drop_volatile(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            keys = self.blocks.get(block)
            if keys is not None and keys[0]:
                self._owner.remove(self.number, keys[0])
                keys[0].clear()

    def note(self, key: Key, volatile: bool) -> None:
        """Remember that a piece is in the cache."""
        keys = self.blocks.setdefault(key[1] // BLOCK, (set(), set()))
        keys[0 if volatile else 1].add(key)

    def forget(self, key: Key) -> None:
        """A piece was pushed out."""
        keys = self.blocks.get(key[1] // BLOCK)
        if keys is not None:
            keys[0].discard(key)
            keys[1].discard(key)

    def first_unseen(self, view: FolderView) -> int:
        """Sequence number of the first message without \\Seen, 0 for none or none among many (in the view as it is now)."""
        self.catch_up(view)
        if self._first_unseen is None or self._first_unseen[0] != len(view.flags):
            self._first_unseen = (len(view.flags), _first_unseen(view.flags))
        return self._first_unseen[1]


def _first_unseen(flags: array[int]) -> int:
    for start in range(0, min(len(flags), MAX_LOOK), _LOOK):
        part = flags[start : start + _LOOK]
        mask = int.from_bytes((array("Q", [SEEN]) * len(part)).tobytes(), "little")
        if int.from_bytes(part.tobytes(), "little") & mask != mask:
            return next(number for number, bits in enumerate(part, start + 1) if not bits & SEEN)
    return 0


class RenderCache:
    """The pieces of all views of a process, least recently used out first, `budget` octets at most.

    Once it is full, a piece comes in only if it was wanted a moment ago already, or by its turn: a client that
    reads a mailbox larger than the cache from end to end does not push everything out for nothing.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self._budget = budget
        self._used = 0
        self._next = 0
        self._turn = 0
        self._wanted: OrderedDict[tuple[int, Key], None] = OrderedDict()
        self._pieces: OrderedDict[tuple[int, Key], bytes] = OrderedDict()
        self._views: WeakKeyDictionary[FolderView, ViewCache] = WeakKeyDictionary()
        self._by_number: dict[int, ViewCache] = {}

    @property
    def used(self) -> int:
        """Octets held now."""
        return self._used

    def of(self, view: FolderView) -> ViewCache:
        """The cache of a view, caught up with it."""
        found = self._views.get(view)
        if found is None:
            self._next += 1
            found = self._views[view] = self._by_number[self._next] = ViewCache(self, view, self._next)
            if len(self._by_number) > 2 * len(self._views) + 64:
                self._sweep()
        else:
            found.catch_up(view)
        return found

    def _sweep(self) -> None:
        """Drop the pieces of views that no longer exist."""
        alive = {cache.number for cache in self._views.values()}
        for number in [n for n in self._by_number if n not in alive]:
            self._by_number.pop(number).drop_all()

    def remove(self, number: int, keys: Iterable[Key]) -> None:
        """Drop pieces of the view with this number."""
        for key in keys:
            piece = self._pieces.pop((number, key), None)
            if piece is not None:
                self._used -= len(piece) + _OVERHEAD

    def get(self, number: int, key: Key) -> bytes | None:
        """A piece, if it is held."""
        piece = self._pieces.get((number, key))
        if piece is not None:
            self._pieces.move_to_end((number, key))
        return piece

    def put(self, cache: ViewCache, key: Key, piece: bytes, volatile: bool) -> None:
        """Hold a piece, at the cost of the least recently used."""
        size = len(piece) + _OVERHEAD
        if size > self._budget // 8 or (cache.number, key) in self._pieces:
            return
        if self._used + size > self._budget and not self._admit((cache.number, key)):
            return
        self._pieces[(cache.number, key)] = piece
        cache.note(key, volatile)
        self._used += size
        while self._used > self._budget:
            (number, old), gone = self._pieces.popitem(last=False)
            self._used -= len(gone) + _OVERHEAD
            owner = self._by_number.get(number)
            if owner is not None:
                owner.forget(old)

    def _admit(self, key: tuple[int, Key]) -> bool:
        if self._wanted.pop(key, False) is None:
            return True
        self._wanted[key] = None
        if len(self._wanted) > _WANTED:
            self._wanted.popitem(last=False)
        self._turn = (self._turn + 1) % _TURNS
        return self._turn == 0


def cut(ranges: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Cut ranges of positions at the borders of blocks."""
    for start, end in ranges:
        while start < end:
            stop = min(end, (start // BLOCK + 1) * BLOCK)
            yield start, stop
            start = stop


def format_rows(
    items: FetchList, numbers: Sequence[int], uids: Sequence[int], flags: Iterable[bytes],
    modseqs: Iterable[int], rows: list[tuple[Any, ...]],
) -> bytes:  # fmt: skip
    """One response per message; the sequences run parallel, `rows` likewise (uid, then `items.columns`).

    Raises IncompleteFields where the stored header fields of a message do not suffice.
    """
    if not uids:
        return b""
    if items.uid_only:
        numbers = uids
    by_column: dict[str, Iterable[Any]] = {"uid": uids, "flags": flags, "modseq": modseqs}
    if items.columns:
        columns = zip(*rows, strict=True)
        next(columns)
        by_column.update(zip(items.columns, columns, strict=True))
    if "fields" in by_column and max(by_column["header_size"]) > COMPLETE_HEADER:
        raise IncompleteFields
    values = [by_column[a.column] if a.convert is None else map(a.convert, by_column[a.column]) for a in items.attributes]
    if len(values) == 1 and not items.columns and items.attributes[0].column == "uid":
        values = [uids]
    flat = tuple(chain.from_iterable(zip(numbers, *values, strict=False)))
    return items.templates(len(uids), BLOCK) % flat


class Heads:
    """How the responses of a block begin that show nothing but flags, `* 17 FETCH (FLAGS `: what follows is put between
    them in one join. A few blocks are held, for they take some tens of octets a message."""

    HELD = 48

    def __init__(self) -> None:
        self._held: OrderedDict[int, list[bytes]] = OrderedDict()

    def of(self, start: int, end: int) -> list[bytes]:
        """Those of positions within one block."""
        first = start - start % BLOCK
        heads = self._held.get(first)
        if heads is None:
            heads = [b"* %d FETCH (FLAGS " % number for number in range(first + 1, first + BLOCK + 1)]
            self._held[first] = heads
            if len(self._held) > self.HELD:
                self._held.popitem(last=False)
        else:
            self._held.move_to_end(first)
        return heads if end - start == BLOCK else heads[start - first : end - first]

    def flags(self, texts: FlagTexts, flags: array[int], start: int, end: int) -> bytes:
        """The responses of positions within one block, `flags` theirs."""
        heads = self.of(start, end)
        first = flags[0]
        if flags == array("Q", [first]) * len(flags):
            tail = texts[first] + b")\r\n"
            return tail.join(heads) + tail
        tails = {bits: texts[bits] + b")\r\n" for bits in set(flags)}
        return b"".join(chain.from_iterable(zip(heads, map(tails.__getitem__, flags), strict=True)))


_PLAIN = FetchList((FLAGS,), ()).key


class Renderer:
    """Renders attribute-only lists for one view."""

    def __init__(self, source: RowSource, cache: RenderCache) -> None:
        self._source = source
        self._cache = cache
        self._heads = Heads()
        #: Messages left out so far because they are gone.
        self.missed = 0

    def texts(self, view: FolderView) -> FlagTexts:
        """Rendered flag lists of a view."""
        return self._cache.of(view).texts

    def first_unseen(self, view: FolderView) -> int:
        """Sequence number of the first message without \\Seen, 0 for none."""
        return self._cache.of(view).first_unseen(view)

    def piece(self, view: FolderView, items: FetchList, start: int, end: int) -> bytes:
        """Responses for positions `start` to `end` (within one block) of a view whose positions are current."""
        cache = self._cache.of(view)
        key = (items.key, start, end)
        if end - start >= MIN_PIECE:
            found = self._cache.get(cache.number, key)
            if found is not None:
                return found
        uids = view.uids[start:end]
        rows: list[tuple[Any, ...]] = []
        if items.columns:
            rows = self._source.rows(view, uids, items.columns)
            if len(rows) != len(uids):
                return self._with_gaps(view, items, range(start, end), uids, rows)
        if items.key == _PLAIN:
            # Not kept: STORE answers so, and the next one makes it untrue.
            return self._heads.flags(cache.texts, view.flags[start:end], start, end) if start < end else b""
        piece = format_rows(
            items, range(start + 1, end + 1), uids,
            map(cache.texts.__getitem__, view.flags[start:end]), view.modseqs[start:end], rows,
        )  # fmt: skip
        if end - start >= MIN_PIECE:
            self._cache.put(cache, key, piece, items.volatile)
        return piece

    def positions(self, view: FolderView, items: FetchList, positions: Sequence[int]) -> bytes:
        """Responses for rising positions of a view whose positions are current."""
        cache = self._cache.of(view)
        uids = [view.uids[i] for i in positions]
        rows: list[tuple[Any, ...]] = []
        if items.columns:
            rows = self._source.rows(view, uids, items.columns)
            if len(rows) != len(uids):
                return self._with_gaps(view, items, positions, uids, rows)
        return format_rows(
            items, [i + 1 for i in positions], uids, [cache.texts[view.flags[i]] for i in positions],
            [view.modseqs[i] for i in positions], rows,
        )  # fmt: skip

    def stale(self, view: FolderView, items: FetchList, positions: Sequence[int], uids: Sequence[int]) -> bytes:
        """As `positions` for a session that has not been told of an expunge: `positions` are its own.

        Messages that are gone are left out.
        """
        there = [(p, uid, at) for p, uid in zip(positions, uids, strict=True) if (at := view.index(uid)) >= 0]
        if not there:
            self.missed += len(positions)
            return b""
        cache = self._cache.of(view)
        kept = [uid for _, uid, _ in there]
        rows: list[tuple[Any, ...]] = []
        if items.columns:
            rows = self._source.rows(view, kept, items.columns)
            alive = {row[0] for row in rows}
            there = [one for one in there if one[1] in alive]
        self.missed += len(positions) - len(there)
        return format_rows(
            items, [p + 1 for p, _, _ in there], [uid for _, uid, _ in there],
            [cache.texts[view.flags[at]] for _, _, at in there], [view.modseqs[at] for _, _, at in there], rows,
        )  # fmt: skip

    def _with_gaps(
        self, view: FolderView, items: FetchList, positions: Sequence[int], uids: Sequence[int],
        rows: list[tuple[Any, ...]],
    ) -> bytes:  # fmt: skip
        """Some rows are gone already, though the view has not heard of it; not kept."""
        cache = self._cache.of(view)
        alive = {row[0] for row in rows}
        self.missed += len(uids) - len(alive)
        there = [(p, uid) for p, uid in zip(positions, uids, strict=True) if uid in alive]
        return format_rows(
            items, [p + 1 for p, _ in there], [uid for _, uid in there],
            [cache.texts[view.flags[p]] for p, _ in there], [view.modseqs[p] for p, _ in there], rows,
        )  # fmt: skip


__all__ = ["BLOCK", "IncompleteFields", "RenderCache", "Renderer", "ViewCache", "cut", "format_rows"]
