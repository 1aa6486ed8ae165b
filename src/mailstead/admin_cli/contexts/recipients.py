"""Groups and folder recipients, and what mailing lists share with them: `<domain-group#>`, `<domain-folderRcpt#>`.

Invariants: everything that was set, and every member that was added, changed or removed, is one transaction at COMMIT; lists
of members show what waits; the permission of each attribute is asked by the verb.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mailstead.admin_cli.attributes import AttributeContext, Special
from mailstead.admin_cli.context import (
    CliContext,
    Command,
    CommitContext,
    Condition,
    DoneContext,
    Result,
    command,
    make,
    needs,
)
from mailstead.admin_cli.contexts.filters import filters_command, recipient_filters
from mailstead.admin_cli.contexts.index_information import ldap_association_command
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.membership import membership_command
from mailstead.admin_cli.registry import recipient_registry
from mailstead.admin_cli.responses import items, quoted, show
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.address import checked_local, join_address, local_key
from mailstead.directory.members import MAX_MEMBERS_PER_CALL, checked_member, checked_members
from mailstead.directory.model import AlreadyExistsError, InvalidNameError, Member, Recipient, RecipientEdit, RecipientKind
from mailstead.directory.recipient_kinds import FAMILIES
from mailstead.settings.declaration import Context, Setting, boolean
from mailstead.settings.declarations import FOLDER_RCPT_LIMITS
from mailstead.settings.edits import Place, Step, place_of

if TYPE_CHECKING:
    from mailstead.admin_cli.contexts.domain import DomainContext

PAGE = 5000
_YES_NO = boolean("enable", True, "")


class RecipientContext(AttributeContext, CommitContext):
    """One group, list or folder recipient, stored (`found`) or new."""

    kind: ClassVar[RecipientKind]
    apart: ClassVar[frozenset[str]] = frozenset()
    """Attributes that have commands of their own instead of SET."""

    def __init__(self, parent: DomainContext, found: Recipient | None, name: str) -> None:
        super().__init__(parent.session, parent)
        self.domain = parent.domain
        self.found = found
        self.recipient_name = name
        self.object_id = found.id if found is not None else parent.session.services.directory.ids.next()
        self.renamed_to = ""
        self.enabled: bool | None = None
        self.password: str | None = None
        self.changes: dict[str, str | None] = {}
        self.contents: dict[str, str | None] = {}
        self.added: dict[str, str] = {}
        self.removed: dict[str, str] = {}
        self.changed_members: dict[str, tuple[str, str]] = {}
        self.begin()

    @property
    def address(self) -> str:
        """Its address."""
        return join_address(self.recipient_name, self.domain.name)

    def declared(self) -> Context:
        """The kind's attributes."""
        return FAMILIES[self.kind].context

    def place(self) -> Place:
        """Where its own contexts' settings lie."""
        return Place("recipient", self.object_id, "", self.domain_id)

    def settings(self) -> Sequence[Setting]:
        """Attributes that SET takes."""
        return [setting for setting in self.declared().settings if setting.name not in self.apart]

    def setting_named(self, name: str) -> Setting | None:
        """Also those with commands of their own."""
        found = super().setting_named(name)
        return found if found is not None else self.declared().by_name.get(name.lower())

    def stored(self) -> Mapping[str, str]:
        """Explicit attributes with what was set here."""
        merged = dict(self.found.attributes) if self.found is not None else {}
        for name, text in self.changes.items():
            if text is None:
                merged.pop(name, None)
            else:
                merged[name] = text
        return merged

    def pending_value(self, name: str) -> tuple[bool, str | None]:
        """Whether a value was set here."""
        return (True, self.changes[name]) if name in self.changes else (False, None)

    def require_right(self, setting: Setting, text: str | None) -> None:
        """Each attribute of one that is stored has its own; who may make one may give it all."""
        self.require_text_right(setting.name)

    def require_text_right(self, name: str) -> None:
        """The same for a long text."""
        if self.found is not None:
            self.session.actor.require(FAMILIES[self.kind].permission(name), self.domain_id)

    def keep_value(self, setting: Setting, text: str | None) -> None:
        """Let it wait."""
        self.require_right(setting, text)
        self.changes[setting.name] = None if text is None else setting.render(setting.parse(text))

    def keep_content(self, name: str, text: str | None) -> None:
        """Let it wait."""
        self.require_text_right(name)
        self.contents[name] = text

    def content(self, name: str) -> str | None:
        """What waits, what is stored, or the default."""
        waiting = self.contents.get(name)
        if waiting is not None:
            return waiting
        return self.session.services.directory.recipient_content(self.object_id, name)

    def specials(self) -> Sequence[Special]:
        """Name and state."""
        family = FAMILIES[self.kind]
        return (
            Special("name", "name", _rename, lambda context: quoted(context.renamed_to or context.recipient_name),
                    allowed=_new_or(family.rename)),
            Special("enable", "bool", _enable, lambda context: "yes" if context.is_enabled() else "no",
                    allowed=_new_or(family.manage)),
        )  # fmt: skip

    def is_enabled(self) -> bool:
        """As it will be."""
        return self.enabled if self.enabled is not None else (self.found.enabled if self.found is not None else True)

    def edit(self) -> RecipientEdit:
        """Everything that waits."""
        renamed = {}
        for address, (new, name) in self.changed_members.items():
            renamed[address] = (new, name)
        return RecipientEdit(
            name=self.renamed_to if self.renamed_to and self.renamed_to != self.recipient_name and self.found else None,
            enabled=self.enabled,
            password=self.password,
            attributes=dict(self.changes),
            contents=dict(self.contents),
            members_added=dict(self.added),
            members_removed=tuple(self.removed.values()),
            members_renamed=renamed,
        )

    async def collect(self) -> None:
        """One step holds all of it."""
        directory, actor = self.session.services.directory, self.session.actor
        edit = self.edit()
        if self.found is None:
            wanted = self.renamed_to or self.recipient_name
            _, operation = await directory.recipient_creation(
                self.kind, self.domain.name, wanted, edit, actor=actor, object_id=self.object_id
            )
            self.pending.steps[:] = [Step(operation)]
        elif edit != RecipientEdit():
            operation = await directory.recipient_change(self.object_id, edit, actor=actor)
            self.pending.steps[:] = [Step(operation, (("recipient", self.object_id),))]

    # -- members --------------------------------------------------------------------------------------------------

    def members(self) -> list[Member]:
        """Members as they will be, by address."""
        directory = self.session.services.directory
        found: list[Member] = []
        after = ""
        while self.found is not None:
            page = directory.member_page(self.object_id, after, PAGE)
            found.extend(page)
            if len(page) < PAGE:
                break
            after = page[-1].address
        gone = {address.lower() for address in (*self.removed.values(), *self.changed_members)}
        kept = [member for member in found if member.address.lower() not in gone] if gone else found
        kept += [Member(0, address, name) for address, name in (*self.added.items(), *self.changed_members.values())]
        return sorted(kept, key=lambda member: member.address.lower()) if len(kept) != len(found) or gone else kept

    def member(self, address: str) -> Member | None:
        """One member as it will be."""
        lowered = address.lower()
        for waiting, name in (*self.added.items(), *self.changed_members.values()):
            if waiting.lower() == lowered:
                return Member(0, waiting, name)
        if any(lowered == gone.lower() for gone in (*self.removed.values(), *self.changed_members)) or self.found is None:
            return None
        return self.session.services.directory.member(self.object_id, address)

    def need_member(self, address: str) -> Member:
        """Raises CommandError."""
        found = self.member(address)
        if found is None:
            raise CommandError(f"the address {address[:80]} does not exist here")
        return found

    def add_member(self, address: str, name: str) -> None:
        """Let a member be added. Raises InvalidNameError, AlreadyExistsError, CommandError."""
        if self.member(address) is not None:
            raise AlreadyExistsError(f"the address {address[:80]} already exists here")
        _refuse_more(self.added)
        self.added.update(checked_members({address: name}))

    def remove_member(self, address: str) -> None:
        """Let a member go."""
        found = self.need_member(address)
        for waiting in list(self.added):
            if waiting.lower() == found.address.lower():
                del self.added[waiting]
                return
        for old, (new, _name) in list(self.changed_members.items()):
            if new.lower() == found.address.lower():
                del self.changed_members[old]
                self.removed[old] = old
                return
        _refuse_more(self.removed)
        self.removed[found.address] = found.address

    # -- what it is -----------------------------------------------------------------------------------------------

    @command("SHOW RegistryInformation", "shows dates and state")
    def show_registry(self, arguments: Arguments) -> Result:
        """SHOW RegistryInformation."""
        if self.found is None:
            raise CommandError("it does not exist before its COMMIT")
        return show(recipient_registry(self.session.services, self.found), "Registry information:")

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Membership."""
        return [*super().extra_commands(), membership_command()]


class GroupContext(RecipientContext):
    """`<domain-group#>` (GRP-01)."""

    name = "domain-group"
    title = "group"
    kind = RecipientKind.GROUP
    likely: ClassVar = {
        "add member": "ADD Address <address>", "remove member": "REMOVE Address <address>", "list members": "LIST Addresses",
    }  # fmt: skip

    @command("LIST Addresses", "lists the members")
    async def list_addresses(self, arguments: Arguments) -> Result:
        """LIST Addresses."""
        return await asyncio.to_thread(lambda: items("The list of addresses:", (m.address for m in self.members())))

    @command("ADD Address <address>", "adds a member", listed=needs("manageGroupsMembers"))
    def add_address(self, arguments: Arguments) -> Result:
        """ADD Address."""
        self.session.actor.require("manageGroupsMembers", self.domain_id)
        self.add_member(self.completed(arguments["address"]), "")
        return None

    def completed(self, text: str) -> str:
        """An address, also of a bare name that an account has in the group's domain. Raises CommandError for other names."""
        if "@" in text:
            return text
        try:
            address = checked_member(f"{text}@{self.domain.name}")
        except InvalidNameError:
            return text  # What is no name at all is refused where members are added.
        if self.session.services.directory.account_by_address(address) is None:
            raise CommandError(f"{text[:80]!r} is not an address; write {address[:160]}")
        return address

    @command("REMOVE Address <address>", "removes a member", listed=needs("manageGroupsMembers"))
    def remove_address(self, arguments: Arguments) -> Result:
        """REMOVE Address."""
        self.session.actor.require("manageGroupsMembers", self.domain_id)
        self.remove_member(arguments["address"])
        return None

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """CONFIG FILTERS."""
        return [
            *super().extra_commands(),
            filters_command(recipient_filters("domain-group-filters")),
            ldap_association_command(needs("manageGroups")),
        ]


class FolderRcptContext(RecipientContext):
    """`<domain-folderRcpt#>` (PUB-02)."""

    name = "domain-folderRcpt"
    title = "folderRcpt"
    kind = RecipientKind.FOLDER

    async def collect(self) -> None:
        """A folder recipient needs a folder."""
        if not self.stored().get("mboxName"):
            raise CommandError("the parameter mboxName is missing")
        await super().collect()

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """CONFIG LIMITS and FILTERS."""
        return [
            *super().extra_commands(),
            make("CONFIG LIMITS", "enters its limits", enter_part(FolderRcptLimitsContext)),
            filters_command(recipient_filters("domain-folderRcpt-filters")),
        ]


class RecipientPartContext(AttributeContext, DoneContext):
    """Settings of a list or folder recipient."""

    def place(self) -> Place:
        """Its own."""
        return place_of(self.declared(), int(getattr(self.parent, "object_id", 0)), self.domain_id)


class FolderRcptLimitsContext(RecipientPartContext):
    """`<domain-folderRcpt-limits#>`: the protocol has this context, and no attribute in it."""

    name = "domain-folderRcpt-limits"
    title = "folderRcpt LIMITS"
    declaration = FOLDER_RCPT_LIMITS


class FolderRcptDefaultLimitsContext(AttributeContext, DoneContext):
    """`<domain-folderRcptDefaultLimits#>`: the protocol has this context, and no attribute in it."""

    name = "domain-folderRcptDefaultLimits"
    title = "folderRcptDefaultLimits"


def enter_part(kind: type[AttributeContext]) -> Any:
    """The handler that enters a part."""

    def handler(context: CliContext, arguments: Arguments) -> Result:
        context.session.enter(kind(context.session, context))
        return None

    return handler


def _refuse_more(waiting: Mapping[str, str]) -> None:
    """No more waits than one COMMIT takes. Raises CommandError."""
    if len(waiting) >= MAX_MEMBERS_PER_CALL:
        raise CommandError(f"at most {MAX_MEMBERS_PER_CALL} members are added or removed at once; COMMIT, and go on")


def _new_or(permission: str) -> Condition:
    """Who makes one may give it all; of one that is stored each part has its right."""
    return lambda context: context.found is None or bool(context.session.actor.may(permission, context.domain_id))


def _rename(context: Any, value: Word) -> None:
    name = checked_local(value.text)
    if context.found is not None and name != context.recipient_name:
        context.session.actor.require(FAMILIES[context.kind].rename, context.domain_id)
    if local_key(name) != local_key(context.recipient_name):
        directory = context.session.services.directory
        directory.refuse_reserved(context.domain_id, name, context.session.actor)
        if directory.name_taken(context.domain_id, name):
            raise AlreadyExistsError(f"the name {name} already exists in this domain")
    context.renamed_to = name


def _enable(context: Any, value: Word) -> None:
    if context.found is not None:
        context.session.actor.require(FAMILIES[context.kind].manage, context.domain_id)
    context.enabled = bool(_YES_NO.parse(value.text))
