"""Quotas of single folders (QTA-01): LIST Mboxes, SET MboxQuota, SHOW MboxQuota, in the quotas of accounts, lists and public
folders.

Invariants: a quota is kept for a folder that exists, or that a new account begins with, and waits as everything else does.
"""

from __future__ import annotations

from typing import Any

from mailstead.admin_cli.context import Command, Result, make
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.objects import Owner, may_change, objects_of, stage
from mailstead.admin_cli.responses import Reply, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.mailbox.names import canonical
from mailstead.settings.declarations import OBJECT_KINDS
from mailstead.settings.edits import Place
from mailstead.store.accounts import DEFAULT_FOLDERS

KIND = OBJECT_KINDS["mboxQuota"]


def mbox_quota_commands(scope: str) -> list[Command]:
    """`scope` says whose folders: account, recipient, domainConfig (public folders)."""

    def owner(context: Any) -> Owner:
        return Owner(Place(scope, owner_id(context), "", context.domain_id), KIND.permission_for(scope))

    def owner_id(context: Any) -> int:
        return int(context.domain_id if scope == "domainConfig" else context.parent.object_id)

    def folders(context: Any) -> list[str]:
        services = context.session.services
        place = services.directory.owner(owner_id(context))
        if place is None:
            return []
        index = services.store.mail_index(place.shard)
        if index.has_account(owner_id(context)):
            return sorted(row[1] for row in index.folders(owner_id(context)))
        # Those an account begins with are made when it is first used; their quotas can be set before.
        return sorted(name for name, _use in DEFAULT_FOLDERS) if scope == "account" else []

    def named(context: Any, name: str) -> str:
        wanted = canonical(name)
        for folder in folders(context):
            if canonical(folder) == wanted:
                return folder
        raise CommandError(f"the folder {name[:80]} does not exist")

    def list_all(context: Any, arguments: Arguments) -> Result:
        return table("The list of mboxes:", ("name",), ((name,) for name in folders(context)))

    def found(context: Any, name: str) -> Any:
        return next((row for row in objects_of(context, KIND, owner(context)) if row.name == name), None)

    def set_quota(context: Any, arguments: Arguments) -> Result:
        name = named(context, arguments["mboxname"])
        given = {key: arguments[key.lower()] for key in ("messageCount", "messageSize") if key.lower() in arguments}
        if not given:
            raise CommandError("give messageCount, messageSize or both")
        checked = {key: KIND.context.setting(key).render(KIND.context.setting(key).parse(text)) for key, text in given.items()}
        present = found(context, name)
        old = dict(present.attributes) if present is not None else {"mboxName": name}
        whose = owner(context)
        context.session.actor.require(whose.permission, whose.place.domain_id)
        context.session.services.directory.need_folder_within_bounds(whose.place, checked)
        stage(context, KIND, whose, present, {**old, **checked})
        return None

    def show_quota(context: Any, arguments: Arguments) -> Result:
        name = named(context, arguments["mboxname"])
        present = found(context, name)
        values = present.values if present is not None else None
        lines = [f"{key} = {getattr(values, key) if values is not None else 0}" for key in ("messageCount", "messageSize")]
        return Reply(["", f"Quota of {name}:", *lines, ""])

    return [
        make("LIST Mboxes", "lists the folders", list_all),
        make(
            "SET MboxQuota mboxName <name> [messageCount <count>] [messageSize <size>]",
            "sets the quota of a folder",
            set_quota,
            listed=may_change(owner),
        ),
        make("SHOW MboxQuota mboxName <name>", "shows the quota of a folder", show_quota),
    ]
