"""Where a tree may be mounted, and taking it away again.

Invariants: nothing that is there is hidden by a mount: the directory is empty, and not a part of the data directory other than
run/; what is mounted is known from the kernel's table, never from looking into a mount point, which may hang.

All of it blocks: for threads.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from mailstead.backup_mount.requirements import PROGRAM

TYPE = "fuse.mailstead"
SECONDS = 10.0
MAX_PATH = 1024
_TABLE = Path("/proc/self/mountinfo")


class BadMountPoint(Exception):
    """Nothing can be mounted there; the text is for the administrator."""


def source_name(data_dir: Path) -> str:
    """What the kernel's table says of mounts of this server."""
    return "mailstead-" + hashlib.sha256(os.fsencode(os.path.realpath(data_dir))).hexdigest()[:16]


def mounted(data_dir: Path) -> list[str]:
    """Mount points of this data directory's server, also of one that was killed."""
    wanted = source_name(data_dir)
    found = []
    for line in _TABLE.read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        kind, source = [*after.split(" "), "", ""][:2]
        if kind == TYPE and source == wanted:
            found.append(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4]))
    return found


def resolved(text: str, data_dir: Path) -> Path:
    """The directory that is meant, without symbolic links. Raises BadMountPoint."""
    if not text.startswith("/") or "\0" in text or len(text) > MAX_PATH:
        raise BadMountPoint("a mount point is an absolute path")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadMountPoint("the path is not valid UTF-8") from None
    if ".." in text.split("/"):
        raise BadMountPoint("a mount point has no .. in it")
    parent, name = os.path.split(text.rstrip("/"))
    if not name:
        raise BadMountPoint("the root is no mount point")
    # The last part is not resolved: that would be asking a mount whose process may be dead.
    place = Path(os.path.realpath(parent)) / name
    home = Path(os.path.realpath(data_dir))
    inside = place == home or home in place.parents
    if inside and home / "run" not in place.parents:
        raise BadMountPoint("inside of the data directory only run/ has room for a mount")
    if place in home.parents:
        raise BadMountPoint("the data directory lies below it")
    return place


def is_below_run(place: Path, data_dir: Path) -> bool:
    """Whether it is one of the server's own places."""
    return Path(os.path.realpath(data_dir)) / "run" in place.parents


def prepare(place: Path, data_dir: Path) -> None:
    """Make or look at the directory. What is left of a mount of ours there goes first. Raises BadMountPoint."""
    if str(place) in mounted(data_dir):
        detach(place)
    try:
        if is_below_run(place, data_dir):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.is_symlink() or not place.is_dir():
            raise BadMountPoint(f"{place} is no directory")
        with os.scandir(place) as entries:
            if next(entries, None) is not None:
                raise BadMountPoint(f"{place} is not empty")
    except OSError as error:
        raise BadMountPoint(f"{place} cannot be used: {error.strerror or error}") from None


def unmount(place: Path) -> str:
    """Take a mount away unless it is in use; why it could not be, "" where it was."""
    return _run("-u", "--", str(place))


def detach(place: Path) -> str:
    """Take it out of the file system now, and away when nobody uses it any more; as above."""
    return _run("-u", "-z", "--", str(place))


def _run(*arguments: str) -> str:
    try:
        done = subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return done.stderr.decode("utf-8", "replace").strip()[-300:] or f"{PROGRAM} failed with status {done.returncode}"
