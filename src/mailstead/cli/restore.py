"""`mailstead restore`: a server from a backup; a domain, an account, a folder or a message from a backup into a server."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mailstead.cli.backup import key_options, moment, opened_repository, repository_errors, secret_of


@click.group()
def restore() -> None:
    """Restore from backups."""


@restore.command("server")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("label", required=False, default="")
@click.option("--to", "target", type=click.Path(path_type=Path, file_okay=False), required=True, help="The new data directory.")
@click.option("--until", default="", help="As it was at this time (UTC), e.g. 2026-11-29T10:30:00.")
@click.option(
    "--log-ends-here",
    is_flag=True,
    help="The server was stopped when the backup was made and never ran since: keep all numbers.",
)
@click.option("--new-uidvalidity", is_flag=True, help="Have all clients read all folders anew.")
@click.option("--no-check", is_flag=True, help="Do not check the result.")
@key_options
def server(
    directory: Path, label: str, target: Path, until: str, log_ends_here: bool, new_uidvalidity: bool, no_check: bool,
    key_file: Path | None, passphrase_file: Path | None,
) -> None:  # fmt: skip
    """A whole server from the backups in DIRECTORY (the last one without LABEL) into an empty directory."""
    from mailstead.store.backup.restore import restore_server
    from mailstead.store.backup.view import choose, shown
    from mailstead.store.fsck import fsck

    repository = opened_repository(directory, secret_of(key_file, passphrase_file))
    with repository_errors():
        point = choose(repository, label, moment(until) if until else None)
        told = lambda text: click.echo(f"  {text}", err=True)  # noqa: E731
        result = restore_server(repository, point, target, log_ends_here=log_ends_here, new_uidvalidity=new_uidvalidity, told=told)
    click.echo(f"Restored {result.messages} messages as of {shown(point.time)} into {target}.")
    if point.exact:
        click.echo(f"Settings and accounts are those of the backup {point.base.label} ({shown(point.base.finished)}).")
    if result.queued:
        click.echo(f"{result.queued} messages wait to be sent; what has been sent since the backup will be sent again.")
    if result.raised is not None:
        click.echo(
            "The backup does not prove where the log ended, so numbers that clients may have seen since are left out: next UIDs "
            f"were raised by {result.raised[0]}, modseqs by {result.raised[1]}."
        )
    if result.renewed:
        click.echo(f"{result.renewed} folders have a new UIDVALIDITY.")
    for text in result.lost:
        click.echo(f"lost: {text}")
    status = 0
    if not no_check:
        click.echo("Checking it:")
        with repository_errors():
            status = fsck(target, out=lambda text: click.echo(f"  {text}"))
    sys.exit(1 if status or result.lost else 0)
