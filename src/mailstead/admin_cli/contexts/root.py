"""The root context: domains, the administrator's own password, and the way into everything else."""

from __future__ import annotations

import asyncio

from mailstead.admin_cli.context import CliContext, Command, Result, anywhere, command, needs
from mailstead.admin_cli.contexts.domain import DomainContext
from mailstead.admin_cli.contexts.domain_create import DomainCreateContext, SubdomainCreateContext, domain_at
from mailstead.admin_cli.contexts.domain_register import DomainRegisterContext
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.lists import matching
from mailstead.admin_cli.responses import Reply, attribute, show, table
from mailstead.admin_cli.session import version_reply
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory import room
from mailstead.directory.model import Domain
from mailstead.settings.permissions import DOMAIN_PERMISSIONS


class RootContext(CliContext):
    """`<#>`."""

    name = ""
    title = "Initial"

    def __init__(self, session: object, parent: CliContext | None = None) -> None:
        super().__init__(session, parent)  # type: ignore[arg-type]

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Those of other modules."""
        from mailstead.admin_cli.contexts import root_more  # they lead to contexts that lead back here

        return root_more.commands()

    # -- domains ------------------------------------------------------------------------------------------------

    def visible(self, pattern: str = "") -> list[Domain]:
        """Domains on which the administrator has any right."""
        directory, actor = self.session.services.directory, self.session.actor
        found = [domain for domain in directory.domains() if actor.sees(domain.id)]
        wanted = set(matching([domain.name for domain in found], pattern))
        return [domain for domain in found if domain.name in wanted]

    def need(self, name: str) -> Domain:
        """A domain by name or alias. Raises CommandError, also for one the administrator has no right on."""
        domain = self.session.services.directory.domain_by_name(name)
        if domain is None or not self.session.actor.sees(domain.id):
            raise CommandError(f"the domain {name[:80]} does not exist")
        return domain

    @command("LIST Domains [<wildcard>]", "lists the enabled domains")
    async def list_domains(self, arguments: Arguments) -> Result:
        """LIST Domains: name, status, number of accounts."""

        def build() -> Reply:
            counts = self.session.services.directory.account_counts()
            rows = [
                (domain.name, "enabled", str(counts.get(domain.id, 0)))
                for domain in self.visible(arguments.get("wildcard", ""))
                if domain.enabled
            ]
            return table("The list of domains:", ("name", "status", "accounts"), rows)

        return await asyncio.to_thread(build)

    @command("LIST AllDomains [<wildcard>]", "lists all domains with their status")
    async def list_all_domains(self, arguments: Arguments) -> Result:
        """LIST AllDomains: name first, status last."""

        def build() -> Reply:
            counts = self.session.services.directory.account_counts()
            rows = [
                (domain.name, str(counts.get(domain.id, 0)), domain.state)
                for domain in self.visible(arguments.get("wildcard", ""))
            ]
            return table("The list of all domains:", ("name", "accounts", "Status"), rows)

        return await asyncio.to_thread(build)

    @command(
        "CREATE Domain name <name> [domainLocation <path>] [wmFilterTemplatePath <path>] [postmasterPassword <password>] "
        "[postmasterPasswd <password>]",
        "creates a domain",
        allowed=needs("activateAnyDomain"),
    )
    async def create_domain(self, arguments: Arguments) -> Result:
        """CREATE Domain: opens domain-create; the domain exists after its COMMIT."""
        context = DomainCreateContext(self, arguments)
        await context.prepare()
        self.session.enter(context)
        return None

    @command(
        "CREATE Subdomain prefix <name> parentDomain <name> [postmasterPassword <password>]", "creates a domain below another",
        allowed=anywhere("manageSubdomains"),
    )
    async def create_subdomain(self, arguments: Arguments) -> Result:
        """CREATE Subdomain (DOM-04)."""
        parent = self.need(arguments["parentdomain"])
        self.session.actor.require("manageSubdomains", parent.id)
        self.session.services.directory.need_room(parent.id, room.SUBDOMAINS)
        context = SubdomainCreateContext(self, arguments, parent)
        await context.prepare()
        self.session.enter(context)
        return None

    @command("UPDATE Domain [name] <name>", "enters a domain", listed=anywhere(*DOMAIN_PERMISSIONS))
    def update_domain(self, arguments: Arguments) -> Result:
        """UPDATE Domain: an enabled domain's context."""
        domain = self.need(arguments["name"])
        if not domain.switched_on:
            raise CommandError(f"the domain {domain.name} is disabled; ENABLE it first, or EDIT it")
        self.session.enter(DomainContext(self, domain))
        return None

    @command("SHOW Domain [name] <name> [ATTR <param>]", "shows a domain", listed=anywhere(*DOMAIN_PERMISSIONS))
    def show_domain(self, arguments: Arguments) -> Result:
        """SHOW Domain."""
        context = DomainContext(self, self.need(arguments["name"]))
        if "attr" in arguments:
            return attribute(*context.shown_attribute(arguments["attr"]))
        return show(context.shown_pairs())

    @command("ENABLE Domain name <name>", "enables a domain", listed=needs("activateAnyDomain"))
    @command("ENABLE Domain domainLocation <path>", "enables the domain at a location", listed=needs("activateAnyDomain"))
    @command("ENABLE Domain <name>", hidden=True)
    async def enable_domain(self, arguments: Arguments) -> Result:
        """ENABLE Domain; a deleted one of which a copy was kept comes back, enabled."""
        directory = self.session.services.directory
        name = arguments["name"] if "name" in arguments else await self._at(arguments["domainlocation"])
        if directory.domain_by_name(name) is None:
            domain = (await directory.restore_domain(name, actor=self.session.actor, enable=True)).domain
        else:
            domain = self.need(name)
            await directory.enable_domain(domain.name, actor=self.session.actor)
        await directory.clear_activation_request(domain.id, actor=self.session.actor)
        return None

    async def _at(self, location: str) -> str:
        """The name of the domain at a location, also of a deleted one. Raises CommandError."""
        try:
            return domain_at(self, location)
        except CommandError:
            kept = await asyncio.to_thread(self.session.services.directory.deleted_domains_at, location)
            if not kept:
                raise
            return kept[0].name

    @command("REGISTER Domain domainLocation <path>", hidden=True)
    async def register_domain(self, arguments: Arguments) -> Result:
        """REGISTER Domain: the old name, with a COMMIT of its own."""
        await self._at(arguments["domainlocation"])
        self.session.enter(DomainRegisterContext(self, lambda: self.enable_domain(arguments)))
        return None

    @command("DISABLE Domain [name] <name>", "disables a domain: nobody logs in, no mail is taken",
             allowed=anywhere("deactivateDomain"))  # fmt: skip
    @command("UNREGISTER Domain [name] <name>", hidden=True)
    async def disable_domain(self, arguments: Arguments) -> Result:
        """DISABLE Domain."""
        domain = self.need(arguments["name"])
        await self.session.services.directory.disable_domain(domain.name, actor=self.session.actor)
        return None

    @command("LIST domainActivationRequests", "lists subdomains that wait to be enabled", allowed=needs("activateAnyDomain"))
    def list_requests(self, arguments: Arguments) -> Result:
        """Subdomains made by administrators who may not enable them."""
        rows = [[domain.name] for domain in self.session.services.directory.activation_requests()]
        return table("The list of domain activation requests:", ("name",), rows)

    @command("CLEAR domainActivationRequests", "forgets them; the subdomains stay disabled", allowed=needs("activateAnyDomain"))
    async def clear_requests(self, arguments: Arguments) -> Result:
        """Forget the requests."""
        directory = self.session.services.directory
        for domain in directory.activation_requests():
            await directory.clear_activation_request(domain.id, actor=self.session.actor)
        return None

    # -- the administrator itself ---------------------------------------------------------------------------------

    @command("CHANGE password oldPassword <password> newPassword <password>", "changes your own password")
    async def change_password(self, arguments: Arguments) -> Result:
        """CHANGE password."""
        session = self.session
        known = await session.services.administrators.verify(
            session.actor.name, arguments["oldpassword"], peer=session.link.peer[0]
        )
        if known is None:
            raise CommandError("the old password is wrong")
        await session.services.directory.set_admin_password(session.actor.name, arguments["newpassword"], actor=session.actor)
        session.password_changed()
        return None

    @command("GET VERSION", "shows the version, the system and the platform")
    def get_version(self, arguments: Arguments) -> Result:
        """GET VERSION."""
        return version_reply()

    @command("SET admin-password <password>", "sets your own password")
    async def set_admin_password(self, arguments: Arguments) -> Result:
        """SET admin-password, the old form."""
        await self.session.services.directory.set_admin_password(
            self.session.actor.name, arguments["password"], actor=self.session.actor
        )
        self.session.password_changed()
        return None

    @command("SET multilineEOF <mark>", "sets the line that ends texts")
    def set_end_mark(self, arguments: Arguments) -> Result:
        """SET multilineEOF."""
        mark = arguments["mark"]
        if not mark or len(mark) > 64 or not mark.isprintable():
            raise CommandError("multilineEOF: 1 to 64 printable characters")
        self.session.end_mark = mark
        return None

    @command("SET CONSOLE-CODES <on|off>", "colours and echo of terminals")
    @command("SET QUIET <on|off>", "shortens replies")
    def set_terminal(self, arguments: Arguments) -> Result:
        """The switches of the session."""
        name = "quiet" if "quiet" in arguments.flags else "console-codes"
        return self.session.set_terminal(name, arguments["on|off"].lower())

    @command("SHOW", "shows the session")
    def show_session(self, arguments: Arguments) -> Result:
        """Who is logged in."""
        pairs = [("admin", f'"{self.session.actor.name}"'), ("multilineEOF", f'"{self.session.end_mark}"')]
        return Reply([*show(pairs).body])
