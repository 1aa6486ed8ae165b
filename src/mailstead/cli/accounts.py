"""`mailstead user`."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from pathlib import Path

import click

from mailstead.cli.bootstrap_option import config_option
from mailstead.cli.data_directory import opened
from mailstead.cli.undelete import kept
from mailstead.cli.unique_ids import pop3_ids
from mailstead.directory.model import Account, NewAccount
from mailstead.directory.service import Directory
from mailstead.settings import Actor

ACTOR = Actor.system("command line")
#: Clear passwords take a tenth of a second each, so progress is shown in small steps.
STEP_CLEAR = 64
STEP_HASHED = 1000
MAX_LINES = 1_000_000


@click.group()
def user() -> None:
    """Accounts."""


user.add_command(pop3_ids)

def _split(address: str) -> tuple[str, str]:
    name, at, domain = address.rpartition("@")
    if not at or not name or not domain:
        raise click.ClickException(f"{address!r} is not an address like name@domain")
    return name, domain


def need_account(directory: Directory, address: str) -> Account:
    account = directory.account_by_address(address)
    if account is None:
        raise click.ClickException(f"the account {address} does not exist")
    return account


@user.command("add")
@config_option
@click.argument("address")
@click.option("--name", "full_name", default="", help="Full name of the owner.")
@click.option("--hash", "ready", default="", help="A ready password hash instead of a password.")
@click.option("--password", envvar="MAILSTEAD_PASSWORD", help="Better given by the prompt or MAILSTEAD_PASSWORD.")
def add(config: Path | None, address: str, full_name: str, ready: str, password: str | None) -> None:
    """Create an account."""
    name, domain = _split(address)
    if not ready and password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    with opened(config) as directory:
        asyncio.run(
            directory.create_account(
                domain, name, None if ready else password, hash=ready or None, full_name=full_name, actor=ACTOR,
                enforce=not ready,
            )
        )  # fmt: skip
    click.echo(f"Created {address}.")


@user.command("passwd")
@config_option
@click.argument("address")
@click.option("--hash", "ready", default="", help="A ready password hash instead of a password.")
@click.option("--password", envvar="MAILSTEAD_PASSWORD", help="Better given by the prompt or MAILSTEAD_PASSWORD.")
def passwd(config: Path | None, address: str, ready: str, password: str | None) -> None:
    """Set a password; the old one is invalid everywhere at once."""
    if not ready and password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    with opened(config) as directory:
        account = need_account(directory, address)
        asyncio.run(
            directory.set_password(account.id, None if ready else password, hash=ready or None, actor=ACTOR, enforce=not ready)
        )
    click.echo(f"Changed the password of {address}.")


@user.command("list")
@config_option
@click.option("--domain", default="", help="Only this domain.")
def show(config: Path | None, domain: str) -> None:
    """List the accounts."""
    with opened(config) as directory:
        found = directory.domain_by_name(domain) if domain else None
        if domain and found is None:
            raise click.ClickException(f"the domain {domain} does not exist")
        for account in directory.accounts(found.id if found else 0):
            state = "" if account.enabled else "\tdisabled"
            click.echo(f"{account.address}\t{account.full_name}{state}".rstrip("\t"))


@user.command("delete")
@config_option
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-copy", is_flag=True, help="Erase it for good instead of keeping a copy for the retention time.")
def delete(config: Path | None, address: str, yes: bool, no_copy: bool) -> None:
    """Delete an account and its mail; `mailstead undelete account` brings it back."""
    with opened(config) as directory:
        account = need_account(directory, address)
        if not yes:
            click.confirm(f"Delete {account.address} and all its mail?", abort=True)
        asyncio.run(directory.delete_account(account.id, actor=ACTOR, keep_copy=not no_copy))
        days = 0 if no_copy else int(directory.settings.service("server").retentionDays)
    click.echo(f"Deleted {account.address}; {kept(days)}.")


@user.command("import")
@config_option
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
def import_(config: Path | None, file: Iterator[str]) -> None:
    """Create accounts from a CSV file: address, password or ready hash, full name.

    A first line that begins with "address" is taken for a heading. What is refused is listed; the rest is created.
    """
    numbers, accounts, malformed = _read(file)
    for line in malformed:
        click.echo(f"line {line}: expected address, password or hash, full name", err=True)
    step = STEP_CLEAR if any(account.password for account in accounts) else STEP_HASHED
    created, refused = 0, len(malformed)
    with opened(config) as directory, click.progressbar(length=len(accounts), label="Importing") as bar:
        for start in range(0, len(accounts), step):
            part = accounts[start : start + step]
            result = asyncio.run(directory.import_accounts(part, actor=ACTOR, enforce=True))
            created += result.created
            for index, reason in result.refused:
                refused += 1
                click.echo(f"\nline {numbers[start + index]}: {part[index].address}: {reason}", err=True)
            bar.update(len(part))
    click.echo(f"Created {created} accounts" + (f", refused {refused}." if refused else "."))
    if refused:
        raise SystemExit(1)


def _read(file: Iterator[str]) -> tuple[list[int], list[NewAccount], list[int]]:
    """Line numbers and accounts, and the numbers of lines that are neither."""
    malformed: list[int] = []
    numbers: list[int] = []
    accounts: list[NewAccount] = []
    reader = csv.reader(file)
    try:
        for row in reader:
            if not row or not row[0].strip() or (reader.line_num == 1 and row[0].strip().lower() == "address"):
                continue
            if len(row) < 2 or len(row) > 3:
                malformed.append(reader.line_num)
                continue
            if len(accounts) >= MAX_LINES:
                raise click.ClickException(f"more than {MAX_LINES} lines; split the file")
            secret = row[1].strip()
            hashed = secret.startswith(("{", "$", "pbkdf2_sha", "SCRAM-SHA-"))
            accounts.append(
                NewAccount(
                    row[0].strip(),
                    password="" if hashed else row[1],
                    hash=secret if hashed else "",
                    full_name=row[2].strip() if len(row) > 2 else "",
                )
            )
            numbers.append(reader.line_num)
    except (csv.Error, UnicodeDecodeError) as exc:
        raise click.ClickException(f"line {reader.line_num}: {exc}") from exc
    return numbers, accounts, malformed
