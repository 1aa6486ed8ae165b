"""What happens before a process serves: what the log holds and the index lacks is applied.

Invariants: after ``replay`` every valid record of the durable stream that no cancel voids is in the index exactly
once; records of all writers are applied in the order of their hybrid time, so what one writer made (a folder) is
there before another's message needs it; damage is reported and never ends the scan while valid records follow.

A whole node is recovered once, by the process that starts it (``prepare``).  When a single process died, its
successor replays its own log only: the index lost nothing then (the page cache outlives a process).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mailstead.message.index import index_message
from mailstead.store.apply_delivery import FOLDER_GONE, REPLACED_GONE, Delivery, StoredMessage
from mailstead.store.apply_step import Step, run_step
from mailstead.store.files import Files
from mailstead.store.ids import writer_number
from mailstead.store.operations import decode_operation
from mailstead.store.record import DamagedRecord, Kind, Record, Stream, TargetKind
from mailstead.store.segment import (
    Damage,
    LogReader,
    external_file_id,
    read_record,
    scan,
    segment_file_id,
    segment_numbers,
    segment_path,
)
from mailstead.store.shard import Shard, shard_path


@dataclass(slots=True)
class WriterState:
    """Where a writer's log ends: the last numbers of both streams, and the highest id seen."""

    durable: int = 0
    effects: int = 0
    last_id: int = 0


@dataclass(slots=True)
class Replay:
    applied: int = 0
    damage: list[Damage] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    writers: dict[str, WriterState] = field(default_factory=dict)


@dataclass(slots=True)
class Found:
    """A record of one writer, with its segment's file id; heapq.merge orders them by id."""

    id: int
    file: int
    record: Record
    writer: int


def writers_of(log: Path, files: Files) -> list[str]:
    try:
        return files.names(log)
    except FileNotFoundError:
        return []


def missing_indexes(data_dir: Path, numbers: Iterable[int], files: Files | None = None) -> list[int]:
    """Which of these index files are gone: where no process has ever written a log, none is expected yet."""
    if not writers_of(data_dir / "log", files or Files()):
        return []
    return [number for number in numbers if not shard_path(data_dir / "index", number).exists()]


def first_durable(files: Files, path: Path) -> int | None:
    """Sequence number of the first durable record of a segment, None where it has none."""
    fd = files.open(path)
    try:
        for item in scan(files, fd, path, verify_body=False):
            if isinstance(item, Record) and item.stream == Stream.DURABLE:
                return item.seq
        return None
    finally:
        files.close(fd)


def _segments_after(log: Path, writer: str, files: Files, seq: int) -> list[int]:
    """Numbers of the segments that may hold records of the durable stream above ``seq``, and the one before."""
    wanted: list[int] = []
    for number in reversed(segment_numbers(files, log / writer)):
        wanted.insert(0, number)
        first = first_durable(files, segment_path(log, writer, number))
        if first is not None and first <= seq:
            break
    return wanted


def _records(log: Path, writer: str, files: Files, numbers: list[int], report: Replay) -> Iterator[Found]:
    state = report.writers[writer]
    number_of = writer_number(writer)
    for number in numbers:
        path = segment_path(log, writer, number)
        fd = files.open(path)
        try:
            for item in scan(files, fd, path):
                if isinstance(item, Damage):
                    report.damage.append(item)
                    continue
                state.last_id = max(state.last_id, item.id)
                if item.stream == Stream.DURABLE:
                    state.durable = max(state.durable, item.seq)
                    yield Found(item.id, segment_file_id(number_of, number), item, number_of)
                else:
                    state.effects = max(state.effects, item.seq)
        finally:
            files.close(fd)


def _cancels(log: Path, writer: str, files: Files, numbers: list[int]) -> set[tuple[int, int]]:
    """What is void: cancelled records and targets, and every record of a group that is not whole."""
    voided: set[tuple[int, int]] = set()
    groups: dict[int, tuple[int, list[int]]] = {}
    for number in numbers:
        path = segment_path(log, writer, number)
        fd = files.open(path)
        try:
            for item in scan(files, fd, path):
                if isinstance(item, Record) and item.kind == Kind.CANCEL:
                    voided.add((item.head.seq, item.head.index))
                elif isinstance(item, Record) and item.kind == Kind.MESSAGE and item.head.group:
                    groups.setdefault(item.head.group, (item.head.group_size, []))[1].append(item.seq)
        finally:
            files.close(fd)
    void_broken_groups(groups, voided)
    return voided


def void_broken_groups(groups: dict[int, tuple[int, list[int]]], voided: set[tuple[int, int]]) -> None:
    """``groups``: size and records found of each; those that are not whole are void as a whole (RFC 3502)."""
    for size, seqs in groups.values():
        if len(seqs) < size or any((seq, 0) in voided or (seq, -1) in voided for seq in seqs):
            voided.update((seq, -1) for seq in seqs)


def stored_message(found_file: int, record: Record, reader: LogReader) -> StoredMessage:
    """A message record as the index wants it, its octets read again. Raises DamagedRecord or OSError."""
    head = record.head
    body = reader.read(found_file, record.body_offset, record.body_size)
    if head.external:
        body += reader.read(external_file_id(head.external), 0, head.external_size)
    return StoredMessage(
        record.seq,
        record.id,
        found_file,
        record.body_offset,
        record.body_size,
        head.external,
        head.external_size,
        head.sender,
        head.received,
        index_message(body),
    )


def message_steps(found: Found, reader: LogReader, lacking: set[int], voided: set[tuple[int, int]]) -> list[Step]:
    """Steps that apply a message record to the shards that lack it. Quotas were judged when it was accepted."""
    record = found.record
    message = stored_message(found.file, record, reader)
    steps: dict[int, Step] = {}
    for number, target in enumerate(record.head.targets):
        if target.shard not in lacking or (record.seq, number) in voided:
            continue
        step = steps.get(target.shard)
        if step is None:
            step = steps[target.shard] = Step(target.shard, found.writer, Stream.DURABLE)
            step.seq = record.seq
        target.quota_size = target.quota_messages = target.folder_size = target.folder_messages = 0
        source = message
        if target.overlay and target.kind == TargetKind.FOLDER:  # the queue keeps no index of its messages
            octets = target.overlay + reader.read(message.file, message.offset, message.length)
            if message.external:
                octets += reader.read(external_file_id(message.external), 0, message.external_size)
            source = message.with_index(index_message(octets))
        step.deliveries.append(Delivery(source, target))
    return list(steps.values())


_QUOTAS = ("quota_size", "quota_messages", "folder_size", "folder_messages", "limit")


def change_steps(found: Found, lacking: set[int]) -> list[Step]:
    """Steps that apply a change record to the shards that lack it. Quotas were judged when it was accepted."""
    steps: dict[int, Step] = {}
    first = None
    for data in found.record.head.operations:
        op = decode_operation(data)
        for name in _QUOTAS:
            if getattr(op, name, 0):
                setattr(op, name, 0)
        first = op.shard if first is None else first
        if op.shard not in lacking:
            continue
        step = steps.get(op.shard)
        if step is None:
            step = steps[op.shard] = Step(op.shard, found.writer, Stream.DURABLE)
            step.seq, step.id = found.record.seq, found.record.id
            step.first_shard = op.shard == first
        step.operations.append(op)
    return list(steps.values())


def apply_step(shards: dict[int, Shard], step: Step) -> None:
    run_step(shards[step.shard], step)
    homeless = [d for d in step.deliveries if d.outcome == FOLDER_GONE and d.target.kind == TargetKind.FOLDER]
    for delivery in step.deliveries:
        if delivery.outcome == REPLACED_GONE and delivery.target.kind == TargetKind.FOLDER:
            # What it replaces went in another order than the records now come: what was acknowledged is kept.
            delivery.target.replaces_uid = 0
            homeless.append(delivery)
    if homeless:
        # The folder went after the message was accepted: it was acknowledged, so it goes to the INBOX.
        again = Step(step.shard, step.writer, step.stream)
        again.seq = step.seq
        for delivery in homeless:
            if delivery.outcome == FOLDER_GONE:
                delivery.target.folder = 0
            again.deliveries.append(delivery)
        run_step(shards[step.shard], again)


def replay(log: Path, names: list[str], shards: dict[int, Shard], files: Files) -> Replay:
    """Apply what the index lacks of the logs of these writers. Blocking; before anything is served."""
    report = Replay()
    reader = LogReader(log, files)
    streams: list[Iterator[Found]] = []
    voided: dict[int, set[tuple[int, int]]] = {}
    applied: dict[int, dict[int, int]] = {}
    for name in names:
        number = writer_number(name)
        report.writers[name] = WriterState()
        applied[number] = {shard: handle.applied(number, Stream.DURABLE) for shard, handle in shards.items()}
        report.writers[name].durable = max(applied[number].values())
        numbers = _segments_after(log, name, files, min(applied[number].values()))
        voided[number] = _cancels(log, name, files, numbers)
        streams.append(_records(log, name, files, numbers, report))
    try:
        for found in heapq.merge(*streams, key=lambda f: f.id):
            record, marks = found.record, applied[found.writer]
            lacking = {shard for shard, seq in marks.items() if seq < record.seq}
            if not lacking or (record.seq, -1) in voided[found.writer]:
                continue
            try:
                if record.kind == Kind.MESSAGE:
                    steps = message_steps(found, reader, lacking, voided[found.writer])
                elif record.kind == Kind.CHANGE:
                    steps = change_steps(found, lacking)
                else:
                    continue
            except (DamagedRecord, OSError) as error:
                report.unreadable.append(f"record {record.seq} of writer {found.writer}: {error}")
                continue
            for step in steps:
                apply_step(shards, step)
                report.applied += 1
    finally:
        reader.close()
    for name, state in report.writers.items():
        for handle in shards.values():
            if state.durable > applied[writer_number(name)][handle.number]:
                handle.begin()
                handle.mark_applied(writer_number(name), Stream.DURABLE, state.durable)
                handle.commit()
    return report


__all__ = ["Replay", "WriterState", "read_record", "replay", "writers_of"]
