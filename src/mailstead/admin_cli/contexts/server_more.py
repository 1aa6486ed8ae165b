"""Commands of the server context that lead into contexts of other modules."""

from __future__ import annotations

from mailstead.admin_cli.context import Command, make, needs
from mailstead.admin_cli.contexts.filters import ServerFiltersContext
from mailstead.admin_cli.contexts.server_maintenance import server_commands
from mailstead.admin_cli.contexts.services import enter


def commands() -> list[Command]:
    """All of them."""
    return [
        make("CONFIG FILTERS", "enters the filters", enter(ServerFiltersContext), allowed=needs("manageServerFilters")),
        *server_commands(),
    ]
