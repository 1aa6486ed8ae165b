"""`mailstead.toml`: the few things that must be known before the data directory is opened.

Invariants: everything else is a setting in the data directory; an unknown key is an error, not a silent default.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from mailstead.process.application import StartError

FILE_NAME = "mailstead.toml"
_TYPES: dict[str, type] = {"workers": int, "shards": int, "core_dumps": bool}
_WORDS = {int: "a number", str: "a text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """`workers` -1 means one for each processor; `shards` counts only when the directory is made; `core_dumps`: see
    drop_privileges."""

    data_dir: Path
    node: str = "n1"
    engine: str = "sqlite"
    user: str = ""
    workers: int = -1
    shards: int = 4
    core_dumps: bool = False

    def worker_count(self) -> int:
        """Number of workers to run."""
        return self.workers if self.workers >= 0 else max(1, len(os.sched_getaffinity(0)))


def read(path: Path) -> Bootstrap:
    """From the file, or from the directory it lies in. Raises StartError."""
    if path.is_dir():
        path = path / FILE_NAME
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        directory = path.parent if path.suffix == ".toml" else path  # what is not there may have been meant as either
        raise StartError(f"{path} does not exist; `mailstead init {directory}` makes a data directory") from None
    except OSError as exc:
        raise StartError(f"cannot read {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise StartError(f"{path} is damaged: {exc}") from exc
    known = {field.name: field for field in fields(Bootstrap)}
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in known:
            raise StartError(f"{path}: unknown key {key!r}")
        wanted = _TYPES.get(key, str)
        if type(value) is not wanted:
            raise StartError(f"{path}: {key} must be {_WORDS[wanted]}")
        values[key] = value
    values["data_dir"] = (path.parent / str(values.get("data_dir", "."))).resolve()
    bootstrap = Bootstrap(**values)  # type: ignore[arg-type]
    if bootstrap.engine != "sqlite":
        raise StartError(f"{path}: engine {bootstrap.engine!r} is unknown (sqlite)")
    if not -1 <= bootstrap.workers <= 30 or not 1 <= bootstrap.shards <= 256:
        raise StartError(f"{path}: workers must be -1 to 30 and shards 1 to 256")
    return bootstrap


def write(directory: Path, *, node: str, user: str, shards: int, workers: int = -1) -> Path:
    """Make the file in `directory`. Raises FileExistsError."""
    path = directory / FILE_NAME
    lines = [
        "# Mailstead: what must be known before the data directory is opened. All else is a setting.",
        'data_dir = "."',
        f'node = "{node}"',
        'engine = "sqlite"',
        f"shards = {shards}",
        f"workers = {workers}  # -1: one for each processor; 0: everything in one process",
        "# The user to run as when started by root.",
        f'user = "{user}"' if user else '# user = "mailstead"',
    ]
    with open(path, "x", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path
