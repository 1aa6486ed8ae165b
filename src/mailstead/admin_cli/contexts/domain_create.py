"""CREATE Domain, CREATE Subdomain, EDIT Domain: a domain's beginning, and its locations (DOM-01, DOM-02, DOM-04).

Invariants: the domain, its settings and its postmaster's account are one transaction: after COMMIT all are there, before
it nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailstead.admin_cli.attributes import AttributeContext, Special
from mailstead.admin_cli.context import CliContext, Command, CommitContext, Result, command
from mailstead.admin_cli.contexts.domain_locations import check_location, location_commands, repair_commands
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.responses import quoted
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.address import checked_domain
from mailstead.directory.model import AlreadyExistsError, Domain
from mailstead.settings.declaration import Setting
from mailstead.settings.declarations import DOMAIN
from mailstead.settings.edits import Place, place_of

LOCATIONS = ("domainLocation", "domainObjectsLocation", "wmFilterTemplatePath")


def own_place(domain_id: int) -> Place:
    """Where a domain's own settings lie."""
    return place_of(DOMAIN, domain_id, domain_id)


def domain_at(context: CliContext, location: str) -> str:
    """The name of the domain at a location: one that was given it, else the last part of the path. Raises CommandError."""
    directory = context.session.services.directory
    rows = directory.database.query(
        "SELECT d.name FROM setting s JOIN domain d ON d.id = s.scope_id "
        "WHERE s.scope = 'domainConfig' AND s.name = 'domainLocation' AND s.value = ?",
        (location,),
    )
    if rows:
        return str(rows[0][0])
    last = location.split("?", 1)[0].rstrip("/").rpartition("/")[2]
    if directory.domain_by_name(last) is None and all(one.name.lower() != last.lower() for one in directory.deleted_domains()):
        raise CommandError(f"there is no domain at {location[:80]}")
    return last


class _LocationContext(AttributeContext):
    """What the three contexts share: locations and groupwareSupport."""

    declaration = DOMAIN

    def __init__(self, parent: CliContext, domain_id: int) -> None:
        super().__init__(parent.session, parent)
        self.target_id = domain_id

    def place(self) -> Place:
        return own_place(self.target_id)

    def settings(self) -> Sequence[Any]:
        return [DOMAIN.setting(name) for name in LOCATIONS]

    def check_value(self, setting: Setting, text: str) -> None:
        """A location has the form of one."""
        if setting.name.endswith("Location") and text:
            check_location(text)


class DomainCreateContext(_LocationContext, CommitContext):
    """`<domain-create#>`."""

    name = "domain-create"
    title = "domain-create"
    renamed = {"domainobjectslocation": "domainObjectsLocation"}
    location_permission = "activateAnyDomain"

    def __init__(self, parent: CliContext, arguments: Arguments) -> None:
        super().__init__(parent, parent.session.services.directory.ids.next())
        self.domain_name = arguments.get("name", "")
        self.password = arguments.get("postmasterpassword", arguments.get("postmasterpasswd"))
        self.given = {name: arguments[name.lower()] for name in LOCATIONS if name.lower() in arguments}
        self.groupware = "yes"

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Message locations."""
        return [*super().extra_commands(), *location_commands()]

    @property
    def parent_domain(self) -> int:
        """Id of the domain above; 0 for a domain of its own."""
        return 0

    def above_name(self) -> str:
        """The name of the domain above."""
        return ""

    def full_name(self) -> str:
        """The name of the domain to be."""
        return self.domain_name

    async def prepare(self) -> None:
        """Check what the command gave. Raises CommandError, InvalidNameError, AlreadyExistsError."""
        display, _ = checked_domain(self.full_name())
        if self.session.services.directory.domain_by_name(display) is not None:
            raise AlreadyExistsError(f"the domain {display} already exists")
        self.begin()
        for name, text in self.given.items():
            DOMAIN.setting(name).parse(text)
            self.check_value(DOMAIN.setting(name), text)

    def specials(self) -> Sequence[Special]:
        return (
            Special("name", "name", _set_name, lambda c: quoted(c.full_name())),
            Special("postmasterPassword", "password", _set_password, None, ("postmasterpasswd",)),
            Special("groupwareSupport", "bool", _set_groupware, lambda c: c.groupware, ("maclsupport",)),
        )

    def shown_pairs(self) -> list[tuple[str, str]]:
        pairs = [(special.name, text) for special in self.specials() if (text := self._read(special)) is not None]
        return [*pairs, *((name, quoted(self.given.get(name, ""))) for name in LOCATIONS)]

    def shown_attribute(self, name: str) -> tuple[str, str]:
        for shown_name, text in self.shown_pairs():
            if shown_name.lower() == name.lower():
                return shown_name, text
        raise CommandError(f"there is no parameter {name[:80]!r} here")

    def may_set(self, setting: Setting) -> bool:
        """Who may create the domain may give it all."""
        return True

    async def set_words(self, words: Sequence[Word]) -> None:
        kept: list[Word] = []
        for name, value in zip(words[::2], words[1::2], strict=False):
            setting = self.setting_named(name.text)
            if setting is None:
                kept += [name, value]
            else:
                setting.parse(value.value)
                self.check_value(setting, value.value)
                self.given[setting.name] = value.value
        if len(words) % 2:
            kept.append(words[-1])
        await super().set_words(kept)

    async def collect(self) -> None:
        directory, actor = self.session.services.directory, self.session.actor
        target = self.target_id
        own = own_place(target)
        texts = {**self.given, "groupwareSupport": self.groupware}
        if self.parent_domain:
            texts["parentDomain"] = self.above_name()
            if not actor.may("activateAnyDomain"):
                texts["activationRequested"] = "yes"
        values = [(own, DOMAIN.setting(name), text) for name, text in texts.items()]
        creation = directory.domain_creation(target, self.full_name(), values, actor=actor, parent_id=self.parent_domain)
        if self.password is None:
            raise CommandError("the parameter postmasterPassword is missing")
        stored = await directory.stored_password(self.password)
        postmaster = directory.account_creation(directory.ids.next(), target, "postmaster", stored, actor=actor, first=True)
        # Before the message locations, which are staged and come after all steps.
        self.pending.steps[:] = []
        self.pending.add(creation)
        self.pending.add(postmaster)


class SubdomainCreateContext(DomainCreateContext):
    """`<subdomain-create#>`."""

    name = "subdomain-create"
    title = "subdomain-create"
    location_permission = "manageSubdomains"

    def __init__(self, parent: CliContext, arguments: Arguments, above: Domain) -> None:
        super().__init__(parent, arguments)
        self.above = above
        self.domain_id = above.id
        self.prefix = arguments["prefix"]

    @property
    def parent_domain(self) -> int:
        return self.above.id

    def above_name(self) -> str:
        return self.above.name

    def full_name(self) -> str:
        return f"{self.prefix}.{self.above.name}"

    def specials(self) -> Sequence[Special]:
        own = [special for special in super().specials() if special.name != "name"]
        return (
            Special("prefix", "name", _set_prefix, lambda c: quoted(c.prefix)),
            Special("parentDomain", "name", _set_above, lambda c: quoted(c.above.name)),
            *own,
        )


class DomainEditContext(_LocationContext, CommitContext):
    """`<domain-edit#>`: a disabled domain's locations."""

    name = "domain-edit"
    title = "domain-edit"
    location_permission = "manageDomainStorage"

    def __init__(self, parent: CliContext, domain: Domain) -> None:
        super().__init__(parent, domain.id)
        self.domain_id = domain.id

    def specials(self) -> Sequence[Special]:
        return (Special("groupwareSupport", "bool", _keep_groupware, _read_groupware, ("maclsupport",)),)

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Message locations and repairs."""
        return [*super().extra_commands(), *location_commands(change=True), *repair_commands()]

    @command("COMPACT all|domainStorage|domainObjectsStorage|messagesStorage [forced]", "gives space back")
    def compact(self, arguments: Arguments) -> Result:
        """Space is given back for the whole server, by itself; there is nothing of a domain's own to compact."""
        return None


def _set_name(context: Any, value: Word) -> None:
    checked_domain(value.text)
    context.domain_name = value.text


def _set_prefix(context: Any, value: Word) -> None:
    checked_domain(f"{value.text}.{context.above.name}")
    context.prefix = value.text


def _set_above(context: Any, value: Word) -> None:
    above = context.session.services.directory.domain_by_name(value.text)
    if above is None or not context.session.actor.sees(above.id):
        raise CommandError(f"the domain {value.text[:80]} does not exist")
    context.session.actor.require("manageSubdomains", above.id)
    checked_domain(f"{context.prefix}.{above.name}")
    context.above, context.domain_id = above, above.id


def _set_password(context: Any, value: Word) -> None:
    context.password = value.text


def _set_groupware(context: Any, value: Word) -> None:
    setting = DOMAIN.setting("groupwareSupport")
    context.groupware = setting.render(setting.parse(value.text))


def _keep_groupware(context: Any, value: Word) -> None:
    setting = DOMAIN.setting("groupwareSupport")
    context.session.actor.require(DOMAIN.permission_for(setting), context.target_id)
    context.pending.set_value(own_place(context.target_id), DOMAIN, setting, value.text)


def _read_groupware(context: Any) -> str:
    place = own_place(context.target_id)
    waits, text = context.pending.value(place, "groupwareSupport")
    if waits and text is not None:
        return str(text)
    return "yes" if context.session.services.directory.domain_settings(context.target_id).groupwareSupport else "no"


__all__ = ["DomainCreateContext", "DomainEditContext", "SubdomainCreateContext", "domain_at"]
