"""MIGRATE (MIG-02): mailboxes of other servers are copied into accounts of the domain.

Invariants: the work is the background process's and outlives the session; a password is kept sealed, and only while a job lives.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from mailstead.admin_cli.context import Command, Result, make, needs
from mailstead.admin_cli.contexts.tasks import ATTACH_SECONDS, MAX_SHOWN, PEEK_SECONDS, seconds_of
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply, lines_of, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.migration.service import MigrationError, MigrationService, progress

_FORM = (
    "MIGRATE account <account> remoteHost <host> remotePort <port> remoteUser <user> remotePass <password> "
    "[ignoreFolders (<folders>)] [overrideQuota <yes|no>] [deleteOriginal <yes|no>] [structureOnly <yes|no>] [verbose <yes|no>]"
)


def migrate_commands() -> list[Command]:
    """For the domain's context."""
    allowed = needs("manageAccounts")
    return [
        make(_FORM, "copies a mailbox from an IMAP server", _start, allowed=allowed),
        make("MIGRATE LIST", "lists migrations", _list, allowed=allowed),
        make("MIGRATE ATTACH <accountName>", "waits for the end of one, and shows what it said", _attach, allowed=allowed),
        make("MIGRATE PEEK <accountName> [<timeout>]", "shows one for some seconds", _attach, allowed=allowed),
        make("MIGRATE ABORT [<accountName>]", "ends one, or all of the domain", _abort, allowed=allowed),
    ]


def _service(context: Any) -> MigrationService:
    services = context.session.services
    return MigrationService(services.directory, services.data_dir)


def _yes(arguments: Arguments, name: str) -> bool:
    text = arguments.get(name.lower(), "no").lower()
    if text not in ("yes", "no"):
        raise CommandError(f"{name}: expected yes or no")
    return text == "yes"


async def _start(context: Any, arguments: Arguments) -> Result:
    account = context.need_account(arguments["account"])
    port = arguments["remoteport"]
    if not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise CommandError("remotePort: expected a number")
    try:
        await _service(context).start(
            account.id, host=arguments["remotehost"].strip("[]"), port=int(port), user=arguments["remoteuser"],
            password=arguments["remotepass"], actor=context.session.actor,
            ignore_folders=arguments.lists.get("ignorefolders", ()), override_quota=_yes(arguments, "overrideQuota"),
            delete_original=_yes(arguments, "deleteOriginal"), structure_only=_yes(arguments, "structureOnly"),
            verbose=_yes(arguments, "verbose"),
        )  # fmt: skip
    except MigrationError as error:
        raise CommandError(str(error)) from error
    return Reply(notes=("begun; MIGRATE ATTACH waits for its end, MIGRATE PEEK shows how far it is, MIGRATE ABORT ends it",))


def _list(context: Any, arguments: Arguments) -> Result:
    directory = context.session.services.directory
    rows = []
    for job in _service(context).list(actor=context.session.actor, domain=context.domain_id):
        account = directory.account(job.account_id)
        rows.append((account.name if account is not None else str(job.account_id), job.source, progress(job)))
    return table("The list of migrations:", ("account", "source", "progress"), rows)


async def _attach(context: Any, arguments: Arguments) -> Result:
    account = context.need_account(arguments["accountname"])
    seconds = ATTACH_SECONDS
    if "peek" in {flag.lower() for flag in arguments.flags}:
        seconds = seconds_of(arguments.get("timeout", str(PEEK_SECONDS)))
    try:
        lines: AsyncIterator[str] = _service(context).attach(account.id, actor=context.session.actor, seconds=max(seconds, 0.1))
        shown = [line async for line in lines]
    except MigrationError as error:
        raise CommandError(str(error)) from error
    return Reply([*lines_of("\n".join(shown[-MAX_SHOWN:])), ""])


async def _abort(context: Any, arguments: Arguments) -> Result:
    account = context.need_account(arguments["accountname"]).id if "accountname" in arguments else 0
    try:
        count = await _service(context).abort(account, actor=context.session.actor, domain=context.domain_id)
    except MigrationError as error:
        raise CommandError(str(error)) from error
    return Reply(notes=(f"{count} migrations ended; what was copied stays",))
