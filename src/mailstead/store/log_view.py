"""What the log says about one index: its effects in order, the records no effect covers, and where messages lie.

Invariants: the log is read once, in full, and every record is verified; effects of commits that a later epoch calls void
are left out; memory grows with the number of records, not with their bodies.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailstead.store.epochs import Epoch
from mailstead.store.files import Files
from mailstead.store.ids import writer_number
from mailstead.store.operations import QUEUE_SHARDS, InsertCopies, decode_operation
from mailstead.store.record import DamagedRecord, Kind, Record, Stream, Target
from mailstead.store.recovery import Found, void_broken_groups, writers_of
from mailstead.store.segment import (
    Damage,
    LogReader,
    external_file_id,
    file_path,
    read_record,
    scan,
    segment_file_id,
    segment_numbers,
    segment_path,
)


@dataclass(slots=True)
class Commit:
    """The effects of one commit, and the records of ``writer`` it applied (``first`` to ``last``, 0 for none)."""

    number: int
    writer: int
    first: int
    last: int
    effects: list[Any]


@dataclass(slots=True)
class Uncovered:
    """A durable record that no effect covers."""

    id: int
    writer: int
    seq: int
    file: int
    offset: int


@dataclass(slots=True)
class LogView:
    """``messages``, ``relocated``, ``copied``: message id to segment and offset of the record that has it."""

    shard: int
    log: Path
    files: Files
    commits: list[Commit] = field(default_factory=list)
    epochs: dict[int, Epoch] = field(default_factory=dict)
    uncovered: list[Uncovered] = field(default_factory=list)
    messages: dict[int, tuple[int, int]] = field(default_factory=dict)
    relocated: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    copied_by: dict[int, tuple[int, int]] = field(default_factory=dict)
    voided: dict[int, set[tuple[int, int]]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    last_id: int = 0
    begins_late: bool = False
    _reader: LogReader | None = None
    _row_cache: tuple[tuple[int, int], dict[int, list[Any]]] = ((0, 0), {})

    @property
    def reader(self) -> LogReader:
        if self._reader is None:
            self._reader = LogReader(self.log, self.files)
        return self._reader

    def record(self, file: int, offset: int) -> Record:
        """Raises DamagedRecord, OSError."""
        fd = self.files.open(file_path(self.log, file))
        try:
            return read_record(self.files, fd, offset)
        finally:
            self.files.close(fd)

    def message(self, mid: int) -> tuple[Record, int, list[Target], bytes] | None:
        """See fold.Bodies."""
        moved = self.relocated.get(mid)
        for place in (self.messages.get(mid), moved[1:] if moved else None):
            if place is None:
                continue
            try:
                record = self.record(*place)
                octets = self.reader.read(place[0], record.body_offset, record.body_size)
                if record.head.external:
                    octets += self.reader.read(external_file_id(record.head.external), 0, record.head.external_size)
            except (OSError, DamagedRecord):
                continue  # the caller names what is found nowhere
            targets = [one for one in record.head.targets if one.shard == self.shard and (one.mid or record.id) == mid]
            fitting = targets or [one for one in record.head.targets if (one.mid or record.id) == mid]
            return record, place[0], fitting or list(record.head.targets), octets
        return None

    def exists(self, file: int) -> bool:
        """See fold.Bodies."""
        return file_path(self.log, file).exists()

    def copied(self, mid: int) -> list[Any] | None:
        """See fold.Bodies."""
        place = self.copied_by.get(mid)
        if place is None:
            return None
        if self._row_cache[0] != place:
            try:
                operations = [decode_operation(data) for data in self.record(*place).head.operations]
            except (OSError, DamagedRecord):
                return None
            rows = {row[4][0]: row[4] for op in operations if isinstance(op, InsertCopies) for row in op.rows}
            self._row_cache = place, rows
        return self._row_cache[1].get(mid)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def read_log_for(shard: int, log: Path, files: Files, base: int, marks: dict[int, int]) -> LogView:
    """Read what the log has beyond commit ``base``, where the index holds records up to ``marks`` per writer."""
    view = LogView(shard, log, files)
    found: list[Uncovered] = []
    for name in writers_of(log, files):
        writer = writer_number(name)
        voided = view.voided[writer] = set()
        groups: dict[int, tuple[int, list[int]]] = {}
        numbers = segment_numbers(files, log / name)
        view.begins_late = view.begins_late or bool(numbers and numbers[0] != 1)
        view.ends[writer] = marks.get(writer, 0)
        for number in numbers:
            path = segment_path(log, name, number)
            file = segment_file_id(writer, number)
            fd = files.open(path)
            try:
                for item in scan(files, fd, path):
                    if isinstance(item, Damage):
                        view.damage.append(item)
                    else:
                        _take(view, item, writer, file, base, voided, groups, found, marks.get(writer, 0))
            finally:
                files.close(fd)
        void_broken_groups(groups, voided)
    _sort(view, found)
    return view


def _take(
    view: LogView,
    record: Record,
    writer: int,
    file: int,
    base: int,
    voided: set[tuple[int, int]],
    groups: dict[int, tuple[int, list[int]]],
    found: list[Uncovered],
    mark: int,
) -> None:
    head = record.head
    view.last_id = max(view.last_id, record.id)
    if record.stream == Stream.DURABLE:
        view.ends[writer] = max(view.ends[writer], record.seq)
    match record.kind:
        case Kind.CANCEL:
            voided.add((head.seq, head.index))
        case Kind.EFFECTS if head.shard == view.shard:
            for effect in head.effects:
                if effect[0] == "epoch":
                    known = view.epochs.get(effect[2])
                    view.epochs[effect[2]] = Epoch(effect[1], effect[2], max(effect[3], known.id if known else 0))
            if head.commit > base and not (head.effects and head.effects[0][0] == "epoch"):
                view.commits.append(Commit(head.commit, writer, head.first, head.last, head.effects))
        case Kind.RELOCATED:
            for target in head.targets:
                known_at = view.relocated.get(target.mid)
                if known_at is None or known_at[0] < record.id:
                    view.relocated[target.mid] = (record.id, file, record.offset)
        case Kind.MESSAGE:
            if head.group:
                groups.setdefault(head.group, (head.group_size, []))[1].append(record.seq)
            for target in head.targets:
                view.messages[target.mid or record.id] = (file, record.offset)
            if record.seq > mark and any(target.shard == view.shard for target in head.targets):
                found.append(Uncovered(record.id, writer, record.seq, file, record.offset))
        case Kind.CHANGE if view.shard in head.shards:
            for data in head.operations:
                op = decode_operation(data)
                if isinstance(op, InsertCopies) and op.shard == view.shard:
                    view.copied_by.update((row[4][0], (file, record.offset)) for row in op.rows)
            if record.seq > mark:
                found.append(Uncovered(record.id, writer, record.seq, file, record.offset))
        case _:
            pass


def _sort(view: LogView, found: list[Uncovered]) -> None:
    """Commits in order and without those that never happened; records without what they cover."""
    void = [(epoch.after, epoch.start) for epoch in view.epochs.values()]
    view.commits = sorted(
        (commit for commit in view.commits if not any(after < commit.number < start for after, start in void)),
        key=lambda commit: commit.number,
    )
    covered: dict[int, list[tuple[int, int]]] = {}
    # A queue gives no numbers, so it is replayed from its records alone.
    for commit in view.commits if view.shard < QUEUE_SHARDS else ():
        if commit.first:
            covered.setdefault(commit.writer, []).append((commit.first, commit.last))
    for spans in covered.values():
        spans.sort()
    for one in found:
        spans = covered.get(one.writer, [])
        place = bisect_right(spans, (one.seq, 1 << 62)) - 1
        if (place < 0 or spans[place][1] < one.seq) and (one.seq, -1) not in view.voided[one.writer]:
            view.uncovered.append(one)
    view.uncovered.sort(key=lambda one: one.id)


def as_found(view: LogView, one: Uncovered) -> Found:
    """For recovery.message_steps and change_steps. Raises DamagedRecord, OSError."""
    return Found(one.id, one.file, view.record(one.file, one.offset), one.writer)


def by_writer(records: list[Uncovered]) -> dict[int, deque[Uncovered]]:
    waiting: dict[int, deque[Uncovered]] = {}
    for one in sorted(records, key=lambda one: one.seq):
        waiting.setdefault(one.writer, deque()).append(one)
    return waiting
