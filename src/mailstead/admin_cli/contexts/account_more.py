"""Commands of the account context that lead into contexts of other modules."""

from __future__ import annotations

from mailstead.admin_cli.context import Command


def commands() -> list[Command]:
    """All of them."""
    return []
