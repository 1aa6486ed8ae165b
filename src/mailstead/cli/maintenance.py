"""`mailstead fsck`, `export` and `doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mailstead.cli.checks import check_all
from mailstead.cli.data_directory import become_owner, config_option, explained, find
from mailstead.process.system import lock_data_directory


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
        status = check_store(bootstrap.data_dir, repair=repair, rebuild_shard=rebuild_shard, out=click.echo)
    sys.exit(status)


@click.command()
@config_option
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["maildir", "mbox"]), default="maildir", show_default=True)
@click.option("--account", default="", help="Only this account (name@domain).")
@click.option("--domain", default="", help="Only this domain.")
def export(config: Path | None, target: Path, form: str, account: str, domain: str) -> None:
    """Write mail out as Maildir or mbox, beside a running server if there is one."""
    if bool(account) == bool(domain):
        raise click.ClickException("give either --account or --domain")
    from mailstead.directory.service import Directory
    from mailstead.store.export import ExportAccount
    from mailstead.store.export import export as export_store

    bootstrap = find(config)
    with explained():
        directory = Directory.open(bootstrap.data_dir)
        try:
            if account:
                one = directory.account_by_address(account)
                chosen = [one] if one else []
            else:
                chosen = [each for each in directory.accounts() if each.domain == domain.lower()]
        finally:
            directory.close()
        if not chosen:
            raise click.ClickException(f"no such {'account' if account else 'domain, or it has no accounts'}: {account or domain}")
        wanted = [ExportAccount(each.id, each.shard, each.address) for each in chosen]
        damaged = export_store(bootstrap.data_dir, target, form, wanted, out=click.echo)
    sys.exit(1 if damaged else 0)


@click.command()
@config_option
def doctor(config: Path | None) -> None:
    """Look at what surrounds the server: disk, rights, ports, certificate, limits."""
    bootstrap = find(config)
    worst = 0
    with explained():
        for finding in check_all(bootstrap):
            mark = ("ok     ", "warning", "problem")[finding.severity]
            click.echo(f"{mark}  {finding.subject}: {finding.text}")
            worst = max(worst, finding.severity)
    sys.exit(1 if worst == 2 else 0)
