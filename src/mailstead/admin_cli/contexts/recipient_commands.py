"""Commands of the domain context over groups, mailing lists and folder recipients."""

from __future__ import annotations

import asyncio
from typing import Any

from mailstead.admin_cli.context import Command, Result, make, needs
from mailstead.admin_cli.contexts.mailing_list import ListContext
from mailstead.admin_cli.contexts.recipients import FolderRcptContext, GroupContext, RecipientContext
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply, attribute, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.admin_cli.visibility import FOLDER_RECIPIENTS, GROUPS, LISTS, sees
from mailstead.directory.address import checked_local, domain_key
from mailstead.directory.model import AlreadyExistsError, Recipient


def commands() -> list[Command]:
    """All of them."""
    return [
        *_family(GroupContext, "Group", "Groups", GROUPS, "createGroups", "removeGroups", "the group", old="Forwarder"),
        *_family(
            FolderRcptContext, "FolderRcpt", "FolderRcpts", FOLDER_RECIPIENTS, "manageFolderRecipients",
            "manageFolderRecipients", "the folder recipient",
        ),
        *_family(
            ListContext, "List", "Lists", LISTS, "createMailLists", "removeMailLists", "the mailing list",
            more=" [password <password>] [adminEmail <email>]",
        ),
    ]  # fmt: skip


def _family(
    kind: type[RecipientContext],
    word: str,
    plural: str,
    visible: tuple[str, ...],
    create: str,
    remove: str,
    called: str,
    *,
    more: str = "",
    old: str = "",
) -> list[Command]:
    def need(context: Any, name: str) -> Recipient:
        local, at, domain = name.rpartition("@")
        if not at or domain_key(domain) != context.domain.key:
            local = name
        found: Recipient | None = context.session.services.directory.recipient_named(context.domain_id, local, kind.kind)
        if found is None:
            raise CommandError(f"{called} {name[:80]} does not exist")
        return found

    async def list_all(context: Any, arguments: Arguments) -> Result:
        def build() -> Reply:
            found = context.names("recipient", arguments.get("wildcard", ""), kind.kind.value)
            return table(f"The list of {plural.lower()} for this domain:", ("name",), ((name,) for name in found))

        return await asyncio.to_thread(build)

    def add(context: Any, arguments: Arguments) -> Result:
        directory, actor = context.session.services.directory, context.session.actor
        actor.require(create, context.domain_id)
        name = checked_local(arguments["name"])
        directory.refuse_reserved(context.domain_id, name, actor)
        if directory.name_taken(context.domain_id, name):
            raise AlreadyExistsError(f"the name {name} already exists in this domain")
        directory.need_room(context.domain_id, kind.kind.value)
        child = kind(context, None, name)
        child.password = arguments.get("password")
        if "adminemail" in arguments:
            child.changes["adminEmail"] = arguments["adminemail"]
        context.session.enter(child)
        return None

    def update(context: Any, arguments: Arguments) -> Result:
        found = need(context, arguments["name"])
        context.session.enter(kind(context, found, found.name))
        return None

    async def delete(context: Any, arguments: Arguments) -> Result:
        found = need(context, arguments["name"])
        await context.session.services.directory.delete_recipient(found.id, actor=context.session.actor)
        return None

    def show_one(context: Any, arguments: Arguments) -> Result:
        found = need(context, arguments["name"])
        child = kind(context, found, found.name)
        if "attr" in arguments:
            return attribute(*child.shown_attribute(arguments["attr"]))
        return show(child.shown_pairs())

    seen, may_add, may_remove = sees(visible), needs(create), needs(remove)
    made = [
        make(f"LIST {plural} [<wildcard>]", "lists them", list_all, allowed=seen),
        make(f"ADD {word} [name] <name>{more}", f"adds {called}; it exists after its COMMIT", add, allowed=may_add),
        make(f"UPDATE {word} [name] <name>", f"enters {called}", update, allowed=seen),
        make(f"REMOVE {word} [name] <name>", f"removes {called} at once", delete, allowed=may_remove),
        make(f"SHOW {word} [name] <name> [ATTR <param>]", f"shows {called}", show_one, allowed=seen),
    ]
    if old:
        made += [
            make(f"LIST {old}s [<wildcard>]", "", list_all, hidden=True, allowed=seen),
            make(f"ADD {old} [name] <name>{more}", "", add, hidden=True, allowed=may_add),
            make(f"UPDATE {old} [name] <name>", "", update, hidden=True, allowed=seen),
            make(f"REMOVE {old} [name] <name>", "", delete, hidden=True, allowed=may_remove),
        ]
    return made
