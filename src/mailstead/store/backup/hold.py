"""What keeps compaction from removing files that a backup needs.

Invariants: while a backup runs (it holds ``index/backup.lock`` shared, until it ends or dies) no file of the log is removed;
after it, until ``until``, no segment younger than those it has, so that the next one has all that lies between and every
point in time can be restored; a hold ends by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LOCK = "backup.lock"
KEEP = "backup-keep.json"


@contextlib.contextmanager
def hold(index: Path) -> Iterator[None]:
    """Keep every file of the log while this lasts. Waits for a removal that is under way. Raises OSError."""
    fd = os.open(index / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def removing(index: Path) -> Iterator[bool]:
    """Whether files of the log may be removed while this lasts. Raises OSError."""
    fd = os.open(index / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def keep_younger(index: Path, segments: dict[str, int], seconds: float, repository: Path) -> None:
    """Keep segments with numbers above those given per writer, for so long, after a backup into ``repository``. Raises OSError."""
    draft = index / f"{KEEP}.part"
    with open(draft, "w", encoding="ascii") as file:
        json.dump({"until": time.time() + seconds, "segments": segments, "repository": str(repository)}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(index / KEEP)


def is_kept(index: Path, writer: str, number: int) -> bool:
    """Whether a segment is still to be backed up."""
    kept = _kept(index)
    return kept is not None and time.time() < kept.until and number > kept.segments.get(writer, 0)


def last_repository(index: Path) -> Path | None:
    """Where the last backup went; None where there was none, or it cannot be told."""
    kept = _kept(index)
    return None if kept is None else kept.repository


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the last backup left; ``until`` in unix seconds."""

    until: float
    segments: Mapping[str, int]
    repository: Path | None


def _kept(index: Path) -> _Kept | None:
    """The file's content; None without one, or where it is damaged: the next backup writes it anew."""
    try:
        found = json.loads((index / KEEP).read_text("ascii"))
        segments = {writer: int(number) for writer, number in found["segments"].items()}
        repository = found.get("repository")  # Earlier releases did not write it.
        return _Kept(float(found["until"]), segments, None if repository is None else Path(repository))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
