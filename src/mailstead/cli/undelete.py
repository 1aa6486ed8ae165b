"""`mailstead undelete`: list what was deleted and bring it back within the retention time.

Invariants: whoever has a mailbox has its mail back: an account, a mailing list, a domain with its public folders; a list gets
nothing unasked that it would act on again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from mailstead.cli.bootstrap_option import config_option, find
from mailstead.cli.data_directory import opened, store_beside
from mailstead.directory.address import split_address
from mailstead.directory.model import RecipientKind
from mailstead.directory.service import Directory
from mailstead.directory.sharing import FolderOwner
from mailstead.mailbox.base import PUBLIC_FOLDERS
from mailstead.mailbox.errors import MailboxError
from mailstead.settings import Actor
from mailstead.store.service import Store
from mailstead.store.undelete import DeletedMessage

ACTOR = Actor.system("command line")
T = TypeVar("T")
NOTHING = "Nothing that was deleted can be restored."


def kept(days: int) -> str:
    """What becomes of the mail of something deleted, in words."""
    return f"it can be restored for {days} days" if days else "the server removes its mail"


def shown(seconds: float) -> str:
    """A time as these commands write it, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


@click.group()
def undelete() -> None:
    """What was deleted: list it and bring it back, within the retention time (server.retentionDays)."""


@undelete.command("list")
@config_option
@click.argument("where", required=False, default="")
@click.option("--folders", is_flag=True, help="Of a domain the deleted public folders.")
def list_(config: Path | None, where: str, folders: bool) -> None:
    """Deleted domains and accounts; of a DOMAIN its deleted accounts; of an account or mailing list (name@domain) its deleted
    folders."""
    if folders and not where:
        raise click.UsageError("--folders needs a domain")
    if "@" in where or folders:
        _list_folders(config, where)
        return
    with opened(config) as directory:
        found = directory.deleted_accounts(where) if where else directory.deleted_objects()
        for one in found:
            until = shown(one.until / 1e6)
            click.echo(f"{one.id}\t{one.name}\tdeleted {shown(one.time / 1e6)} by {one.author}\tuntil {until}")
        if not found:
            click.echo(NOTHING)


def _list_folders(config: Path | None, address: str) -> None:
    async def work(directory: Directory, owner: FolderOwner) -> None:
        from mailstead.mailbox.service import Mailbox

        async with store_beside(find(config)) as store:
            mailbox = Mailbox(store, directory, directory)
            found = await mailbox.deleted_folders(owner.id, actor=ACTOR)
            for one in found:
                click.echo(f"{one.name}\t{one.messages} messages, {one.size} octets\tdeleted {shown(one.at)}")
            if not found:
                click.echo(NOTHING)

    _with_owner(config, address, work)


def _with_owner(config: Path | None, name: str, work: Callable[[Directory, FolderOwner], Awaitable[T]]) -> T:
    with opened(config) as directory:
        owner = _owner(directory, name)
        if owner is None:
            raise click.ClickException(f"there is no account, mailing list or domain {name}")

        async def run() -> T:
            return await work(directory, owner)

        try:
            return asyncio.run(run())
        except MailboxError as exc:
            raise click.ClickException(str(exc)) from exc


def _owner(directory: Directory, name: str) -> FolderOwner | None:
    """Who has a mailbox under a name: an account or a mailing list by address, a domain for its public folders."""
    parts = split_address(name)
    if parts is None:
        domain = directory.domain_by_name(name)
        return directory.owner(domain.id) if domain is not None else None
    account = directory.account_by_address(name)
    if account is not None:
        return directory.owner(account.id)
    domain = directory.domain_by_name(parts[1])
    found = directory.recipient_named(domain.id, parts[0], RecipientKind.LIST) if domain is not None else None
    return directory.owner(found.id) if found is not None else None


def _own_name(owner: FolderOwner, name: str) -> str:
    """A folder's name as its owner has it, of one that may be as readers see it."""
    return name.removeprefix(f"{PUBLIC_FOLDERS}/") if owner.public else name


@undelete.command("domain")
@config_option
@click.argument("name")
@click.option("--as", "new_name", default="", help="Another name, where its own is taken.")
def domain(config: Path | None, name: str, new_name: str) -> None:
    """Bring back a domain, by name or number, with its accounts and all that was in it."""
    with opened(config) as directory:
        back = asyncio.run(directory.restore_domain(int(name) if name.isdigit() else name, actor=ACTOR, name=new_name))
    click.echo(f"Restored the domain {back.domain.name} with {back.accounts} accounts.")
    for text in back.left_out:
        click.echo(f"Left out: {text}")
    for text in back.readdressed:
        click.echo(f"{back.domain.name}: {text}")


@undelete.command("account")
@config_option
@click.argument("address")
@click.option("--as", "new_name", default="", help="Another name in its domain, where its own is taken.")
def account(config: Path | None, address: str, new_name: str) -> None:
    """Bring back an account, by address or number, with mail, password and settings."""
    with opened(config) as directory:
        back = asyncio.run(directory.restore_account(int(address) if address.isdigit() else address, actor=ACTOR, name=new_name))
    click.echo(f"Restored {back.account.address}.")
    for text in back.left_out:
        click.echo(f"Left out: {text}")


@undelete.command("folder")
@config_option
@click.argument("address")
@click.argument("name")
@click.option("--as", "new_name", default="", help="Another name, where its own is taken.")
@click.option("--below", is_flag=True, help="The deleted folders below it, too.")
def folder(config: Path | None, address: str, name: str, new_name: str, below: bool) -> None:
    """Bring back a deleted folder of an account or mailing list, or a public folder of a domain, with its messages; the one
    deleted last, where several had the name."""

    async def work(directory: Directory, owner: FolderOwner) -> None:
        from mailstead.mailbox.service import Mailbox

        wanted, target_name = _own_name(owner, name), _own_name(owner, new_name or name)
        async with store_beside(find(config)) as store:
            mailbox = Mailbox(store, directory, directory)
            found: dict[str, object] = {}
            for one in await mailbox.deleted_folders(owner.id, actor=ACTOR):
                if one.name not in found and (one.name == wanted or (below and one.name.startswith(f"{wanted}/"))):
                    found[one.name] = one
                    target = target_name + one.name[len(wanted) :]
                    count = await mailbox.restore_folder(owner.id, one, actor=ACTOR, name=target)
                    click.echo(f"Restored {target} with {count} messages.")
            if not found:
                raise click.ClickException(f"no deleted folder {name} can be restored")

    _with_owner(config, address, work)


async def _not_there(store: Store, owner: FolderOwner, found: list[DeletedMessage], into: str) -> list[DeletedMessage]:
    """Those that their folder does not have again, as `restore` of a backup brings them: known as that knows them."""
    from mailstead.mailbox.names import canonical
    from mailstead.restoring.mail import key_of, present

    there = (await asyncio.to_thread(present, store.data_dir, owner.shard, owner.id)).keys
    return [
        one
        for one in found
        if (canonical(into) if into else one.folder_name or "INBOX")
        not in there.get(key_of(one.message_id, one.subject, one.sent, one.size, one.date), ())
    ]


@undelete.command("messages")
@config_option
@click.argument("address")
@click.option("--folder", "name", default="", help="Only what was deleted from this folder.")
@click.option("--since", type=click.IntRange(min=0), help="Only what was deleted in the last so many hours.")
@click.option("--message-id", default="", help="Only messages with this Message-ID.")
@click.option("--into", default="", help="Restore into this folder, made if missing, instead of those they were deleted from.")
@click.option("--list", "only_list", is_flag=True, help="Only list them.")
def messages(config: Path | None, address: str, name: str, since: int | None, message_id: str, into: str, only_list: bool) -> None:
    """Bring back deleted messages of an account, a mailing list or the public folders of a domain; what the folder has already
    does not come twice."""
    wanted_id = message_id.strip("<> ")

    async def work(directory: Directory, owner: FolderOwner) -> None:
        from mailstead.mailbox.service import Mailbox

        async with store_beside(find(config)) as store:
            mailbox = Mailbox(store, directory, directory)
            start = int(time.time()) - since * 3600 if since is not None else 0
            folder, target = _own_name(owner, name), _own_name(owner, into)
            found = [
                one
                for one in await mailbox.deleted_messages(owner.id, actor=ACTOR, since=start)
                if (not folder or one.folder_name == folder) and (not wanted_id or one.message_id.strip("<>") == wanted_id)
            ]
            if only_list:
                for one in found:
                    place = one.folder_name or f"folder {one.folder}"
                    click.echo(f"{shown(one.at)}\t{place}\t{shown(one.date)}\t{one.size}\t{one.sender}\t{one.subject}")
                return
            left = _acted_on(directory, owner, found) if not (folder or target) else {}
            asked = [one for one in found if one.folder_name not in left]
            back = await _not_there(store, owner, asked, target) if asked else []
            result = await mailbox.restore_messages(owner.id, back, actor=ACTOR, into=target)
            for place, count in result.folders.items():
                click.echo(f"Restored {count} messages to {place}.")
            if len(back) < len(asked):
                click.echo(f"Skipped {len(asked) - len(back)} messages that are in the folder already.")
            for place, count in left.items():
                again = f"which the list would act on again; --folder {place} brings them"
                click.echo(f"Left out {count} messages of {place}, {again}.")
            if not found:
                click.echo("Nothing of that can be restored.")

    _with_owner(config, address, work)


def _acted_on(directory: Directory, owner: FolderOwner, found: list[DeletedMessage]) -> Counter[str]:
    """How many of them a mailing list would act on a second time, by folder."""
    from mailstead.mailbox.names import ACTING_FOLDERS

    if directory.recipient(owner.id) is None:
        return Counter()
    return Counter(one.folder_name for one in found if one.folder_name in ACTING_FOLDERS)
