"""Commands of the root context that lead into contexts of other modules."""

from __future__ import annotations

from mailstead.admin_cli.context import CliContext, Command, Result, make, needs
from mailstead.admin_cli.contexts.aacl import AaclContext
from mailstead.admin_cli.syntax import Arguments


def commands() -> list[Command]:
    """All of them."""
    return [make("ENTER AACL", "enters administrators and permissions", _aacl, allowed=needs("manageAdminACL"))]


def _aacl(context: CliContext, arguments: Arguments) -> Result:
    context.session.enter(AaclContext(context.session, context))
    return None
