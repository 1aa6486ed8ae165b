"""The account context: `<domain-account#>`.

Invariants: a new account exists, with everything set in it, after its COMMIT; the hashing of a password begins when
it is given, and COMMIT waits for its end; the password itself does not wait.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mailstead.admin_cli.attributes import AttributeContext, Special
from mailstead.admin_cli.context import Command, CommitContext, Result, command, make, needs, run_now
from mailstead.admin_cli.contexts.account_parts import ACCOUNT_PARTS, ContactInfoContext
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.membership import membership_command
from mailstead.admin_cli.registry import account_registry
from mailstead.admin_cli.responses import items, quoted, show
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.account_steps import MAX_TEMPORARY_DAYS
from mailstead.directory.address import checked_local, join_address, local_key
from mailstead.directory.model import Account, AlreadyExistsError
from mailstead.directory.password_policy import StoredPassword, check_hashable
from mailstead.settings.declaration import boolean, integer
from mailstead.settings.declarations import ACCOUNT_DATA
from mailstead.settings.edits import Place, place_of

if TYPE_CHECKING:
    from mailstead.admin_cli.contexts.domain import DomainContext

_YES_NO = boolean("value", False, "")
_DAYS = integer("days", 1, 1, MAX_TEMPORARY_DAYS, "")
_BARE = re.compile(r"[\w.-]+")
_READY = re.compile(r"\{[A-Z0-9.-]+\}.+|\$(?:argon2|2[aby]|5|6|y)\$?.+", re.DOTALL)


class AccountContext(AttributeContext, CommitContext):
    """One account, stored (`account`) or new."""

    name = "domain-account"
    title = "domain-account"
    declaration = ACCOUNT_DATA

    def __init__(self, parent: DomainContext, account: Account | None, name: str) -> None:
        super().__init__(parent.session, parent)
        directory = parent.session.services.directory
        self.domain = parent.domain
        self.account = account
        self.account_name = name
        self.object_id = account.id if account is not None else directory.ids.next()
        self.class_id = account.class_id if account is not None else 0
        self.class_changed = False
        self.renamed_to = ""
        self._password: StoredPassword | asyncio.Task[StoredPassword] | None = None
        self.must_change: bool | None = None
        self.aliases_added: list[str] = []
        self.aliases_removed: list[str] = []
        self.begin()

    @property
    def address(self) -> str:
        """Its address."""
        return join_address(self.account_name, self.domain.name)

    def place(self) -> Place:
        """The account's own data."""
        return place_of(ACCOUNT_DATA, self.object_id, self.domain_id)

    def specials(self) -> Sequence[Special]:
        """Name, password and class."""
        return _SPECIALS

    def check_name(self, name: str) -> None:
        """Raises InvalidNameError, AlreadyExistsError."""
        checked = checked_local(name)
        self.session.services.directory.refuse_reserved(self.domain_id, checked, self.session.actor)
        if self.session.services.directory.name_taken(self.domain_id, checked):
            raise AlreadyExistsError(f"the name {checked} already exists in this domain")

    async def keep_password(self, password: str | None, hash: str | None, *, enforce: bool = False) -> None:
        """Begin hashing a password, or check a ready hash; it waits for COMMIT. Raises PasswordRefusedError."""
        directory = self.session.services.directory
        if password is not None and enforce:
            account_id = self.object_id if self.account is not None else 0
            directory.check_new_password(password, self.domain_id, account_id, self.class_id)
        if password is None:
            self._password = await directory.stored_password(None, hash)
        else:
            check_hashable(password)
            self._password = await self.session.hash_ahead(directory.stored_password(password))

    async def collect(self) -> None:
        """The account itself goes in front of its settings."""
        directory, actor = self.session.services.directory, self.session.actor
        steps = []
        target, domain_id = self.object_id, self.domain_id
        password = await self._password if isinstance(self._password, asyncio.Task) else self._password
        if self.account is None:
            stored = password or StoredPassword("", "", "")
            wanted = self.renamed_to or self.account_name
            steps.append(directory.account_creation(target, domain_id, wanted, stored, actor=actor))
        else:
            if self.renamed_to and self.renamed_to != self.account_name:
                steps.append(directory.account_renaming(target, domain_id, self.renamed_to, actor=actor))
            if password is not None:
                steps.append(directory.password_change(target, domain_id, password, actor=actor))
        if self.must_change is not None:
            steps.append(directory.must_change_password(target, domain_id, self.must_change, actor=actor))
        steps += [directory.alias_removal(target, domain_id, alias, actor=actor) for alias in self.aliases_removed]
        steps += [directory.alias_addition(target, domain_id, alias, actor=actor) for alias in self.aliases_added]
        if self.class_changed:
            steps.append(directory.class_change(target, domain_id, self.class_id, actor=actor))
        self.pending.steps[:] = steps

    # -- aliases ------------------------------------------------------------------------------------------------

    def aliases(self) -> list[str]:
        """Aliases as they will be."""
        stored = self.session.services.directory.account_aliases(self.object_id) if self.account is not None else []
        gone = {local_key(alias) for alias in self.aliases_removed}
        return sorted([*(alias for alias in stored if local_key(alias) not in gone), *self.aliases_added])

    @command("LIST Aliases", "lists the account's other names")
    def list_aliases(self, arguments: Arguments) -> Result:
        """LIST Aliases."""
        return items("The list of aliases for this account:", self.aliases())

    @command("ADD Alias <aliasName>", "adds a name", allowed=needs("manageAccountsNaming"))
    def add_alias(self, arguments: Arguments) -> Result:
        """ADD Alias: waits for COMMIT."""
        self.session.actor.require("manageAccountsNaming", self.domain_id)
        alias = checked_local(arguments["aliasname"])
        key = local_key(alias)
        if key in {local_key(name) for name in self.aliases_removed}:
            self.aliases_removed = [name for name in self.aliases_removed if local_key(name) != key]
            return None
        if key in {local_key(name) for name in self.aliases_added}:
            raise AlreadyExistsError(f"the alias {alias} already exists")
        self.check_name(alias)
        self.aliases_added.append(alias)
        return None

    @command("ADD temporaryAlias <aliasName> days <days>", "adds a name that takes mail for some days, at once",
             allowed=needs("manageTemporaryAddresses"))  # fmt: skip
    async def add_temporary_alias(self, arguments: Arguments) -> Result:
        """A temporary address (WML-08); ours. LIST Aliases has it while it lives."""
        account = self.need_stored()
        days = int(str(_DAYS.parse(arguments["days"])))
        directory, actor = self.session.services.directory, self.session.actor
        step = directory.alias_addition(account.id, self.domain_id, arguments["aliasname"], actor=actor, days=days)
        await run_now(self, lambda pending: pending.add(step))
        return None

    @command("REMOVE Alias <aliasName>", "removes a name", allowed=needs("manageAccountsNaming"))
    def remove_alias(self, arguments: Arguments) -> Result:
        """REMOVE Alias: waits for COMMIT."""
        self.session.actor.require("manageAccountsNaming", self.domain_id)
        key = local_key(arguments["aliasname"])
        if key not in {local_key(alias) for alias in self.aliases()}:
            raise CommandError(f"the alias {arguments['aliasname'][:80]} does not exist")
        if key in {local_key(alias) for alias in self.aliases_added}:
            self.aliases_added = [alias for alias in self.aliases_added if local_key(alias) != key]
        else:
            self.aliases_removed.append(arguments["aliasname"])
        return None

    # -- inheritance --------------------------------------------------------------------------------------------

    @command("INHERIT SETTINGS FROM accountClass <accountClassName>", "puts the account into a class",
             allowed=needs("changeAccountsClass"))  # fmt: skip
    def inherit_class(self, arguments: Arguments) -> Result:
        """INHERIT SETTINGS FROM accountClass: explicit values stay (DOM-09)."""
        self.session.actor.require("changeAccountsClass", self.domain_id)
        parent: Any = self.parent
        self.class_id = parent.need_class(arguments["accountclass"]).id
        self.class_changed = True
        return None

    @command("INHERIT SETTINGS FROM domainDefaults", "takes the account out of its class", allowed=needs("changeAccountsClass"))
    def inherit_domain(self, arguments: Arguments) -> Result:
        """INHERIT SETTINGS FROM domainDefaults."""
        self.session.actor.require("changeAccountsClass", self.domain_id)
        self.class_id, self.class_changed = 0, True
        return None

    def class_name(self) -> str:
        """The class's name, or what stands for none."""
        for found in self.session.services.directory.account_classes(self.domain_id) if self.class_id else ():
            if found.id == self.class_id:
                return found.name
        return ""

    # -- what the account is ------------------------------------------------------------------------------------

    def need_stored(self) -> Account:
        """The account, which must be committed already. Raises CommandError."""
        if self.account is None:
            raise CommandError("the account does not exist before its COMMIT")
        return self.account

    @command("SHOW RegistryInformation", "shows dates, last logins and sizes")
    def show_registry(self, arguments: Arguments) -> Result:
        """SHOW RegistryInformation."""
        return show(account_registry(self.session.services, self.need_stored()), "Registry information:")

    @command("SHOW ContactInfo", hidden=True)
    def show_contact(self, arguments: Arguments) -> Result:
        """The old form of CONFIG ContactInfo and SHOW."""
        return show(ContactInfoContext(self.session, self).shown_pairs())

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """CONFIG of the parts, and what other modules add."""
        from mailstead.admin_cli.contexts import account_more  # its contexts lead back here

        parts = [make(f"CONFIG {word}", f"enters its {word}", _enter(kind)) for word, kind in ACCOUNT_PARTS.items()]
        return [*super().extra_commands(), membership_command(), *parts, *account_more.commands()]


def _enter(kind: type[AttributeContext]) -> Any:
    def handler(context: AccountContext, arguments: Arguments) -> Result:
        context.session.enter(kind(context.session, context))
        return None

    return handler


def _rename(context: Any, value: Word) -> None:
    if local_key(value.text) != local_key(context.account_name):
        context.session.actor.require("manageAccountsNaming", context.domain_id)
        context.check_name(value.text)
    context.renamed_to = checked_local(value.text)


async def _set_password(context: Any, value: Word, more: Mapping[str, Word]) -> None:
    if context.account is not None:
        context.session.actor.require("changeAccountsPassword", context.domain_id)
    word = more.get("respectenforcement")
    await context.keep_password(value.text, None, enforce=bool(_YES_NO.parse(word.text)) if word is not None else False)


async def _set_hash(context: Any, value: Word) -> None:
    if context.account is not None:
        context.session.actor.require("changeAccountsPassword", context.domain_id)
    await context.keep_password(None, value.text)


def _set_must_change(context: Any, value: Word) -> None:
    context.session.actor.require("changeAccountsPassword", context.domain_id)
    context.must_change = bool(_YES_NO.parse(value.text))


def _must_change(context: Any) -> str:
    if context.must_change is not None:
        return "yes" if context.must_change else "no"
    found = context.session.services.directory.credentials(context.object_id) if context.account is not None else None
    return "yes" if found is not None and found.must_change else "no"


def _class_command(context: Any, value: Word) -> str:
    context.session.actor.require("changeAccountsClass", context.domain_id)
    if not value.text:
        return "INHERIT SETTINGS FROM domainDefaults"
    return f"INHERIT SETTINGS FROM accountClass {value.text if _BARE.fullmatch(value.text) else quoted(value.text)}"


def _may_set_password(context: Any) -> bool:
    return context.account is None or _PASSWORD(context)


_PASSWORD = needs("changeAccountsPassword")
_SPECIALS = (
    Special("name", "name", _rename, lambda context: quoted(context.renamed_to or context.account_name),
            allowed=needs("manageAccountsNaming")),
    Special("accountClassName", "name", None, lambda context: quoted(context.class_name()), instead=_class_command),
    Special("password", "password", _set_password, None, ("passwd",), ("respectEnforcement",), _may_set_password),  # type: ignore[arg-type]
    Special("passwordHash", "hash", _set_hash, allowed=_may_set_password),
    Special("mustChangePass", "bool", _set_must_change, _must_change, allowed=_PASSWORD),
)  # fmt: skip
