"""Starting the server in this process: the right user, the lock, then supervisor or single process.

Invariants: privileges are dropped before anything in the data directory is opened; two servers never run on one
data directory.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from mailstead.process.application import StartError
from mailstead.process.bootstrap import Bootstrap
from mailstead.process.system import LEFT_SECONDS, drop_privileges, lock_data_directory, notify

#: Environment variable with the text to print when every process serves.
ANNOUNCEMENT = "MAILSTEAD_ANNOUNCEMENT"
CORE_DUMPS = "core-dumps"
DEFAULT_APPLICATION = "mailstead.process.node:Node"


def run(bootstrap: Bootstrap, workers: int, *, announcement: str = "", application: str = DEFAULT_APPLICATION) -> int:
    """Serve until told to stop; the exit status. Prints `announcement` when ready. Raises StartError.

    `workers` 0: everything in this process. Otherwise this process becomes the supervisor and does not return.
    """
    _check(bootstrap.data_dir)
    owner = os.stat(bootstrap.data_dir).st_uid
    if os.geteuid() == 0 and owner != 0 and bootstrap.user in ("", "root"):
        # Files that root makes here would be closed to whoever serves next time.
        raise StartError(f"{bootstrap.data_dir} belongs to user {owner}: name that user in mailstead.toml, or start as that user")
    if workers:
        arguments = [str(bootstrap.data_dir), bootstrap.user, str(workers), application]
        if bootstrap.core_dumps:
            arguments.append(CORE_DUMPS)
        os.environ[ANNOUNCEMENT] = announcement
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", "mailstead.process.supervisor", *arguments])
    drop_privileges(bootstrap.user, bootstrap.data_dir, core_dumps=bootstrap.core_dumps)
    lock = lock_data_directory(bootstrap.data_dir, LEFT_SECONDS)
    try:
        return _run_single(bootstrap.data_dir, application, announcement)
    finally:
        os.close(lock)


def _check(data_dir: Path) -> None:
    try:
        names = {entry.name for entry in os.scandir(data_dir)}
    except FileNotFoundError:
        raise StartError(f"the data directory {data_dir} does not exist; `mailstead init` makes one") from None
    except OSError as exc:
        raise StartError(f"cannot read the data directory {data_dir}: {exc.strerror}") from exc
    missing = sorted({"index", "log"} - names)
    if missing:
        raise StartError(f"{data_dir} is damaged or not a data directory: {' and '.join(missing)} missing")


def _run_single(data_dir: Path, application: str, announcement: str) -> int:
    import uvloop

    from mailstead.process.child import Child, load_application, prepare_process

    prepare_process()

    async def serve() -> None:
        child = Child(load_application(application), None, data_dir, "w0", 1, "single", 1, True)

        def ready() -> None:
            notify("READY=1\nSTATUS=Serving")
            if announcement:
                print(announcement, flush=True)

        child.on_ready = ready
        await child.run()
        notify("STOPPING=1")

    try:
        uvloop.run(serve())
    except asyncio.CancelledError:
        return 1
    return 0
