"""The writing end of a writer's log.

Invariants: ``write_and_sync`` returns only when every octet it wrote is durable; what it wrote before a failed sync
is never trusted again: the segment is given up, a new one begun, and the caller must cancel the batch there; a second
failure in a row raises ``LogBroken`` and the process must stop (a failed fdatasync tells once, and the page cache
may afterwards claim what the disk does not hold).

Only one thread at a time calls into a writer: the commit pipeline's sync thread, or the opener before it runs.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from mailstead.store.files import Files
from mailstead.store.ids import HybridClock, writer_number
from mailstead.store.record import BeginHead, Kind, SealHead, Stream, encode_head, frame
from mailstead.store.segment import SEGMENT_SIZE, segment_file_id, segment_numbers, segment_path


class LogBroken(Exception):
    """Two syncs failed in a row: this process can promise nothing any more."""


class BatchFailed(Exception):
    """The batch is not durable and must be refused; the log itself goes on in a new segment."""


class LogWriter:
    """Appends framed records to the current segment. ``file_id`` and ``position`` say where the next one goes."""

    def __init__(self, log: Path, writer: str, files: Files, clock: HybridClock, segment_size: int = SEGMENT_SIZE) -> None:
        self._folder = log / writer
        self._log = log
        self._writer = writer
        self._number = writer_number(writer)
        self._files = files
        self._clock = clock
        self._size = segment_size
        self._fd = -1
        self._failed = False
        self.segment = 0
        self.position = 0
        self.salt = secrets.randbits(32)
        files.make_directory(self._folder / "x")

    @property
    def file_id(self) -> int:
        return segment_file_id(self._number, self.segment)

    def begin_segment(self, minimum: int = 0) -> None:
        """Start a new segment, at least ``minimum`` octets long. Raises OSError (ENOSPC) and then keeps the old one."""
        numbers = segment_numbers(self._files, self._folder)
        number = max([*numbers, self.segment]) + 1
        path = segment_path(self._log, self._writer, number)
        fd = self._files.create(path, max(self._size, minimum + 4096))
        begin = frame(Kind.BEGIN, Stream.EFFECTS, 0, self._clock.next(), encode_head(BeginHead()), salt=self.salt)
        try:
            self._files.writev(fd, [begin], 0)
            self._files.sync(fd)
            self._files.sync_directory(self._folder)
        except OSError:
            self._files.close(fd)
            self._files.unlink(path)
            raise
        if self._fd >= 0:
            self._seal()
        self._fd, self.segment, self.position = fd, number, len(begin)

    def _seal(self) -> None:
        """Say where the segment ends and give back what it does not need. A failure here loses nothing."""
        data = frame(Kind.SEAL, Stream.EFFECTS, 0, self._clock.next(), encode_head(SealHead(self.position)), salt=self.salt)
        try:
            if not self._failed:
                self._files.writev(self._fd, [data], self.position)
                self._files.truncate(self._fd, self.position + len(data))
                self._files.sync(self._fd)
        except OSError:
            pass  # the scan then ends at the last valid record all the same
        self._files.close(self._fd)
        self._fd = -1

    def room_for(self, size: int) -> bool:
        return self._fd >= 0 and self.position + size + 4096 <= self._size

    def write_and_sync(self, buffers: Sequence[bytes], size: int) -> None:
        """Append and sync. Raises BatchFailed (refuse this batch), LogBroken (stop)."""
        try:
            self._files.writev(self._fd, buffers, self.position)
            self._files.sync(self._fd)
        except OSError as error:
            if self._failed:
                raise LogBroken(str(error)) from error
            self._failed = True
            try:
                self.begin_segment()
            except OSError as second:
                raise LogBroken(f"{error}; then {second}") from second
            raise BatchFailed(str(error)) from error
        self._failed = False
        self.position += size

    def close(self) -> None:
        if self._fd >= 0:
            self._seal()
