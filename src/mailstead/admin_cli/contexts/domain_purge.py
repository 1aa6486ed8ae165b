"""PURGE public|account folders of a domain.

Invariants: as the account's PURGE: at once, within what the domain allows its administrators, to be brought back for a time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mailstead.admin_cli.context import Command, Result, make
from mailstead.admin_cli.contexts.account_mail import check_allowed, names_and_condition, purge_folders
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments


def purge_commands() -> list[Command]:
    """For the domain's context."""
    return [make("PURGE public|account folders <folders...>", "removes messages of folders of the domain", _purge, allowed=_may)]


def _may(context: Any) -> bool:
    return bool(context.session.actor.may_any(("manageAccounts", "managePublicFolder"), context.domain_id))


async def _purge(context: Any, arguments: Arguments) -> Result:
    names, condition = names_and_condition(arguments.rest)
    check_allowed(context.session, context.domain_id, names, condition)
    directory = context.session.services.directory
    if "public" in arguments.flags:
        context.session.actor.require("managePublicFolder", context.domain_id)
        removed = await purge_folders(context, context.domain_id, names, condition, missing=False)
        return Reply(notes=(f"{removed} messages removed",))
    context.session.actor.require("manageAccounts", context.domain_id)
    removed = 0
    for account in directory.accounts(context.domain_id):
        removed += await purge_folders(context, account.id, names, condition, missing=False)
        await asyncio.sleep(0)
    return Reply(notes=(f"{removed} messages removed",))
