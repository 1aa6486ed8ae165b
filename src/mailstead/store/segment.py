"""Segments of the log: their files, reading and scanning them.

Invariants: a segment is written by one process only; records follow one another without gaps up to its end (a seal,
or, in the segment being written, zeros); a bad record with valid ones after it is damage, reported and skipped,
never taken for the end.

Files: ``log/<writer>/<number>.mlog`` and, for bodies over 256 KB, ``log/<writer>/x/<id in hex>.mext``.
A *file id* names one in an index row: segments ``writer << 40 | number``, bodies ``1 << 62 | id`` (the id's low bits
are its writer).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailstead.store.files import Files
from mailstead.store.ids import WRITER_MASK, writer_name
from mailstead.store.record import (
    HEADER_SIZE,
    MAGIC,
    DamagedBody,
    DamagedRecord,
    Kind,
    Record,
    body_matches,
    check_head,
    decode_head,
    parse_header,
)

SEGMENT_SIZE = 64 * 1024 * 1024
EXTERNAL = 1 << 62
_SCAN_BLOCK = 1 << 20


def segment_file_id(writer: int, number: int) -> int:
    return writer << 40 | number


def external_file_id(id: int) -> int:
    return EXTERNAL | id


def segment_path(log: Path, writer: str, number: int) -> Path:
    return log / writer / f"{number:010d}.mlog"


def external_path(log: Path, id: int) -> Path:
    return log / writer_name(id & WRITER_MASK) / "x" / f"{id:016x}.mext"


def file_path(log: Path, file_id: int) -> Path:
    """The path of a file id of either kind."""
    if file_id & EXTERNAL:
        return external_path(log, file_id & ~EXTERNAL)
    return segment_path(log, writer_name(file_id >> 40), file_id & ((1 << 40) - 1))


def segment_numbers(files: Files, folder: Path) -> list[int]:
    """Numbers of the segments of one writer, rising; [] where the folder does not exist."""
    try:
        names = files.names(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name[:-5]) for name in names if name.endswith(".mlog") and name[:-5].isdigit())


def is_sealed(files: Files, path: Path) -> bool:
    """Whether a segment ends with a seal, that is, whether its writer finished it in order."""
    fd = files.open(path)
    try:
        size = files.size(fd)
        start = max(0, size - 128)
        tail = files.read(fd, size - start, start)
        found = tail.rfind(MAGIC)
        return found >= 0 and read_record(files, fd, start + found).kind == Kind.SEAL
    except DamagedRecord:
        return False
    finally:
        files.close(fd)


@dataclass(frozen=True, slots=True)
class Damage:
    """Octets of a segment that hold no valid record although valid ones follow."""

    path: Path
    offset: int
    length: int
    reason: str


def read_record(files: Files, fd: int, offset: int, *, verify_body: bool = True) -> Record:
    """The record at ``offset``; raises DamagedRecord (also at the end)."""
    header = files.read(fd, HEADER_SIZE, offset)
    kind, stream, head_size, salt, body_size, seq, id, digest, crc = parse_header(header)
    head = files.read(fd, head_size, offset + HEADER_SIZE)
    if len(head) < head_size:
        raise DamagedRecord("cut short")
    check_head(header, head, crc)
    body_offset = offset + HEADER_SIZE + head_size
    if verify_body and body_size:
        body = files.read(fd, body_size, body_offset)
        if len(body) < body_size or not body_matches(body, digest):
            raise DamagedBody("body does not match its hash", body_offset + body_size)
    return Record(kind, stream, seq, id, decode_head(kind, head), offset, body_offset, body_size, salt)


def _salt_of(files: Files, fd: int) -> int | None:
    """The salt of a segment by its first record; None where that is damaged."""
    try:
        return read_record(files, fd, 0, verify_body=False).salt
    except DamagedRecord:
        return None


def _read_own(files: Files, fd: int, offset: int, salt: int | None, *, verify_body: bool) -> Record:
    """The record at ``offset``, which must be of this segment: octets of a message may look like a record."""
    record = read_record(files, fd, offset, verify_body=verify_body)
    if salt is not None and record.salt != salt:
        raise DamagedRecord("not a record of this segment")
    return record


def _find_magic(files: Files, fd: int, start: int) -> int:
    """Offset of the next magic at or after ``start``, or -1."""
    position, carry = start, b""
    while block := files.read(fd, _SCAN_BLOCK, position):
        data = carry + block
        found = data.find(MAGIC)
        if found >= 0:
            return position - len(carry) + found
        carry = data[-3:]
        position += len(block)
    return -1


def scan(files: Files, fd: int, path: Path, start: int = 0, *, verify_body: bool = True) -> Iterator[Record | Damage]:
    """Every record from ``start`` to the end, and the damage between them. A seal ends the scan."""
    offset = start
    salt = _salt_of(files, fd)
    while True:
        try:
            record = _read_own(files, fd, offset, salt, verify_body=verify_body)
        except DamagedRecord as error:
            bad, reason = offset, str(error)
            # Behind a body that is damaged, not inside it: its octets are its sender's.
            behind = error.end if isinstance(error, DamagedBody) else offset + 1
            while True:
                offset = _find_magic(files, fd, behind)
                if offset < 0:
                    return
                try:
                    record = _read_own(files, fd, offset, salt, verify_body=verify_body)
                except DamagedRecord as another:
                    behind = another.end if isinstance(another, DamagedBody) else offset + 1
                    continue
                break
            yield Damage(path, bad, offset - bad, reason)
        if record.kind == Kind.SEAL:
            return
        salt = record.salt
        if record.kind != Kind.BEGIN:
            yield record
        offset = record.end


class LogReader:
    """Reads octets of log files by file id; keeps a bounded number of descriptors open."""

    def __init__(self, log: Path, files: Files, keep_open: int = 64) -> None:
        self._log = log
        self._files = files
        self._keep = keep_open
        self._fds: OrderedDict[int, int] = OrderedDict()

    def _fd(self, file_id: int) -> int:
        fd = self._fds.get(file_id)
        if fd is None:
            fd = self._files.open(file_path(self._log, file_id))
            self._fds[file_id] = fd
            if len(self._fds) > self._keep:
                self._files.close(self._fds.popitem(last=False)[1])
        else:
            self._fds.move_to_end(file_id)
        return fd

    def read(self, file_id: int, offset: int, length: int) -> bytes:
        """``length`` octets; raises OSError, or DamagedRecord where the file is shorter."""
        data = self._files.read(self._fd(file_id), length, offset)
        while len(data) < length:
            more = self._files.read(self._fd(file_id), length - len(data), offset + len(data))
            if not more:
                raise DamagedRecord(f"file {file_id:#x} ends {length - len(data)} octets early")
            data += more
        return data

    def forget(self, file_id: int) -> None:
        """Close a file that is about to be removed."""
        fd = self._fds.pop(file_id, None)
        if fd is not None:
            self._files.close(fd)

    def drop_removed(self) -> None:
        """Close files that compaction has removed, so that their space comes back."""
        for file_id, fd in list(self._fds.items()):
            if os.fstat(fd).st_nlink == 0:
                self.forget(file_id)

    def close(self) -> None:
        while self._fds:
            self._files.close(self._fds.popitem()[1])
