"""Where the commands find their data directory, and how they open it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from mailstead.directory.model import DirectoryError
from mailstead.directory.service import Directory
from mailstead.process.application import StartError
from mailstead.process.bootstrap import FILE_NAME, Bootstrap, read
from mailstead.settings import InvalidValueError, PermissionDeniedError, SystemDatabaseError

F = TypeVar("F", bound=Callable[..., Any])

SEARCHED = (Path(FILE_NAME), Path("/etc/mailstead") / FILE_NAME, Path("/var/lib/mailstead") / FILE_NAME)


def config_option(command: F) -> F:
    """The option `--config`."""
    return click.option(
        "--config", "-c", "config", type=click.Path(path_type=Path), envvar="MAILSTEAD_CONFIG",
        help=f"{FILE_NAME} or the directory it lies in.",
    )(command)  # fmt: skip


def find(config: Path | None) -> Bootstrap:
    """The bootstrap file that is meant. Raises ClickException."""
    candidates = [config] if config is not None else [path for path in SEARCHED if path.exists()]
    if not candidates:
        raise click.ClickException(f"no {FILE_NAME} here, in /etc/mailstead or in /var/lib/mailstead; use --config")
    with explained():
        return read(candidates[0])


@contextmanager
def explained() -> Iterator[None]:
    """Turn refusals into one line for the operator."""
    try:
        yield
    except (StartError, DirectoryError, InvalidValueError, PermissionDeniedError, SystemDatabaseError) as exc:
        raise click.ClickException(str(exc)) from exc
    except PermissionError as exc:
        raise click.ClickException(f"no right to use {exc.filename}") from exc


@contextmanager
def opened(config: Path | None) -> Iterator[Directory]:
    """The directory of the data directory, for a command beside a running server or without one."""
    bootstrap = find(config)
    with explained():
        _as_owner(bootstrap)
        directory = Directory.open(bootstrap.data_dir, shards=bootstrap.shards)
        try:
            yield directory
        finally:
            directory.close()


def _as_owner(bootstrap: Bootstrap) -> None:
    """Files that root makes here would be closed to the server: become the owner of the directory first."""
    if os.geteuid() == 0:
        status = os.stat(bootstrap.data_dir)
        if status.st_uid != 0:
            os.setgroups([])
            os.setgid(status.st_gid)
            os.setuid(status.st_uid)
