"""The domain context: `<domain#>`.

Invariants: settings and aliases wait for COMMIT; objects that the domain's context removes go at once, as clients of the
protocol expect; an object that is added exists after the COMMIT of its own context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from mailstead.admin_cli.attributes import AttributeContext, Special
from mailstead.admin_cli.context import CliContext, Command, CommitContext, Result, command, make, needs, run_now
from mailstead.admin_cli.contexts.account import AccountContext
from mailstead.admin_cli.contexts.account_class import AccountClassContext
from mailstead.admin_cli.contexts.domain_parts import AdminLimitsContext, part_commands
from mailstead.admin_cli.contexts.inherited import DOMAIN_DEFAULTS
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.lists import matching
from mailstead.admin_cli.registry import date_of, domain_registry
from mailstead.admin_cli.responses import Reply, attribute, items, quoted, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.admin_cli.visibility import ACCOUNTS, CLASSES, sees
from mailstead.directory import room
from mailstead.directory.address import checked_domain, domain_key
from mailstead.directory.model import Account, AccountClass, AlreadyExistsError, Domain
from mailstead.settings.declarations import DOMAIN_OWN
from mailstead.settings.edits import Place, place_of

RENAMED = {"catchallaccount": "catchAllAccountName", "catchallfolder": "catchAllFolderName"}
POSTMASTER = "postmaster"
"""Who gets the postmaster's mail where no other account is chosen."""


class DomainContext(AttributeContext, CommitContext):
    """One enabled domain."""

    name = "domain"
    title = "domain"
    declaration = DOMAIN_OWN
    renamed = RENAMED
    texts = ("appenderHtml",)

    def __init__(self, parent: CliContext, domain: Domain) -> None:
        super().__init__(parent.session, parent)
        self.domain = domain
        self.domain_id = self.object_id = domain.id
        self.renamed_to = ""
        self.aliases_added: list[str] = []
        self.aliases_removed: list[str] = []

    def place(self) -> Place:
        """The domain's own settings."""
        return place_of(DOMAIN_OWN, self.domain.id, self.domain.id)

    def settings(self) -> Sequence[Any]:
        """Without the postmaster's account, which takes effect at once."""
        return [setting for setting in DOMAIN_OWN.settings if setting.name != "postmasterAccount"]

    def specials(self) -> Sequence[Special]:
        """The name, what the domain is and below which one, and the postmaster's account."""
        return (
            Special("name", "name", _rename, lambda context: quoted(context.renamed_to or context.domain.name),
                    allowed=needs("manageDomainConfig")),
            Special("state", "word", None, _state),
            Special("parentDomain", "name", None, _parent),
            Special("postmasterAccount", "name", _set_postmaster, _postmaster, allowed=needs("manageDomainConfig")),
        )  # fmt: skip

    async def collect(self) -> None:
        """Renaming and aliases."""
        directory, actor = self.session.services.directory, self.session.actor
        if self.renamed_to and self.renamed_to != self.domain.name:
            self.pending.add(directory.domain_renaming(self.domain.id, self.renamed_to, actor=actor))
        for alias in self.aliases_removed:
            self.pending.add(directory.domain_alias_removal(self.domain.id, alias, actor=actor))
        for alias in self.aliases_added:
            self.pending.add(directory.domain_alias_addition(self.domain.id, alias, actor=actor))

    @property
    def waiting(self) -> bool:
        """Whether a COMMIT would write something."""
        return bool(self.pending or self.renamed_to or self.aliases_added or self.aliases_removed)

    @command("UPDATE Domain [name] <name>", hidden=True)
    def enter_domain(self, arguments: Arguments) -> Result:
        """UPDATE Domain of the root. Programs send it here after the COMMIT of an account, for this domain or the next."""
        root: Any = self.parent
        if root.need(arguments["name"]).id == self.domain_id:
            return None
        if self.waiting:
            raise CommandError(f"changes of {self.domain.name} wait here: COMMIT writes them, BACK drops them")
        return cast(Result, root.update_domain(arguments))

    # -- aliases ------------------------------------------------------------------------------------------------

    def aliases(self) -> list[str]:
        """Aliases as they will be."""
        gone = {domain_key(alias) for alias in self.aliases_removed}
        stored = self.session.services.directory.domain_aliases(self.domain.id)
        return sorted([*(alias for alias in stored if domain_key(alias) not in gone), *self.aliases_added])

    @command("LIST Aliases", "lists the aliases of the domain")
    def list_aliases(self, arguments: Arguments) -> Result:
        """LIST Aliases."""
        return items("The list of aliases for this domain:", self.aliases())

    @command("ADD Alias <aliasName>", "lets the domain answer to another name", allowed=needs("manageDomainAliases"))
    def add_alias(self, arguments: Arguments) -> Result:
        """ADD Alias: waits for COMMIT."""
        self.session.actor.require("manageDomainAliases", self.domain.id)
        display, key = checked_domain(arguments["aliasname"])
        taken = self.session.services.directory.domain_by_name(display)
        freed = key in {domain_key(alias) for alias in self.aliases_removed}
        if (taken is not None and not freed) or key in {domain_key(alias) for alias in self.aliases_added}:
            raise AlreadyExistsError(f"the domain {display} already exists")
        self.begin()
        self.aliases_added.append(display)
        return None

    @command("REMOVE Alias <aliasName>", "takes an alias away", allowed=needs("manageDomainAliases"))
    def remove_alias(self, arguments: Arguments) -> Result:
        """REMOVE Alias: waits for COMMIT."""
        self.session.actor.require("manageDomainAliases", self.domain.id)
        key = domain_key(arguments["aliasname"])
        if key not in {domain_key(alias) for alias in self.aliases()}:
            raise CommandError(f"the alias {arguments['aliasname'][:80]} does not exist")
        self.begin()
        added = [alias for alias in self.aliases_added if domain_key(alias) == key]
        if added:
            self.aliases_added = [alias for alias in self.aliases_added if alias not in added]
        else:
            self.aliases_removed.append(arguments["aliasname"])
        return None

    # -- accounts -----------------------------------------------------------------------------------------------

    def names(self, table_name: str, pattern: str, kind: str = "") -> list[str]:
        """Names of the domain's objects of a kind, in order."""
        where, values = ("", (self.domain.id,)) if not kind else (" AND kind = ?", (self.domain.id, kind))
        rows = self.session.services.directory.database.query(
            f"SELECT name FROM {table_name} WHERE domain_id = ?{where} ORDER BY name", values
        )
        return matching([row[0] for row in rows], pattern)

    def need_account(self, name: str) -> Account:
        """An account by its name, without or with the domain. Raises CommandError."""
        local, at, domain = name.rpartition("@")
        if not at or domain_key(domain) != self.domain.key:
            local = name
        found = self.session.services.directory.account_named(self.domain.id, local)
        if found is None:
            raise CommandError(f"the account {name[:80]} does not exist")
        return found

    @command("LIST Accounts [<wildcard>]", "lists the accounts", allowed=sees(ACCOUNTS))
    async def list_accounts(self, arguments: Arguments) -> Result:
        """LIST Accounts: one column, the names."""

        def build() -> Reply:
            found = self.names("account", arguments.get("wildcard", ""))
            return table("The list of accounts for this domain:", ("name",), ((name,) for name in found))

        return await asyncio.to_thread(build)

    @command(
        "ADD Account [name] <name> [password <password>] [passwordHash <hash>]",
        "adds an account; it exists after its COMMIT",
        allowed=needs("createAccounts"),
    )
    @command("ADD Account [name] <name> passwd <password>", hidden=True, allowed=needs("createAccounts"))
    async def add_account(self, arguments: Arguments) -> Result:
        """ADD Account; a hash made elsewhere is taken in the place of a password."""
        self.session.actor.require("createAccounts", self.domain.id)
        context = AccountContext(self, None, arguments["name"])
        context.check_name(arguments["name"])
        self.session.services.directory.need_room(self.domain.id, room.ACCOUNTS)
        password = arguments.get("password", arguments.get("passwd"))
        if password is None and "passwordhash" not in arguments:
            raise CommandError("the parameter password is missing")
        await context.keep_password(password, arguments.get("passwordhash"))
        self.session.enter(context)
        return None

    @command("UPDATE Account [name] <name>", "enters an account", allowed=sees(ACCOUNTS))
    def update_account(self, arguments: Arguments) -> Result:
        """UPDATE Account."""
        account = self.need_account(arguments["name"])
        self.session.enter(AccountContext(self, account, account.name))
        return None

    @command("REMOVE Account [name] <name>", "removes an account at once", allowed=needs("removeAccounts"))
    async def remove_account(self, arguments: Arguments) -> Result:
        """REMOVE Account; it can be brought back within the retention time."""
        account = self.need_account(arguments["name"])
        await self.session.services.directory.delete_account(account.id, actor=self.session.actor)
        return None

    @command("SHOW Account [name] <name> [ATTR <param>]", "shows an account", allowed=sees(ACCOUNTS))
    def show_account(self, arguments: Arguments) -> Result:
        """SHOW Account."""
        account = self.need_account(arguments["name"])
        context = AccountContext(self, account, account.name)
        if "attr" in arguments:
            return attribute(*context.shown_attribute(arguments["attr"]))
        return show(context.shown_pairs())

    @command("LIST DeletedAccounts", "lists accounts that can be brought back", allowed=needs("restoreDomain"))
    def list_deleted(self, arguments: Arguments) -> Result:
        """Deleted accounts within the retention time; ours."""
        rows = [(row.name, date_of(row.time)) for row in self.session.services.directory.deleted_accounts(self.domain.id)]
        return table("The list of deleted accounts:", ("name", "deleted"), rows)

    @command("UNDELETE Account [name] <name>", "brings a deleted account back", allowed=needs("restoreDomain"))
    async def undelete_account(self, arguments: Arguments) -> Result:
        """Bring an account back, with its mail; ours."""
        name = arguments["name"]
        address = name if "@" in name else f"{name}@{self.domain.name}"
        await self.session.services.directory.restore_account(address, actor=self.session.actor)
        return None

    # -- classes ------------------------------------------------------------------------------------------------

    def need_class(self, name: str) -> AccountClass:
        """A class by its name. Raises CommandError."""
        for found in self.session.services.directory.account_classes(self.domain.id):
            if found.name.lower() == name.lower():
                return found
        raise CommandError(f"the account class {name[:80]} does not exist")

    @command("LIST AccountClasses [<wildcard>]", "lists the account classes", allowed=sees(CLASSES))
    def list_classes(self, arguments: Arguments) -> Result:
        """LIST AccountClasses."""
        found = self.names("account_class", arguments.get("wildcard", ""))
        return table("The list of account classes for this domain:", ("name",), ((name,) for name in found))

    @command("ADD accountClass [name] <accountClassName>", "adds an account class", allowed=needs("createAccountClasses"))
    def add_class(self, arguments: Arguments) -> Result:
        """ADD accountClass."""
        self.session.actor.require("createAccountClasses", self.domain.id)
        name = arguments["name"]
        if any(found.name.lower() == name.lower() for found in self.session.services.directory.account_classes(self.domain.id)):
            raise AlreadyExistsError(f"the account class {name} already exists")
        self.session.services.directory.need_room(self.domain.id, room.CLASSES)
        self.session.enter(AccountClassContext(self, self.session.services.directory.ids.next(), name, new=True))
        return None

    @command("UPDATE accountClass [name] <accountClassName>", "enters an account class", allowed=sees(CLASSES))
    def update_class(self, arguments: Arguments) -> Result:
        """UPDATE accountClass."""
        found = self.need_class(arguments["name"])
        self.session.enter(AccountClassContext(self, found.id, found.name, new=False))
        return None

    @command("REMOVE accountClass [name] <accountClassName>", "removes an account class", allowed=needs("removeAccountClasses"))
    async def remove_class(self, arguments: Arguments) -> Result:
        """REMOVE accountClass: its accounts go back to the domain's defaults."""
        await self.session.services.directory.delete_account_class(self.need_class(arguments["name"]).id, actor=self.session.actor)
        return None

    # -- the postmaster -----------------------------------------------------------------------------------------

    @command("SHOW postmasterAccount", "shows who gets the postmaster's mail")
    def show_postmaster(self, arguments: Arguments) -> Result:
        """SHOW postmasterAccount."""
        return attribute("postmasterAccount", _postmaster(self))

    @command("RESET postmasterAccount", "the account postmaster gets that mail again", allowed=needs("manageDomainConfig"))
    async def reset_postmaster(self, arguments: Arguments) -> Result:
        """RESET postmasterAccount: at once."""
        await _keep_postmaster(self, None)
        return None

    # -- what the domain is -------------------------------------------------------------------------------------

    @command("SHOW RegistryInformation", "shows dates and counts")
    def show_registry(self, arguments: Arguments) -> Result:
        """SHOW RegistryInformation."""
        return show(domain_registry(self.session.services, self.domain), "Registry information:")

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """The parts, and what other modules add."""
        from mailstead.admin_cli.contexts import domain_more  # its contexts lead back here

        limits = make("CONFIG adminLimits", "enters the limits of its administrators", _admin_limits,
                      allowed=needs("manageDomainAdminLimits"))  # fmt: skip
        defaults = [
            make(f"CONFIG accountDefault{word}", f"enters the {word} that accounts begin with", _default(word),
                 allowed=needs("manageDomainConfig"))
            for word in DOMAIN_DEFAULTS
        ]  # fmt: skip
        return [*super().extra_commands(), limits, *defaults, *part_commands(), *domain_more.commands()]


def _rename(context: Any, value: Word) -> None:
    context.session.actor.require("manageDomainConfig", context.domain_id)
    context.renamed_to, _ = checked_domain(value.text)


def _state(context: Any) -> str:
    domain = context.session.services.directory.domain(context.domain_id)
    return domain.state if domain is not None else "deleted"


def _parent(context: Any) -> str:
    return quoted(context.session.services.directory.domain_settings(context.domain_id).parentDomain)


def _postmaster(context: Any) -> str:
    return quoted(context.session.services.directory.domain_settings(context.domain_id).postmasterAccount or POSTMASTER)


async def _set_postmaster(context: Any, value: Word) -> None:
    """The contract has it take effect at once. What SHOW has where none is chosen may be sent back, account or not."""
    directory = context.session.services.directory
    chosen = directory.domain_settings(context.domain_id).postmasterAccount
    if value.text == POSTMASTER and not chosen and not directory.names_account(context.domain_id, POSTMASTER):
        context.session.actor.require("manageDomainConfig", context.domain_id)
        return
    await _keep_postmaster(context, value.text)


async def _keep_postmaster(context: DomainContext, name: str | None) -> None:
    """Apart from what waits, and known to be this session's own."""
    setting = DOMAIN_OWN.setting("postmasterAccount")
    await run_now(context, lambda pending: pending.set_value(context.place(), DOMAIN_OWN, setting, name))


def _admin_limits(context: DomainContext, arguments: Arguments) -> Result:
    context.session.enter(AdminLimitsContext(context.session, context))
    return None


def _default(word: str) -> Any:
    def handler(context: DomainContext, arguments: Arguments) -> Result:
        context.session.enter(DOMAIN_DEFAULTS[word](context.session, context))
        return None

    return handler


__all__ = ["DomainContext", "Reply"]
