"""Making a backup, beside a running server or without one.

Invariants: first every index is copied as it stood at one commit, then the log, so that what an index lacks of the log is in
the log; the *horizon* lies between the two: everything that was acknowledged before it is in the backup, and what has a
younger id is left out when it is restored, because what depends on it may be missing; the manifest comes last.

A segment that its writer finished and a body in a file of its own never change, so they are taken from the backup before where
path, size, time and first octets are the same. Index files are stored in pieces of 4 MB, of which the unchanged are shared.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from mailstead.store.backup.hold import hold, keep_younger
from mailstead.store.backup.repository import BackupError, FileEntry, Manifest, Piece, Repository, checked_label
from mailstead.store.backup.sealing import CHUNK
from mailstead.store.files import Files
from mailstead.store.fsck import index_numbers
from mailstead.store.ids import EPOCH, WRITER_BITS, WRITER_MASK
from mailstead.store.operations import QUEUE_SHARDS
from mailstead.store.record import Record
from mailstead.store.recovery import missing_indexes, writers_of
from mailstead.store.segment import is_sealed, scan, segment_numbers, segment_path
from mailstead.store.shard import shard_path

INDEX_PIECE = 4 * CHUNK
_STEP_PAGES = 500
_HEAD = 4096
KEEP_SECONDS = 2 * 86_400.0
#: Parts of a data directory that are not backed up, or in their own way.
_LEFT_OUT = {"log", "index", "run", "tmp", "logs", "mailstead.toml"}
_SECRETS = ("keys", "certs", "letsencrypt")


def id_at(seconds: float) -> int:
    """The greatest id that can have been given up to then (unix time)."""
    return max(0, int(seconds * 1_000_000) - EPOCH) << WRITER_BITS | WRITER_MASK


class Throttle:
    """Holds a copy to ``rate`` octets a second; 0 for no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._began = time.monotonic()
        self._octets = 0

    def passed(self, octets: int) -> None:
        """Wait as long as so many octets are ahead of their time."""
        self._octets += octets
        if self._rate:
            ahead = self._octets / self._rate - (time.monotonic() - self._began)
            if ahead > 0:
                time.sleep(ahead)


@dataclass(slots=True)
class Made:
    """What a backup took: ``copied`` octets and files were read, the rest shared with backups before."""

    manifest: Manifest
    copied: int = 0
    files: int = 0
    shared: int = 0
    seconds: float = 0.0


class _Maker:
    def __init__(self, data_dir: Path, repository: Repository, manifest: Manifest, before: Manifest | None, rate: float) -> None:
        self.data_dir = data_dir
        self.repository = repository
        self.made = Made(manifest)
        self._known = before.by_path() if before is not None and not manifest.full else {}
        self._full = manifest.full
        self._throttle = Throttle(rate)
        self._files = Files()

    # -- files ------------------------------------------------------------------------------------------------

    def add(self, path: str, source: Path, kind: str, *, size: int = -1, sealed: bool = False, stays: bool = False) -> bool:
        """Take in a file, up to ``size``; one that ``stays`` as it is comes from the backup before where it is known. False:
        it has gone meanwhile."""
        try:
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            status = os.fstat(fd)
            length = status.st_size if size < 0 else size
            head = hashlib.sha256(os.pread(fd, min(_HEAD, length), 0)).hexdigest() if stays else ""
            identity: list[int | str] = [status.st_mtime_ns, head]
            known = self._known.get(path)
            if (
                stays
                and known is not None
                and (known.size, known.identity, known.sealed) == (length, identity, sealed)
                and all(self.repository.holds(piece) for piece in known.pieces)
            ):
                self.made.manifest.files.append(known)
                self.made.shared += length
                return True
            pieces: list[Piece] = []
            step = INDEX_PIECE if kind in ("index", "system") else max(length, 1)
            for start in range(0, length, step):
                pieces.append(self.repository.put(self._read(fd, start, min(start + step, length)), anew=self._full))
            entry = FileEntry(path, kind, sum(piece.size for piece in pieces), status.st_mode & 0o777, identity, pieces, sealed)
            self.made.manifest.files.append(entry)
            self.made.copied += entry.size
            self.made.files += 1
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return True
        finally:
            os.close(fd)

    def _read(self, fd: int, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            octets = os.pread(fd, min(CHUNK, end - start), start)
            if not octets:
                return
            while len(octets) < min(CHUNK, end - start) and (more := os.pread(fd, CHUNK - len(octets), start + len(octets))):
                octets += more
            yield octets
            start += len(octets)
            self._throttle.passed(len(octets))

    # -- indexes ----------------------------------------------------------------------------------------------

    def indexes(self) -> None:
        """Each index file as it stands at one commit, and the system database."""
        index = self.data_dir / "index"
        workshop = index / "backup"
        workshop.mkdir(mode=0o700, exist_ok=True)
        for leftover in workshop.iterdir():
            leftover.unlink()
        try:
            for number in index_numbers(index):
                source = shard_path(index, number)
                draft = workshop / source.name
                commit = self._copy_database(source, draft, "SELECT commit_seq FROM state")
                self.add(f"index/{source.name}", draft, "index")
                self.made.manifest.commits[source.stem] = commit
                draft.unlink()
            draft = workshop / "system.db"
            self._copy_database(index / "system.db", draft, "SELECT 0")
            self.add("index/system.db", draft, "system")
            draft.unlink()
        finally:
            for leftover in workshop.iterdir():
                leftover.unlink()
            workshop.rmdir()

    def _copy_database(self, source: Path, target: Path, question: str) -> int:
        if not source.exists():
            raise BackupError(f"{source} is missing; `mailstead fsck` says what to do")
        connection = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.execute("PRAGMA query_only=1")
            connection.set_busy_timeout(30_000)
            connection.execute("BEGIN")
            row: Any = connection.execute(question).fetchone()
            _sync_wal(source)  # a commit that a power cut may yet take back must not be in a backup
            os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            copy = apsw.Connection(str(target))
            try:
                copy.execute("PRAGMA synchronous=OFF")
                with copy.backup("main", connection, "main") as backup:
                    while not backup.done:
                        backup.step(_STEP_PAGES)
                        self._throttle.passed(_STEP_PAGES * 4096)
                self._throttle.passed(0)
            finally:
                copy.close()
            connection.execute("COMMIT")
            return int(row[0])
        finally:
            connection.close()

    # -- log --------------------------------------------------------------------------------------------------

    def youngest(self) -> int:
        """The youngest id in the log, for a clock that was set back since."""
        log, found = self.data_dir / "log", 0
        for name in writers_of(log, self._files):
            numbers = segment_numbers(self._files, log / name)
            if numbers:
                found = max(found, _end_of(self._files, segment_path(log, name, numbers[-1]))[1])
        return found

    def log(self) -> dict[str, int]:
        """Every segment up to its end, then bodies in files of their own; per writer the last segment that is finished."""
        log = self.data_dir / "log"
        finished: dict[str, int] = {}
        writers = writers_of(log, self._files)
        for name in writers:
            for number in segment_numbers(self._files, log / name):
                path = segment_path(log, name, number)
                sealed = is_sealed(self._files, path)
                size = -1 if sealed else _end_of(self._files, path)[0]
                self.add(f"log/{name}/{path.name}", path, "segment", size=size, sealed=sealed, stays=sealed)
                if sealed:
                    finished[name] = number
        for name in writers:
            try:
                bodies = sorted(entry.name for entry in os.scandir(log / name / "x") if entry.name.endswith(".mext"))
            except FileNotFoundError:
                continue
            for body in bodies:
                self.add(f"log/{name}/x/{body}", log / name / "x" / body, "external", stays=True)
        return finished

    def rest(self, bootstrap: Path | None) -> list[str]:
        """Keys, certificates and what else lies in the data directory; returns what of it is secret."""
        if bootstrap is not None and bootstrap.exists():
            self.add("mailstead.toml", bootstrap, "file")
        secret = []
        for top in sorted(self.data_dir.iterdir()):
            if top.name in _LEFT_OUT or top.name.startswith(".") or ".log" in top.name or top.is_symlink():
                continue
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                if path.is_file() and not path.name.endswith(".part"):
                    name = str(path.relative_to(self.data_dir))
                    self.add(name, path, "file")
                    if name.split("/")[0] in _SECRETS:
                        secret.append(name)
        return secret


def create_backup(
    data_dir: Path,
    repository: Repository,
    *,
    label: str = "",
    full: bool = False,
    rate: float = 0.0,
    release: str = "",
    shards: int = 1,
    bootstrap: Path | None = None,
    keep_seconds: float = KEEP_SECONDS,
    told: Callable[[str], None] = lambda _: None,
) -> Made:
    """Make a backup into a repository that this process holds the lock of. Blocking; low in the order of the processor and disk
    where the caller made it so.

    ``rate``: octets a second, 0 for no limit; ``full``: read and write everything anew; ``keep_seconds``: how long compaction
    keeps what the next backup needs for every point in time. Raises BackupError, OSError, apsw errors.
    """
    began = time.monotonic()
    started = time.time()
    label = checked_label(label or time.strftime("%Y%m%d-%H%M%S", time.gmtime(started)))
    if label in repository.labels():
        raise BackupError(f"there is a backup {label} already")
    missing = missing_indexes(data_dir, [*range(shards), QUEUE_SHARDS])
    if missing:
        names = ", ".join(shard_path(data_dir / "index", number).name for number in missing)
        raise BackupError(f"missing in the index: {names}; start the server, which builds them anew from the log")
    before = repository.manifests()
    manifest = Manifest(label, started, 0.0, 0, release, shards, full or not before)
    maker = _Maker(data_dir, repository, manifest, before[-1] if before else None, rate)
    with hold(data_dir / "index"):
        told("copying the indexes")
        maker.indexes()
        manifest.horizon = max(id_at(time.time()), maker.youngest())
        told("copying the log")
        finished = maker.log()
        secret = maker.rest(bootstrap)
        if secret and not repository.encrypted:
            told(
                f"WARNING: the backup is not encrypted and holds {len(secret)} files with keys, and password hashes; only "
                f"{repository.path}'s owner may read it"
            )
        manifest.finished = time.time()
        repository.write_manifest(manifest)
        keep_younger(data_dir / "index", finished, keep_seconds, repository.path)
    maker.made.seconds = time.monotonic() - began
    return maker.made


def _sync_wal(path: Path) -> None:
    try:
        fd = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _end_of(files: Files, path: Path) -> tuple[int, int]:
    """Where the last valid record of a segment ends, and the youngest id in it."""
    end = youngest = 0
    fd = files.open(path)
    try:
        for item in scan(files, fd, path, verify_body=False):
            if isinstance(item, Record):
                end, youngest = item.end, max(youngest, item.id)
        return end, youngest
    finally:
        files.close(fd)


__all__ = ["KEEP_SECONDS", "Made", "Throttle", "create_backup", "id_at"]
