"""Parts of a domain with settings of their own: limits of its administrators, migration, first settings of accounts, discovery.

Invariants: what has DONE waits in the domain's context; adminLimits has a COMMIT of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mailstead.admin_cli.attributes import AttributeContext
from mailstead.admin_cli.context import CliContext, Command, CommitContext, DoneContext, Result, make, needs
from mailstead.admin_cli.objects import Owner, object_commands
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.declaration import Context
from mailstead.settings.declarations import ADMIN_LIMITS, DOMAIN_CONTEXTS, OBJECT_KINDS
from mailstead.settings.edits import Place, place_of


class DomainPartContext(AttributeContext):
    """Settings in the scope of a domain."""

    def place(self) -> Place:
        """The domain's own."""
        return place_of(self.declared(), self.domain_id, self.domain_id)


def limits_owner(context: CliContext) -> Owner:
    """Whose reserved names and locations."""
    return Owner(Place("domainConfig", context.domain_id, "", context.domain_id), "manageDomainAdminLimits")


class AdminLimitsContext(DomainPartContext, CommitContext):
    """`<domain-adminLimits#>` (ADM-02)."""

    name = "domain-adminLimits"
    title = "adminLimits"
    declaration = ADMIN_LIMITS
    renamed: ClassVar = {"maxlists": "maxMaillists"}

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Reserved names and locations for subdomains."""
        return [
            *super().extra_commands(),
            *object_commands(OBJECT_KINDS["reservedRcpt"], "reservedRcpt", "reservedRcpts", None, limits_owner, key_word=False),
            *object_commands(
                OBJECT_KINDS["subdomainMessageStorageLocation"], "subdomainMessageStorageLocation",
                "subdomainMessageStorageLocations", None, limits_owner, key_word=False,
            ),
        ]  # fmt: skip


def _part(word: str, declared: Context, name: str, permission: str) -> tuple[str, type[DomainPartContext], str]:
    members = {"__doc__": f"`<{name}#>`.", "name": name, "title": word, "declaration": declared}
    return word, type(word, (DomainPartContext, DoneContext), members), permission


_PARTS = (
    _part("MIGRATIONDATA", DOMAIN_CONTEXTS["migrationData"], "domain-migrationdata", "manageAutomaticMigration"),
    _part(
        "initialAccountSettings", DOMAIN_CONTEXTS["initialAccountSettings"], "domain-initialAccountSettings", "manageDomainConfig"
    ),
)


def _enter(kind: type[DomainPartContext]) -> Any:
    def handler(context: CliContext, arguments: Arguments) -> Result:
        context.session.enter(kind(context.session, context))
        return None

    return handler


def part_commands() -> list[Command]:
    """CONFIG of each part."""
    return [make(f"CONFIG {word}", f"enters {word}", _enter(kind), allowed=needs(permission)) for word, kind, permission in _PARTS]
