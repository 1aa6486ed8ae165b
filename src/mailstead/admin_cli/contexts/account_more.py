"""Commands of the account context that lead into contexts of other modules."""

from __future__ import annotations

from mailstead.admin_cli.context import Command, needs, only
from mailstead.admin_cli.contexts.account_mail import account_mail_commands
from mailstead.admin_cli.contexts.account_objects import METHOD, account_method_commands, delegate_commands
from mailstead.admin_cli.contexts.domain_maintenance import account_commands
from mailstead.admin_cli.contexts.filters import AccountFiltersContext, filters_command, upload_command
from mailstead.admin_cli.contexts.index_information import account_metadata_commands, owner_commands


def commands() -> list[Command]:
    """All of them."""
    methods, *changing_methods = account_method_commands()
    return [
        filters_command(AccountFiltersContext, "Filters"),
        upload_command(AccountFiltersContext, "WMFilter"),
        *account_mail_commands(),
        *delegate_commands(),
        methods,
        *only(needs(METHOD.permission_for("account")), changing_methods),
        *owner_commands(lambda context: int(context.need_stored().id), conversations=True),
        *account_metadata_commands(needs("manageAccounts")),
        *account_commands(),
    ]
