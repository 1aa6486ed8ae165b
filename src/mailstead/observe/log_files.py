"""Log files that several processes append to, and their rotation.

Invariants: whole lines go to a file, in one write that the system appends in one piece; a file is rotated once, by whoever holds
the lock and finds it still in its place; whoever has it open goes on writing to it until it looks again, so no line is torn or
lost; only rotated files are ever removed.

A rotated file is named by the moment of its rotation: `default-20260105-091244.txt`.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailstead.observe.log_rules import FileOptions

LOCK = ".rotation.lock"
TIME_LENGTH = 24
"""Octets of the time that each line begins with."""


@dataclass(slots=True)
class _Open:
    fd: int
    inode: int
    began: float


def began_at(fd: int) -> float:
    """When a file was begun (unix time): the time of its first line, else of its last change."""
    head = os.pread(fd, TIME_LENGTH, 0)
    with contextlib.suppress(ValueError):
        return datetime.datetime.fromisoformat(head.decode("ascii", "replace").replace("Z", "+00:00")).timestamp()
    return os.fstat(fd).st_mtime


def _period(moment: float, period: str) -> tuple[int, ...]:
    """The day, week or month a moment lies in, in local time."""
    day = datetime.datetime.fromtimestamp(moment).date()
    if period == "week":
        return day.isocalendar()[:2]
    return (day.year, day.month) if period == "month" else (day.year, day.month, day.day)


def is_due(size: int, began: float, now: float, options: FileOptions) -> bool:
    """Whether a file is to be rotated before the next line."""
    if not size:
        return False
    if size >= options.size or (options.seconds and now - began >= options.seconds):
        return True
    return options.period != "none" and _period(began, options.period) != _period(now, options.period)


class LogFiles:
    """The files of one process in the directory of the log; used by one thread."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._files: dict[str, _Open] = {}

    def append(self, name: str, octets: bytes, options: FileOptions) -> None:
        """Append whole lines. Raises OSError."""
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        file = self._opened(name)
        if is_due(os.fstat(file.fd).st_size, file.began, self._clock(), options):
            self._rotate(name, options)
            file = self._opened(name)
        written = os.write(file.fd, octets)
        if written < len(octets):  # the disk is full
            raise OSError(28, "the line was not written whole")

    def _opened(self, name: str) -> _Open:
        path = self._directory / name
        known = self._files.get(name)
        if known is not None:
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == known.inode:
                    return known
            self._forget(name)
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        status = os.fstat(fd)
        began = began_at(fd) if status.st_size else self._clock()
        known = self._files[name] = _Open(fd, status.st_ino, began)
        return known

    def _forget(self, name: str) -> None:
        known = self._files.pop(name, None)
        if known is not None:
            os.close(known.fd)

    def _rotate(self, name: str, options: FileOptions) -> None:
        path = self._directory / name
        lock = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self._opened(name)  # another process may have rotated it meanwhile
            if not is_due(os.fstat(file.fd).st_size, file.began, self._clock(), options):
                return
            path.rename(self._rotated_name(path))
            self._forget(name)
            self._prune(path, options.count)
        finally:
            os.close(lock)

    def _rotated_name(self, path: Path) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self._clock()))
        for number in range(10_000):
            more = f"-{number:04d}" if number else ""
            target = path.with_name(f"{path.stem}-{stamp}{more}{path.suffix}")
            if not target.exists():
                return target
        raise OSError(17, "there is no name left for the rotated file")

    def _prune(self, path: Path, count: int) -> None:
        if not count:
            return
        rotated = re.compile(re.escape(path.stem) + r"-\d{8}-\d{6}(-\d{4})?" + re.escape(path.suffix))
        found = sorted((one for one in path.parent.iterdir() if rotated.fullmatch(one.name)), key=lambda one: one.stem)
        for old in found[:-count]:
            with contextlib.suppress(OSError):
                old.unlink()

    def reopen(self) -> None:
        """Open files anew before the next line."""
        for name in list(self._files):
            self._forget(name)
