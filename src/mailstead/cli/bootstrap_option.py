"""Where the commands find their data directory, and how refusals are told.

Only what every command needs is loaded here: `run` must not wait for what it never uses.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from mailstead.process.application import StartError
from mailstead.process.bootstrap import FILE_NAME, Bootstrap, read

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


def serves_as_root(bootstrap: Bootstrap) -> bool:
    """Whether whoever serves from the data directory is root: it belongs to root, and no other user is named."""
    try:
        return os.stat(bootstrap.data_dir).st_uid == 0 and bootstrap.user in ("", "root")
    except OSError:
        return False  # told by what opens it


def remedy_for_root(bootstrap: Bootstrap) -> str:
    """What makes the server one of a user who is not root, in words."""
    make = ""
    try:
        pwd.getpwnam("mailstead")
    except KeyError:
        make = "`useradd --system mailstead`, "
    make += f"`chown -R mailstead {bootstrap.data_dir}`"
    return f'stop it, {make}, and user = "mailstead" in {FILE_NAME}; any user but root will do'


@contextmanager
def explained() -> Iterator[None]:
    """Turn refusals into one line for the operator."""
    try:
        yield
    except StartError as exc:
        raise click.ClickException(str(exc)) from exc
    except PermissionError as exc:
        raise click.ClickException(f"no right to use {exc.filename}") from exc
    except Exception as exc:
        if isinstance(exc, _refusals()):
            raise click.ClickException(str(exc)) from exc
        raise


def _refusals() -> tuple[type[Exception], ...]:
    from mailstead.directory.model import DirectoryError
    from mailstead.migration.service import MigrationError
    from mailstead.settings import InvalidValueError, PermissionDeniedError, SystemDatabaseError

    return DirectoryError, InvalidValueError, PermissionDeniedError, SystemDatabaseError, MigrationError
