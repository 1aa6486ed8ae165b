"""The operating system's side of a process: lock file, privileges, allocator, limits, service manager.

Invariants: one data directory has one running server; after `drop_privileges` nothing but the right to bind low
ports is left, and no child inherits even that.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pwd
import resource
import socket
import time
from pathlib import Path

from mailstead.process.application import StartError
from mailstead.store.abandoned import begin_unprepared

LEFT_SECONDS = 30.0
"""Longer than the processes of a server that was killed go on: see child.STOP_SECONDS."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_SET_NAME, _PR_SET_NO_NEW_PRIVS = 4, 8, 15, 38
_CAP_NET_BIND_SERVICE = 1 << 10
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


def tune_allocator() -> None:
    """Keep freed blocks of up to 4 MB in the heap: TLS and message buffers come and go at that size, and mapping
    and unmapping each of them costs more than the encryption."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 4 * 1024 * 1024)
        libc.mallopt(_M_TRIM_THRESHOLD, 16 * 1024 * 1024)
    except (OSError, AttributeError):
        pass  # not glibc: only slower


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one; the limit then in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1_048_576
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass  # not permitted: `doctor` reports the limit
    return soft


def lock_data_directory(data_dir: Path, patience: float = 0.0) -> int:
    """Take the lock of the data directory for as long as this process lives, and those it forks; returns the descriptor.

    ``patience``: seconds for which processes are waited for that a server which was killed has left. Raises StartError when
    another server holds it, or the directory cannot be written.
    """
    run = data_dir / "run"
    try:
        run.mkdir(mode=0o750, exist_ok=True)
        fd = os.open(run / "mailstead.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as exc:
        raise StartError(f"no right to write in {run}: {exc.strerror}") from exc
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            left = pid.isdigit() and not Path(f"/proc/{pid}").exists()
            if left and time.monotonic() < end:
                time.sleep(0.1)
                continue
            os.close(fd)
            owner = f" (process {pid})" if pid else ""
            if left:
                raise StartError(f"processes that a killed Mailstead{owner} left are running on {data_dir}") from None
            raise StartError(f"another Mailstead{owner} is running on {data_dir}") from None
    try:
        begin_unprepared(data_dir)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as exc:
        os.close(fd)
        raise StartError(f"no right to write in {run}: {exc.strerror}") from exc
    return fd


def drop_privileges(user: str, data_dir: Path, *, core_dumps: bool = False) -> None:
    """Become `user`, keeping only the right to bind low ports; nothing happens when not root. Raises StartError.

    ``core_dumps``: the kernel may write this process's memory, which holds keys and passwords, to a core file, and `user` may look
    into it; else nobody but root may (prctl(2), PR_SET_DUMPABLE). It holds for what is forked from here, too.
    """
    if os.geteuid() != 0 or not user or user == "root":
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise StartError(f"the user {user!r} of mailstead.toml does not exist") from None
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0:
        raise StartError("cannot keep the right to bind low ports")
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    _keep_capabilities(libc, _CAP_NET_BIND_SERVICE)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if core_dumps:
        libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        raise StartError(f"the user {user} has no right to write in {data_dir}")


def give_up_low_ports() -> None:
    """In a child of the supervisor: keep no right of its own; root stays root. Raises StartError."""
    if os.geteuid() != 0:
        _keep_capabilities(ctypes.CDLL(None, use_errno=True), 0)


def _keep_capabilities(libc: ctypes.CDLL, kept: int) -> None:
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    if libc.capset(header, data) != 0:
        raise StartError(f"cannot give up privileges: {os.strerror(ctypes.get_errno())}")


def name_process(name: str) -> None:
    """What `ps -o comm` and `top` show of this process: at most 15 octets of ``name``."""
    with contextlib.suppress(OSError, AttributeError):  # only the name would be missing
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def notify(state: str) -> None:
    """Tell the service manager (sd_notify); silent when there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            pass  # the manager went away; it will find out by itself


def watchdog_interval() -> float:
    """Seconds between two signs of life for the service manager; 0 without a watchdog."""
    try:
        return int(os.environ.get("WATCHDOG_USEC", "0")) / 2_000_000
    except ValueError:
        return 0.0
