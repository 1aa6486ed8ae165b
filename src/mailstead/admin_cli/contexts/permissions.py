"""Permissions from the object's side: CONFIG PERMISSIONS of the server and of a domain.

Invariants: who lacks manageAdminACL does not see these contexts; changes wait in the context above.
"""

from __future__ import annotations

from typing import Any

from mailstead.admin_cli.context import Command, DoneContext, Result, command, make
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.permission_names import HINT, domain_lines, permission_changes, server_lines
from mailstead.admin_cli.responses import table
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.permissions import meaning


class PermissionsContext(DoneContext):
    """Permissions on one object; the domain's when `domain_id` is set."""

    title = "PERMISSIONS"

    def __init__(self, session: Any, parent: Any) -> None:
        super().__init__(session, parent)
        self.begin()

    def domain_name(self) -> str | None:
        """The domain's name; None for the server."""
        domain = self.session.services.directory.domain(self.domain_id) if self.domain_id else None
        return domain.name if domain is not None else None

    @command("LIST Permissions", "lists who has which permission")
    def list_permissions(self, arguments: Arguments) -> Result:
        """LIST Permissions."""
        directory = self.session.services.directory
        names = directory.holder_names()
        rows = [
            (names.get(entry.holder_id, "?"), entry.permission, entry.effect, meaning(entry.permission))
            for entry in directory.permission_entries(domain_id=self.domain_id)
        ]
        return table("The list of permissions:", ("name", "permission", "effect", "meaning"), sorted(rows))

    def value_lines(self) -> list[str]:
        """GRANT of each permission."""
        rest = "admin-user|admin-group <name>"
        return domain_lines(self, rest) if self.domain_id else server_lines(self, f" {rest}")

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """GRANT, REVOKE and DENY, to users and to groups."""
        made = []
        for verb, effect, text in (("GRANT", "grant", "gives"), ("REVOKE", "", "forgets"), ("DENY", "deny", "refuses")):
            for holder in ("admin-user", "admin-group"):
                form = f"{verb} permission (<permNames>) {holder} [name] <name>"
                made.append(make(form, f"{text} permissions; {HINT}", _change(effect, holder)))
        return [*super().extra_commands(), *made]


class ServerPermissionsContext(PermissionsContext):
    """`<server-permissions#>`."""

    name = "server-permissions"


class DomainPermissionsContext(PermissionsContext):
    """`<domain-permissions#>`."""

    name = "domain-permissions"


def _change(effect: str, holder: str) -> Any:
    def handler(context: PermissionsContext, arguments: Arguments) -> Result:
        directory = context.session.services.directory
        name = arguments["name"]
        found = directory.admin(name) if holder == "admin-user" else directory.admin_group(name)
        if found is None:
            raise CommandError(f"the {holder} {name[:80]} does not exist")
        changes = permission_changes(context, name, arguments.lists["permnames"], context.domain_name(), effect)
        context.pending.add(*(change.step for change in changes))
        return None

    return handler
