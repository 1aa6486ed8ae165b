"""`mailstead backup`: make, list, verify and remove backups of the whole server."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import apsw
import click

from mailstead.cli.bootstrap_option import SEARCHED, config_option, explained, find
from mailstead.cli.data_directory import become_owner
from mailstead.process.bootstrap import FILE_NAME
from mailstead.process.release import release

if TYPE_CHECKING:
    from mailstead.store.backup.repository import Repository
    from mailstead.store.backup.sealing import Secret

F = TypeVar("F", bound=Callable[..., Any])
_IOPRIO_SET = 251  # x86-64; elsewhere the processor's order alone holds
_IDLE = 3 << 13


def key_options(command: F) -> F:
    """The options that open an encrypted repository."""
    for option in (
        click.option("--passphrase-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its first line."),
        click.option("--key-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="16 octets or more."),
    ):
        command = option(command)
    return command


def secret_of(key_file: Path | None, passphrase_file: Path | None) -> Secret | None:
    """What the options say. Raises ClickException."""
    from mailstead.store.backup.sealing import Secret

    if key_file is not None and passphrase_file is not None:
        raise click.ClickException("give either --key-file or --passphrase-file")
    with explained():
        if key_file is not None:
            return Secret(key_file.read_bytes(), passphrase=False)
        if passphrase_file is not None:
            return Secret(passphrase_file.read_bytes().split(b"\n", 1)[0].rstrip(b"\r"), passphrase=True)
    return None


@contextlib.contextmanager
def repository_errors() -> Iterator[None]:
    """Turn what goes wrong with a repository into one line."""
    from mailstead.store.backup.repository import BackupError
    from mailstead.store.backup.sealing import SealError

    try:
        with explained():
            yield
    except (BackupError, SealError) as exc:
        raise click.ClickException(str(exc)) from exc
    except apsw.Error as exc:
        raise click.ClickException(f"an index cannot be read: {exc}; `mailstead fsck` says more") from exc
    except OSError as exc:
        raise click.ClickException(f"{exc.strerror}: {exc.filename}" if exc.filename else str(exc.strerror)) from exc


def opened_repository(path: Path, secret: Secret | None, *, keyless: bool = False) -> Repository:
    """An existing repository."""
    from mailstead.store.backup.repository import Repository

    with repository_errors():
        return Repository.open(path, secret, keyless=keyless)


def stand_back() -> None:
    """Let the server have processor and disk first."""
    with contextlib.suppress(OSError):
        os.nice(19)
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        ctypes.CDLL(None, use_errno=True).syscall(_IOPRIO_SET, 1, 0, _IDLE)


def moment(text: str) -> float:
    """Unix time of "2026-11-29 10:30[:15]" (UTC, or with an offset as ISO 8601 writes it). Raises BadParameter."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time like 2026-11-29T10:30:00") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


@click.group()
def backup() -> None:
    """Backups of the whole server."""


@backup.command("create")
@config_option
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--label", default="", help="Name of the backup; the time where none is given.")
@click.option("--full", is_flag=True, help="Read and write everything, also what backups before have.")
@click.option("--encrypt", is_flag=True, help="Make an encrypted repository; needs a key file or passphrase file.")
@key_options
@click.option("--rate", type=float, default=0.0, help="At most so many MB a second; 0: no limit.")
@click.option(
    "--keep-log", type=float, default=2.0, show_default=True,
    help="Days for which the server keeps the log that the next backup still needs, so that every time between can be restored.",
)  # fmt: skip
def create(
    config: Path | None, directory: Path, label: str, full: bool, encrypt: bool, key_file: Path | None,
    passphrase_file: Path | None, rate: float, keep_log: float,
) -> None:  # fmt: skip
    """Back up into DIRECTORY, beside a running server or without one; what it has already is not copied again."""
    from mailstead.directory.service import Directory
    from mailstead.store.backup.create import create_backup
    from mailstead.store.backup.repository import REPOSITORY, Repository

    bootstrap = find(config)
    path = config or next(path for path in SEARCHED if path.exists())
    path = path / FILE_NAME if path.is_dir() else path
    secret = secret_of(key_file, passphrase_file)
    if encrypt and secret is None:
        raise click.ClickException("--encrypt needs --key-file or --passphrase-file")
    directory = directory.resolve()
    if directory.is_relative_to(bootstrap.data_dir):
        raise click.ClickException("the backup must not lie in the data directory")
    with repository_errors():
        become_owner(bootstrap)
        stand_back()
        opened = Directory.open(bootstrap.data_dir)
        shards = opened.shard_count()
        opened.close()
        if (directory / REPOSITORY).exists():
            repository = Repository.open(directory, secret)
        elif secret is not None and not encrypt:
            raise click.ClickException("a new repository is encrypted only with --encrypt")
        else:
            repository = Repository.create(directory, secret)
        try:
            repository.lock()
            made = create_backup(
                bootstrap.data_dir, repository, label=label, full=full, rate=rate * 1e6, release=release(), shards=shards,
                bootstrap=path, keep_seconds=keep_log * 86_400, told=lambda text: click.echo(text, err=True),
            )  # fmt: skip
        finally:
            repository.close()
    speed = made.copied / 1e6 / max(made.seconds, 1e-3)
    click.echo(
        f"Backup {made.manifest.label}: {made.copied / 1e6:.1f} MB in {made.files} files copied ({speed:.0f} MB/s), "
        f"{made.shared / 1e6:.1f} MB were there already."
    )


@backup.command("list")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@key_options
def list_(directory: Path, key_file: Path | None, passphrase_file: Path | None) -> None:
    """The backups in DIRECTORY, the oldest first; without the key only their labels."""
    from mailstead.store.backup.repository import Damaged
    from mailstead.store.ids import id_time

    repository = opened_repository(directory, secret_of(key_file, passphrase_file), keyless=True)
    for label in repository.labels():
        if repository.encrypted and repository.sealer is None:
            click.echo(label)
            continue
        try:
            one = repository.manifest(label)
        except Damaged as exc:
            click.echo(f"{label}\tdamaged: {exc}")
            continue
        upto = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(id_time(one.horizon)))
        click.echo(f"{label}\tas of {upto}\t{one.size / 1e6:.1f} MB in {len(one.files)} files")


@backup.command("verify")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("label", required=False, default="")
@key_options
@click.option("--quick", is_flag=True, help="Only whether everything is there, in its size.")
@click.option("--rate", type=float, default=0.0, help="At most so many MB a second; 0: no limit.")
def verify(directory: Path, label: str, key_file: Path | None, passphrase_file: Path | None, quick: bool, rate: float) -> None:
    """Read a backup (all of them without LABEL) and hold every octet against its hash."""
    from mailstead.store.backup.verify import verify as verify_backups

    repository = opened_repository(directory, secret_of(key_file, passphrase_file))
    with repository_errors():
        stand_back()
        labels = [label] if label else repository.labels()
        files, findings = verify_backups(repository, labels, click.echo, quick=quick, rate=rate * 1e6)
    if not labels:
        raise click.ClickException(f"there is no backup in {directory}")
    click.echo(f"{files} files of {len(labels)} backups: " + ("whole" if not findings else f"{findings} findings"))
    sys.exit(1 if findings else 0)


def _collected(repository: Repository) -> None:
    count, octets = repository.collect()
    click.echo(f"Removed {count} pieces, {octets / 1e6:.1f} MB.")


@backup.command("remove")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("labels", nargs=-1, required=True)
@key_options
def remove(directory: Path, labels: tuple[str, ...], key_file: Path | None, passphrase_file: Path | None) -> None:
    """Remove backups, and what only they need; the others stay whole."""
    repository = opened_repository(directory, secret_of(key_file, passphrase_file), keyless=True)
    with repository_errors():
        repository.lock()
        try:
            for label in labels:
                repository.remove(label)
            _collected(repository)
        finally:
            repository.close()


@backup.command("purge")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--keep", type=click.IntRange(min=0), required=True, help="How many stay, the youngest ones.")
@key_options
def purge(directory: Path, keep: int, key_file: Path | None, passphrase_file: Path | None) -> None:
    """Remove all backups but the last ones, and what is left over of any that was broken off."""
    repository = opened_repository(directory, secret_of(key_file, passphrase_file), keyless=True)
    with repository_errors():
        repository.lock()
        try:
            labels = repository.labels()
            for label in labels[: len(labels) - keep]:
                repository.remove(label)
                click.echo(f"Removed {label}.")
            _collected(repository)
        finally:
            repository.close()
