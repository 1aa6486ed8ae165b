"""SHOW sendQuota and RESET sendQuota in the limits of an account (QTA-04): what it has sent in the present interval.

Invariants: a reset holds at once, and in no COMMIT; limits shown are those in force, not those that wait.
"""

from __future__ import annotations

import time
from typing import Any

from mailstead.admin_cli.context import Command, Result, make, needs
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments
from mailstead.delivery.sending_quota import SendingQuota
from mailstead.directory.model import Account


def _account(context: Any) -> Account:
    found = context.session.services.directory.account(int(context.parent.object_id))
    if found is None:
        raise CommandError("the account is not there before COMMIT")
    return found  # type: ignore[no-any-return]


def _of(used: int, limit: int) -> str:
    return f"{used} of {limit or 'unlimited'}"


def _show(context: Any, arguments: Arguments) -> Result:
    status = SendingQuota(context.session.services.directory).status(_account(context))
    limits = status.limits
    lines = [
        f"sentMessagesCount = {_of(status.messages, limits.messages if limits else 0)}",
        f"sentRecipientsCount = {_of(status.recipients, limits.recipients if limits else 0)}",
        f"sentMessagesSize = {_of((status.size + 1023) // 1024, limits.size // 1024 if limits else 0)}",
        f"secondsLeft = {max(0, status.ends - int(time.time()))}",
    ]
    return Reply(["", "Sent in this interval:", *lines, ""])


async def _reset(context: Any, arguments: Arguments) -> Result:
    account = _account(context)
    context.session.actor.require("manageAccounts", account.domain_id)
    await SendingQuota(context.session.services.directory).reset(account)
    return None


def send_quota_commands() -> list[Command]:
    """Commands of the account's limits."""
    return [
        make("SHOW sendQuota", "shows what the account has sent in the present interval", _show),
        make("RESET sendQuota", "begins a new interval", _reset, allowed=needs("manageAccounts")),
    ]
