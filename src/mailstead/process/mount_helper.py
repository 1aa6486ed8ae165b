"""The process of one mount of the tree of backups; started by process.mounts.

    python -m mailstead.process.mount_helper DATA_DIR MOUNT_POINT SOURCE RELEASE

Invariants: it ends when its standard input does, and the mount with it, so neither outlives who started it; it may be killed at
any moment, for what it restores is durable before it is acknowledged, as in a worker; nobody who is slow in reading the mount,
or stops, holds another process; it does not start where the program was replaced under a running server.

The first line of its input is what to mount (backup_mount.view.Mounted, and ``others``: whether other users may read it), JSON.
It says `{"mounted": true}` once the kernel has the mount, or `{"failed": text}`.

FUSE has the main thread and threads of its own, an event loop in another has the services. It restores over a log of its own:
one of the writers c1, c2 ..., which is locked as long as it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailstead.backup_mount.mount_point import detach
from mailstead.backup_mount.view import Mounted, View
from mailstead.directory.service import Directory
from mailstead.mailbox.service import Mailbox
from mailstead.observe.log import bridge_standard_logging, configure_from_environment, fault, get_logger
from mailstead.process.release import release
from mailstead.store.abandoned import writer_lock
from mailstead.store.service import Store

log = get_logger("FTP-BACKUP")
MOST = 16
"""Mounts at a time."""
NICE = 5
END_SECONDS = 3.0
"""How long whoever still reads is waited for."""
THREADS = 8


@dataclass(slots=True)
class Services:
    """What the tree needs."""

    directory: Directory
    mailbox: Mailbox
    store: Store


def _tell(**value: Any) -> None:
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(value, ensure_ascii=False).encode() + b"\n")


def _request() -> dict[str, Any]:
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            sys.exit(1)
        line += piece
    found: dict[str, Any] = json.loads(line)
    return found


def _lock(data_dir: Path) -> str:
    """The name of a writer that is ours as long as we live. Raises OSError."""
    for number in range(1, MOST + 1):
        fd = os.open(writer_lock(data_dir, f"c{number}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return f"c{number}"
        except BlockingIOError:
            os.close(fd)
    raise OSError(f"there are {MOST} mounts already")


class Host:
    """The services in the thread of an event loop."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.loop = asyncio.new_event_loop()
        self.services: Services
        self._thread = threading.Thread(target=self._run, name="services", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self.loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _open(self) -> None:
        directory = Directory.open(self._data_dir)
        store = await Store.open(self._data_dir, _lock(self._data_dir), directory.shard_count(), prepared=True)
        self.services = Services(directory, Mailbox(store, directory, directory), store)
        self._watch = self.loop.create_task(self._end_with_the_store())

    async def _end_with_the_store(self) -> None:
        await self.services.store.broken.wait()
        log.critical("the log cannot be written: the mount ends")
        os.kill(os.getpid(), signal.SIGKILL)

    def close(self) -> None:
        """Make everything durable and let go."""

        async def end() -> None:
            self._watch.cancel()
            await self.services.store.close()
            self.services.directory.close()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(END_SECONDS * 3)


def main() -> None:
    """Entry of the process."""
    data_dir, point, source, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    configure_from_environment("mount")
    bridge_standard_logging()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    if wanted != release():
        _tell(failed="another release of Mailstead is installed than the one that runs: restart the server")
        sys.exit(4)
    request = _request()
    others = bool(request.pop("others"))
    what = Mounted(**{**request, "root": tuple(request["root"])})
    os.environ["FUSE_LIBRARY_NAME"] = "fuse3"
    try:
        import mfusepy

        from mailstead.backup_mount.operations import MountOperations

        host = Host(data_dir)
    except (ImportError, OSError) as error:
        _tell(failed=str(error))
        sys.exit(1)
    except Exception as error:
        _tell(failed=f"the mail cannot be opened, reference {fault(log, 'a mount failed to start', error)}")
        sys.exit(1)
    ended = threading.Event()

    class Operations(MountOperations, mfusepy.Operations):  # type: ignore[misc]
        """With what the library does for an operation that is not ours."""

    operations = Operations(
        View(host.services, what), host.loop, lambda: host.services.store.full, lambda: _tell(mounted=True)
    )  # fmt: skip
    threading.Thread(target=_end_with_the_parent, args=(point, host, ended), daemon=True).start()
    options: dict[str, Any] = {"fsname": source, "subtype": "mailstead", "default_permissions": True, "allow_other": others}
    if (mfusepy.fuse_version_major, mfusepy.fuse_version_minor) >= (3, 12):
        options["max_threads"] = THREADS
    if what.since:
        options["ro"] = True
    status = 0
    try:
        mfusepy.FUSE(operations, str(point), foreground=True, **options)
    except RuntimeError as error:
        _tell(failed=f"FUSE could not mount ({error})")
        status = 1
    ended.set()
    host.close()
    os._exit(status)


def _end_with_the_parent(point: Path, host: Host, ended: threading.Event) -> None:
    """Standard input ends when the parent does, or wants it."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    if ended.is_set():
        return
    detach(point)
    if not ended.wait(END_SECONDS):
        # Somebody has a file open: the kernel tells him when we are gone.
        with contextlib.suppress(Exception):
            host.close()
        os._exit(0)


if __name__ == "__main__":
    main()
