"""`mailstead history`: who changed what and when, and taking a change back.

Invariants: secrets are not in the history and so are never shown; what is taken back leaves an entry of its own.
"""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime
from pathlib import Path

import click

from mailstead.cli.bootstrap_option import config_option, find
from mailstead.cli.data_directory import opened, store_beside
from mailstead.directory.history_names import ObjectNames, objects_named
from mailstead.directory.reverting import revert as take_back
from mailstead.directory.service import Directory
from mailstead.settings import Actor
from mailstead.settings.history import Filter, HistoryEntry, entries, entry

ACTOR = Actor.system("command line")
_AGO = re.compile(r"([0-9]{1,6})([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _since(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int:
    """Microseconds since 1970 of a time or an age."""
    if not text:
        return 0
    if match := _AGO.fullmatch(text):
        return time.time_ns() // 1000 - int(match[1]) * _SECONDS[match[2]] * 1_000_000
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1_000_000)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter("expected a time such as 2026-11-29T10:00, or an age such as 30m, 12h, 7d") from error


@click.group(invoke_without_command=True)
@config_option
@click.option("--object", "text", metavar="NAME", help="A service, an address, a domain, an administrator, a kind, or kind:id.")
@click.option("--author", help="Only what this one changed.")
@click.option("--since", callback=_since, help="Since a time (2026-11-29), or an age (12h, 7d).")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="The newest ones.")
@click.pass_context
def history(
    context: click.Context, config: Path | None, text: str | None, author: str | None, since: int, limit: int
) -> None:
    """List changes: number, time, author, object, verb, what was before and after; the newest last."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    with opened(config) as directory:
        wanted = Filter(objects_named(directory, text) if text else (), author or "", since)
        found = entries(directory.database, wanted, limit=limit)
        names = ObjectNames(directory.database)
        for one in reversed(found):
            when = datetime.fromtimestamp(one.time / 1_000_000).astimezone().isoformat(sep=" ", timespec="seconds")
            click.echo("\t".join((str(one.seq), when, one.author, names.of(one), one.verb, "; ".join(one.lines()))).rstrip())


@history.command("revert")
@config_option
@click.argument("seq", type=click.IntRange(1))
@click.option("--force", is_flag=True, help="Although a later change touched the same.")
@click.pass_context
def revert(context: click.Context, config: Path | None, seq: int, force: bool) -> None:
    """Take the change with number SEQ back."""
    config = config or context.obj
    with opened(config) as directory:
        found = entry(directory.database, seq)
        if found is not None and found.is_rights:
            first, last = asyncio.run(_take_rights_back(config, directory, found, force))
        else:
            first, last = asyncio.run(take_back(directory, seq, actor=ACTOR, force=force))
        names = ObjectNames(directory.database)
        for one in entries(directory.database, Filter(after=first), limit=last - first or 1, newest_first=False):
            click.echo(f"{one.seq}\t{names.of(one)}\t{one.verb}\t{'; '.join(one.lines())}".rstrip())
    click.echo(f"{seq} is taken back.")


async def _take_rights_back(config: Path | None, directory: Directory, found: HistoryEntry, force: bool) -> tuple[int, int]:
    """Rights are kept with the mail."""
    from mailstead.mailbox.errors import MailboxError
    from mailstead.mailbox.rights_history import revert_rights
    from mailstead.mailbox.service import Mailbox

    async with store_beside(find(config)) as store:
        try:
            return await revert_rights(Mailbox(store, directory, directory), directory, found, actor=ACTOR, force=force)
        except MailboxError as exc:
            raise click.ClickException(str(exc)) from exc
