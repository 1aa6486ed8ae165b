"""The bundle for whoever helps an operator: what surrounds the server, without secrets.

Invariants: no secret that the server knows is in it, wherever it stands, neither as text nor as its hash or key; nobody but its
owner can read the file, and one that is there is not overwritten; what cannot be gathered is told in the bundle.
"""

from __future__ import annotations

import io
import json
import os
import platform
import resource
import tarfile
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from mailstead import __version__
from mailstead.cli.check_directory import is_running
from mailstead.cli.checks import check_all, findings_json
from mailstead.cli.support_secrets import Cleaner, known_secrets
from mailstead.directory.configuration import as_toml, read_configuration
from mailstead.directory.service import Directory
from mailstead.observe.metrics import exposition
from mailstead.process.bootstrap import Bootstrap
from mailstead.store.statistics import storages, use_by_owner

TAIL = 512 << 10
MAX_FILES = 30


class SupportError(Exception):
    """The bundle cannot be written; the text is for the operator."""


def write_bundle(bootstrap: Bootstrap, target: Path | None, *, network: bool = True) -> Path:
    """Write the bundle; its path. Raises SupportError, StartError."""
    path = target or Path(f"mailstead-support-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    members = gather(bootstrap, network=network)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
            now = int(time.time())
            for name, octets in members:
                info = tarfile.TarInfo(f"mailstead-support/{name}")
                info.size, info.mtime, info.mode = len(octets), now, 0o600
                archive.addfile(info, io.BytesIO(octets))
    except OSError as error:
        raise SupportError(f"{path} cannot be written: {error.strerror}") from error
    return path


def gather(bootstrap: Bootstrap, *, network: bool = True) -> list[tuple[str, bytes]]:
    """Name and content of each member, secrets removed. Raises SystemDatabaseError."""
    data_dir = bootstrap.data_dir
    directory = Directory.open(data_dir, shards=1)
    try:
        clean = Cleaner(known_secrets(directory.settings, data_dir))
        parts: list[tuple[str, Callable[[], str]]] = [
            ("configuration.toml", lambda: as_toml(read_configuration(directory.database), ())),
            ("mailstead.toml", lambda: (data_dir / "mailstead.toml").read_text()),
            ("doctor.json", lambda: findings_json(list(check_all(bootstrap, network=network)))),
            ("versions.json", lambda: _json(versions())),
            ("system.json", lambda: _json(system_facts(data_dir))),
            ("store.json", lambda: _json(store_facts(data_dir, directory))),
            ("metrics.txt", lambda: exposition(data_dir / "run" / "metrics").decode()),
        ]
        logs = data_dir / str(directory.settings.service("log").path)
        for path in _newest(logs.glob("*.txt")):
            parts.append((f"logs/{path.name}", lambda path=path: tail(path)))  # type: ignore[misc]
        for path in _newest(data_dir.glob("*.log")):
            parts.append((f"logs/{path.name}", lambda path=path: tail(path)))  # type: ignore[misc]
        return [(name, clean(_or_reason(make)).encode("utf-8", "backslashreplace")) for name, make in parts]
    finally:
        directory.close()


def _newest(paths: Iterable[Path]) -> list[Path]:
    found = [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found, key=lambda path: -path.stat().st_mtime)[:MAX_FILES]


def _or_reason(make: Callable[[], str]) -> str:
    try:
        return make()
    except Exception as error:  # whatever is broken is why the bundle is made
        return f"could not be gathered: {type(error).__name__}: {error}\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def tail(path: Path) -> str:
    """The last TAIL octets of a file, by whole lines."""
    with open(path, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - TAIL))
        octets = stream.read(TAIL)
    if size > TAIL:
        octets = octets.partition(b"\n")[2]
    return octets.decode("utf-8", "replace")


# -- figures ---------------------------------------------------------------------------------------------------------------


def versions() -> dict[str, Any]:
    """Of the server, the interpreter, and all that is installed beside it."""
    import ssl

    import apsw

    libraries = {one.metadata["Name"]: one.version for one in metadata.distributions() if one.metadata["Name"]}
    return {
        "mailstead": __version__, "python": platform.python_version(), "implementation": platform.python_implementation(),
        "openssl": ssl.OPENSSL_VERSION, "sqlite": apsw.sqlite_lib_version(), "libraries": dict(sorted(libraries.items())),
    }  # fmt: skip


def system_facts(data_dir: Path) -> dict[str, Any]:
    """Of the machine; neither its processes nor its environment."""
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(data_dir))
    uname = platform.uname()
    mounts = sorted(psutil.disk_partitions(all=True), key=lambda one: -len(one.mountpoint))
    mount = next((one for one in mounts if str(data_dir.resolve()).startswith(one.mountpoint)), None)
    return {
        "system": uname.system, "release": uname.release, "version": uname.version, "machine": uname.machine,
        "processors": os.cpu_count(), "usable": len(os.sched_getaffinity(0)), "load": os.getloadavg(), "boot": psutil.boot_time(),
        "memory": {"total": memory.total, "available": memory.available, "swap": psutil.swap_memory().total},
        "disk": {"total": disk.total, "free": disk.free, "fileSystem": mount.fstype if mount else ""},
        "limits": {"openFiles": resource.getrlimit(resource.RLIMIT_NOFILE), "processes": resource.getrlimit(resource.RLIMIT_NPROC)},
        "running": is_running(data_dir), "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }  # fmt: skip


def store_facts(data_dir: Path, directory: Directory) -> dict[str, Any]:
    """Sizes and counts, without names of accounts."""
    use = [one for number in range(directory.shard_count()) for one in use_by_owner(data_dir, number).values()]
    return {
        "domains": len(directory.domains()), "accounts": directory.account_count(), "mailboxes": len(use),
        "messages": sum(one.messages for one in use), "octets": sum(one.octets for one in use),
        "folders": sum(one.folders for one in use), "largestMailbox": max((one.octets for one in use), default=0),
        "storages": [{"name": one.name, "octets": one.octets, "files": one.files} for one in storages(data_dir)],
    }  # fmt: skip
