"""Which bodies of a segment are still wanted: the union over all indexes.

Invariants: a body is dead only where no wide row (so no message, and none that can be restored) and no queue entry names
its place; every index is asked twice, in opposite orders, so that a message on its way from one to another is seen
in at least one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mailstead.store.files import Files
from mailstead.store.record import Kind, Record, Stream
from mailstead.store.segment import Damage, file_path, scan
from mailstead.store.shard import Shard

BODIES = (Kind.MESSAGE, Kind.RELOCATED)


@dataclass(slots=True)
class SegmentContents:
    """Records with bodies; the last durable record, the last commit told of per index, and which records are cancelled."""

    file: int
    path: Path
    records: list[Record] = field(default_factory=list)
    size: int = 0
    durable: int = 0
    first_durable: int = 0
    commits: dict[int, int] = field(default_factory=dict)
    cancels: list[int] = field(default_factory=list)
    damaged: bool = False


def read_segment(files: Files, log: Path, file: int) -> SegmentContents:
    """Scan a whole segment, verifying every octet. Raises OSError."""
    contents = SegmentContents(file, file_path(log, file))
    fd = files.open(contents.path)
    try:
        for item in scan(files, fd, contents.path):
            if isinstance(item, Damage):
                contents.damaged = True
                continue
            contents.size = item.end
            if item.stream == Stream.DURABLE:
                contents.durable = max(contents.durable, item.seq)
                contents.first_durable = contents.first_durable or item.seq
            if item.kind in BODIES:
                contents.records.append(item)
            elif item.kind == Kind.EFFECTS:
                known = contents.commits.get(item.head.shard, 0)
                contents.commits[item.head.shard] = max(known, item.head.commit)
            elif item.kind == Kind.CANCEL:
                contents.cancels.append(item.head.seq)
    finally:
        files.close(fd)
    return contents


def mids_of(record: Record) -> set[int]:
    return {target.mid or record.id for target in record.head.targets}


@dataclass(slots=True)
class Live:
    """A record that is wanted, and by which rows: (index, mid)."""

    record: Record
    rows: list[tuple[int, int]]


def live_records(shards: dict[int, Shard], contents: SegmentContents, records: Iterable[Record] | None = None) -> list[Live]:
    """Records of a segment that some row still names."""
    found: list[Live] = []
    order = list(shards.values())
    for record in contents.records if records is None else records:
        rows: set[tuple[int, int]] = set()
        for mid in mids_of(record):
            for shard in (*order, *reversed(order)):
                table = "entry" if shard.is_queue else "wide"
                row = shard.row(f"SELECT file, offset FROM {table} WHERE mid = ?", (mid,))
                if row is not None and row[0] == contents.file and row[1] == record.body_offset:
                    rows.add((shard.number, mid))
        if rows:
            found.append(Live(record, sorted(rows)))
    return found


def dead_octets(shards: Iterable[Shard]) -> dict[int, tuple[int, int]]:
    """Per file, how many octets died by the indexes' count, and since when (unix time)."""
    total: dict[int, tuple[int, int]] = {}
    for shard in shards:
        for file, octets, since in shard.execute("SELECT file, octets, since FROM dead"):
            known = total.get(file)
            total[file] = (octets + known[0], min(since, known[1])) if known else (octets, since)
    return total
