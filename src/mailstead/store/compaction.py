"""Compaction: what is still wanted of old segments moves to a young one, and the old ones go.

Invariants: at any moment every row names octets that are durable where it says; a segment is removed only when the rows
that name the copies are durable, nothing names the segment any more, and readers have had ``grace`` seconds to
forget it; what a rebuild needs (younger than the oldest snapshot of any index) stays, and so does a damaged segment; the
segment a writer is writing to is never touched; while a backup runs nothing is removed, and what the next one needs stays.

Copies go through this process's own log as RELOCATED records; then the rows are repointed in small transactions.
A crash in between leaves a copy that nothing names, to be found dead by a later round.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from mailstead.store.backup.hold import is_kept, removing
from mailstead.store.ids import writer_number
from mailstead.store.liveness import Live, SegmentContents, dead_octets, live_records, read_segment
from mailstead.store.operations import QUEUE_SHARDS
from mailstead.store.record import RelocatedHead, Target, TargetKind
from mailstead.store.recovery import first_durable, writers_of
from mailstead.store.segment import segment_file_id, segment_numbers, segment_path
from mailstead.store.shard import Shard
from mailstead.store.snapshot import snapshots

if TYPE_CHECKING:
    from mailstead.store.service import Store

FILL = 0.5
THOROUGH_FILL = 0.9
DEAD_SECONDS = 30 * 86_400
GRACE_SECONDS = 600.0
ROWS_AT_ONCE = 64
OCTETS_AT_ONCE = 4 * 1024 * 1024
SEGMENTS_A_ROUND = 8
PAUSE = 0.01


@dataclass(slots=True)
class _Emptied:
    """A segment nothing should name any more, and since when (monotonic)."""

    contents: SegmentContents
    since: float


@dataclass(frozen=True, slots=True)
class _Floor:
    """What the oldest snapshot of an index holds."""

    commit: int
    applied: dict[int, int]


class Compactor:
    """``fill``: a segment with a smaller live part is rewritten. ``run_once`` now and then, from one process only."""

    def __init__(
        self,
        store: Store,
        *,
        fill: float = FILL,
        dead_seconds: float = DEAD_SECONDS,
        grace: float = GRACE_SECONDS,
        segments: int = SEGMENTS_A_ROUND,
        vfs: str | None = None,
    ) -> None:
        self._store = store
        self._files = store.files
        self._log = store.log_path
        self._index = store.data_dir / "index"
        self._fill = fill
        self._dead_seconds = dead_seconds
        self._grace = grace
        self._segments = segments
        self._shards = {number: Shard(self._index, number, self._files, vfs) for number in store.indexes}
        for shard in self._shards.values():
            shard.wait_for_lock(2.0)
        self._examined: dict[int, int] = {}
        self._emptied: dict[int, _Emptied] = {}
        self.relocated = 0
        self.removed = 0

    @contextlib.contextmanager
    def thorough(self) -> Iterator[None]:
        """While this lasts, segments are rewritten of which a tenth is dead, and those looked at already are looked at again."""
        usual, self._fill = self._fill, max(self._fill, THOROUGH_FILL)
        self._examined.clear()
        try:
            yield
        finally:
            self._fill = usual

    @property
    def emptied(self) -> int:
        """Segments that nothing names any more and that readers may still have open."""
        return len(self._emptied)

    async def run_once(self) -> int:
        """One round; returns how many segments went. Raises OSError, apsw errors, Unavailable: the next round goes on."""
        before = self.removed
        await self._remove_due()
        for file in await asyncio.to_thread(self._candidates):
            await self._compact(file)
        return self.removed - before

    # -- choosing ----------------------------------------------------------------------------------------------

    def _floors(self) -> dict[int, _Floor] | None:
        """Per index, its oldest snapshot; None while an index has none."""
        floors: dict[int, _Floor] = {}
        for number in self._shards:
            known = snapshots(self._index, number)
            if not known:
                return None
            connection = apsw.Connection(f"file:{known[-1][1]}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
            try:
                rows = connection.execute("SELECT writer, seq FROM applied WHERE stream = 0").fetchall()
                floors[number] = _Floor(known[-1][0], {int(writer): int(seq) for writer, seq in rows})  # type: ignore[arg-type]
            finally:
                connection.close()
        return floors

    def _candidates(self) -> list[int]:
        """Segments worth a look: with enough dead octets by the indexes' count, or not looked at by this process yet."""
        floors = self._floors()
        if floors is None:
            return []
        dead = dead_octets(self._shards.values())
        now = time.time()
        wanted: list[tuple[float, int]] = []
        for name in writers_of(self._log, self._files):
            writer = writer_number(name)
            numbers = segment_numbers(self._files, self._log / name)
            for number in numbers[:-1]:
                file = segment_file_id(writer, number)
                if file in self._emptied:
                    continue
                octets, since = dead.get(file, (0, 0))
                size = max(1, self._size(segment_path(self._log, name, number)))
                known = self._examined.get(file)
                grown = known is None or octets - known > size // 10
                old = octets and now - since > self._dead_seconds
                if (grown and (known is None or octets > size * (1 - self._fill))) or (old and octets != known):
                    wanted.append((-octets / size, file))
        return [file for _, file in sorted(wanted)[: self._segments]]

    def _size(self, path: Path) -> int:
        fd = self._files.open(path)
        try:
            return self._files.size(fd)
        finally:
            self._files.close(fd)

    def _may_go(self, contents: SegmentContents, floors: dict[int, _Floor] | None) -> bool:
        """Whether no rebuild and no cancelled record needs the segment."""
        writer = contents.file >> 40
        if contents.damaged or floors is None:
            return False
        for number, floor in floors.items():
            if floor.applied.get(writer, 0) < contents.durable or floor.commit < contents.commits.get(number, 0):
                return False
        return not any(self._still_there(contents, seq) for seq in contents.cancels)

    def _still_there(self, contents: SegmentContents, seq: int) -> bool:
        """Whether record ``seq``, which this segment says is void, lies in an older segment that still exists."""
        if contents.first_durable and seq >= contents.first_durable:
            return False
        name = contents.path.parent.name
        number = contents.file & ((1 << 40) - 1)
        for older in reversed(segment_numbers(self._files, contents.path.parent)):
            if older >= number:
                continue
            first = first_durable(self._files, segment_path(self._log, name, older))
            if first is not None:
                return first <= seq or self._still_older(name, older, seq)
        return False

    def _still_older(self, name: str, number: int, seq: int) -> bool:
        for older in segment_numbers(self._files, self._log / name):
            first = first_durable(self._files, segment_path(self._log, name, older)) if older < number else None
            if first is not None and first <= seq:
                return True
        return False

    # -- moving ------------------------------------------------------------------------------------------------

    def _examine(self, file: int) -> tuple[SegmentContents, list[Live]] | None:
        contents = read_segment(self._files, self._log, file)
        octets, since = dead_octets(self._shards.values()).get(file, (0, 0))
        self._examined[file] = octets
        if not self._may_go(contents, self._floors()):
            self._examined.pop(file)  # a later snapshot may let it go
            return None
        live = live_records(self._shards, contents)
        wanted = sum(one.record.end - one.record.offset for one in live)
        old = bool(octets) and time.time() - since > self._dead_seconds
        if live and wanted >= contents.size * self._fill and not old:
            return None
        return contents, live

    async def _compact(self, file: int) -> None:
        found = await asyncio.to_thread(self._examine, file)
        if found is None:
            return
        contents, live = found
        await self._move(contents, live)
        await asyncio.to_thread(self._sync)
        self._emptied[file] = _Emptied(contents, time.monotonic())

    async def _move(self, contents: SegmentContents, live: list[Live]) -> None:
        batch: list[Live] = []
        octets = 0
        for one in live:
            batch.append(one)
            octets += one.record.body_size
            if len(batch) >= ROWS_AT_ONCE or octets >= OCTETS_AT_ONCE:
                await self._move_batch(contents, batch)
                batch, octets = [], 0
        if batch:
            await self._move_batch(contents, batch)

    async def _move_batch(self, contents: SegmentContents, batch: list[Live]) -> None:
        copies = await asyncio.to_thread(self._read, contents, batch)
        places = await asyncio.gather(*self._store.relocate(copies))
        by_shard: dict[int, list[tuple[int, int, int, int]]] = {}
        for one, (file, offset) in zip(batch, places, strict=True):
            for number, mid in one.rows:
                by_shard.setdefault(number, []).append((file, offset, mid, one.record.body_offset))
        for number, rows in by_shard.items():
            for start in range(0, len(rows), ROWS_AT_ONCE):
                part = rows[start : start + ROWS_AT_ONCE]
                while True:
                    try:
                        await asyncio.to_thread(self._repoint, self._shards[number], contents.file, part)
                        break
                    except apsw.BusyError:
                        await asyncio.sleep(PAUSE)
        self.relocated += len(batch)
        await asyncio.sleep(PAUSE)

    def _read(self, contents: SegmentContents, batch: list[Live]) -> list[tuple[RelocatedHead, bytes]]:
        fd = self._files.open(contents.path)
        try:
            return [(self._head(one), self._files.read(fd, one.record.body_size, one.record.body_offset)) for one in batch]
        finally:
            self._files.close(fd)

    def _head(self, one: Live) -> RelocatedHead:
        """What the standalone reader and a rebuild without snapshots need: who the rows that live now belong to."""
        record, head = one.record, one.record.head
        targets: list[Target] = []
        for number, mid in one.rows:
            own = [target for target in head.targets if (target.mid or record.id) == mid]
            here = [target for target in own if target.shard == number]
            if number >= QUEUE_SHARDS:
                rows = self._shards[number].execute("SELECT number FROM recipient WHERE mid = ?", (mid,))
                waiting = {int(row[0]) for row in rows}
                here = [target for place, target in enumerate(here) if place in waiting]
            elif not here:  # it was copied or moved here from another index
                here = [Target(TargetKind.FOLDER, number, own[0].account, overlay=own[0].overlay)]
            for target in here:
                target.mid = mid
                targets.append(target)
        return RelocatedHead(
            head.sender, head.received, targets, head.receipt, head.external, head.external_size, head.external_hash
        )

    def _repoint(self, shard: Shard, old: int, rows: list[tuple[int, int, int, int]]) -> None:
        """``rows``: new file, new offset, mid, old offset."""
        table = "entry" if shard.is_queue else "wide"
        shard.begin()
        try:
            shard.executemany(
                f"UPDATE {table} SET file = ?, offset = ? WHERE mid = ? AND file = {old} AND offset = ?",
                rows,
            )
            shard.commit()
        except BaseException:
            shard.rollback()
            raise

    def _sync(self) -> None:
        for shard in self._shards.values():
            shard.sync_wal()

    # -- removing ----------------------------------------------------------------------------------------------

    async def _remove_due(self) -> None:
        for file, emptied in list(self._emptied.items()):
            if time.monotonic() - emptied.since < self._grace:
                continue
            late = await asyncio.to_thread(live_records, self._shards, emptied.contents)
            if late:
                # Copied to another index just when the rows were repointed.
                await self._move(emptied.contents, late)
                await asyncio.to_thread(self._sync)
                emptied.since = time.monotonic()
                continue
            if not await asyncio.to_thread(self._remove, emptied.contents):
                continue  # a backup reads it, or is still to have it
            self._store.forget_file(file)
            del self._emptied[file]
            self.removed += 1

    def _remove(self, contents: SegmentContents) -> bool:
        if is_kept(self._index, contents.path.parent.name, contents.file & ((1 << 40) - 1)):
            return False
        with removing(self._index) as allowed:
            if not allowed:
                return False
            for shard in self._shards.values():
                shard.begin()
                shard.execute("DELETE FROM dead WHERE file = ?", (contents.file,))
                shard.commit()
            self._sync()
            self._files.unlink(contents.path)
            self._files.sync_directory(contents.path.parent)
        return True

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()
