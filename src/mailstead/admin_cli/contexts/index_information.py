"""How far indexes are: SHOW ...IndexInformation of accounts, public folders and domains; PURGE and RESET of what lies beside mail.

Invariants: figures are counted from the rows; mail that is not in the index is read when it is searched, so no answer is ever
short; what this server keeps with each message in the transaction that brings it is whole at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mailstead.admin_cli.context import Command, Condition, Result, make
from mailstead.admin_cli.contexts.storage import owners_of
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply, quoted, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.store.search_status import FolderProgress, Progress, folder_progress, progress

OwnerOf = Callable[[Any], int]
_WHOLE = {
    "Sort": "the keys mail is sorted by are stored with each message when it arrives: never behind",
    "Conversation": "a message's conversation is stored with it when it arrives: never behind",
    "CalendarSearch": "events and tasks are messages of their folders, and found by the search index of mail",
    "ContactSearch": "contacts are messages of their folders, and found by the search index of mail",
}


def owner_commands(owner_of: OwnerOf, *, conversations: bool, allowed: Condition | None = None) -> list[Command]:
    """For an account, or a domain's public folders."""
    made: list[Command] = []
    for kind in ("Search", "CalendarSearch", "ContactSearch", "Sort"):
        diag = "" if kind == "Sort" else " [diag]"
        for more in ("", " allfolders", " folder <foldername>"):
            form = f"SHOW {kind}IndexInformation{diag}{more}".replace(f"{diag}{more}", f"{more}{diag}" if more else diag)
            made.append(make(form, f"shows how far the {kind.lower()} index is", _shown(kind, owner_of), allowed=allowed))
    if conversations:
        made.append(
            make("SHOW ConversationIndexInformation [diag]", "shows how far conversations are", _shown("Conversation", owner_of),
                 allowed=allowed)
        )  # fmt: skip
    return made


def domain_commands(allowed: Condition | None = None) -> list[Command]:
    """For a domain: all its mailboxes."""
    made: list[Command] = []
    for kind in ("Search", "CalendarSearch", "ContactSearch", "Sort", "Conversation"):
        diag = "" if kind == "Sort" else " [diag]"
        for more in ("", " allfolders") if kind != "Conversation" else ("",):
            details = "" if more else " [details]"
            form = f"SHOW {kind}IndexInformation{more}{diag}{details}"
            made.append(make(form, f"shows how far the {kind.lower()} indexes are", _of_domain(kind), allowed=allowed))
    return made


async def _folders(context: Any, owner: int) -> list[FolderProgress]:
    services = context.session.services
    place = services.directory.owner(owner)
    if place is None:
        raise CommandError("there is no such mailbox")
    return await asyncio.to_thread(folder_progress, services.data_dir, place.shard, owner)


def _all_progress(data_dir: Path, number: int, owners: list[int]) -> list[Progress]:
    return list(progress(data_dir, number, owners))


async def _progress(context: Any, owners: list[tuple[int, int, str, str]]) -> list[tuple[str, Progress]]:
    data_dir = context.session.services.data_dir
    names = {owner: name for owner, _shard, name, _kind in owners}
    found: list[tuple[str, Progress]] = []
    for number in sorted({shard for _owner, shard, _name, _kind in owners}):
        here = [owner for owner, shard, _name, _kind in owners if shard == number]
        rows = await asyncio.to_thread(_all_progress, data_dir, number, here)
        found += [(names[row.account], row) for row in rows]
    return found


def _pairs(kind: str, messages: int, indexed: int, jobs: int) -> list[tuple[str, str]]:
    if kind != "Search":
        return [("messages", str(messages)), ("indexed", str(messages)), ("pending", "0"), ("note", quoted(_WHOLE[kind]))]
    return [
        ("messages", str(messages)), ("indexed", str(indexed)), ("pending", str(messages - indexed)), ("jobs", str(jobs)),
        ("note", quoted("messages that are not indexed yet are read when they are searched")),
    ]  # fmt: skip


def _folder_table(kind: str, title: str, folders: list[FolderProgress]) -> Reply:
    rows = []
    for one in folders:
        indexed = one.indexed if kind == "Search" else one.messages
        rows.append((one.name, str(one.messages), str(indexed), str(one.messages - indexed)))
    return table(title, ("folder", "messages", "indexed", "pending"), rows)


def _shown(kind: str, owner_of: OwnerOf) -> Any:
    async def handler(context: Any, arguments: Arguments) -> Result:
        owner = owner_of(context)
        title = f"{kind} index information:"
        if "foldername" in arguments or "folder" in arguments:
            wanted = arguments.get("foldername", arguments.get("folder", ""))
            folders = [one for one in await _folders(context, owner) if one.name.lower() == wanted.lower()]
            if not folders:
                raise CommandError(f"the folder {wanted[:80]} does not exist")
            return _folder_table(kind, title, folders)
        if "allfolders" in arguments.flags:
            return _folder_table(kind, title, await _folders(context, owner))
        place = context.session.services.directory.owner(owner)
        if place is None:
            return show(_pairs(kind, 0, 0, 0), title)
        found = await _progress(context, [(owner, place.shard, "", "")])
        return show(_pairs(kind, found[0][1].messages, found[0][1].indexed, found[0][1].jobs), title)

    return handler


def _of_domain(kind: str) -> Any:
    async def handler(context: Any, arguments: Arguments) -> Result:
        owners = await owners_of(context, context.domain_id)
        title = f"{kind} index information:"
        if "allfolders" in arguments.flags:
            folders: list[FolderProgress] = []
            for owner, shard, name, _kind in owners:
                rows = await asyncio.to_thread(folder_progress, context.session.services.data_dir, shard, owner)
                folders += [FolderProgress(f"{name}/{one.name}", one.messages, one.indexed) for one in rows]
            return _folder_table(kind, title, folders)
        found = await _progress(context, owners)
        if "details" in arguments.flags:
            return _folder_table(kind, title, [FolderProgress(name, row.messages, row.indexed) for name, row in found])
        own = [row for _name, row in found]
        return show(_pairs(kind, sum(r.messages for r in own), sum(r.indexed for r in own), sum(r.jobs for r in own)), title)

    return handler


# -- what is kept beside mail -----------------------------------------------------------------------------------------

_NO_METADATA = "nothing of the kind is kept beside the messages: there is nothing to remove"


def nothing_kept(text: str = _NO_METADATA) -> Any:
    """The handler of a command over data that this server does not keep."""
    return lambda context, arguments: Reply(notes=(text,))


def ldap_association_command(allowed: Condition | None) -> Command:
    """RESET ldapAssociation."""
    note = "entries of LDAP are found by name: nothing is remembered that could be forgotten"
    return make("RESET ldapAssociation", "forgets the entry in LDAP", nothing_kept(note), allowed=allowed)


def account_metadata_commands(allowed: Condition | None) -> list[Command]:
    """For an account."""
    return [
        make("PURGE calendarMetadata [folder <folderName>]", "removes what is kept beside events", nothing_kept(), allowed=allowed),
        make("PURGE caldav propertiesForFolder <folderName>", "removes properties clients set", nothing_kept(), allowed=allowed),
        make("PURGE caldav sharedProperties", "removes properties of shared calendars", nothing_kept(), allowed=allowed),
        make("PURGE caldav inviteMessages", "removes kept invitations", nothing_kept(), allowed=allowed),
        ldap_association_command(allowed),
        *(
            make(f"RESET messageMetadata attachments|calendar {which}", "has it made anew",
                 nothing_kept("structure and attachments are stored with each message and never change"), allowed=allowed)
            for which in ("[allfolders]", "folder <folders...>")
        ),
        make("RESET messageConversationIds", "has conversations found anew",
             nothing_kept("a message's conversation is stored with it and never changes"), allowed=allowed),
    ]  # fmt: skip


def public_metadata_commands(allowed: Condition | None) -> list[Command]:
    """For public folders."""
    return [
        make("PURGE calendarMetadata [folder <folderName>]", "removes what is kept beside events", nothing_kept(), allowed=allowed)
    ]
