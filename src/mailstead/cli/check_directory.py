"""The data directory as the system sees it: room, owners and modes; and how many files the server may open."""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from mailstead.backup_mount.mount_point import mounted
from mailstead.cli.bootstrap_option import remedy_for_root, serves_as_root
from mailstead.cli.finding import OK, PROBLEM, WARNING, Finding
from mailstead.process.bootstrap import Bootstrap
from mailstead.store.abandoned import is_locked

LOW_SPACE = 1 << 30
WANTED_FILES = 16_384
_MORE_ROOM = (
    "make room: remove old log files and backups, give back deleted mail earlier (`mailstead setting set server retentionDays 1`, "
    "COMPACT ServerStorage forced in CONFIG SERVER), or give the data a larger disk"
)
_MAKE_ROOM = {
    "backups": "`mailstead backup purge DIRECTORY --keep 7`, or give the backups a larger disk",
    "log files": "remove old log files, SET fileCount in the rules of CONFIG LOG, or name a directory on a larger disk (log.path)",
}


def room(directories: Iterable[tuple[str, Path]]) -> Iterator[Finding]:
    """Of each file system once: what lies there (for the operator), and where."""
    seen: set[int] = set()
    for what, path in directories:
        try:
            device = os.stat(path).st_dev
            usage, status = shutil.disk_usage(path), os.statvfs(path)
        except OSError:
            continue  # not made yet, or not mounted
        if device in seen:
            continue
        seen.add(device)
        free = f"{_size(usage.free)} of {_size(usage.total)} free{what and f' for {what}'}"
        severity = PROBLEM if usage.free < LOW_SPACE // 8 else WARNING if usage.free < LOW_SPACE else OK
        yield Finding(severity, "disk", free, _MAKE_ROOM.get(what, _MORE_ROOM) if severity else "")
        if status.f_files and status.f_favail < 10_000:
            fix = "remove files nobody needs, or make the file system anew with more"
            yield Finding(WARNING, "disk", f"only {status.f_favail} inodes free{what and f' for {what}'}", fix)


def _size(octets: int) -> str:
    return f"{octets / (1 << 30):.1f} GB" if octets >= 1 << 30 else f"{octets >> 20} MB"


def rights(bootstrap: Bootstrap) -> Iterator[Finding]:
    """Owners and modes of what lies in the data directory."""
    owner = os.stat(bootstrap.data_dir).st_uid
    name = bootstrap.user
    if name:
        try:
            wanted = pwd.getpwnam(name).pw_uid
        except KeyError:
            fix = f"useradd --system {name}, or name another user in mailstead.toml"
            yield Finding(PROBLEM, "user", f"the user {name!r} of mailstead.toml does not exist", fix)
            return
        if wanted != owner:
            fix = f"chown -R {name} {bootstrap.data_dir}"
            yield Finding(PROBLEM, "rights", f"{bootstrap.data_dir} does not belong to {name}", fix)
            return
    if serves_as_root(bootstrap):
        yield Finding(WARNING, "user", "the server runs as root", remedy_for_root(bootstrap))
    odd, closed = _wrong_rights(bootstrap.data_dir, owner)
    if odd:
        fix = f"chown -R {pwd_name(owner)} {bootstrap.data_dir}"
        yield Finding(PROBLEM, "rights", f"{_and_more(odd)} belong to another user than {pwd_name(owner)}", fix)
    elif os.geteuid() not in (0, owner):
        yield Finding(PROBLEM, "rights", f"you are not the owner of {bootstrap.data_dir}", "run this as root or as the owner")
    else:
        yield Finding(OK, "rights", "all files belong to the owner of the data directory")
    if closed:
        text = f"{_and_more(closed)} are closed to {pwd_name(owner)}, whom they belong to"
        yield Finding(PROBLEM, "rights", text, f"chmod -R u+rwX {bootstrap.data_dir}")
    if os.stat(bootstrap.data_dir).st_mode & 0o007:
        text = f"{bootstrap.data_dir} is open to every user of this machine"
        yield Finding(WARNING, "rights", text, f"chmod o-rwx {bootstrap.data_dir}")


def _wrong_rights(data_dir: Path, owner: int) -> tuple[list[Path], list[Path]]:
    """What belongs to somebody else, and what its owner can neither read nor write: two levels deep, and files of the log."""
    odd, closed = [], []
    mounts = mounted(data_dir)  # not to be looked at: closed to root, or without an answer
    for path in (data_dir, *data_dir.glob("*"), *data_dir.glob("*/*"), *data_dir.glob("log/*/*"), *data_dir.glob("index/*/*")):
        if str(path) in mounts:
            continue
        try:
            status = path.lstat()
        except OSError:
            continue  # gone meanwhile, or below a directory that is closed and told
        if status.st_uid != owner:
            odd.append(path)
        wanted = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600 if path.parent.name == "index" else 0o400
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & wanted != wanted:
            closed.append(path)
    return odd, closed


def _and_more(paths: list[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def open_files(data_dir: Path, *, running: bool) -> Iterator[Finding]:
    """The limit of the running server, which may be another than that of who asks; of him where none runs."""
    pid = 0
    if running:
        with contextlib.suppress(OSError, ValueError):
            pid = server_process(data_dir)
    try:
        hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    except (OSError, ValueError):  # of another user
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    unlimited = hard == resource.RLIM_INFINITY
    text = "unlimited" if unlimited else f"at most {hard}; each connection needs one"
    enough = unlimited or hard >= WANTED_FILES
    fix = f"LimitNOFILE={WANTED_FILES} in the service's unit, or `ulimit -n {WANTED_FILES}` by root in front of the start"
    yield Finding(OK if enough else WARNING, "open files", text, "" if enough else fix)


def pwd_name(uid: int) -> str:
    """A user's name, or number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

def is_running(data_dir: Path) -> bool:
    """Whether a server has the data directory."""
    try:
        return is_locked(data_dir / "run" / "mailstead.lock")
    except OSError:
        return False  # closed to us


def server_process(data_dir: Path) -> int:
    """The number of the running server's main process. Raises OSError, ValueError."""
    return int((data_dir / "run" / "mailstead.lock").read_text())
