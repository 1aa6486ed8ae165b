"""Search in the text of messages, by the search index and, where it has not come yet, by reading.

Invariants: what is found is what `contains` finds message by message: a message that no segment holds is read, and so is
one of which the index cannot tell.  It does not matter what the indexer does meanwhile: the segments are a state that
was, messages are immutable, and everything outside the segments is read.

How: a folder's positions are mapped to message ids by an array that is kept with the view, together with the
positions that no segment holds.
"""

from __future__ import annotations

import asyncio
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import lt
from typing import Any
from weakref import WeakKeyDictionary

from mailstead.mailbox.search_keys import Header, Text
from mailstead.mailbox.search_scope import ROWS, SMALL, Scope, octets_of, rows_of
from mailstead.observe.metrics import search_messages_read
from mailstead.store.search_reader import SearchReader, SegmentGone, SegmentList
from mailstead.store.search_segment import Needle, needle_of, words_of
from mailstead.store.search_text import OVERLAP, contains, fold

#: So few messages are read sooner than looked up.
FEW = 12
#: Positions looked at in one go.
STEP = 8_000
TRIES = 5


@dataclass(slots=True)
class FolderDocuments:
    """Message ids by position in `uids`, which are a view's in one generation and grow with it; `tail` are the positions below
    `checked` that no segment of `segments` holds. An id of 0 is a message that is gone. `rising`: so do the ids, as they do
    where nothing was moved."""

    generation: int
    uids: Sequence[int]
    mids: array[int] = field(default_factory=lambda: array("Q"))
    rising: bool = True
    segments: SegmentList | None = None
    tail: Sequence[int] = ()
    checked: int = 0


_folders: WeakKeyDictionary[Any, FolderDocuments] = WeakKeyDictionary()


async def folder_documents(scope: Scope) -> FolderDocuments:
    """The ids of all messages in the view."""
    view = scope.view
    while True:
        known = _folders.get(view)
        if known is None or known.generation != view.generation:
            known = _folders[view] = FolderDocuments(view.generation, view.uids)
        start = len(known.mids)
        if start >= len(view.uids):
            return known
        uids = view.uids[start : start + ROWS]
        rows = scope.source.rows(view, uids, ("mid",))
        if len(rows) == len(uids):
            new = [row[1] for row in rows]
        else:
            by_uid = dict(rows)
            new = [by_uid.get(uid, 0) for uid in uids]
        known.rising &= all(map(lt, [known.mids[-1] if start else 0, *new[:-1]], new))
        known.mids.extend(new)
        await scope.breathe()


async def tail_of(scope: Scope, known: FolderDocuments, segments: SegmentList) -> Sequence[int]:
    """Positions of messages that no segment holds. Raises SegmentGone."""
    mids = known.mids
    count = len(mids)
    before = known.segments
    if before == segments and known.checked == count:
        return known.tail
    # A message does not leave the index before it leaves the account, so what was held is held.
    if before is not None and before.mark == segments.mark and segments.mark:
        left: Sequence[int] = [*known.tail, *range(known.checked, count)]
    else:
        left = range(count)
    for segment in segments.ids:
        if not left:
            break
        held = frozenset((await scope.source.search_reader.head(segments, segment)).mids)
        out: list[int] = []
        for start in range(0, len(left), STEP):
            out += [at for at in left[start : start + STEP] if mids[at] not in held]
            await scope.breathe()
        left = out
    known.segments, known.tail, known.checked = segments, left, count
    return left


@dataclass(slots=True)
class Hits:
    """Ids of messages that have the needle, and of those that must be read to know; `attached` are those of the latter that
    may have it in an attachment."""

    certain: set[int] = field(default_factory=set)
    perhaps: set[int] = field(default_factory=set)
    attached: set[int] = field(default_factory=set)


async def _look_up(scope: Scope, segments: SegmentList, needle: Needle, names: Sequence[str]) -> Hits:
    """What the segments say. Raises SegmentGone."""
    reader = scope.source.search_reader
    hits = Hits()
    for segment in segments.ids:
        for name in names:
            key = segments.shard, segments.mark, segment, name, needle.text
            found: array[int] | None = reader.results.get(key)
            if found is None:
                found = await _find(scope, reader, segments, segment, needle, name)
                reader.results.put(key, found, len(found) + 10)
            if needle.exact:
                hits.certain.update(found)
            else:
                hits.perhaps.update(found)
                if name == "attachments":
                    hits.attached.update(found)
        head = await reader.head(segments, segment)
        if head.opaque:
            hits.perhaps.update([head.mids[number] for number in head.opaque])
        await scope.breathe()
    hits.perhaps -= hits.certain
    return hits


async def _find(scope: Scope, reader: SearchReader, segments: SegmentList, segment: int, needle: Needle, name: str) -> array[int]:
    head = await reader.head(segments, segment)
    terms = await reader.field(segments, segment, name)
    numbers: set[int] = set()
    for _ in terms.find(needle, len(head.mids), numbers):
        await scope.breathe()
    mids = head.mids
    return array("Q", [mids[number] for number in numbers])


async def narrow_header(scope: Scope, key: Header, candidates: Sequence[int]) -> Sequence[int]:
    """Candidates without those whose header cannot have the field with that text."""
    folder = scope.view.folder
    for _attempt in range(TRIES):
        segments = scope.source.search_reader.list(folder.shard, folder.account)
        if not segments.ids:
            break
        try:
            known = await folder_documents(scope)
            perhaps = await _headers(scope, segments, key)
            tail = await tail_of(scope, known, segments)
            _, unsure, _ = await _assign(scope, known, Hits(perhaps=perhaps), tail, candidates)
        except SegmentGone:
            continue
        return unsure
    return candidates


async def _headers(scope: Scope, segments: SegmentList, key: Header) -> set[int]:
    """Ids of messages whose header has all words of the field's name, and of the text. Raises SegmentGone.

    In a header that is not plain ASCII a field by itself can read otherwise than within the whole: only the name counts.
    """
    reader = scope.source.search_reader
    # The name of a field stands alone; but of a very long word only a part is looked for, and that may lie within.
    name = tuple(
        replace(piece, starts=True, ends=True) if len(piece.text) < OVERLAP else piece
        for piece in words_of(key.name.decode("ascii"))
    )
    text = words_of(fold(key.text)) if key.text else ()
    found: set[int] = set()
    for segment in segments.ids:
        head = await reader.head(segments, segment)
        terms = await reader.field(segments, segment, "header")
        everything = len(head.mids)
        numbers: set[int] = set(range(everything))
        for pieces, also in ((name, frozenset[int]()), (text, head.odd_header)):
            if pieces:
                these: set[int] = set()
                for _ in terms.find(Needle("", pieces, False), everything, these):
                    await scope.breathe()
                numbers &= these | also
        found.update([head.mids[number] for number in numbers | head.opaque])
        await scope.breathe()
    return found


async def find_text(scope: Scope, key: Text, candidates: Sequence[int]) -> list[int]:
    """Positions whose message contains the text."""
    needle = fold(key.text)
    if not needle:
        return list(candidates)
    if len(candidates) <= FEW:
        return await _read(scope, candidates, needle, key.headers, None, ())
    names = ("header", "body", "attachments") if key.headers else ("body", "attachments")
    folder = scope.view.folder
    for _attempt in range(TRIES):
        segments = scope.source.search_reader.list(folder.shard, folder.account)
        if not segments.ids:
            break
        try:
            certain, unsure, attached = await _sort_out(scope, segments, needle_of(needle), names, candidates)
            read = await _read(scope, unsure, needle, key.headers, segments, attached)
        except SegmentGone:
            continue
        if not read:
            return certain
        return sorted([*certain, *read])
    return await _read(scope, candidates, needle, key.headers, None, ())


async def _sort_out(
    scope: Scope, segments: SegmentList, needle: Needle, names: Sequence[str], candidates: Sequence[int]
) -> tuple[list[int], list[int], dict[int, int]]:
    """Candidates that have the needle, those to be read, and the ids of those whose attachments may have it."""
    known = await folder_documents(scope)
    hits = await _look_up(scope, segments, needle, names)
    tail = await tail_of(scope, known, segments)
    return await _assign(scope, known, hits, tail, candidates)


async def _assign(
    scope: Scope, known: FolderDocuments, hits: Hits, tail: Sequence[int], candidates: Sequence[int]
) -> tuple[list[int], list[int], dict[int, int]]:
    """The same of what was found."""
    if _is_aligned(scope, known):
        mids: Sequence[int] = known.mids
        unread: frozenset[int] | None = None
    else:
        mids, unread = await ids_of(scope, known, tail)
    certain: list[int] = []
    unsure: list[int] = []
    yes, perhaps = hits.certain, hits.perhaps
    whole = scope.is_whole(candidates)
    if whole and unread is None and known.rising and (len(yes) + len(perhaps)) * 20 < len(candidates):
        certain, unsure = (_positions(known.mids, found, scope.count) for found in (yes, perhaps))
        candidates_left: Sequence[int] = ()
    else:
        candidates_left = candidates
    for start in range(0, len(candidates_left), STEP):
        part = candidates_left[start : start + STEP]
        if whole:
            numbered = list(enumerate(mids[start : start + len(part)], start))
        else:
            numbered = [(at, mids[at]) for at in part]
        certain += [at for at, mid in numbered if mid in yes]
        if perhaps:
            unsure += [at for at, mid in numbered if mid in perhaps]
        if unread:
            unsure += [at for at, mid in numbered if mid in unread and mid not in yes]
        await scope.breathe()
    if unread is None and tail:
        allowed = candidates if isinstance(candidates, range) else frozenset(candidates)
        unsure += [at for at in tail if at in allowed and mids[at]]
    attached = {at: mids[at] for at in unsure if mids[at] in hits.attached} if hits.attached else {}
    return certain, sorted(set(unsure)), attached


def _positions(mids: array[int], found: set[int], count: int) -> list[int]:
    """Where some of the ids are in the array, which rises."""
    places = [(bisect_left(mids, mid, 0, count), mid) for mid in found]
    return sorted([at for at, mid in places if at < count and mids[at] == mid])


def _is_aligned(scope: Scope, known: FolderDocuments) -> bool:
    """Whether the ids are by the scope's positions; the view may have gone on to another generation meanwhile."""
    return scope.uids is known.uids


async def ids_of(scope: Scope, known: FolderDocuments, tail: Sequence[int]) -> tuple[Sequence[int], frozenset[int]]:
    """Message ids by the scope's positions, and the ids of messages that no segment holds."""
    unread = frozenset(known.mids[at] for at in tail) - {0}
    return (known.mids if _is_aligned(scope, known) else await _translated(scope, known)), unread


async def _translated(scope: Scope, known: FolderDocuments) -> array[int]:
    """Ids by the scope's positions, where its UIDs are not those of the ids (an expunge that the session was not told of)."""
    uids = known.uids
    by_uid: dict[int, int] = {}
    for start in range(0, min(len(uids), len(known.mids)), STEP):
        by_uid.update(zip(uids[start : start + STEP], known.mids[start : start + STEP], strict=False))
        await scope.breathe()
    return array("Q", [by_uid.get(scope.uids[at], 0) for at in range(scope.count)])


async def _read(
    scope: Scope, positions: Sequence[int], needle: str, headers: bool, segments: SegmentList | None, attached: Any
) -> list[int]:
    """Positions whose message contains the needle, found by reading them. Raises SegmentGone."""
    ascii_needle = needle.encode("ascii") if needle.isascii() else b""
    search_messages_read.inc(len(positions))
    out: list[int] = []
    for start in range(0, len(positions), 50):
        rows = await rows_of(scope, positions[start : start + 50], ("location", "header_size", "parts"))
        for at, (_, location, header_size, packed) in rows:
            await scope.breathe()
            octets = await octets_of(scope, location, location.size)
            if location.size > SMALL:
                hit = await asyncio.to_thread(contains, octets, packed, header_size, needle, ascii_needle, headers)
            else:
                hit = contains(octets, packed, header_size, needle, ascii_needle, headers)
            if not hit and at in attached and segments is not None:
                hit = await _attachment_contains(scope, segments, attached[at], needle)
            if hit:
                out.append(at)
    return out


async def _attachment_contains(scope: Scope, segments: SegmentList, mid: int, needle: str) -> bool:
    packed = await scope.source.search_reader.attachment(segments, mid)
    return bool(packed) and needle in await asyncio.to_thread(lambda: zlib.decompress(packed).decode("utf-8"))
