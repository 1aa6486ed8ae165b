"""A file that is being written into a mount: kept aside until it is closed, then taken as an upload is.

Invariants: nothing of it is in the mail before all of it came; it is taken once, at the first close or fsync, and an error of
that is the result of that call; what is written afterwards is refused, for half a file would have been taken; the file aside is
without a name, so that it goes with the process.
"""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import time
from pathlib import Path

from mailstead.backup_tree.uploads import Uploads

MAX_FILE = 4 << 30
RESERVE = 128 << 20
"""Space that is left on the disk for mail that arrives."""
PIECE = 256 * 1024


class WrittenFile:
    """``path`` is that of the tree. Not for two threads at once."""

    def __init__(self, path: tuple[str, ...], directory: Path) -> None:
        self.path = path
        self.changed = int(time.time())
        self.size = 0
        self.taken = False
        self._directory = directory
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115
        self._lock = asyncio.Lock()
        self.dirty = True

    async def write(self, data: bytes, offset: int) -> int:
        """Take octets at a place. Raises OSError."""
        async with self._lock:
            self._check(offset + len(data))
            written = await asyncio.to_thread(os.pwrite, self._file.fileno(), data, offset)
            self.size = max(self.size, offset + written)
            self.dirty = True
            return written

    async def truncate(self, length: int) -> None:
        """Make it so long. Raises OSError."""
        async with self._lock:
            self._check(length)
            await asyncio.to_thread(os.ftruncate, self._file.fileno(), length)
            self.size, self.dirty = length, True

    def _check(self, end: int) -> None:
        if self.taken:
            raise OSError(errno.EIO, "it was taken already when it was first closed")
        if end > MAX_FILE:
            raise OSError(errno.EFBIG, "too large")
        status = os.statvfs(self._directory)
        if status.f_bavail * status.f_frsize < RESERVE:
            raise OSError(errno.ENOSPC, "no space left beside the mail")

    async def read(self, offset: int, length: int) -> bytes:
        """What was written so far. Raises OSError."""
        return await asyncio.to_thread(os.pread, self._file.fileno(), length, offset)

    async def take(self, uploads: Uploads) -> str:
        """Restore what it holds, once; what became of it, "" where there is nothing new. Raises what ``Uploads.store`` does."""
        async with self._lock:
            if self.taken or not self.dirty:
                return ""
            self.taken, self.dirty = True, False
            position = 0

            async def receive() -> bytes:
                nonlocal position
                piece = await asyncio.to_thread(os.pread, self._file.fileno(), PIECE, position)
                position += len(piece)
                return piece

            return await uploads.store(self.path, receive)

    def close(self) -> None:
        """Forget it."""
        self._file.close()
