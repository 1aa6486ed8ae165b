"""`mailstead import`: mail out of files into an account."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailstead.cli.accounts import ACTOR, need_account
from mailstead.cli.bootstrap_option import config_option, find
from mailstead.cli.data_directory import opened, store_beside

if TYPE_CHECKING:
    from mailstead.migration.importing import Result

SHOWN = 50


@click.group("import")
def import_mail() -> None:
    """Take mail out of files, beside a running server if there is one. Done again, it takes what is new."""


def _command(kind: str, text: str) -> None:
    @import_mail.command(kind, help=text)
    @config_option
    @click.argument("address")
    @click.argument("path", type=click.Path(exists=True, path_type=Path))
    @click.option("--folder", default="", help="Put everything below this folder; INBOX becomes it.")
    @click.option("--dry-run", is_flag=True, help="Count, and change nothing.")
    @click.option("--override-quota", is_flag=True, help="Take everything, whatever the quota.")
    def command(config: Path | None, address: str, path: Path, folder: str, dry_run: bool, override_quota: bool) -> None:
        _import(kind, config, address, path, folder, dry_run, override_quota)


_command("maildir", "Import a Maildir with its folders (Maildir++ or folders in one another).")
_command("mbox", "Import an mbox file, or a directory of them.")


def _import(
    kind: str, config: Path | None, address: str, path: Path, folder: str, dry_run: bool, override_quota: bool
) -> None:
    from mailstead.mailbox.errors import MailboxError
    from mailstead.mailbox.service import Mailbox
    from mailstead.migration.importing import Importer, maildir_sources, mbox_sources

    bootstrap = find(config)
    started = time.monotonic()

    async def run() -> Result:
        async with store_beside(bootstrap) as store:
            mailbox = Mailbox(store, directory, directory)
            importer = Importer(directory, mailbox, account, click.echo, limited=not override_quota)
            return await importer.run(kind, path, sources, actor=ACTOR, below=folder, dry_run=dry_run)

    with opened(config) as directory:
        account = need_account(directory, address)
        try:
            # With the rights of the data directory's owner, as the whole of the command.
            sources = maildir_sources(path) if kind == "maildir" else mbox_sources(path)
            result = asyncio.run(run())
        except (MailboxError, OSError, ValueError) as exc:
            raise click.ClickException(str(exc)) from exc
    for line in result.unreadable[:SHOWN]:
        click.echo(f"not taken: {line}", err=True)
    if len(result.unreadable) > SHOWN:
        click.echo(f"not taken: {len(result.unreadable) - SHOWN} more", err=True)
    if dry_run:
        click.echo(f"{result.found} messages would be taken.")
    else:
        seconds = max(0.001, time.monotonic() - started)
        click.echo(
            f"Took {result.taken} of {result.found} messages ({result.taken / seconds:.0f} in a second)"
            + (f", {result.known} were here already." if result.known else ".")
        )
    if result.unreadable:
        sys.exit(1)
