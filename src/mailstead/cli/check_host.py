"""What the machine gives: memory, clock, interpreter and libraries."""

from __future__ import annotations

import ctypes
import platform
import ssl
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import apsw
import psutil

from mailstead.cli.finding import OK, PROBLEM, WARNING, Finding

LITTLE_MEMORY = 1 << 30
STA_UNSYNC = 0x0040
MAX_ERROR_US = 1_000_000
LIBRARIES = ("uvloop", "msgspec", "apsw", "dnspython", "idna", "cryptography", "argon2-cffi", "structlog", "psutil", "click")
OLDEST_SQLITE = (3, 38, 0)


class _Timex(ctypes.Structure):
    """The beginning of `struct timex` (adjtimex(2)), and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * 256),
    )  # fmt: skip


def host_checks(settings: Any) -> Iterator[Finding]:
    """All of them; `settings` of the server, None where they cannot be read."""
    yield from _memory(settings)
    yield _clock()
    yield from _versions()


def _memory(settings: Any) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    text = f"{memory.available / (1 << 30):.1f} GB of {memory.total / (1 << 30):.1f} GB available"
    budget = (int(settings.service("server").memoryBudget) << 20) if settings is not None else 0
    if memory.total < LITTLE_MEMORY:
        yield Finding(WARNING, "memory", text, "give the machine 1 GB or more, or run with --workers 0")
    elif budget > memory.total // 2:
        fix = "set server.memoryBudget to half of the memory, or less"
        yield Finding(WARNING, "memory", f"{text}; memoryBudget is {budget >> 20} MB", fix)
    else:
        yield Finding(OK, "memory", text)


def _clock() -> Finding:
    """Whether something keeps the clock right, as the kernel sees it; asking needs no right."""
    fix = "run chrony, ntpd or systemd-timesyncd: dates of mail, DKIM and certificates depend on the clock"
    try:
        found = _Timex()
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        return Finding(OK, "clock", "this system does not tell whether it is synchronized")
    if state < 0:
        return Finding(OK, "clock", "this system does not tell whether it is synchronized")
    if state == 5 or found.status & STA_UNSYNC:
        return Finding(WARNING, "clock", "nothing keeps the clock right (by what the kernel knows)", fix)
    if found.maxerror > MAX_ERROR_US:
        return Finding(WARNING, "clock", f"may be wrong by {found.maxerror / 1e6:.1f} seconds", fix)
    return Finding(OK, "clock", f"synchronized, right within {found.maxerror / 1e3:.0f} ms")


def _versions() -> Iterator[Finding]:
    python = platform.python_version()
    sqlite = apsw.sqlite_lib_version()
    if tuple(int(part) for part in sqlite.split(".")[:3]) < OLDEST_SQLITE:
        fix = "install the apsw of requirements.lock, which brings its own"
        yield Finding(PROBLEM, "versions", f"SQLite {sqlite} is too old", fix)
    if ssl.OPENSSL_VERSION_INFO[0] < 3:
        fix = "use a Python that is built with OpenSSL 3"
        yield Finding(WARNING, "versions", f"{ssl.OPENSSL_VERSION} gets no fixes any more", fix)
    missing = [name for name in LIBRARIES if library_version(name) == ""]
    if missing:
        yield Finding(PROBLEM, "versions", f"not installed: {', '.join(missing)}", "install what requirements.lock lists")
    if sys.flags.optimize:
        yield Finding(WARNING, "versions", "python runs with -O", "run it without: checks of the program's own are left out")
    yield Finding(OK, "versions", f"Python {python}, SQLite {sqlite}, {ssl.OPENSSL_VERSION}")


def library_version(name: str) -> str:
    """The version of an installed library; "" where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
