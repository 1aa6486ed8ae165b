"""`mailstead config`: the whole configuration as a TOML file, what a file would change, and making it so.

Invariants: nothing is changed before it was shown and agreed to; an import is one transaction; a file with secrets is for its
owner alone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import click

from mailstead.cli.bootstrap_option import config_option
from mailstead.cli.data_directory import opened
from mailstead.directory.configuration import (
    ConfigurationError,
    Difference,
    Parsed,
    apply_changes,
    as_toml,
    compare,
    parse_configuration,
    read_configuration,
    untold_secrets,
)
from mailstead.directory.configuration.parsing import MAX_FILE
from mailstead.directory.configuration.schema import SECTIONS
from mailstead.directory.service import Directory
from mailstead.restoring.labels import KIND as BACKUP_LABEL
from mailstead.settings import Actor

ACTOR = Actor.system("config import")


class UnusableFileError(click.ClickException):
    """The file cannot be read, or has mistakes."""

    exit_code = 2


@click.group()
def config() -> None:
    """The whole configuration as a readable file."""


@config.command("export")
@config_option
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--all", "everything", is_flag=True, help="Name every setting of the services, defaults as comments.")
@click.option("--accounts", is_flag=True, help="With every account.")
@click.option("--secrets", is_flag=True, help="With secrets and password hashes; the file is for its owner alone.")
def export(config: Path | None, file: Path | None, everything: bool, accounts: bool, secrets: bool) -> None:
    """Write the configuration to FILE, or to standard output (also as -)."""
    if file == Path("-"):
        file = None
    if secrets and file is None and sys.stdout.isatty():
        raise click.ClickException("secrets are not written to a terminal; name a file")
    with opened(config) as directory:
        left_out: Counter[str] = Counter()
        root = read_configuration(directory.database, accounts=accounts, secrets=secrets, left_out=left_out)
    for what, number in sorted(left_out.items()):
        if what.startswith(f"{BACKUP_LABEL} of "):
            continue  # moments of this server's backups, which another has not: no configuration
        click.echo(f"Note: {number} of {what} is not in the file: this release does not know it.", err=True)
    complete = [name for name in SECTIONS if accounts or name != "accounts"]
    text = as_toml(root, complete, everything=everything)
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        _write(file.resolve(), text, 0o600 if secrets else 0o640)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error
    click.echo(f"Wrote {file}.", err=True)


@config.command("diff")
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def diff(config: Path | None, file: Path) -> None:
    """Show what an import of FILE would change; status 1 where there is something, 2 where FILE has mistakes."""
    parsed = _parsed(file)
    with opened(config) as directory:
        found = _differences(directory, parsed)
        _show(found)
    sys.exit(1 if found else 0)


@config.command("import")
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Try everything and keep nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def import_(config: Path | None, file: Path, dry_run: bool, yes: bool) -> None:
    """Make the configuration as FILE says, after showing what changes: all of it, or nothing."""
    parsed = _parsed(file)
    with opened(config) as directory:
        found = _differences(directory, parsed)
        _show(found)
        if not found:
            return
        if not (yes or dry_run):
            click.confirm("Make these changes?", abort=True, err=True)
        try:
            applied = asyncio.run(apply_changes(directory, found, actor=ACTOR, dry_run=dry_run))
        except ConfigurationError as error:
            raise click.ClickException(f"nothing was changed: {file}: {error}") from error
    for note in applied.notes:
        click.echo(f"Note: {note}.", err=True)
    if dry_run:
        click.echo("Every change could be made; none was kept.")
    else:
        click.echo(f"{len(found)} changes made; `mailstead history` lists them from {applied.first + 1} to {applied.last}.")


def _parsed(file: Path) -> Parsed:
    try:
        with file.open("rb") as stream:
            octets = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise UnusableFileError(f"{file} cannot be read: {error.strerror}") from error
    try:
        return parse_configuration(octets)
    except ConfigurationError as error:
        raise UnusableFileError(f"{file}: nothing was changed\n{error}") from error


def _differences(directory: Directory, parsed: Parsed) -> list[Difference]:
    accounts = "accounts" in parsed.complete or _has_accounts(parsed)
    present = read_configuration(directory.database, accounts=accounts, secrets=True)
    for place in untold_secrets(present, parsed.root, parsed.complete):
        click.echo(f"Note: {place} is a secret that the file does not tell; it has to be set.", err=True)
    return compare(present, parsed.root, parsed.complete)


def _has_accounts(parsed: Parsed) -> bool:
    return any(domain.children.get("accounts") for domain in parsed.root.children.get("domains", {}).values())


def _show(found: list[Difference]) -> None:
    for difference in found:
        for line in difference.lines():
            click.echo(line)
    if not found:
        click.echo("Nothing differs.")


def _write(file: Path, text: str, mode: int) -> None:
    """Whole or not at all, and never open to others for a moment where it holds secrets."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
