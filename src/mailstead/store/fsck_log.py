"""What the log holds, for fsck: every segment read from end to end, every octet held against its checksum.

Invariants: nothing is changed; a segment that a running server is writing may grow meanwhile, so what an index row
names behind the end seen here is looked for once more before it is called missing.

Per segment only the places of valid bodies are kept (16 octets each), so a log of a million messages takes 16 MB.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

from mailstead.store.files import Files
from mailstead.store.ids import writer_number
from mailstead.store.record import Kind, Stream
from mailstead.store.recovery import writers_of
from mailstead.store.segment import Damage, external_path, file_path, scan, segment_file_id, segment_numbers

BODY_KINDS = (Kind.MESSAGE, Kind.RELOCATED)
_BLOCK = 1 << 20


@dataclass(slots=True)
class Segment:
    """Places of the valid bodies of one segment, rising, and where its last valid record ends."""

    path: Path
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    end: int = 0


@dataclass(slots=True)
class LogFacts:
    """``durable``: last sequence number per writer; ``externals``: size and hash of bodies in files of their own;
    ``shards``: numbers that records name."""

    log: Path
    files: Files
    segments: dict[int, Segment] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    durable: dict[int, int] = field(default_factory=dict)
    externals: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    shards: set[int] = field(default_factory=set)
    records: int = 0
    _checked: dict[int, str] = field(default_factory=dict)

    def body_fault(self, file: int, offset: int, length: int) -> str:
        """What is wrong with the octets an index row names; "" when they are a valid record's body."""
        segment = self.segments.get(file)
        if segment is None or offset >= segment.end:
            self._read_on(file)
            segment = self.segments.get(file)
            if segment is None:
                return f"segment {file_path(self.log, file).name} is missing"
        place = bisect_left(segment.offsets, offset)
        if place == len(segment.offsets) or segment.offsets[place] != offset:
            return f"no valid record at {offset} of {segment.path}"
        if segment.sizes[place] != length:
            return f"the record at {offset} of {segment.path} has another length"
        return ""

    def external_fault(self, external: int, size: int) -> str:
        """What is wrong with a body in a file of its own; "" when size and hash are right."""
        fault = self._checked.get(external)
        if fault is None:
            fault = self._checked[external] = self._check_external(external, size)
        return fault

    def _check_external(self, external: int, size: int) -> str:
        path = external_path(self.log, external)
        wanted, digest = self.externals.get(external, (size, b""))
        found = hashlib.sha256()
        octets = 0
        try:
            fd = self.files.open(path)
        except OSError as error:
            return f"body file {path.name}: {error.strerror}"
        try:
            while piece := self.files.read(fd, _BLOCK, octets):
                found.update(piece)
                octets += len(piece)
        except OSError as error:
            return f"body file {path.name}: {error.strerror}"
        finally:
            self.files.close(fd)
        if octets != wanted or octets != size:
            return f"body file {path.name} has {octets} octets instead of {wanted}"
        if digest and found.digest()[:16] != digest:
            return f"body file {path.name} does not match its hash"
        return ""

    def _read_on(self, file: int) -> None:
        """Take in what was written since, or a file that was begun since."""
        path = file_path(self.log, file)
        segment = self.segments.get(file) or Segment(path)
        try:
            self._scan(file, segment)
        except OSError:
            return  # the caller reports the row that needs it
        self.segments[file] = segment

    def _scan(self, file: int, segment: Segment) -> None:
        writer = file >> 40
        fd = self.files.open(segment.path)
        try:
            for item in scan(self.files, fd, segment.path, segment.end):
                if isinstance(item, Damage):
                    self.damage.append(item)
                    continue
                self.records += 1
                segment.end = item.end
                if item.stream == Stream.DURABLE:
                    self.durable[writer] = max(self.durable.get(writer, 0), item.seq)
                if item.kind in BODY_KINDS:
                    segment.offsets.append(item.body_offset)
                    segment.sizes.append(item.body_size)
                    if item.head.external:
                        self.externals[item.head.external] = (item.head.external_size, item.head.external_hash)
                    self.shards.update(target.shard for target in item.head.targets)
                elif item.kind == Kind.CHANGE:
                    self.shards.update(item.head.shards)
        finally:
            self.files.close(fd)


def read_whole_log(log: Path, files: Files) -> LogFacts:
    """Scan every segment of every writer. Blocking, as long as reading the log takes."""
    facts = LogFacts(log, files)
    for name in writers_of(log, files):
        try:
            writer = writer_number(name)
        except ValueError:
            facts.unreadable.append(f"{log / name} is no writer's folder")
            continue
        facts.durable[writer] = 0
        for number in segment_numbers(files, log / name):
            file = segment_file_id(writer, number)
            segment = facts.segments[file] = Segment(file_path(log, file))
            try:
                facts._scan(file, segment)
            except FileNotFoundError:
                del facts.segments[file]  # compacted meanwhile by a running server
            except OSError as error:
                facts.unreadable.append(f"{segment.path}: {error.strerror}")
    return facts
