"""The layout of a backup repository on disk.

Invariants: a piece is named by its contents and never changed, so what a later backup shares with an earlier one lies there
once; a file gets its name only when it is whole and synced; a backup exists when its manifest does, which is
written last; one process changes a repository at a time; what no manifest names is removed by ``collect`` only.

``repository.json``; ``pieces/<2 hex>/<62 hex>``; ``backups/<label>.manifest`` and, in clear for removing without the key,
``backups/<label>.pieces``; ``tmp/`` for what is being written. Without encryption a piece is the octets themselves and its
name their SHA-256, and a manifest is JSON behind a line with its hash.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mailstead.store.backup.sealing import CHUNK, Sealer, SealError, Secret, new_key, open_key

REPOSITORY = "repository.json"
FORMAT = 1
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
MAX_MANIFEST = 1 << 30


class BackupError(Exception):
    """What an operator can do something about; the text is for him."""


class Damaged(BackupError):
    """Octets of the repository are missing or not what was written."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file: hash (SHA-256, hex) and octets."""

    sha256: str
    size: int


@dataclass(slots=True)
class FileEntry:
    """A file of the data directory. ``path`` is relative to it; ``kind``: segment, external, index, system or file; ``identity``
    tells whether it is still the same there; ``sealed``: a segment that its writer finished."""

    path: str
    kind: str
    size: int
    mode: int
    identity: list[int | str]
    pieces: list[Piece]
    sealed: bool = False


@dataclass(slots=True)
class Manifest:
    """A backup. Times are unix seconds; ``horizon``: the id up to which the log in it is whole; ``commits``: what each index
    held when it was copied."""

    label: str
    started: float
    finished: float
    horizon: int
    release: str
    shards: int
    full: bool
    files: list[FileEntry] = field(default_factory=list)
    commits: dict[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Octets of all its files."""
        return sum(entry.size for entry in self.files)

    def by_path(self) -> dict[str, FileEntry]:
        """Files by path."""
        return {entry.path: entry for entry in self.files}


def _manifest_of(table: dict[str, Any]) -> Manifest:
    files = [
        FileEntry(**{**entry, "pieces": [Piece(*piece) for piece in entry["pieces"]]})
        for entry in table.pop("files")
    ]  # fmt: skip
    for entry in files:
        if entry.path.startswith("/") or ".." in Path(entry.path).parts:
            raise Damaged(f"the manifest names a file outside of a data directory: {entry.path!r}")
    return Manifest(files=files, **table)


def checked_label(label: str) -> str:
    """Raises BackupError for what cannot name a backup."""
    if not _LABEL.fullmatch(label):
        raise BackupError("a label has 1 to 100 letters, digits and . _ @ + -, and begins with a letter or digit")
    return label


class Repository:
    """Use ``create`` or ``open``; ``close`` it. ``sealer`` is None without encryption (or without its key)."""

    def __init__(self, path: Path, how: dict[str, Any] | None, sealer: Sealer | None) -> None:
        self.path = path
        self.encrypted = how is not None
        self.sealer = sealer
        self._lock = -1
        self._touched: set[Path] = set()
        self._known: set[str] | None = None

    @classmethod
    def create(cls, path: Path, secret: Secret | None) -> Repository:
        """Make an empty one. Raises BackupError where there is something else."""
        if path.exists() and any(path.iterdir()):
            raise BackupError(f"{path} is neither empty nor a backup repository")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("pieces", "backups", "tmp"):
            (path / name).mkdir(mode=0o700, exist_ok=True)
        key, how = new_key(secret) if secret is not None else (b"", None)
        _write_whole(path / REPOSITORY, [json.dumps({"format": FORMAT, "encryption": how}, indent=1).encode()])
        return cls(path, how, Sealer(key) if how is not None else None)

    @classmethod
    def open(cls, path: Path, secret: Secret | None = None, *, keyless: bool = False) -> Repository:
        """Open an existing one; ``keyless`` for what needs no key (listing labels, removing). Raises BackupError."""
        try:
            table = json.loads((path / REPOSITORY).read_bytes())
            number, how = int(table["format"]), table["encryption"]
        except FileNotFoundError:
            raise BackupError(f"{path} is no backup repository") from None
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{path / 'repository.json'} is damaged: {error}") from None
        if number > FORMAT:
            raise BackupError(f"{path} was written by a newer release")
        if how is None:
            if secret is not None:
                raise BackupError(f"{path} is not encrypted; a repository is encrypted from its first backup on or not at all")
            return cls(path, None, None)
        if secret is None and not keyless:
            raise BackupError(f"{path} is encrypted; give --key-file or --passphrase-file")
        try:
            return cls(path, how, Sealer(open_key(secret, how)) if secret is not None else None)
        except SealError as error:
            raise BackupError(f"{path}: {error}") from None

    def lock(self) -> None:
        """Be the only one to change it, until ``close``. Raises BackupError."""
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup into {self.path} is running") from None
        for leftover in (self.path / "tmp").iterdir():  # of one that was killed
            leftover.unlink()

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -- pieces -----------------------------------------------------------------------------------------------

    def _name(self, sha256: str) -> str:
        return self.sealer.piece_name(bytes.fromhex(sha256)) if self.sealer is not None else sha256

    def piece_path(self, sha256: str) -> Path:
        """Where a piece lies."""
        name = self._name(sha256)
        return self.path / "pieces" / name[:2] / name[2:]

    def holds(self, piece: Piece) -> bool:
        """Whether a piece is there, by name and size."""
        try:
            return self.piece_path(piece.sha256).stat().st_size == self._stored_size(piece.size)
        except FileNotFoundError:
            return False

    def _stored_size(self, size: int) -> int:
        if self.sealer is None:
            return size
        from mailstead.store.backup.sealing import HEADER

        return HEADER + size + 16 * max(1, -(-size // CHUNK))

    def put(self, chunks: Iterable[bytes], *, anew: bool = False) -> Piece:
        """Store a piece and sync it, unless it is there (``anew``: even then). ``chunks`` have ``CHUNK`` octets each but for the
        last. Raises OSError."""
        digest = hashlib.sha256()
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        draft = self.path / "tmp" / f"{os.getpid()}.piece"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for octets in self.sealer.seal(counted(), "piece") if self.sealer is not None else counted():
                _write_all(fd, octets)
            piece = Piece(digest.hexdigest(), size)
            path = self.piece_path(piece.sha256)
            if not anew and self.holds(piece):
                draft.unlink()
                return piece
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        finally:
            os.close(fd)
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700)
            self._touched.add(path.parent.parent)
        draft.rename(path)
        self._touched.add(path.parent)
        return piece

    def read(self, piece: Piece) -> Iterator[bytes]:
        """The octets of a piece, held against its hash. Raises Damaged (also after octets that seemed right), OSError."""
        path = self.piece_path(piece.sha256)
        digest = hashlib.sha256()
        size = 0
        try:
            with open(path, "rb", buffering=0) as file:
                reader = partial(_read_full, file.fileno())
                source = self.sealer.open(reader, "piece") if self.sealer is not None else iter(lambda: reader(CHUNK), b"")
                for chunk in source:
                    digest.update(chunk)
                    size += len(chunk)
                    yield chunk
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except FileNotFoundError:
            raise Damaged(f"piece {path} is missing") from None
        except SealError as error:
            raise Damaged(f"piece {path}: {error}") from None
        if size != piece.size or digest.hexdigest() != piece.sha256:
            raise Damaged(f"piece {path} does not match its hash")

    # -- backups ----------------------------------------------------------------------------------------------

    def labels(self) -> list[str]:
        """Labels of all backups, the oldest first."""
        found = [(path.stat().st_mtime_ns, path.name[: -len(".manifest")]) for path in (self.path / "backups").glob("*.manifest")]
        return [label for _, label in sorted(found)]

    def write_manifest(self, manifest: Manifest) -> None:
        """Make a backup exist, everything it names durable before. Raises OSError."""
        for folder in sorted(self._touched, key=lambda path: -len(path.parts)):
            _sync_directory(folder)
        self._touched.clear()
        table = asdict(manifest)
        for entry in table["files"]:
            entry["pieces"] = [[piece["sha256"], piece["size"]] for piece in entry["pieces"]]
        octets = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
        names = sorted({self._name(piece.sha256) for entry in manifest.files for piece in entry.pieces})
        home = self.path / "backups"
        _write_whole(home / f"{manifest.label}.pieces", ["\n".join([*names, ""]).encode()])
        if self.sealer is not None:
            chunks = [octets[start : start + CHUNK] for start in range(0, len(octets), CHUNK)]
            _write_whole(home / f"{manifest.label}.manifest", self.sealer.seal(chunks, f"manifest {manifest.label}"))
        else:
            line = hashlib.sha256(octets).hexdigest().encode() + b"\n"
            _write_whole(home / f"{manifest.label}.manifest", [line, octets])

    def manifest(self, label: str) -> Manifest:
        """Raises BackupError where there is none, Damaged."""
        path = self.path / "backups" / f"{checked_label(label)}.manifest"
        try:
            with open(path, "rb", buffering=0) as file:
                if self.encrypted:
                    if self.sealer is None:
                        raise BackupError("the key is needed to read a manifest")
                    octets = b"".join(self.sealer.open(lambda n: _read_full(file.fileno(), n), f"manifest {label}"))
                else:
                    line, _, octets = _read_full(file.fileno(), MAX_MANIFEST).partition(b"\n")
                    if hashlib.sha256(octets).hexdigest().encode() != line:
                        raise Damaged(f"{path} does not match its hash")
            return _manifest_of(json.loads(octets))
        except FileNotFoundError:
            raise BackupError(f"there is no backup {label} in {self.path}") from None
        except SealError as error:
            raise Damaged(f"{path}: {error}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise Damaged(f"{path} is damaged: {error}") from None

    def manifests(self) -> list[Manifest]:
        """All that can be read, by the time they were made. Damaged ones are left out: ``verify`` names them."""
        found = []
        for label in self.labels():
            with contextlib.suppress(Damaged):
                found.append(self.manifest(label))
        return sorted(found, key=lambda one: one.started)

    def remove(self, label: str) -> None:
        """Let a backup go; its pieces go with ``collect``. Raises BackupError."""
        home = self.path / "backups"
        try:
            (home / f"{checked_label(label)}.manifest").unlink()
        except FileNotFoundError:
            raise BackupError(f"there is no backup {label} in {self.path}") from None
        (home / f"{label}.pieces").unlink(missing_ok=True)
        _sync_directory(home)

    def collect(self) -> tuple[int, int]:
        """Remove pieces that no backup names; returns how many, and their octets. Raises Damaged, and then nothing goes, where
        it is not known what a backup names."""
        named: set[str] = set()
        for label in self.labels():
            try:
                named.update((self.path / "backups" / f"{label}.pieces").read_text("ascii").split())
            except (FileNotFoundError, UnicodeDecodeError):
                if self.encrypted and self.sealer is None:
                    raise Damaged(f"the list of pieces of {label} is gone; give the key") from None
                named.update(self._name(piece.sha256) for entry in self.manifest(label).files for piece in entry.pieces)
        count = octets = 0
        for folder in (self.path / "pieces").iterdir():
            for path in folder.iterdir():
                if folder.name + path.name not in named:
                    octets += path.stat().st_size
                    path.unlink()
                    count += 1
        return count, octets


def _write_all(fd: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]


def _read_full(fd: int, length: int) -> bytes:
    """Up to ``length`` octets; fewer only at the end."""
    data = os.read(fd, min(length, 1 << 26))
    if len(data) == length or not data:
        return data
    parts, left = [data], length - len(data)
    while left and (data := os.read(fd, min(left, 1 << 26))):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def _write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    draft = path.with_name(f"{path.name}.part")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for chunk in chunks:
            _write_all(fd, chunk)
        os.fsync(fd)
    finally:
        os.close(fd)
    draft.rename(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
