"""Writers beside the node, which may live while it starts; and ends of logs whose writers were killed and may never come back:
commands, mounts, workers of a larger node.

Invariants: a log that somebody writes is neither replayed nor ended by anybody else: its writer applies itself what it has written,
and a record that both applied would be there twice. A writer that works beside the node (a command, a mount) holds a lock as long
as it lives, and opens the store only when the node that holds the data directory is prepared; all others are processes of the
node, of which none lives while the node is prepared.

How: what a writer left is replayed, and then its log gets one more segment, sealed at once. So the next start finds every log ended
in order, and compaction, which leaves the last segment of each writer alone, may look into what was the last.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mailstead.store.files import Files
from mailstead.store.ids import HybridClock, writer_number
from mailstead.store.log_writer import LogWriter
from mailstead.store.segment import is_sealed, segment_numbers, segment_path

COMMAND_WRITER = "c0"
"""The writer of commands, one at a time; c1, c2 ... are those of mounts."""


def writer_lock(data_dir: Path, writer: str) -> Path:
    """The file that a writer beside the node keeps locked (flock) as long as it lives."""
    return data_dir / "run" / ("command.lock" if writer == COMMAND_WRITER else f"mount-{writer}.lock")


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock (flock) of a file; nobody does where there is none. Raises OSError for a closed one."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def living(data_dir: Path, writers: Iterable[str]) -> set[str]:
    """Those of these writers that work beside the node now. Raises OSError."""
    return {writer for writer in writers if writer.startswith("c") and is_locked(writer_lock(data_dir, writer))}


@contextlib.contextmanager
def preparing(data_dir: Path) -> Iterator[None]:
    """While the node is prepared: no writer opens the store. Waits for those that are opening it. Raises OSError."""
    with _held(data_dir, fcntl.LOCK_EX):
        yield
        _mark(data_dir).touch()


def _mark(data_dir: Path) -> Path:
    return data_dir / "run" / "prepared"


def is_prepared(data_dir: Path) -> bool:
    """Whether the node was prepared since the data directory has its holder."""
    return _mark(data_dir).exists()


def begin_unprepared(data_dir: Path) -> None:
    """The data directory has a new holder, who has not prepared it yet. Raises OSError."""
    _mark(data_dir).unlink(missing_ok=True)


@contextlib.contextmanager
def opening(data_dir: Path) -> Iterator[None]:
    """While a writer opens the store and replays what its predecessor left. Waits until no node is prepared. Raises OSError."""
    with _held(data_dir, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def _held(data_dir: Path, how: int) -> Iterator[None]:
    fd = os.open(data_dir / "run" / "prepare.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)


def seal_abandoned(data_dir: Path, last_ids: Mapping[str, int], files: Files) -> list[str]:
    """End logs that nobody writes and that do not end with a seal, after they were replayed; whose. ``last_ids``: the last record's
    id by writer, of all that do not live. Raises OSError."""
    log = data_dir / "log"
    ended = []
    for writer, last_id in last_ids.items():
        numbers = segment_numbers(files, log / writer)
        if not numbers or is_sealed(files, segment_path(log, writer, numbers[-1])):
            continue
        clock = HybridClock(writer_number(writer))
        clock.observe(last_id)
        end = LogWriter(log, writer, files, clock)
        end.begin_segment()
        end.close()
        ended.append(writer)
    return ended
