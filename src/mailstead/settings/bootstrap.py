"""The bootstrap file `mailstead.toml`: only what must be known before the database can be opened.

Invariants: everything else is a setting in the database; the file is written whole and atomically; an unknown key or
a wrong type is an error that names the key, never silently ignored.
"""

from __future__ import annotations

import os
import socket
import tempfile
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path

FILE_NAME = "mailstead.toml"
MAX_FILE = 65_536
ENGINES = ("sqlite",)


class BootstrapError(Exception):
    """The bootstrap file is missing or wrong; the text names file and key."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Contents of the file. `workers` 0 = everything in one process; `user` empty = stay who we are."""

    data_directory: Path
    engine: str = "sqlite"
    node: str = ""
    user: str = ""
    workers: int = 1
    shards: int = 1

    def checked(self) -> Bootstrap:
        """Itself, when every value can be. Raises BootstrapError."""
        if self.engine not in ENGINES:
            raise BootstrapError(f"engine: {self.engine!r} is not one of {', '.join(ENGINES)}")
        if not 0 <= self.workers <= 1024:
            raise BootstrapError(f"workers: expected 0 to 1024, not {self.workers}")
        if not 1 <= self.shards <= 4096:
            raise BootstrapError(f"shards: expected 1 to 4096, not {self.shards}")
        if not self.node or len(self.node) > 64 or not all(c.isalnum() or c in "-._" for c in self.node):
            raise BootstrapError("node: expected 1 to 64 letters, digits, '-', '.', '_'")
        return self


def default_bootstrap(data_directory: Path) -> Bootstrap:
    """What `init` begins with on this machine: a worker and a shard for each core, the host's name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    host = "".join(c if c.isalnum() or c in "-." else "-" for c in socket.gethostname().partition(".")[0])
    return Bootstrap(data_directory, node=host[:64] or "node", workers=cores, shards=min(max(cores, 1), 8))


def load_bootstrap(path: Path) -> Bootstrap:
    """Read the file (or the one in a directory). Relative data directories are relative to it. Raises BootstrapError."""
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with file.open("rb") as stream:
            octets = stream.read(MAX_FILE + 1)
    except FileNotFoundError as error:
        raise BootstrapError(f"{file} does not exist; 'mailstead init' writes it") from error
    except OSError as error:
        raise BootstrapError(f"{file} cannot be read: {error.strerror}") from error
    if len(octets) > MAX_FILE:
        raise BootstrapError(f"{file} is longer than {MAX_FILE} octets")
    try:
        values = tomllib.loads(octets.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BootstrapError(f"{file}: {error}") from error
    result = Bootstrap(file.parent)
    known = {field.name: type(getattr(result, field.name)) for field in fields(Bootstrap)}
    for name, value in values.items():
        if name not in known:
            raise BootstrapError(f"{file}: there is no key {name!r}")
        if name == "data_directory" and isinstance(value, str):
            result = replace(result, data_directory=(file.parent / value).resolve())
        elif name != "data_directory" and type(value) is known[name]:
            result = replace(result, **{name: value})
        else:
            raise BootstrapError(f"{file}: {name} has the wrong type")
    try:
        return result.checked()
    except BootstrapError as error:
        raise BootstrapError(f"{file}: {error}") from error


def write_bootstrap(bootstrap: Bootstrap, path: Path) -> None:
    """Write the file (or the one in a directory), atomically and synced. Raises BootstrapError."""
    file = path / FILE_NAME if path.is_dir() else path
    bootstrap.checked()
    directory = "." if bootstrap.data_directory.resolve() == file.parent.resolve() else str(bootstrap.data_directory)
    lines = ["# What must be known before the database can be opened; everything else is a setting.\n"]
    for name, value in (
        ("data_directory", directory),
        ("engine", bootstrap.engine),
        ("node", bootstrap.node),
        ("user", bootstrap.user),
        ("workers", bootstrap.workers),
        ("shards", bootstrap.shards),
    ):
        lines.append(f"{name} = {_toml(value)}\n")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f"{FILE_NAME}.", dir=file.parent)
    except OSError as error:
        raise BootstrapError(f"{file} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.writelines(lines)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    parent = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _toml(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
