"""Commands of the account context that lead into contexts of other modules."""

from __future__ import annotations

from mailstead.admin_cli.context import Command
from mailstead.admin_cli.contexts.filters import AccountFiltersContext, filters_command


def commands() -> list[Command]:
    """All of them."""
    return [filters_command(AccountFiltersContext, "Filters")]
