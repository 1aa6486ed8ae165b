"""Commands of the domain context that lead into contexts of other modules."""

from __future__ import annotations

from mailstead.admin_cli.context import CliContext, Command, Result, make
from mailstead.admin_cli.contexts import recipient_commands
from mailstead.admin_cli.contexts.public_folder import PublicFolderContext
from mailstead.admin_cli.syntax import Arguments
from mailstead.admin_cli.visibility import PUBLIC_FOLDERS, sees


def commands() -> list[Command]:
    """All of them."""
    public = make("CONFIG PUBLIC-FOLDER", "enters the public folders", _public, allowed=sees(PUBLIC_FOLDERS))
    return [*recipient_commands.commands(), public]


def _public(context: CliContext, arguments: Arguments) -> Result:
    context.session.enter(PublicFolderContext(context.session, context))
    return None
