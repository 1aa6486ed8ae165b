"""What mounting needs of the machine: FUSE in the kernel, its library and its program, and leave to use them.

Invariants: nothing is mounted or changed here; a refusal says what is missing and what puts it right.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil
from pathlib import Path

DEVICE = Path("/dev/fuse")
PROGRAM = "fusermount3"
_FUSE_CONF = Path("/etc/fuse.conf")
_STATUS = Path("/proc/self/status")


def what_is_missing() -> str:
    """In words for the administrator, "" where a mount can be tried. Blocking."""
    if importlib.util.find_spec("mfusepy") is None:
        return "the Python package mfusepy is not installed: pip install 'mailstead[mount]'"
    if ctypes.util.find_library("fuse3") is None:
        return "libfuse 3 is not installed: apt-get install fuse3"
    if shutil.which(PROGRAM) is None:
        return f"the program {PROGRAM} is not installed: apt-get install fuse3"
    if not DEVICE.exists():
        return f"{DEVICE} does not exist: load the kernel module (modprobe fuse), or let the container or the unit have the device"
    if os.geteuid() != 0:
        if _may_gain_nothing():
            return (
                f"the server may gain no rights, and {PROGRAM} needs them: it was started as root and gave its rights up, or its "
                "unit says NoNewPrivileges=yes; start it as its own user, without that"
            )
        if not os.access(DEVICE, os.R_OK | os.W_OK):
            return f"the server's user may not use {DEVICE}: chmod 666 {DEVICE}, or put the user into its group"
    return ""


def _may_gain_nothing() -> bool:
    """Whether set-user-id programs gain nothing here (PR_SET_NO_NEW_PRIVS)."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return False
    return any(line.split() == ["NoNewPrivs:", "1"] for line in lines)


def others_may_read() -> bool:
    """Whether a mount may be opened to other users than the server's (allow_other)."""
    if os.geteuid() == 0:
        return True
    try:
        return any(line.strip() == "user_allow_other" for line in _FUSE_CONF.read_text().splitlines())
    except OSError:
        return False
