"""Commands of the root about the administrator itself: second factors, the first run, execution traces, reports for support.

Invariants: an administrator changes its own state without any permission, and nobody else's.
"""

from __future__ import annotations

from mailstead.admin_cli.context import CliContext, Command, Result, make, needs, needs_all, run_now
from mailstead.admin_cli.contexts.account_objects import METHOD
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import attribute, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.database import SystemDatabase
from mailstead.settings.declaration import Context, boolean
from mailstead.settings.declarations import SERVICE_CONTEXTS
from mailstead.settings.edits import Pending, Step, place_of
from mailstead.settings.history import Filter, entries
from mailstead.settings.objects import NamedObject

_YES_NO = boolean("value", False, "")
_SERVER = SERVICE_CONTEXTS["server"]
_TRACED = tuple(SERVICE_CONTEXTS[name] for name in ("smtpIncoming", "imap", "pop3", "cli"))
TRACE_LEVEL = "31"
MAX_LOOKED_AT = 1000
"""Entries of the history in which the level before a trace is looked for."""


def commands() -> list[Command]:
    """All of them."""
    server, traced = needs("manageServerConfig"), needs_all(declared.permission for declared in _TRACED)
    return [
        make("LIST SecurityMethods", "lists your second factors", _list_methods),
        make("REVOKE securityMethod <methodId>", "removes one of your second factors", _revoke),
        make("REVOKE all securityMethods", "removes all your second factors", _revoke_all),
        make("SHOW twoFactorConfigured", "tells whether you have a second factor", _show_two_factor),
        make("SET twoFactorConfigured <yes|no>", "no removes all your second factors", _set_two_factor),
        make("SHOW onboardingComplete", "tells whether the first-run wizard is done with", _show_onboarding),
        make("SET onboardingComplete <yes|no>", "ends or repeats the first-run wizard", _set_onboarding, allowed=server),
        make("ENABLE ExecutionTrace", "logs what clients say: logLevel 31 of SMTP, IMAP, POP3 and CLI", _trace_on, allowed=server,
             listed=traced),
        make("DISABLE ExecutionTrace", "gives them the logLevel they had before", _trace_off, allowed=server, listed=traced),
    ]  # fmt: skip


def _admin_id(context: CliContext) -> int:
    admin = context.session.services.directory.admin(context.session.actor.name)
    return admin.id if admin is not None else 0


def _methods(context: CliContext) -> list[NamedObject]:
    return context.session.services.settings.objects.all(METHOD, "admin", _admin_id(context))


def _list_methods(context: CliContext, arguments: Arguments) -> Result:
    rows = [(row.name, str(row.values.type), str(row.values.target)) for row in _methods(context)]
    return table("The list of security methods:", ("id", "type", "target"), rows)


async def _remove(context: CliContext, rows: list[NamedObject]) -> None:
    objects = context.session.services.settings.objects
    author, owner = context.session.actor.name, _admin_id(context)
    steps = [Step(objects.remover(METHOD, row.key, author, "admin", owner)) for row in rows]
    if steps:
        await run_now(context, lambda pending: pending.add(*steps))


async def _revoke(context: CliContext, arguments: Arguments) -> Result:
    found = [row for row in _methods(context) if row.key == METHOD.key_of(arguments["methodid"])]
    if not found:
        raise CommandError(f"the security method {arguments['methodid'][:80]} does not exist")
    await _remove(context, found)
    return None


async def _revoke_all(context: CliContext, arguments: Arguments) -> Result:
    await _remove(context, _methods(context))
    return None


def _show_two_factor(context: CliContext, arguments: Arguments) -> Result:
    return attribute("twoFactorConfigured", "yes" if any(row.values.confirmed for row in _methods(context)) else "no")


async def _set_two_factor(context: CliContext, arguments: Arguments) -> Result:
    if _YES_NO.parse(arguments["yes|no"]):
        raise CommandError("a second factor is configured in the web administration, with proof that it works")
    await _remove(context, _methods(context))
    return None


def _show_onboarding(context: CliContext, arguments: Arguments) -> Result:
    value = context.session.services.settings.service("server").onboardingComplete
    return attribute("onboardingComplete", "yes" if value else "no")


async def _set_onboarding(context: CliContext, arguments: Arguments) -> Result:
    setting = _SERVER.setting("onboardingComplete")
    text = arguments["yes|no"]
    await run_now(context, lambda pending: pending.set_value(place_of(_SERVER), _SERVER, setting, text))
    return None


async def _trace_on(context: CliContext, arguments: Arguments) -> Result:
    def change(pending: Pending) -> None:
        for declared in _TRACED:
            pending.set_value(place_of(declared), declared, declared.setting("logLevel"), TRACE_LEVEL)

    await run_now(context, change)
    return None


async def _trace_off(context: CliContext, arguments: Arguments) -> Result:
    for declared in _TRACED:
        context.session.actor.require(declared.permission)
    settings = context.session.services.settings
    explicit = settings.explicit("service", 0)

    def change(pending: Pending) -> None:
        for declared in _TRACED:
            level = declared.setting("logLevel")
            if explicit.get(declared.stored_name(level)) == TRACE_LEVEL:
                pending.set_value(place_of(declared), declared, level, _level_before(settings.database, declared))

    await run_now(context, change)
    return None


def _level_before(database: SystemDatabase, declared: Context) -> str | None:
    """What a service's level was before it was that of the trace; None: its default, or not known any more."""
    name = declared.stored_name(declared.setting("logLevel"))
    wanted = Filter(objects=((None, None, f"set {declared.name}"),))
    for entry in entries(database, wanted, limit=MAX_LOOKED_AT):
        before, after = entry.changes().get(name, (None, None))
        if after == TRACE_LEVEL and before != TRACE_LEVEL:
            return None if before is None else str(before)
    return None
