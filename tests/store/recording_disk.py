"""A disk that remembers what was synced, for simulated power cuts.

Every write, truncate, sync, create, unlink and rename of the log (``RecordingFiles``) and of SQLite (``RecordingVFS``)
goes into one list of events.  ``Disk.image(k, rng)`` builds what a machine might find after losing power at event k:
everything synced before is there; of what was not, each 512-octet sector is kept or dropped at random; a name that was
made but whose folder was not synced may be missing.
"""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import apsw

from mailstead.store.files import Files

SECTOR = 512


class Disk:
    """The events, and per path what an image needs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[tuple] = []
        self.lock = threading.Lock()
        self.ignore_syncs = False

    def note(self, *event: object) -> int:
        with self.lock:
            self.events.append(event)
            return len(self.events) - 1

    def relative(self, path: str | Path) -> str:
        return os.path.relpath(path, self.root)

    def image(self, cut: int, rng: random.Random, target: Path) -> None:
        """Build under ``target`` what a power cut before event ``cut`` may have left."""
        durable_until: dict[str, int] = {}
        named: dict[str, int] = {}
        gone: dict[str, int] = {}
        for number, event in enumerate(self.events[:cut]):
            kind = event[0]
            if kind == "synced" and not self.ignore_syncs:
                durable_until[event[1]] = max(durable_until.get(event[1], -1), event[2])
            elif kind == "directory" and not self.ignore_syncs:
                for path, at in list(named.items()):
                    if at >= 0 and at < event[2] and os.path.dirname(path) == event[1]:
                        named[path] = -1
                for path, at in list(gone.items()):
                    if at >= 0 and at < event[2] and os.path.dirname(path) == event[1]:
                        gone[path] = -1
            elif kind == "create":
                named[event[1]] = number
                gone.pop(event[1], None)
            elif kind == "unlink":
                gone[event[1]] = number
        contents: dict[str, bytearray] = {}
        keep_name: dict[str, bool] = {}
        for number, event in enumerate(self.events[:cut]):
            if event[0] not in ("create", "write", "truncate"):
                continue
            kind, path = event[0], event[1]
            if kind == "create":
                contents[path] = bytearray(event[2])
                keep_name[path] = named.get(path) == -1 or rng.random() < 0.5
            elif kind == "write":
                safe = number < durable_until.get(path, -1)
                self._write(contents.setdefault(path, bytearray()), event[2], event[3], safe, rng)
            elif number < durable_until.get(path, -1) or rng.random() < 0.5:  # truncate
                data = contents.setdefault(path, bytearray())
                del data[event[2] :]
                data.extend(bytes(event[2] - len(data)))
        for path, data in contents.items():
            if path in gone and (gone[path] == -1 or rng.random() < 0.5):
                continue
            if not keep_name.get(path, True):
                continue
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)

    @staticmethod
    def _write(data: bytearray, offset: int, piece: bytes, safe: bool, rng: random.Random) -> None:
        if safe:
            mode = 1.0
        else:
            mode = rng.choice((0.0, 0.0, 0.3, 0.7, 1.0))  # whole writes are lost or kept more often than torn
        if mode == 0.0:
            return
        if len(data) < offset + len(piece):
            data.extend(bytes(offset + len(piece) - len(data)))
        if mode == 1.0:
            data[offset : offset + len(piece)] = piece
            return
        position = 0
        while position < len(piece):
            end = min(len(piece), position + SECTOR - (offset + position) % SECTOR)
            if rng.random() < mode:
                data[offset + position : offset + end] = piece[position:end]
            position = end


class RecordingFiles(Files):
    """The log's files, recorded."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.paths: dict[int, str] = {}
        self.fail_syncs = 0

    def create(self, path: Path, size: int = 0) -> int:
        fd = super().create(path, size)
        self.paths[fd] = self.disk.relative(path)
        self.disk.note("create", self.paths[fd], size)
        return fd

    def open(self, path: Path, write: bool = False) -> int:
        fd = super().open(path, write)
        self.paths[fd] = self.disk.relative(path)
        return fd

    def writev(self, fd, buffers, offset):  # type: ignore[no-untyped-def]
        self.disk.note("write", self.paths[fd], offset, b"".join(buffers))
        return super().writev(fd, buffers, offset)

    def sync(self, fd: int) -> None:
        begun = len(self.disk.events)
        if self.fail_syncs:
            self.fail_syncs -= 1
            raise OSError(5, "simulated")
        super().sync(fd)
        self.disk.note("synced", self.paths[fd], begun)

    def truncate(self, fd: int, size: int) -> None:
        self.disk.note("truncate", self.paths[fd], size)
        super().truncate(fd, size)

    def unlink(self, path: Path) -> None:
        self.disk.note("unlink", self.disk.relative(path))
        super().unlink(path)

    def sync_directory(self, path: Path) -> None:
        begun = len(self.disk.events)
        super().sync_directory(path)
        self.disk.note("directory", self.disk.relative(path), begun)


class RecordingVFS(apsw.VFS):
    """SQLite's files, recorded. Its name is registered with SQLite for this test alone."""

    def __init__(self, name: str, disk: Disk) -> None:
        self.disk = disk
        super().__init__(name, "")
        self.name = name
        self.seen: set[str] = set()

    def xOpen(self, name, flags):  # type: ignore[no-untyped-def]
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        new = path is not None and not os.path.exists(path)
        file = RecordingVFSFile(name, flags, self.disk, path)
        if new and path is not None:
            self.disk.note("create", self.disk.relative(path), 0)
        return file

    def xDelete(self, filename, sync):  # type: ignore[no-untyped-def]
        self.disk.note("unlink", self.disk.relative(filename))
        return super().xDelete(filename, sync)


class RecordingVFSFile(apsw.VFSFile):
    def __init__(self, name, flags, disk: Disk, path: str | None) -> None:  # type: ignore[no-untyped-def]
        super().__init__("", name, flags)
        self.disk = disk
        self.path = disk.relative(path) if path else None

    def xWrite(self, data, offset):  # type: ignore[no-untyped-def]
        if self.path:
            self.disk.note("write", self.path, offset, bytes(data))
        return super().xWrite(data, offset)

    def xTruncate(self, size):  # type: ignore[no-untyped-def]
        if self.path:
            self.disk.note("truncate", self.path, size)
        return super().xTruncate(size)

    def xSync(self, flags):  # type: ignore[no-untyped-def]
        begun = len(self.disk.events)
        super().xSync(flags)
        if self.path:
            self.disk.note("synced", self.path, begun)
            if self.path.endswith(("-wal", "-journal")):  # SQLite syncs the folder with the first sync of these
                self.disk.note("directory", os.path.dirname(self.path), begun)
        return True
