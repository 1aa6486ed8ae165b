"""`mailstead domain`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from mailstead.cli.bootstrap_option import config_option
from mailstead.cli.data_directory import opened
from mailstead.cli.undelete import kept
from mailstead.directory.activation import left_without_parent, named_subdomains
from mailstead.directory.service import Directory
from mailstead.settings import Actor

ACTOR = Actor.system("command line")


@click.group()
def domain() -> None:
    """Mail domains."""


@domain.command("add")
@config_option
@click.argument("name")
@click.option("--postmaster", default="", help="Account of the domain that gets the postmaster's mail.")
def add(config: Path | None, name: str, postmaster: str) -> None:
    """Create a domain."""
    with opened(config) as directory:
        asyncio.run(_add(directory, name, postmaster))
    click.echo(f"Created the domain {name}.")


async def _add(directory: Directory, name: str, postmaster: str) -> None:
    await directory.create_domain(name, actor=ACTOR)
    if postmaster:
        await directory.create_account(name, postmaster, actor=ACTOR)
        await directory.set_domain_setting(name, "postmasterAccount", postmaster, actor=ACTOR)


@domain.command("list")
@config_option
def show(config: Path | None) -> None:
    """List the domains: name, number of accounts, state (enabled, disabled, or inactive: what is above is not active), parent."""
    with opened(config) as directory:
        for found in directory.domains():
            parent = directory.domain_settings(found.id).parentDomain
            columns = [found.name, str(directory.account_count(found.id)), found.state, *([parent] if parent else [])]
            click.echo("\t".join(columns))


@domain.command("delete")
@config_option
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-copy", is_flag=True, help="Erase it for good instead of keeping a copy for the retention time.")
def delete(config: Path | None, name: str, yes: bool, no_copy: bool) -> None:
    """Delete a domain with all its accounts and their mail; `mailstead undelete domain` brings it back. Its subdomains stay."""
    with opened(config) as directory:
        found = directory.domain_by_name(name)
        if found is None:
            raise click.ClickException(f"the domain {name} does not exist")
        below = [one.name for one in directory.subdomains(found.id)]
        if not yes:
            count = directory.account_count(found.id)
            stay = "1 subdomain stays" if len(below) == 1 else f"{len(below)} subdomains stay"
            told = f"{stay}, without a parent{named_subdomains(below)}. " if below else ""
            accounts = "1 account and all its mail" if count == 1 else f"{count} accounts and all their mail"
            click.confirm(f"{told}Delete {found.name} with {accounts}?", abort=True)
        asyncio.run(directory.delete_domain(found.name, actor=ACTOR, keep_copy=not no_copy))
        days = 0 if no_copy else int(directory.settings.service("server").retentionDays)
    click.echo(f"Deleted the domain {name}; {kept(days)}.")
    if below:
        click.echo(left_without_parent(len(below), below))
