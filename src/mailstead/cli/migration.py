"""`mailstead migrate`: mailboxes copied from other servers."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from mailstead.cli.accounts import ACTOR, need_account
from mailstead.cli.bootstrap_option import config_option, find
from mailstead.cli.data_directory import opened
from mailstead.directory.service import Directory
from mailstead.migration.jobs import Job
from mailstead.migration.remote import SECURITY
from mailstead.migration.service import MigrationError, MigrationService, progress

MAX_LINES = 1_000_000


@click.group()
def migrate() -> None:
    """Copy mailboxes from other IMAP servers. The running server does the work; commands order and watch it."""


def _service(directory: Directory, config: Path | None) -> MigrationService:
    return MigrationService(directory, find(config).data_dir)


def _options(command: Any) -> Any:
    """What holds for one mailbox and for many."""
    for option in (
        click.option("--ignore", "ignore_folders", multiple=True, metavar="FOLDER",
                     help="Leave out this folder and those below it."),
        click.option("--override-quota", is_flag=True, help="Copy everything, whatever the quota."),
        click.option("--delete-original", is_flag=True, help="Delete at the other server what has been copied."),
        click.option("--structure-only", is_flag=True, help="Only folders and subscriptions."),
        click.option("--verbose", is_flag=True, help="More lines for whoever watches."),
        click.option("--security", type=click.Choice(SECURITY), default="auto", show_default=True,
                     help="auto: TLS on port 993, else STARTTLS where it is offered."),
        click.option("--insecure", is_flag=True, help="Take any certificate."),
        click.option("--continuous", is_flag=True, help="Follow what changes there, until `migrate finish`."),
        click.option("--interval", type=click.IntRange(10), default=900, show_default=True, help="Seconds between the rounds."),
    ):  # fmt: skip
        command = option(command)
    return command


@migrate.command("start")
@config_option
@click.argument("address")
@click.option("--host", required=True, help="Name of the other server, or its address in [brackets].")
@click.option("--port", type=click.IntRange(1, 65_535), default=993, show_default=True)
@click.option("--user", default="", help="User name there; without it ADDRESS.")
@click.option("--password", envvar="MAILSTEAD_REMOTE_PASSWORD", help="Better given by the prompt or MAILSTEAD_REMOTE_PASSWORD.")
@_options
def start(config: Path | None, address: str, user: str, password: str | None, insecure: bool, **options: Any) -> None:
    """Copy the mailbox of USER at another server into that of ADDRESS.

    Started again it takes what is new; no message comes twice.
    """
    if password is None:
        password = click.prompt("Password at the other server", hide_input=True)
    with opened(config) as directory:
        account = need_account(directory, address)
        service = _service(directory, config)
        asyncio.run(
            service.start(account.id, user=user or address, password=password, verify=not insecure, actor=ACTOR, **options)
        )
    click.echo(f"The server copies {user or address} to {account.address}; `mailstead migrate attach {account.address}` watches.")


@migrate.command("list")
@config_option
@click.option("--live", is_flag=True, help="Only those that are not over.")
def show(config: Path | None, live: bool) -> None:
    """List migrations: address, source, state and progress."""
    with opened(config) as directory:
        for job in _service(directory, config).list(actor=ACTOR, live=live):
            account = directory.account(job.account_id)
            click.echo(f"{account.address if account else job.account_id}\t{job.source}\t{_when(job)}\t{progress(job)}")


def _when(job: Job) -> str:
    return datetime.fromtimestamp((job.ended or job.started or job.created) / 1e6).strftime("%Y-%m-%d %H:%M:%S")


@migrate.command("attach")
@config_option
@click.argument("address")
def attach(config: Path | None, address: str) -> None:
    """Watch a migration until it is over; status 1 unless it is done or rests. Ctrl-C ends only the watching."""
    _watch(config, address, 0)


@migrate.command("peek")
@config_option
@click.argument("address")
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True)
def peek(config: Path | None, address: str, seconds: float) -> None:
    """Watch a migration for some seconds."""
    _watch(config, address, seconds)


def _watch(config: Path | None, address: str, seconds: float) -> None:
    async def watch(service: MigrationService, account: int) -> str:
        line = ""
        async for line in service.attach(account, actor=ACTOR, seconds=seconds):
            click.echo(line)
        return line

    with opened(config) as directory:
        account = need_account(directory, address)
        service = _service(directory, config)
        try:
            last = asyncio.run(watch(service, account.id))
        except KeyboardInterrupt:
            return
    # What was said last, not what holds by now: a copy that rests may have begun again.
    if not seconds and not last.startswith(("done", "resting")):
        sys.exit(1)


@migrate.command("abort")
@config_option
@click.argument("address", required=False)
@click.option("--all", "everything", is_flag=True, help="Every migration that is under way.")
def abort(config: Path | None, address: str | None, everything: bool) -> None:
    """End a migration; what was copied stays."""
    if bool(address) == everything:
        raise click.ClickException("give either an address or --all")
    with opened(config) as directory:
        account = need_account(directory, address).id if address else 0
        count = asyncio.run(_service(directory, config).abort(account, actor=ACTOR))
    click.echo(f"Aborted {count}.")


@migrate.command("finish")
@config_option
@click.argument("address")
def finish(config: Path | None, address: str) -> None:
    """Switch over: one last round, then the continuous migration is over."""
    with opened(config) as directory:
        asyncio.run(_service(directory, config).finish(need_account(directory, address).id, actor=ACTOR))
    click.echo("The last round begins.")


@migrate.command("bulk")
@config_option
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@_options
def bulk(config: Path | None, file: Iterator[str], insecure: bool, **options: Any) -> None:
    """Copy many mailboxes: a CSV file of address, host, port, user name, password there.

    A first line that begins with "address" is taken for a heading. What is refused is listed; the rest is begun, as many at
    once as maxMigrationThreads of the server's settings says.
    """
    begun = refused = 0
    with opened(config) as directory:
        service = _service(directory, config)
        reader = csv.reader(file)
        try:
            for row in reader:
                if not row or not row[0].strip() or (reader.line_num == 1 and row[0].strip().lower() == "address"):
                    continue
                if begun + refused >= MAX_LINES:
                    raise click.ClickException(f"more than {MAX_LINES} lines; split the file")
                try:
                    _begin(directory, service, row, not insecure, options)
                    begun += 1
                except (MigrationError, click.ClickException) as exc:
                    refused += 1
                    reason = exc.message if isinstance(exc, click.ClickException) else str(exc)
                    click.echo(f"line {reader.line_num}: {reason}", err=True)
        except (csv.Error, UnicodeDecodeError) as exc:
            raise click.ClickException(f"line {reader.line_num}: {exc}") from exc
    click.echo(f"Begun {begun} migrations" + (f", refused {refused}." if refused else "."))
    if refused:
        sys.exit(1)


def _begin(directory: Directory, service: MigrationService, row: list[str], verify: bool, options: dict[str, Any]) -> None:
    if len(row) != 5 or not row[2].strip().isdigit():
        raise MigrationError("expected address, host, port, user name, password")
    address, host, port, user = (word.strip() for word in row[:4])
    account = need_account(directory, address)
    asyncio.run(
        service.start(account.id, host=host, port=int(port), user=user, password=row[4], verify=verify, actor=ACTOR, **options)
    )
