"""Commands over an account's mail: LIST Folders, PURGE, ARCHIVE, RESET folder.

Invariants: they take effect at once, and what they remove can be brought back within the retention time; a purge is held to
the folders and
the constraint that the domain allows its administrators (ADM-02).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mailstead.admin_cli.context import Command, Condition, Result, make, needs
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.responses import Reply, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.model import Folder
from mailstead.mailbox.purging import PurgeCondition, parse_condition, purge

if TYPE_CHECKING:
    from mailstead.admin_cli.session import Session

DAY = 86_400
SLICE = 500


def account_mail_commands() -> list[Command]:
    """For the account's context."""
    manage = needs("manageAccounts")
    return [
        make("LIST Folders", "lists the folders with their messages and sizes", _list_folders),
        make("PURGE account folders <folders...>", "removes messages of folders, a condition behind them", _purge, allowed=manage),
        make("ARCHIVE folder <folderName> older than <days>", "moves old messages to the archive", _archive, allowed=manage),
        reset_folder_command(lambda context: int(context.need_stored().id), manage),
    ]


async def folders_of(context: Any, owner: int) -> list[Folder]:
    """Folders of an account or of a domain's public folders."""
    found: list[Folder] = await context.session.services.mailbox.folders(owner)
    return found


async def _list_folders(context: Any, arguments: Arguments) -> Result:
    account = context.need_stored()
    mailbox = context.session.services.mailbox
    rows = []
    for folder in await folders_of(context, account.id):
        status = await mailbox.status(folder)
        rows.append((folder.name, folder.kind, str(status.messages), str((status.size + 1023) // 1024)))
    return table("The list of folders:", ("name", "type", "messages", "size"), sorted(rows))


def names_and_condition(words: list[Word]) -> tuple[list[str], PurgeCondition]:
    """`<folder> [, <folder>]* [<condition>]`. Raises CommandError."""
    names: list[str] = []
    rest = list(words)
    expect = True
    while rest and expect:
        word = rest.pop(0)
        expect = False
        text = word.text
        if text.endswith(",") and not word.quoted:
            text, expect = text[:-1], True
        names.append(text)
        if rest and rest[0].text == "," and not rest[0].quoted:
            rest.pop(0)
            expect = True
    if not names or expect:
        raise CommandError("give the names of folders, commas between them")
    try:
        return names, parse_condition(" ".join(word.text for word in rest))
    except ValueError as error:
        raise CommandError(str(error)) from error


def check_allowed(session: Session, domain_id: int, names: list[str], condition: PurgeCondition) -> None:
    """What a domain lets its administrators purge (ADM-02). Raises CommandError."""
    if session.actor.may("manageDomainAdminLimits", domain_id):
        return
    limits: Any = session.services.directory.domain_settings(domain_id)
    allowed = {name.lower() for name in limits.purgeFolders}
    for name in names:
        if name.lower() not in allowed:
            raise CommandError(f"the folder {name[:80]} may not be purged in this domain")
    bound = parse_condition(limits.purgeConstraint)
    if bound.min_age is not None and (condition.min_age is None or condition.min_age < bound.min_age):
        raise CommandError(f"only messages within this constraint may be purged: {limits.purgeConstraint}")


async def purge_folders(context: Any, owner: int, names: list[str], condition: PurgeCondition, *, missing: bool) -> int:
    """Purge folders of an owner; with `missing` one that does not exist is refused, else passed over."""
    mailbox = context.session.services.mailbox
    removed = 0
    for name in names:
        folder = await mailbox.folder(owner, name)
        if folder is None:
            if missing:
                raise CommandError(f"the folder {name[:80]} does not exist")
            continue
        removed += await purge(mailbox, folder, condition)
    return removed


async def _purge(context: Any, arguments: Arguments) -> Result:
    names, condition = names_and_condition(arguments.rest)
    check_allowed(context.session, context.domain_id, names, condition)
    removed = await purge_folders(context, context.need_stored().id, names, condition, missing=True)
    return Reply(notes=(f"{removed} messages removed",))


async def _archive(context: Any, arguments: Arguments) -> Result:
    """Move messages older than some days to Archive, in folders per year and month as `archivingPolicy` says."""
    account = context.need_stored()
    mailbox, directory = context.session.services.mailbox, context.session.services.directory
    if not arguments["than"].isdigit() or len(arguments["than"]) > 6:
        raise CommandError("older than: expected a number of days")
    folder = await mailbox.folder(account.id, arguments["foldername"])
    if folder is None:
        raise CommandError(f"the folder {arguments['foldername'][:80]} does not exist")
    policy = directory.account_setting(account.id, "archivingPolicy")
    limit = int(time.time()) - int(arguments["than"]) * DAY
    view = await mailbox.open(folder)
    moved = 0
    try:
        by_target: dict[str, list[int]] = {}
        uids = list(view.uids)
        for start in range(0, len(uids), SLICE):
            for uid, date in mailbox.rows(view, uids[start : start + SLICE], ("date",)):
                if date < limit:
                    by_target.setdefault(_archive_name(folder.name, date, policy), []).append(uid)
        for name, going in by_target.items():
            target = await mailbox.folder(account.id, name) or await mailbox.create_folder(account.id, name)
            moved += len((await mailbox.move(view, going, target)).target_uids)
    finally:
        view.release()
    return Reply(notes=(f"{moved} messages archived",))


def _archive_name(folder: str, date: int, policy: Any) -> str:
    when = time.gmtime(date)
    parts = ["Archive"]
    if "folderPerYear" in policy or "folderPerMonth" in policy:
        parts.append(f"{when.tm_year}")
    if "folderPerMonth" in policy:
        parts.append(f"{when.tm_mon:02d}")
    return "/".join([*parts, folder])


def reset_folder_command(owner_of: Callable[[Any], int], allowed: Condition) -> Command:
    """RESET folder, of an account or a list."""

    async def handler(context: Any, arguments: Arguments) -> Result:
        return await _reset_folder(context, owner_of(context), arguments)

    return make("RESET folder <folders...>", "makes clients read these folders anew", handler, allowed=allowed)


async def _reset_folder(context: Any, owner: int, arguments: Arguments) -> Result:
    """Clients read a folder anew when its messages have new UIDs: they are moved away and back."""
    mailbox = context.session.services.mailbox
    names, _ = names_and_condition(arguments.rest) if "," in "".join(w.text for w in arguments.rest) else (
        [word.text for word in arguments.rest], None,
    )  # fmt: skip
    for name in names:
        folder = await mailbox.folder(owner, name)
        if folder is None:
            raise CommandError(f"the folder {name[:80]} does not exist")
        try:
            await _move_anew(mailbox, owner, folder)
        except MailboxError as error:
            raise CommandError(f"{name[:80]}: {error}") from error
    return None


async def _move_anew(mailbox: Any, account: int, folder: Folder) -> None:
    """Give every message of a folder a new UID: clients forget what they kept of it."""
    aside = f"{folder.name} {int(time.time())}" if folder.name.upper() != "INBOX" else f"INBOX {int(time.time())}"
    target = await mailbox.create_folder(account, aside)
    view = await mailbox.open(folder)
    try:
        uids = list(view.uids)
        if uids:
            await mailbox.move(view, uids, target)
    finally:
        view.release()
    back = await mailbox.open(target)
    try:
        uids = list(back.uids)
        if uids:
            await mailbox.move(back, uids, folder)
    finally:
        back.release()
    await mailbox.delete_folder(account, aside)
