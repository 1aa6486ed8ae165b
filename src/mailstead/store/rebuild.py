"""Building an index file anew: from its last snapshot and the log after it, or from the log alone.

Invariants: the log is not changed; the old file is put aside, not deleted; the new one takes its place by one rename, so a
crash leaves the one or the other (or neither, and the next start builds it).  Where the effects in the log may have a
gap (damage, an end without a seal, records that no effect covers) the next uid and modseq of every folder jump before
anything is added, so that no number a client may have seen is given to something else.

What cannot be known from the log after a crash of a single process in the middle: in which order its last, unlogged
commits lay among those of the others.  The background process therefore takes a snapshot soon after such a start.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from mailstead.store.counters import raise_numbers
from mailstead.store.epochs import JUMP, ended_in_order
from mailstead.store.files import Files
from mailstead.store.fold import Fold
from mailstead.store.log_view import LogView, Uncovered, as_found, by_writer, read_log_for
from mailstead.store.record import DamagedRecord, Kind, MessageHead, Record, Stream, Target, TargetKind
from mailstead.store.recovery import Found, apply_step, change_steps, message_steps
from mailstead.store.segment import external_file_id
from mailstead.store.shard import Shard, shard_path
from mailstead.store.snapshot import snapshots, take_snapshot

COMMITS_AT_ONCE = 500


@dataclass(slots=True)
class Rebuilt:
    """``lost``: messages whose octets are nowhere, in words; ``gap``: numbers were left out; ``put_aside``: the old file;
    ``messages``: how many the new file has, in the queue's how many wait there."""

    base: str = "the log alone"
    commits: int = 0
    replayed: int = 0
    salvaged: int = 0
    gap: bool = False
    damage: int = 0
    lost: list[str] = field(default_factory=list)
    put_aside: str = ""
    messages: int = 0


def rebuild_shard(data_dir: Path, number: int, files: Files | None = None, told: Callable[[str], None] = lambda _: None) -> Rebuilt:
    """Build an index file anew and put it in place. Blocking; no process may have the store open.

    Raises OSError, apsw errors; then the old file is where it was.
    """
    files = files or Files()
    index, log = data_dir / "index", data_dir / "log"
    workshop = index / "rebuild"
    if workshop.exists():
        shutil.rmtree(workshop)
    files.make_directory(workshop)
    result = Rebuilt()
    _lay_base(index, number, workshop, result)
    shard = Shard(workshop, number, files)
    try:
        shard.execute("PRAGMA synchronous=OFF")
        base = shard.commit_seq()
        marks = {int(w): int(seq) for w, seq in shard.execute("SELECT writer, seq FROM applied WHERE stream = 0")}
        told(f"from {result.base}")
        view = read_log_for(number, log, files, base, marks)
        try:
            _build(shard, view, base, result, unclean=not ended_in_order(log, files))
        finally:
            view.close()
        counted = shard.row("SELECT count(*) FROM entry" if shard.is_queue else "SELECT count(*) FROM message")
        result.messages = int(counted[0]) if counted else 0
        shard.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        shard.close()
    _put_in_place(index, number, workshop, files, result)
    if log.exists():
        take_snapshot(index, number, files)
    return result


def _lay_base(index: Path, number: int, workshop: Path, result: Rebuilt) -> None:
    """Copy the newest snapshot that is whole."""
    for _, path in snapshots(index, number):
        target = shard_path(workshop, number)
        shutil.copyfile(path, target)
        try:
            connection = apsw.Connection(str(target))
            try:
                fine: Any = connection.execute("PRAGMA quick_check(1)").fetchone()
                connection.execute("SELECT commit_seq FROM state").fetchall()
            finally:
                connection.close()
            if fine[0] == "ok":
                result.base = f"snapshot {path.name}"
                return
        except apsw.Error:
            pass  # damaged as well: the one before it, or the log alone
        for leftover in workshop.iterdir():
            leftover.unlink()


def _build(shard: Shard, view: LogView, base: int, result: Rebuilt, *, unclean: bool) -> None:
    result.damage = len(view.damage)
    late = view.begins_late and not base
    if shard.is_queue:
        if late:
            _salvage(shard, view, result)
        _replay(shard, view, list(view.uncovered), result)
        _follow_relocations(shard, view, "entry")
        _close(shard, view, base)
        return
    fold = Fold(shard, view)
    waiting = by_writer(view.uncovered)
    epochs = sorted((epoch for epoch in view.epochs.values() if epoch.start > base), key=lambda epoch: epoch.start)
    open_commits = 0
    for commit in view.commits:
        due = deque[Uncovered]()
        while epochs and epochs[0].start <= commit.number:
            due += _take_below(waiting, epochs.pop(0).id)
        mine = waiting.get(commit.writer)
        while mine and commit.first and mine[0].seq < commit.first:
            due.append(mine.popleft())
        if due or open_commits >= COMMITS_AT_ONCE:
            open_commits = _commit(shard, open_commits)
            _replay(shard, view, list(due), result)
        if not open_commits:
            shard.begin()
        fold.apply(commit.effects)
        open_commits += 1
        result.commits += 1
    _commit(shard, open_commits)
    for epoch in epochs:
        _replay(shard, view, _take_below(waiting, epoch.id), result)
    rest = sorted((one for records in waiting.values() for one in records), key=lambda one: one.id)
    result.gap = bool(unclean or rest or view.damage or late)
    if result.gap:
        shard.begin()
        raise_numbers(shard)
        shard.commit()
    _replay(shard, view, rest, result)
    if late:
        _salvage(shard, view, result)
    _follow_relocations(shard, view, "wide")
    shard.begin()
    names = {int(row[0]): f"account {row[1]}, {row[2]}" for row in shard.execute("SELECT id, account, name FROM folder")}
    for mid, places in fold.finish().items():
        result.lost += [f"{names.get(folder, f'folder {folder}')}, uid {uid}, id {mid:x}" for folder, uid in places]
    shard.commit()
    _close(shard, view, base)


def _take_below(waiting: dict[int, deque[Uncovered]], id: int) -> list[Uncovered]:
    """Records below ``id``, in the order replay took them after that start."""
    taken = [one for records in waiting.values() for one in records if one.id < id]
    for writer, records in waiting.items():
        waiting[writer] = deque(one for one in records if one.id >= id)
    return sorted(taken, key=lambda one: one.id)


def _commit(shard: Shard, open_commits: int) -> int:
    if open_commits:
        shard.commit()
    return 0


def _replay(shard: Shard, view: LogView, records: list[Uncovered], result: Rebuilt) -> None:
    """Apply records as a start after a crash does."""
    for one in records:
        try:
            found = as_found(view, one)
            if found.record.kind == Kind.MESSAGE:
                steps = message_steps(found, view.reader, {shard.number}, view.voided[one.writer])
            else:
                steps = change_steps(found, {shard.number})
        except (DamagedRecord, OSError) as error:
            result.lost.append(f"record {one.seq} of writer {one.writer}: {error}")
            continue
        for step in steps:
            apply_step({shard.number: shard}, step)
            result.replayed += 1


def _salvage(shard: Shard, view: LogView, result: Rebuilt) -> None:
    """Without any snapshot: messages that compaction moved and no effect tells of any more go where they were."""
    held = {int(row[0]) for row in shard.execute("SELECT mid FROM " + ("entry" if shard.is_queue else "message"))}
    if not shard.is_queue:
        held |= {int(row[0]) for row in shard.execute("SELECT mid FROM expunged")}
    for mid, (_, file, offset) in sorted(view.relocated.items()):
        if mid in held:
            continue
        try:
            record = view.record(file, offset)
            targets = [one for one in record.head.targets if one.mid == mid and one.shard == shard.number]
            if not targets:
                continue
            if any(not one.account for one in targets if one.kind == TargetKind.FOLDER):
                result.lost.append(f"message {mid:x}: nothing tells whose it is")
                continue
            step_record = _as_message(record, targets)
            steps = message_steps(Found(record.id, file, step_record, 0), view.reader, {shard.number}, set())
        except (DamagedRecord, OSError) as error:
            result.lost.append(f"message {mid:x}: {error}")
            continue
        for step in steps:
            step.seq = 0  # it stands for no record of the durable stream
            apply_step({shard.number: shard}, step)
            result.salvaged += 1


def _as_message(record: Record, targets: list[Target]) -> Record:
    head = record.head
    kinds = [one for one in targets if one.kind in (TargetKind.FOLDER, TargetKind.QUEUE, TargetKind.EXPANSION)]
    message = MessageHead(head.sender, head.received, kinds, head.receipt, head.external, head.external_size, head.external_hash)
    return Record(Kind.MESSAGE, Stream.DURABLE, 1, record.id, message, record.offset, record.body_offset, record.body_size)


def _follow_relocations(shard: Shard, view: LogView, table: str) -> None:
    """Rows name the youngest place of their octets; an older one may be gone."""
    shard.begin()
    for mid, file, external in list(shard.execute(f"SELECT mid, file, external FROM {table}")):
        moved = view.relocated.get(mid)
        if moved is None or moved[1] == file or (external and external_file_id(external) == file):
            continue
        try:
            record = view.record(moved[1], moved[2])
        except (DamagedRecord, OSError):
            continue  # fsck says so where the older place is gone as well
        shard.execute(f"UPDATE {table} SET file = ?, offset = ? WHERE mid = ?", (moved[1], record.body_offset, mid))
    shard.commit()


def _close(shard: Shard, view: LogView, base: int) -> None:
    """Marks at the ends of the logs, and a commit number beyond all that were given."""
    shard.begin()
    for writer, seq in view.ends.items():
        shard.mark_applied(writer, Stream.DURABLE, seq)
    last = max([base, *(commit.number for commit in view.commits), *view.epochs])
    shard.execute("UPDATE state SET commit_seq = ?", (last + JUMP,))
    if not shard.is_queue:
        shard.execute("INSERT OR REPLACE INTO epoch VALUES(?, ?, ?)", (last + JUMP, last, view.last_id + 1))
    shard.commit()


def _put_in_place(index: Path, number: int, workshop: Path, files: Files, result: Rebuilt) -> None:
    new, old = shard_path(workshop, number), shard_path(index, number)
    fd = files.open(new, write=True)
    try:
        files.sync(fd)
    finally:
        files.close(fd)
    aside = index / "damaged"
    files.make_directory(aside)
    stamp = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{time.time_ns() % 1_000_000_000:09d}"
    for suffix in ("-wal", "-shm", ""):
        path = Path(f"{old}{suffix}")
        if path.exists():
            target = aside / f"{old.stem}-{stamp}.db{suffix}"
            files.rename(path, target)
            result.put_aside = str(target)
    files.sync_directory(aside)
    files.sync_directory(index)
    files.rename(new, old)
    files.sync_directory(index)
    for leftover in workshop.iterdir():
        leftover.unlink()
    workshop.rmdir()
