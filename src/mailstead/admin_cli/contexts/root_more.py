"""Commands of the root context that lead into contexts of other modules."""

from __future__ import annotations

from mailstead.admin_cli.context import CliContext, Command, Result, make, needs
from mailstead.admin_cli.contexts.aacl import AaclContext
from mailstead.admin_cli.contexts.save import save_commands
from mailstead.admin_cli.contexts.server import PARTS, ServerContext
from mailstead.admin_cli.syntax import Arguments

_SERVER = tuple(sorted({permission for _word, _kind, permission in PARTS} | {"manageServerConfig", "manageServerFilters"}))


def commands() -> list[Command]:
    """All of them."""
    return [
        make("CONFIG SERVER", "enters the server and its services", _server, allowed=lambda c: c.session.actor.may_any(_SERVER)),
        make("ENTER AACL", "enters administrators and permissions", _aacl, allowed=needs("manageAdminACL")),
        *save_commands(),
    ]


def _aacl(context: CliContext, arguments: Arguments) -> Result:
    context.session.enter(AaclContext(context.session, context))
    return None


def _server(context: CliContext, arguments: Arguments) -> Result:
    context.session.enter(ServerContext(context.session, context))
    return None
