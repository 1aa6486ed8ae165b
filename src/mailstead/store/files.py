"""The file operations of the log, behind one narrow class.

Invariants: everything the store must make durable goes through a ``Files`` object (and SQLite's VFS), so a test
can put a recording layer in its place and drop or reorder whatever was not synced; a file's name is durable only
after ``sync_directory`` of its folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

IOV_MAX = 1000


class Files:
    """File operations on the real filesystem. All raise OSError."""

    def create(self, path: Path, size: int = 0) -> int:
        """Create ``path`` for reading and writing and reserve ``size`` octets; the descriptor is returned."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        if size:
            try:
                os.posix_fallocate(fd, 0, size)
            except OSError:
                os.close(fd)
                os.unlink(path)
                raise
        return fd

    def open(self, path: Path, write: bool = False) -> int:
        return os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)

    def writev(self, fd: int, buffers: Sequence[bytes], offset: int) -> int:
        """Write all buffers one behind the other at ``offset``; returns the octets written."""
        total = 0
        for start in range(0, len(buffers), IOV_MAX):
            part = buffers[start : start + IOV_MAX]
            wanted = sum(map(len, part))
            done = os.pwritev(fd, part, offset + total)
            if done < wanted:
                rest = memoryview(b"".join(part))[done:]
                while rest:
                    more = os.pwrite(fd, rest, offset + total + done)
                    done += more
                    rest = rest[more:]
            total += wanted
        return total

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return os.pread(fd, length, offset)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def close(self, fd: int) -> None:
        os.close(fd)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def names(self, path: Path) -> list[str]:
        return sorted(os.listdir(path))

    def make_directory(self, path: Path) -> None:
        """Make ``path`` and its parents and make their names durable."""
        missing = []
        while not path.exists():
            missing.append(path)
            path = path.parent
        for folder in reversed(missing):
            folder.mkdir(mode=0o750, exist_ok=True)
            self.sync_directory(folder.parent)
