"""Commands of the domain context that lead into contexts of other modules."""

from __future__ import annotations

from mailstead.admin_cli.context import CliContext, Command, make, needs, only
from mailstead.admin_cli.contexts import recipient_commands
from mailstead.admin_cli.contexts.branding import branding_commands
from mailstead.admin_cli.contexts.discovery import DomainAutodiscoveryContext
from mailstead.admin_cli.contexts.domain_maintenance import maintenance_commands
from mailstead.admin_cli.contexts.domain_purge import purge_commands
from mailstead.admin_cli.contexts.filters import DefaultFiltersContext, DomainFiltersContext
from mailstead.admin_cli.contexts.index_information import domain_commands as domain_index_commands
from mailstead.admin_cli.contexts.migrate import migrate_commands
from mailstead.admin_cli.contexts.permissions import DomainPermissionsContext
from mailstead.admin_cli.contexts.public_folder import PublicFolderContext
from mailstead.admin_cli.contexts.recipients import FolderRcptDefaultLimitsContext
from mailstead.admin_cli.contexts.services import enter
from mailstead.admin_cli.contexts.statistics import accounting_commands
from mailstead.admin_cli.visibility import PUBLIC_FOLDERS, sees

_CONFIG, _FILTERS = needs("manageDomainConfig"), needs("manageDomainFilters")


def _acl(context: CliContext) -> bool:
    return context.session.actor.may("manageAdminACL")


def _branding() -> list[Command]:
    shown, changed = branding_commands(server=False)
    return [shown, *only(_CONFIG, [changed])]


def commands() -> list[Command]:
    """All of them."""
    return [
        *recipient_commands.commands(),
        *_branding(),
        make("CONFIG PUBLIC-FOLDER", "enters the public folders", enter(PublicFolderContext), allowed=sees(PUBLIC_FOLDERS)),
        make("CONFIG FILTERS", "enters the filters", enter(DomainFiltersContext), allowed=_FILTERS),
        make("CONFIG accountDefaultFilters", "enters what accounts begin with", enter(DefaultFiltersContext), allowed=_FILTERS),
        make("CONFIG autodiscovery", "enters what clients are told", enter(DomainAutodiscoveryContext), allowed=_CONFIG),
        make("CONFIG folderRcptDefaultLimits", "enters them", enter(FolderRcptDefaultLimitsContext), allowed=_CONFIG),
        make("CONFIG PERMISSIONS", "enters permissions", enter(DomainPermissionsContext), allowed=_acl),
        *maintenance_commands(),
        *domain_index_commands(needs("manageDomainStorage")),
        *accounting_commands("manageDomainConfig"),
        *migrate_commands(),
        *purge_commands(),
    ]  # fmt: skip
