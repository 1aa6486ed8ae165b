"""`mailstead restore`: a server from a backup; a domain, an account, a folder or a message from a backup into a server."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailstead.cli.backup import key_options, moment, opened_repository, repository_errors, secret_of
from mailstead.cli.bootstrap_option import config_option, find
from mailstead.cli.data_directory import opened, store_beside
from mailstead.settings import Actor

if TYPE_CHECKING:
    from mailstead.directory.service import Directory
    from mailstead.restoring.service import Restorer

ACTOR = Actor.system("command line")


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
    from mailstead.restoring.later_directory import bring_what_is_missing, later_of
    from mailstead.store.backup.restore import restore_server
    from mailstead.store.backup.view import choose, shown
    from mailstead.store.fsck import fsck

    repository = opened_repository(directory, secret_of(key_file, passphrase_file))
    with repository_errors():
        point = choose(repository, label, moment(until) if until else None)
        told = lambda text: click.echo(f"  {text}", err=True)  # noqa: E731

        def complete() -> None:
            later = later_of(repository, point.base, point.time) if point.exact else None
            if later is not None:
                asyncio.run(bring_what_is_missing(repository, later, target, point.time, click.echo))

        result = restore_server(
            repository,
            point,
            target,
            log_ends_here=log_ends_here,
            new_uidvalidity=new_uidvalidity,
            before_ready=complete,
            told=told,
        )
    click.echo(f"Restored {result.messages} messages as of {shown(point.time)} into {target}.")
    if point.exact:
        click.echo(
            f"Settings and passwords are those of the backup {point.base.label} ({shown(point.base.finished)}); what was made "
            "between it and that time comes from the backup after it."
        )
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
            status = fsck(target, out=lambda text: click.echo(f"  {text}"), whole=True)
    sys.exit(1 if status or result.lost else 0)


def _remove_leftovers(folder: Path) -> None:
    """Workshops of restores that were killed."""
    for path in folder.glob("restore-*"):
        pid = path.name.partition("-")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Between:
    """The server that is restored into, and what it is restored from."""

    config: Path | None
    directory: Path
    label: str
    until: str
    quotas: bool
    key_file: Path | None
    passphrase_file: Path | None


def _into_options(command: Callable[..., None]) -> Callable[..., None]:
    """What all that restore into a server have; the command gets it as one value."""

    @functools.wraps(command)
    def run(
        config: Path | None, directory: Path, label: str, until: str, quotas: bool, key_file: Path | None,
        passphrase_file: Path | None, **own: Any,
    ) -> None:  # fmt: skip
        command(_Between(config, directory, label, until, quotas, key_file, passphrase_file), **own)

    decorated: Callable[..., None] = run
    for option in (
        click.option("--until", default="", help="As it was at this time (UTC), e.g. 2026-11-29T10:30:00."),
        click.option("--label", default="", help="From this backup; without it (and --until) from the last one."),
        click.option("--quotas", is_flag=True, help="Quotas hold; without this they do not for what is restored."),
        key_options,
        config_option,
    ):
        decorated = option(decorated)
    return decorated


def _into(between: _Between, work: Callable[[Restorer], Awaitable[object]]) -> None:
    """Run ``work`` with a restorer between the backup and the server."""
    from mailstead.mailbox.errors import MailboxError
    from mailstead.mailbox.service import Mailbox
    from mailstead.restoring.service import Restorer
    from mailstead.restoring.source import Source
    from mailstead.store.backup.view import choose

    repository = opened_repository(between.directory, secret_of(between.key_file, between.passphrase_file))
    bootstrap = find(between.config)
    with repository_errors():
        point = choose(repository, between.label, moment(between.until) if between.until else None)

    async def run(opened_directory: Directory) -> None:
        _remove_leftovers(bootstrap.data_dir / "tmp")
        source = Source(repository, point, bootstrap.data_dir / "tmp" / f"restore-{os.getpid()}")
        try:
            async with store_beside(bootstrap) as store:
                mailbox = Mailbox(store, opened_directory, opened_directory)
                await work(Restorer(source, opened_directory, mailbox, store, ACTOR, click.echo))
        finally:
            source.close()

    with opened(between.config) as opened_directory, repository_errors():
        try:
            asyncio.run(run(opened_directory))
        except MailboxError as exc:
            raise click.ClickException(str(exc)) from exc


@restore.command("domain")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("name")
@click.option("--to", default="", help="As this domain instead; members and list administrators of the old one are renamed to it.")
@click.option("--settings", is_flag=True, help="Settings and aliases of the backup also for accounts that are here.")
@click.option("--passwords", is_flag=True, help="Passwords of the backup also for accounts that are here.")
@_into_options
def domain(between: _Between, name: str, to: str, settings: bool, passwords: bool) -> None:
    """A domain with accounts, groups, lists, public folders and all their mail; what is there stays and does not come twice."""
    from mailstead.restoring.service import How

    how = How(passwords, settings, between.quotas)
    _into(between, lambda restorer: restorer.domain(name, to=to, how=how))


@restore.command("account")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("address")
@click.option("--to", default="", help="Into this account or list instead; an account's is made where it does not exist.")
@click.option("--settings", is_flag=True, help="Settings and aliases of the backup also for an account (not a list) that is here.")
@click.option("--password", is_flag=True, help="The password of the backup also for an account (not a list) that is here.")
@_into_options
def account(between: _Between, address: str, to: str, settings: bool, password: bool) -> None:
    """An account or mailing list: folders, messages, subscriptions, scripts, rights; password and settings where it is gone."""
    from mailstead.restoring.service import How

    how = How(password, settings, between.quotas)
    _into(between, lambda restorer: restorer.account(address, to=to, how=how))


@restore.command("folder")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("address")
@click.argument("folder")
@click.option("--to", default="", help="Into this account or list instead.")
@click.option("--into", "into", default="", help="Into this folder instead.")
@click.option("--below", is_flag=True, help="The folders below it, too.")
@_into_options
def folder(between: _Between, address: str, folder: str, to: str, into: str, below: bool) -> None:
    """A folder of an account or mailing list; of a domain's public folders where ADDRESS is the domain."""
    from mailstead.restoring.mail import Wanted
    from mailstead.restoring.service import How

    wanted, how = Wanted(folder, below, into=into), How(limited=between.quotas)

    def work(restorer: Restorer) -> Awaitable[object]:
        if "@" not in address:
            return restorer.public_folders(address, wanted=wanted, how=how)
        return restorer.account(address, to=to, wanted=wanted, how=how)

    _into(between, work)


@restore.command("message")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("address")
@click.option("--message-id", default="", help="By its Message-ID.")
@click.option("--folder", "name", default="", help="Only from this folder.")
@click.option("--uid", type=click.IntRange(min=0), default=0, help="By its UID in --folder.")
@click.option("--to", default="", help="Into this account or list instead.")
@click.option("--into", "into", default="", help="Into this folder instead of the one it was in.")
@_into_options
def message(between: _Between, address: str, message_id: str, name: str, uid: int, to: str, into: str) -> None:
    """One message of an account or mailing list."""
    from mailstead.restoring.mail import Wanted
    from mailstead.restoring.service import How

    if not message_id and not (name and uid):
        raise click.ClickException("give --message-id, or --folder and --uid")
    wanted, how = Wanted(name, False, message_id, uid, into), How(limited=between.quotas)
    _into(between, lambda restorer: restorer.account(address, to=to, wanted=wanted, how=how))
