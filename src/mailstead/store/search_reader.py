"""The search index as a process that answers queries sees it.

Invariants: the list of an account's segments is read in one statement, so it is a state that was; a segment that was
merged away meanwhile raises SegmentGone and the caller begins again; without a usable index there are no segments,
and everything is read.  What is kept in memory is bounded in octets, over all accounts.

How: lists are read in the event loop (some 10 us), segments in a thread.  A file that was replaced is noticed by its
inode.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from mailstead.observe.log import get_logger
from mailstead.store.search_file import NoIndex, meta, open_for_reading, search_path
from mailstead.store.search_segment import Field, Head, load_field, load_head

log = get_logger("SERVER")

#: Octets of segments, and messages in answers, kept per process.
SEGMENT_BUDGET = 48 << 20
RESULT_BUDGET = 500_000
#: Seconds before a file that could not be read is tried again.
RETRY_SECONDS = 5.0
T = TypeVar("T")


class SegmentGone(Exception):
    """A segment was merged into another, or the file was replaced."""


@dataclass(frozen=True, slots=True)
class SegmentList:
    """An account's segments at one moment. `mark` names the file they are in."""

    shard: int
    mark: str
    ids: tuple[int, ...]


class Bounded:
    """The most recently used things, `budget` in all. With `scanned`, what goes is left to chance: a search passes over all
    segments of an account, and where those are a little too many, the least recently used one is always the next."""

    def __init__(self, budget: int, scanned: bool = False) -> None:
        self.budget = budget
        self._scanned = scanned
        self._used = 0
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        found = self._held.get(key)
        if found is None:
            return None
        self._held.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Hold a value of that size unless it would take more than half of all."""
        if size > self.budget // 2 or key in self._held:
            return
        self._held[key] = value, size
        self._used += size
        while self._used > self.budget:
            victim = random.choice(list(self._held)) if self._scanned else next(iter(self._held))
            self._used -= self._held.pop(victim)[1]


class _File:
    """One shard's file. The two connections: one for the event loop, one for threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._inode = 0
        self._not_before = 0.0
        self._listing: apsw.Connection | None = None
        self._loading: apsw.Connection | None = None
        self.mark = ""

    def list(self, account: int) -> tuple[int, ...]:
        """Ids of an account's segments. Raises NoIndex."""
        listing = self._current()
        try:
            return tuple(row[0] for row in listing.execute("SELECT id FROM segment WHERE account = ?", (account,)))
        except apsw.Error as error:
            self.fail(error)
            raise NoIndex(str(error)) from error

    def _current(self) -> apsw.Connection:
        try:
            inode = os.stat(self._path).st_ino
        except OSError as error:
            raise NoIndex("there is none yet") from error
        if self._listing is not None and inode == self._inode:
            return self._listing
        if time.monotonic() < self._not_before:
            raise NoIndex("it could not be read a moment ago")
        self.close()
        try:
            listing = open_for_reading(self._path)
            self.mark = str(meta(listing, "mark"))
        except (NoIndex, apsw.Error):
            self._not_before = time.monotonic() + RETRY_SECONDS
            raise
        self._listing, self._inode = listing, inode
        return listing

    def fail(self, error: Exception) -> None:
        """The file is damaged: do without it for a while; the indexer will make a new one."""
        log.error("the search index cannot be read, messages are read instead", file=self._path.name, reason=str(error))
        self._not_before = time.monotonic() + RETRY_SECONDS
        self.close()

    def read(self, mark: str, segment: int, column: str) -> bytes:
        """A column of a segment; for a thread. Raises SegmentGone, apsw.Error."""
        found = self._row(mark, f"SELECT {column} FROM segment WHERE id = ?", segment)
        if found is None:
            raise SegmentGone("merged")
        return found

    def attachment(self, mark: str, mid: int) -> bytes:
        """The compressed text of a message's attachments, empty for none; for a thread. Raises SegmentGone."""
        try:
            return self._row(mark, "SELECT text FROM attachment WHERE mid = ?", mid) or b""
        except apsw.Error as error:
            raise SegmentGone(str(error)) from error

    def _row(self, mark: str, sql: str, number: int) -> bytes | None:
        with self._lock:
            if mark != self.mark:
                raise SegmentGone("the file was replaced")
            try:
                if self._loading is None:
                    self._loading = open_for_reading(self._path)
                if str(meta(self._loading, "mark")) != mark:
                    raise SegmentGone("the file was replaced")
            except NoIndex as error:
                raise SegmentGone(str(error)) from error
            row = self._loading.execute(sql, (number,)).fetchone()
        return bytes(row[0]) if row else None

    def close(self) -> None:
        with self._lock:
            for connection in (self._listing, self._loading):
                if connection is not None:
                    connection.close()
            self._listing = self._loading = None
            self._inode = 0
            self.mark = ""


class SearchReader:
    """One per process. ``index`` is the folder of the index files."""

    def __init__(self, index: Path, budget: int = SEGMENT_BUDGET) -> None:
        self._index = index
        self._files: dict[int, _File] = {}
        self._segments = Bounded(budget, scanned=True)
        self._heads = Bounded(budget // 4)
        self._under_way: dict[Hashable, asyncio.Future[Any]] = {}
        self.results = Bounded(RESULT_BUDGET)

    def set_budget(self, octets: int) -> None:
        """How much memory segments may take."""
        self._segments.budget, self._heads.budget = octets, octets // 4

    def list(self, shard: int, account: int) -> SegmentList:
        """The segments of an account; none where there is no index."""
        file = self._files.get(shard)
        if file is None:
            file = self._files[shard] = _File(search_path(self._index, shard))
        try:
            ids = file.list(account)
        except (NoIndex, apsw.Error):
            return SegmentList(shard, "", ())
        return SegmentList(shard, file.mark, ids)

    async def head(self, segments: SegmentList, segment: int) -> Head:
        """The documents of a segment. Raises SegmentGone."""
        return await self._load(self._heads, segments, segment, "head", load_head)

    async def field(self, segments: SegmentList, segment: int, name: str) -> Field:
        """A field of a segment, header, body or attachments. Raises SegmentGone."""
        return await self._load(self._segments, segments, segment, name, load_field)

    async def attachment(self, segments: SegmentList, mid: int) -> bytes:
        """The compressed text of a message's attachments, empty for none. Raises SegmentGone."""
        file = self._files[segments.shard]
        return await asyncio.to_thread(file.attachment, segments.mark, mid)

    async def _load(self, held: Bounded, segments: SegmentList, segment: int, column: str, decode: Callable[[bytes], T]) -> T:
        key = segments.shard, segments.mark, segment, column
        found: T | None = held.get(key)
        if found is not None:
            return found
        waiting = self._under_way.get(key)
        if waiting is not None:
            return await asyncio.shield(waiting)
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        file = self._files[segments.shard]
        try:
            found = await asyncio.to_thread(lambda: decode(file.read(segments.mark, segment, column)))
        except BaseException as error:
            if isinstance(error, apsw.Error | ValueError):
                file.fail(error)
                gone = SegmentGone(str(error))
                future.set_exception(gone)
                future.exception()
                raise gone from error
            future.set_exception(error if isinstance(error, Exception) else SegmentGone("cancelled"))
            future.exception()
            raise
        finally:
            del self._under_way[key]
        held.put(key, found, found.size)  # type: ignore[attr-defined]
        future.set_result(found)
        return found

    def close(self) -> None:
        for file in self._files.values():
            file.close()
