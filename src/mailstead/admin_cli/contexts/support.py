"""SAVE supportInfo: a bundle for whoever helps, without secrets."""

from __future__ import annotations

from mailstead.admin_cli.context import CliContext, Command, Result, make, needs
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply
from mailstead.admin_cli.syntax import Arguments


def support_commands() -> list[Command]:
    """For the root."""
    return [make("SAVE supportInfo [<path>]", "writes a bundle for support to a file", _save, allowed=needs("manageServerConfig"))]


async def _save(context: CliContext, arguments: Arguments) -> Result:
    path = arguments.get("path", "")
    if path and not context.session.actor.everything:
        raise CommandError("only an administrator with every right may name a file")
    if "\0" in path:
        raise CommandError("a path has no such characters")
    written = await context.session.services.background.call("support.save", path=path)
    return Reply(notes=(f"written to {written}",))
