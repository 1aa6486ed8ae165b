"""`mailstead reindex`: have the search index built anew, and say how far it is."""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import click

from mailstead.cli.bootstrap_option import config_option, find
from mailstead.cli.check_directory import is_running
from mailstead.cli.data_directory import closed_to_us, opened
from mailstead.directory.model import Account
from mailstead.directory.service import Directory


@click.command()
@config_option
@click.argument("address", required=False)
@click.option("--all", "everyone", is_flag=True, help="All accounts.")
@click.option("--missing", is_flag=True, help="Only what the index lacks, instead of everything anew.")
@click.option("--status", is_flag=True, help="Only say how far the index is, of all accounts or one.")
@click.option("--wait", is_flag=True, help="Wait for a running server to finish, and show how far it is.")
def reindex(config: Path | None, address: str | None, everyone: bool, missing: bool, status: bool, wait: bool) -> None:
    """Build the search index of an ACCOUNT (name@domain) anew, beside a running server or without one.

    Searches are right at any time: messages that are not indexed are read, which takes longer.
    """
    everyone = everyone or (status and not address)
    if bool(address) == everyone:
        raise click.ClickException("give either an account or --all")
    from mailstead.store.search_indexer import AlreadyRunning, hold_indexer_lock

    data_dir = find(config).data_dir
    with opened(config) as directory:
        chosen = _chosen(directory, address)
        shards = directory.shard_count()
        attachments = bool(directory.settings.service("server").indexAttachments)
    try:
        if status:
            _show(data_dir, chosen)
            return
        _ask(data_dir, chosen, anew=not missing)
        click.echo(f"{len(chosen)} accounts are to be indexed {'where something is missing' if missing else 'anew'}.")
        if is_running(data_dir):
            click.echo("The running server does it in the background; `mailstead reindex --status` shows how far it is.")
            while wait and _left(data_dir, chosen):
                time.sleep(1)
        else:
            try:
                lock = hold_indexer_lock(data_dir)
            except AlreadyRunning:
                raise click.ClickException("another process is indexing this data directory; it will do this, too") from None
            _work(data_dir, shards, attachments, lock)
        _show(data_dir, chosen)
    except (apsw.Error, PermissionError) as exc:
        reason = closed_to_us(data_dir)
        if reason:
            raise click.ClickException(f"the index cannot be written: {reason}") from exc
        raise click.ClickException(f"the index is busy or damaged: {exc}; `mailstead fsck` says more") from exc


def _chosen(directory: Directory, address: str | None) -> list[Account]:
    if address is None:
        return list(directory.accounts())
    found = directory.account_by_address(address)
    if found is None:
        raise click.ClickException(f"no such account: {address}")
    return [found]


def _by_shard(accounts: list[Account]) -> dict[int, list[Account]]:
    shards: dict[int, list[Account]] = {}
    for account in accounts:
        shards.setdefault(account.shard, []).append(account)
    return shards


def _ask(data_dir: Path, accounts: list[Account], anew: bool) -> None:
    from mailstead.store.files import Files
    from mailstead.store.search_jobs import ask_for_all
    from mailstead.store.shard import Shard

    for number, group in _by_shard(accounts).items():
        shard = Shard(data_dir / "index", number, Files())
        try:
            shard.wait_for_lock(10.0)
            ask_for_all(shard, [account.id for account in group], anew)
        finally:
            shard.close()


def _work(data_dir: Path, shards: int, attachments: bool, _lock: int) -> None:
    """Do it here; the lock is held while this process lives."""
    from mailstead.process.document_text import extract
    from mailstead.store.search_indexer import Indexer

    done = 0
    for number in range(shards):
        indexer = Indexer(data_dir, number, extract if attachments else None)
        try:
            while indexer.run_once():
                if indexer.indexed // 5000 != done // 5000:
                    click.echo(f"  shard {number}: {indexer.indexed} messages")
                done = indexer.indexed
        finally:
            indexer.close()
        done = 0


def _left(data_dir: Path, accounts: list[Account]) -> bool:
    """Whether jobs or messages wait; says how many."""
    from mailstead.store.search_status import progress

    messages = pending = jobs = 0
    for number, group in _by_shard(accounts).items():
        for one in progress(data_dir, number, [account.id for account in group]):
            messages, pending, jobs = messages + one.messages, pending + one.pending, jobs + one.jobs
    click.echo(f"  {messages - pending} of {messages} messages indexed, {jobs} jobs wait")
    return bool(pending or jobs)


def _show(data_dir: Path, accounts: list[Account]) -> None:
    from mailstead.store.search_status import progress

    names = {account.id: account.address for account in accounts}
    messages = indexed = jobs = 0
    click.echo(f"{'messages':>10} {'indexed':>10} {'pending':>10} {'jobs':>8}  account")
    for number, group in _by_shard(accounts).items():
        for one in progress(data_dir, number, [account.id for account in group]):
            if one.messages or len(accounts) == 1:
                click.echo(f"{one.messages:>10} {one.indexed:>10} {one.pending:>10} {one.jobs:>8}  {names[one.account]}")
            messages, indexed, jobs = messages + one.messages, indexed + one.indexed, jobs + one.jobs
    click.echo(f"{messages:>10} {indexed:>10} {messages - indexed:>10} {jobs:>8}  in all")
