"""`mailstead fsck`, `export` and `doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import click

from mailstead.cli.bootstrap_option import config_option, explained, find
from mailstead.cli.checks import check_all, findings_json
from mailstead.cli.data_directory import become_owner, closed_to_us
from mailstead.cli.finding import WORDS
from mailstead.process.system import lock_data_directory

if TYPE_CHECKING:
    from mailstead.directory.service import Directory
    from mailstead.store.export import ExportAccount

#: The folder of an export that a domain's public folders lie in, before "@" and the domain.
PUBLIC_FOLDERS = "Public Folders"


@click.command()
@config_option
@click.option("--repair", is_flag=True, help="Repair what can be repaired; the server must be stopped.")
@click.option("--rebuild-shard", type=int, help="Build this index file anew from the log; the server must be stopped.")
def fsck(config: Path | None, repair: bool, rebuild_shard: int | None) -> None:
    """Check the store: log, index, and what connects them."""
    from mailstead.store.fsck import fsck as check_store  # with SQLite and the log: not for every command

    bootstrap = find(config)
    with explained():
        if repair or rebuild_shard is not None:
            become_owner(bootstrap)
            lock_data_directory(bootstrap.data_dir)
        try:
            status = check_store(bootstrap.data_dir, repair, rebuild_shard, click.echo, whole=True)
        except (apsw.Error, PermissionError) as exc:
            reason = closed_to_us(bootstrap.data_dir)
            raise click.ClickException(f"the index cannot be written: {reason or exc}") from exc
    sys.exit(status)


@click.command()
@config_option
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["maildir", "mbox"]), default="maildir", show_default=True)
@click.option("--account", default="", help="Only this account (name@domain), without public folders.")
@click.option("--domain", default="", help="All accounts of this domain, and its public folders.")
def export(config: Path | None, target: Path, form: str, account: str, domain: str) -> None:
    """Write mail out as Maildir or mbox, beside a running server if there is one.

    TARGET gets a folder per account, named by its address; --domain writes the domain's public folders as well, into
    "Public Folders@DOMAIN". It is written with the rights of whoever types the command.
    """
    if bool(account) == bool(domain):
        raise click.ClickException("give either --account or --domain")
    from mailstead.directory.service import Directory
    from mailstead.store.export import ExportAccount, IndexMissing
    from mailstead.store.export import export as export_store

    bootstrap = find(config)
    with explained():
        directory = Directory.open(bootstrap.data_dir)
        try:
            if account:
                one = directory.account_by_address(account)
                wanted = [ExportAccount(one.id, one.shard, one.address)] if one else []
            else:
                wanted = _of_domain(directory, domain)
        finally:
            directory.close()
        if not wanted:
            raise click.ClickException(f"no such {'account' if account else 'domain'}: {account or domain}")
        try:
            damaged = export_store(bootstrap.data_dir, target, form, wanted, out=click.echo)
        except IndexMissing as exc:
            raise click.ClickException(str(exc)) from exc
    sys.exit(1 if damaged else 0)


def _of_domain(directory: Directory, name: str) -> list[ExportAccount]:
    """Accounts and public folders of a domain; nothing for one that does not exist."""
    from mailstead.store.export import ExportAccount

    domain = directory.domain_by_name(name)
    owner = directory.owner(domain.id) if domain else None
    if domain is None or owner is None:
        return []
    found = [ExportAccount(one.id, one.shard, one.address) for one in directory.accounts(domain.id)]
    return [*found, ExportAccount(domain.id, owner.shard, f"{PUBLIC_FOLDERS}@{domain.name}", public=True)]


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
@click.option("--offline", is_flag=True, help="Ask no name server.")
def doctor(config: Path | None, as_json: bool, offline: bool) -> None:
    """Look at what surrounds the server: disk, rights, ports, names, certificates, clock, limits, databases, versions.

    Each finding that asks for something says what to do. Exit status 1 where there is a problem.
    """
    bootstrap = find(config)
    found = []
    with explained():
        for finding in check_all(bootstrap, network=not offline):
            found.append(finding)
            if as_json:
                continue
            click.echo(f"{WORDS[finding.severity]:<7}  {finding.subject}: {finding.text}")
            if finding.fix:
                click.echo(f"         do: {finding.fix}")
    worst = max((finding.severity for finding in found), default=0)
    if as_json:
        click.echo(findings_json(found))
    sys.exit(1 if worst == 2 else 0)


@click.command()
@config_option
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Ask no name server.")
def support(config: Path | None, file: Path | None, offline: bool) -> None:
    """Write a bundle for whoever helps you: configuration, ends of log files, doctor's findings, versions, figures.

    Passwords, keys and other secrets are left out; addresses in log files are not. Nobody but you can read FILE
    (mailstead-support-DATE.tar.gz); look at it before you give it away.
    """
    from mailstead.cli.support import SupportError, write_bundle

    bootstrap = find(config)
    with explained():
        try:
            path = write_bundle(bootstrap, file, network=not offline)
        except SupportError as exc:
            raise click.ClickException(str(exc)) from exc
    click.echo(f"Written to {path}.")
