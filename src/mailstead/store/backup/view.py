"""A backup as a state of the store at one time: which index copies and which parts of the log make it up.

Invariants: the index copies are older than the time, the log reaches to it, and nothing is missing between them, or it is
said; records younger than the time are left out; what is read is held against its hash before it is used.

Between two backups every time can be had: the index copies of the one before and the log of the one after.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailstead.store.backup.create import id_at
from mailstead.store.backup.repository import BackupError, FileEntry, Manifest, Repository
from mailstead.store.files import Files
from mailstead.store.ids import id_time
from mailstead.store.record import Record, Stream
from mailstead.store.recovery import writers_of
from mailstead.store.segment import scan, segment_numbers, segment_path


def shown(seconds: float) -> str:
    """A time in words, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@dataclass(frozen=True, slots=True)
class Point:
    """A state: ``base`` has the index copies, ``log`` the files of the log by path, ``horizon`` is the youngest id in it;
    ``exact``: a time between backups was asked for."""

    base: Manifest
    log: dict[str, FileEntry]
    horizon: int
    exact: bool

    @property
    def time(self) -> float:
        """Unix time."""
        return id_time(self.horizon)


def choose(repository: Repository, label: str = "", until: float | None = None) -> Point:
    """The state of a backup (the last one without a label), or at a time. Raises BackupError where the backups do not have it,
    Damaged."""
    known = repository.manifests()
    if label:
        end = repository.manifest(label)
    elif not known:
        raise BackupError(f"there is no backup in {repository.path} that can be read")
    elif until is None:
        end = known[-1]
    else:
        later = [one for one in known if one.horizon >= id_at(until)]
        if not later:
            raise BackupError(f"the last backup ends at {shown(id_time(known[-1].horizon))}")
        end = later[0]
    if until is None:
        return Point(end, _log_of([end]), end.horizon, exact=False)
    horizon = id_at(until)
    if horizon > end.horizon:
        raise BackupError(f"the backup {end.label} ends at {shown(id_time(end.horizon))}")
    earlier = [one for one in known if one.horizon <= horizon]
    if not earlier:
        raise BackupError(f"the backups begin at {shown(id_time(known[0].horizon))}")
    base = earlier[-1]
    log = _log_of([one for one in known if base.started <= one.started <= end.started])
    gap = _gap(base, log)
    if gap:
        raise BackupError(
            f"between the backups of {shown(base.finished)} and {shown(end.finished)} the log is not whole ({gap} is missing): "
            "only the times of the backups themselves can be restored"
        )
    return Point(base, log, horizon, exact=True)


def _log_of(manifests: list[Manifest]) -> dict[str, FileEntry]:
    """Files of the log in any of these, each as the one that knows most of it has it."""
    found: dict[str, FileEntry] = {}
    for manifest in manifests:
        for entry in manifest.files:
            if entry.kind in ("segment", "external"):
                known = found.get(entry.path)
                if known is None or entry.size >= known.size:
                    found[entry.path] = entry
    return found


def _gap(base: Manifest, log: dict[str, FileEntry]) -> str:
    """A segment that is missing after those that ``base`` has; "" for none."""
    last: dict[str, int] = {}
    for entry in base.files:
        if entry.kind == "segment":
            writer, number = _place(entry.path)
            last[writer] = max(last.get(writer, 0), number)
    numbers: dict[str, set[int]] = {}
    for path, entry in log.items():
        if entry.kind == "segment":
            writer, number = _place(path)
            numbers.setdefault(writer, set()).add(number)
    for writer, there in numbers.items():
        for number in range(last.get(writer, 0) + 1, max(there) + 1):
            if number not in there:
                return f"log/{writer}/{number:010d}.mlog"
    return ""


def _place(path: str) -> tuple[str, int]:
    _, writer, name = path.split("/")
    return writer, int(name.partition(".")[0])


def fetch(repository: Repository, entry: FileEntry, target: Path) -> None:
    """Write a file out of the repository, synced. Raises Damaged, OSError; then there is no such file."""
    target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.part")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for piece in entry.pieces:
            for chunk in repository.read(piece):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(fd, view) :]
        os.fchmod(fd, entry.mode & 0o770)
        os.fdatasync(fd)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    draft.rename(target)


def cut_log(log: Path, horizon: int, files: Files) -> bool:
    """Take away the records of a restored log that are younger than ``horizon``; whether there were any. Raises OSError."""
    cut = False
    for name in writers_of(log, files):
        behind: list[Path] = []
        for number in reversed(segment_numbers(files, log / name)):
            path = segment_path(log, name, number)
            offset, older = _first_younger(path, horizon, files)
            if offset >= 0:
                for later in behind:
                    files.unlink(later)
                behind.clear()
                fd = files.open(path, write=True)
                try:
                    files.truncate(fd, offset)
                    files.sync(fd)
                finally:
                    files.close(fd)
                cut = True
            if older:
                break
            behind.append(path)
    return cut


def _first_younger(path: Path, horizon: int, files: Files) -> tuple[int, bool]:
    """Where the first record of the durable stream younger than ``horizon`` begins (-1: none), and whether there is one that
    is not."""
    older = False
    fd = files.open(path)
    try:
        for item in scan(files, fd, path, verify_body=False):
            if isinstance(item, Record) and item.stream == Stream.DURABLE:
                if item.id > horizon:
                    return item.offset, older
                older = True
        return -1, older
    finally:
        files.close(fd)


class LogOfPoint(Files):
    """The log of a state, below ``log``: its files are brought from the repository when they are first opened."""

    def __init__(self, repository: Repository, point: Point, log: Path) -> None:
        self._repository = repository
        self._log = log
        self._entries = {path.removeprefix("log/"): entry for path, entry in point.log.items()}

    def bring(self, writers: bool = True) -> None:
        """Bring every segment, for who wants to cut the log."""
        for name, entry in self._entries.items():
            if entry.kind == "segment" and writers:
                self._bring(self._log / name, entry)

    def _bring(self, path: Path, entry: FileEntry) -> None:
        if path.exists():
            return
        if self._repository.sealer is None and len(entry.pieces) == 1 and entry.kind == "external":
            path.parent.mkdir(parents=True, exist_ok=True)
            for _ in self._repository.read(entry.pieces[0]):
                pass
            path.symlink_to(self._repository.piece_path(entry.pieces[0].sha256).resolve())
            return
        fetch(self._repository, entry, path)

    def open(self, path: Path, write: bool = False) -> int:
        if path.is_relative_to(self._log):
            entry = self._entries.get(str(path.relative_to(self._log)))
            if entry is not None:
                self._bring(path, entry)
        return super().open(path, write)
