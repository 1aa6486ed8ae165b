"""`mailstead admin`: administrators, from the command line of the machine itself.

Invariants: works beside a running server, which follows at once; needs no password, for who may read the data directory may
do anything.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from mailstead.cli import admin_password
from mailstead.cli.bootstrap_option import config_option
from mailstead.cli.data_directory import opened
from mailstead.settings import Actor
from mailstead.settings.permissions import DOMAIN_MEANINGS, SERVER_MEANINGS

ACTOR = Actor.system("command line")
_PASSWORD = click.option("--password", envvar=admin_password.VARIABLE, help=admin_password.HELP)


@click.group()
def admin() -> None:
    """Administrators: who logs in to the administration protocol and the FTP backup."""


@admin.command("list")
@config_option
def show(config: Path | None) -> None:
    """List the administrators with their permissions."""
    with opened(config) as directory:
        for found in directory.admins():
            state = "" if found.enabled else "  disabled"
            rights = "every right" if found.everything else f"{len(directory.permission_entries(holder_id=found.id))} permissions"
            click.echo(f"{found.name}\t{rights}{state}\t{found.description}".rstrip())


@admin.command("add")
@config_option
@click.argument("name")
@click.option("--everything", is_flag=True, help="With every right, as the first administrator has.")
@click.option("--description", default="", help="Who this is.")
@_PASSWORD
def add(config: Path | None, name: str, everything: bool, description: str, password: str | None) -> None:
    """Create an administrator; permissions are given with `admin grant`."""
    password = admin_password.wanted(password)
    with opened(config) as directory:
        asyncio.run(directory.create_admin(name, password, actor=ACTOR, everything=everything, description=description))
    click.echo(f"Created the administrator {name}.")


@admin.command("passwd")
@config_option
@click.argument("name")
@_PASSWORD
def passwd(config: Path | None, name: str, password: str | None) -> None:
    """Set an administrator's password; its sessions end."""
    password = admin_password.wanted(password)
    with opened(config) as directory:
        asyncio.run(directory.set_admin_password(name, password, actor=ACTOR))
    click.echo(f"Changed the password of the administrator {name}.")


@admin.command("remove")
@config_option
@click.argument("name")
def remove(config: Path | None, name: str) -> None:
    """Remove an administrator; the last one with every right stays."""
    with opened(config) as directory:
        asyncio.run(directory.delete_admin(name, actor=ACTOR))
    click.echo(f"Removed the administrator {name}.")


@admin.command("permissions")
@click.argument("word", default="")
def permissions(word: str) -> None:
    """List the names that `admin grant` takes, with what each lets one do; with a WORD those that it occurs in."""
    levels = (("on a domain", DOMAIN_MEANINGS), ("on the server", SERVER_MEANINGS))
    for level, meanings in levels:
        for name in sorted(meanings, key=str.lower):
            if word.lower() in f"{name} {meanings[name]}".lower():
                click.echo(f"{name}\t{level}\t{meanings[name]}")


@admin.command("grant")
@config_option
@click.argument("name")
@click.argument("permissions", nargs=-1, required=True)
@click.option("--domain", default=None, help="On this domain only.")
def grant(config: Path | None, name: str, permissions: tuple[str, ...], domain: str | None) -> None:
    """Give permissions (`admin permissions` lists them), e.g. `anna manageAccounts createAccounts --domain example.org`."""
    with opened(config) as directory:
        for permission in permissions:
            asyncio.run(directory.grant(name, permission, domain, actor=ACTOR))
    click.echo(f"{name} has {', '.join(permissions)}.")


@admin.command("revoke")
@config_option
@click.argument("name")
@click.argument("permissions", nargs=-1, required=True)
@click.option("--domain", default=None, help="On this domain only.")
def revoke(config: Path | None, name: str, permissions: tuple[str, ...], domain: str | None) -> None:
    """Take permissions away."""
    with opened(config) as directory:
        for permission in permissions:
            asyncio.run(directory.revoke(name, permission, domain, actor=ACTOR))
    click.echo(f"{name} has {', '.join(permissions)} no more.")
