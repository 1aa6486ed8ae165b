"""Fuzzy search (RFC 6203): every word of the needle must be in the message, or one much like it.

Invariants: what is found does not depend on what is indexed already: messages that no segment holds are read and their
words compared in the same way; each hit has a relevancy from 1 to 100 in `scope.relevancy`, the mean over the words, and
over the keys where several are fuzzy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from mailstead.mailbox.search_header import header_values
from mailstead.mailbox.search_index import FEW, TRIES, folder_documents, ids_of, narrow_header, tail_of
from mailstead.mailbox.search_keys import Header, Text
from mailstead.mailbox.search_scope import SMALL, Scope, octets_of, rows_of
from mailstead.store.search_fuzzy import score, similarity, words
from mailstead.store.search_reader import SegmentGone, SegmentList
from mailstead.store.search_text import DocumentTerms, document_terms, is_gap, runs


async def find_fuzzy_text(scope: Scope, key: Text, candidates: Sequence[int]) -> list[int] | None:
    """Positions whose message has all words; None where the needle has no word."""
    wanted = words(key.text)
    if not wanted:
        return None
    names = ("header", "body", "attachments") if key.headers else ("body", "attachments")
    folder = scope.view.folder
    for _attempt in range(TRIES if len(candidates) > FEW else 0):
        segments = scope.source.search_reader.list(folder.shard, folder.account)
        if not segments.ids:
            break
        try:
            known = await folder_documents(scope)
            scores = await _look_up(scope, segments, wanted, names)
            tail = await tail_of(scope, known, segments)
            mids, unread = await ids_of(scope, known, tail)
        except SegmentGone:
            continue
        hits = {at: scores[mids[at]] for at in candidates if mids[at] in scores}
        hits |= await _read(scope, [at for at in candidates if mids[at] in unread], wanted, key.headers)
        return _note(scope, hits)
    return _note(scope, await _read(scope, candidates, wanted, key.headers))


async def find_fuzzy_header(scope: Scope, key: Header, candidates: Sequence[int]) -> list[int] | None:
    """Positions whose field has all words; None where the needle has no word."""
    wanted = words(key.text)
    if not wanted:
        return None
    hits: dict[int, int] = {}
    async for at, value in header_values(scope, key.name, await narrow_header(scope, Header(key.name, ""), candidates)):
        found = _relevancy(wanted, runs(value))
        if found:
            hits[at] = found
    return _note(scope, hits)


def _note(scope: Scope, hits: dict[int, int]) -> list[int]:
    for at, relevancy in hits.items():
        before = scope.relevancy.get(at)
        scope.relevancy[at] = max(1, relevancy if before is None else (before + relevancy) // 2)
    return sorted(hits)


def _relevancy(wanted: Sequence[str], terms: Iterable[str]) -> int:
    """The mean over the words of how well the best term fits, 0 where one fits none."""
    best = [0] * len(wanted)
    for term in terms:
        if not is_gap(term):
            for number, word in enumerate(wanted):
                if best[number] < 100:
                    best[number] = max(best[number], similarity(word, term))
    return sum(best) // len(best) if all(best) else 0


async def _look_up(scope: Scope, segments: SegmentList, wanted: Sequence[str], names: Sequence[str]) -> dict[int, int]:
    """Relevancy by message id, of what the segments hold. Raises SegmentGone."""
    reader = scope.source.search_reader
    found: dict[int, int] = {}
    for segment in segments.ids:
        total: dict[int, int] | None = None
        fields = [await reader.field(segments, segment, name) for name in names]
        for word in wanted:
            best: dict[int, int] = {}
            for field in fields:
                for _ in score(field, word, best):
                    await scope.breathe()
            total = best if total is None else {doc: total[doc] + fits for doc, fits in best.items() if doc in total}
            if not total:
                break
        mids = (await reader.head(segments, segment)).mids
        found.update((mids[doc], fits // len(wanted)) for doc, fits in (total or {}).items())
        await scope.breathe()
    return found


async def _read(scope: Scope, positions: Sequence[int], wanted: Sequence[str], headers: bool) -> dict[int, int]:
    """Relevancy by position, by reading messages."""
    found: dict[int, int] = {}
    for start in range(0, len(positions), 50):
        rows = await rows_of(scope, positions[start : start + 50], ("location", "header_size", "parts"))
        for at, (_, location, header_size, packed) in rows:
            await scope.breathe()
            octets = await octets_of(scope, location, location.size)
            if location.size > SMALL:
                terms: DocumentTerms = await asyncio.to_thread(document_terms, octets, packed, header_size)
            else:
                terms = document_terms(octets, packed, header_size)
            fits = _relevancy(wanted, terms.header | terms.body if headers else terms.body)
            if fits:
                found[at] = fits
    return found
