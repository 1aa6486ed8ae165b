"""What a search is over, and how its parts read rows and octets.

Invariants: nothing here holds the event loop for more than some milliseconds between two calls of `breathe`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mailstead.mailbox.model import Location
from mailstead.store.search_reader import SearchReader

__all__ = ["ROWS", "SMALL", "Scope", "Source", "octets_of", "rows_of"]

ROWS = 500
SLICE_SECONDS = 0.003
SMALL = 256 * 1024


class Source(Protocol):
    """What search needs of the mailbox service."""

    @property
    def search_reader(self) -> SearchReader: ...
    def rows(self, view: Any, uids: Sequence[int], columns: tuple[str, ...]) -> list[tuple[Any, ...]]: ...
    def read(self, location: Location, start: int = 0, length: int | None = None) -> bytes: ...
    async def read_large(self, location: Location, start: int = 0, length: int | None = None) -> bytes: ...


@dataclass(slots=True)
class Scope:
    """What is searched: `uids`, `flags` and `modseqs` run parallel and must not change but in place.

    Fuzzy keys note in `relevancy` how good a hit a position is, 1 to 100 (RFC 6203 section 4)."""

    source: Source
    view: Any
    uids: Sequence[int]
    flags: Sequence[int]
    modseqs: Sequence[int]
    count: int
    relevancy: dict[int, int] = field(default_factory=dict)
    _until: float = field(default=0.0, init=False)

    async def breathe(self) -> None:
        """Let others have their turn once ours is used up."""
        now = time.monotonic()
        if now >= self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + SLICE_SECONDS

    def is_whole(self, candidates: Sequence[int]) -> bool:
        """Whether the candidates are all there is."""
        return isinstance(candidates, range) and len(candidates) == self.count


async def rows_of(scope: Scope, candidates: Sequence[int], columns: tuple[str, ...]) -> list[tuple[int, Any]]:
    """(position, row) of those candidates that still exist; the caller slices."""
    uids = [scope.uids[at] for at in candidates]
    rows = scope.source.rows(scope.view, uids, columns)
    if len(rows) == len(uids):
        return list(zip(candidates, rows, strict=True))
    by_uid = {row[0]: row for row in rows}
    return [(at, by_uid[uid]) for at, uid in zip(candidates, uids, strict=True) if uid in by_uid]


async def octets_of(scope: Scope, location: Location, length: int) -> bytes:
    """The first octets of a message."""
    if length <= SMALL:
        return scope.source.read(location, 0, length)
    return await scope.source.read_large(location, 0, length)
