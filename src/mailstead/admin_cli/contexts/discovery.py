"""Discovery of a domain: `<domain-autodiscovery#>`, its Urls and host names.

Invariants: changes wait in the domain's context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailstead.admin_cli.context import Command, DoneContext, Result, command, make
from mailstead.admin_cli.contexts.domain_parts import DomainPartContext
from mailstead.admin_cli.contexts.listeners import SslControlContext
from mailstead.admin_cli.contexts.services import enter
from mailstead.admin_cli.objects import ObjectContext, Owner, object_commands
from mailstead.admin_cli.responses import show
from mailstead.admin_cli.syntax import Arguments
from mailstead.settings.declaration import Setting
from mailstead.settings.declarations import DOMAIN_CONTEXTS, HOST_NAME_RESOLVER_OWN, OBJECT_KINDS
from mailstead.settings.edits import Place


class DomainUrlsContext(DomainPartContext, DoneContext):
    """`<domain-autodiscovery-urls#>`."""

    name = "domain-autodiscovery-urls"
    title = "Urls"
    declaration = DOMAIN_CONTEXTS["domainAutodiscoveryUrls"]


class HostNameResolverContext(ObjectContext, DoneContext):
    """`<domain-autodiscovery-hostNameResolver#>`."""

    name = "domain-autodiscovery-hostNameResolver"
    title = "HostNameResolver"
    kind = OBJECT_KINDS["hostNameResolver"]

    def settings(self) -> Sequence[Setting]:
        """Without TLS, which has a context of its own."""
        return HOST_NAME_RESOLVER_OWN.settings

    def keep_value(self, setting: Setting, text: str | None) -> None:
        """What SSLCONTROL hands up."""
        if text is not None:
            self.attributes[setting.name] = text

    @command("CONFIG SSLCONTROL", "enters its TLS settings")
    def ssl_control(self, arguments: Arguments) -> Result:
        """CONFIG SSLCONTROL."""
        self.session.enter(SslControlContext(self.session, self))
        return None


def _owner(context: Any) -> Owner:
    return Owner(Place("domainConfig", context.domain_id, "", context.domain_id), "manageDomainConfig")


class DomainAutodiscoveryContext(DoneContext):
    """`<domain-autodiscovery#>`."""

    name = "domain-autodiscovery"
    title = "autodiscovery"

    @command("SHOW Urls", "shows the addresses clients are told")
    def show_urls(self, arguments: Arguments) -> Result:
        """SHOW Urls."""
        return show(DomainUrlsContext(self.session, self).shown_pairs())

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Urls and host names."""
        return [
            *super().extra_commands(),
            make("CONFIG Urls", "enters the addresses clients are told", enter(DomainUrlsContext)),
            *object_commands(
                OBJECT_KINDS["hostNameResolver"], "HostNameResolver", "HostNameResolvers", HostNameResolverContext, _owner,
                columns=("host", "domain"), title="The list of host name resolvers:", on_line=("domain",),
            ),
        ]  # fmt: skip
