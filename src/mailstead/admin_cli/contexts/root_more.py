"""Commands of the root context that lead into contexts of other modules."""

from __future__ import annotations

from mailstead.admin_cli.context import CliContext, Command, make, needs
from mailstead.admin_cli.contexts import root_administrator, root_domains
from mailstead.admin_cli.contexts.aacl import AaclContext
from mailstead.admin_cli.contexts.debug import DebugContext
from mailstead.admin_cli.contexts.earlier import CommandsContext, MigrationContext, ReportingContext
from mailstead.admin_cli.contexts.json_query import JsonQueryContext
from mailstead.admin_cli.contexts.queue import QueueContext
from mailstead.admin_cli.contexts.save import save_commands
from mailstead.admin_cli.contexts.server import PARTS, ServerContext
from mailstead.admin_cli.contexts.services import enter
from mailstead.admin_cli.contexts.statistics import accounting_commands
from mailstead.admin_cli.contexts.support import support_commands
from mailstead.admin_cli.contexts.tracer import TracerContext

_SERVER = tuple(sorted({permission for _word, _kind, permission in PARTS} | {"manageServerConfig", "manageServerFilters"}))


def _server(context: CliContext) -> bool:
    return context.session.actor.may_any(_SERVER)


def _everything(context: CliContext) -> bool:
    return context.session.actor.everything


def commands() -> list[Command]:
    """All of them."""
    return [
        make("CONFIG SERVER", "enters the server and its services", enter(ServerContext), allowed=_server),
        make("ENTER AACL", "enters administrators and permissions", enter(AaclContext), allowed=needs("manageAdminACL")),
        make("ENTER QUEUE", "enters the queue", enter(QueueContext), allowed=needs("manageProcessing")),
        make("ENTER TRACER", "enters traces", enter(TracerContext), allowed=needs("manageServerConfig")),
        make("ENTER JSONQUERY", "enters figures as JSON", enter(JsonQueryContext)),
        make("ENTER DEBUG", "enters what programs ask for", enter(DebugContext), hidden=True, allowed=_everything),
        make("ENTER COMMANDS", "enters commands of earlier releases", enter(CommandsContext), hidden=True),
        make("ENTER REPORTING", "enters commands of earlier releases", enter(ReportingContext), hidden=True),
        make("ENTER MIGRATION", "enters commands of earlier releases", enter(MigrationContext), hidden=True),
        *accounting_commands("manageReporting"),
        *save_commands(),
        *support_commands(),
        *root_domains.commands(),
        *root_administrator.commands(),
    ]

