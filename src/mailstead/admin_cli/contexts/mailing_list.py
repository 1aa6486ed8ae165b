"""Mailing lists: `<domain-list#>`, its members, and its parts (LST-01).

Invariants: those of `recipients`; a member that has a context of its own waits with the list after its DONE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mailstead.admin_cli.attributes import AttributeContext, Special
from mailstead.admin_cli.context import Command, DoneContext, Result, command, make, needs
from mailstead.admin_cli.contexts.account_mail import reset_folder_command
from mailstead.admin_cli.contexts.account_objects import signature_commands, ui_settings_commands
from mailstead.admin_cli.contexts.filters import filters_command, recipient_filters
from mailstead.admin_cli.contexts.mbox_quotas import mbox_quota_commands
from mailstead.admin_cli.contexts.recipients import RecipientContext, RecipientPartContext, enter_part
from mailstead.admin_cli.grammar import Word
from mailstead.admin_cli.lists import value_list_commands
from mailstead.admin_cli.responses import Reply, quoted, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.members import checked_members
from mailstead.directory.model import AlreadyExistsError, Member, RecipientKind
from mailstead.directory.recipient_kinds import CONTENTS
from mailstead.settings.declarations import LIST_LIMITS, LIST_QUOTAS, LIST_WEBMAIL_DATA

_MEMBERS, _PASSWORD = needs("manageMailListsMembers"), needs("changeMailListsPassword")


class ListContext(RecipientContext):
    """`<domain-list#>` (LST-01)."""

    name = "domain-list"
    title = "list"
    kind = RecipientKind.LIST
    apart = frozenset({"removeHeaders"})
    texts = CONTENTS

    def specials(self) -> Sequence[Special]:
        """And the password."""
        return (*super().specials(), Special("password", "password", _set_password, None, ("passwd",), allowed=_PASSWORD))

    @command("LIST Users", "lists the members")
    async def list_users(self, arguments: Arguments) -> Result:
        """LIST Users: address and name."""

        def build() -> Reply:
            return table("The list of users:", ("email", "name"), ((m.address, m.name) for m in self.members()))

        return await asyncio.to_thread(build)

    @command("ADD User [email] <email> [name <name>]", "adds a member and enters it", listed=_MEMBERS)
    def add_user(self, arguments: Arguments) -> Result:
        """ADD User: opens the member's context."""
        self.session.actor.require("manageMailListsMembers", self.domain_id)
        if self.member(arguments["email"]) is not None:
            raise AlreadyExistsError(f"the user {arguments['email'][:80]} already exists")
        checked_members({arguments["email"]: arguments.get("name", "")})
        self.session.enter(ListUserContext(self, None, arguments["email"], arguments.get("name", "")))
        return None

    @command("UPDATE User [email] <email>", "enters a member", listed=_MEMBERS)
    def update_user(self, arguments: Arguments) -> Result:
        """UPDATE User."""
        self.session.actor.require("manageMailListsMembers", self.domain_id)
        found = self.need_member(arguments["email"])
        self.session.enter(ListUserContext(self, found, found.address, found.name))
        return None

    @command("REMOVE User [email] <email>", "removes a member", listed=_MEMBERS)
    def remove_user(self, arguments: Arguments) -> Result:
        """REMOVE User."""
        self.session.actor.require("manageMailListsMembers", self.domain_id)
        self.remove_member(arguments["email"])
        return None

    @command("SHOW User [email] <email> [ATTR <param>]", "shows a member")
    def show_user(self, arguments: Arguments) -> Result:
        """SHOW User."""
        found = self.need_member(arguments["email"])
        context = ListUserContext(self, found, found.address, found.name)
        if "attr" in arguments:
            name, text = context.shown_attribute(arguments["attr"])
            return Reply([f"{name} = {text}"])
        return show(context.shown_pairs())

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Header fields that are taken out, and the parts."""
        headers = value_list_commands(
            "removeHeaders", singular="RemoveHeader", plural="RemoveHeaders", title="The list of removed headers:",
            reset=False, argument="name",
        )  # fmt: skip
        parts = [
            make("CONFIG QUOTAS", "enters its quotas", enter_part(ListQuotasContext)),
            make("CONFIG LIMITS", "enters its limits", enter_part(ListLimitsContext)),
            make("CONFIG WEBMAILDATA", "enters its WebMail data", enter_part(ListWebmailDataContext)),
            filters_command(recipient_filters("domain-list-filters")),
            reset_folder_command(lambda context: int(context.object_id), needs("manageMaillists")),
        ]
        return [*super().extra_commands(), *headers, *parts]


class ListUserContext(AttributeContext, DoneContext):
    """`<domain-list-user#>`: one member."""

    name = "domain-list-user"
    title = "list user"

    def __init__(self, parent: ListContext, found: Member | None, address: str, name: str) -> None:
        super().__init__(parent.session, parent)
        self.found = found
        self.address = address
        self.full_name = name

    def specials(self) -> Sequence[Special]:
        """Address and name."""
        return (
            Special("email", "email", _set_email, lambda context: quoted(context.address)),
            Special("name", "name", _set_full_name, lambda context: quoted(context.full_name)),
        )

    async def collect(self) -> None:
        """Hand the member to the list's context."""
        parent: Any = self.parent
        if self.found is None:
            parent.add_member(self.address, self.full_name)
        elif (self.address, self.full_name) != (self.found.address, self.found.name):
            if self.address.lower() != self.found.address.lower() and parent.member(self.address) is not None:
                raise AlreadyExistsError(f"the user {self.address[:80]} already exists")
            checked_members({self.address: self.full_name})
            if self.found.id:
                parent.changed_members[self.found.address] = (self.address, self.full_name)
            else:
                parent.remove_member(self.found.address)
                parent.add_member(self.address, self.full_name)


class ListQuotasContext(RecipientPartContext):
    """`<domain-list-quotas#>`."""

    name = "domain-list-quotas"
    title = "list QUOTAS"
    declaration = LIST_QUOTAS
    bounded = True

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Quotas of single folders."""
        return [*super().extra_commands(), *mbox_quota_commands("recipient")]


class ListLimitsContext(RecipientPartContext):
    """`<domain-list-limits#>`."""

    name = "domain-list-limits"
    title = "list LIMITS"
    declaration = LIST_LIMITS

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Recipients that do not count."""
        return [
            *super().extra_commands(),
            *value_list_commands(
                "sentRecipientsExceptions", singular="sentRecipientsExceptions", plural="sentRecipientsExceptions",
                title="The list of sent recipients exceptions:", reset=False,
            ),
        ]  # fmt: skip


class ListWebmailDataContext(RecipientPartContext):
    """`<domain-list-webmaildata#>`."""

    name = "domain-list-webmaildata"
    title = "list WEBMAILDATA"
    declaration = LIST_WEBMAIL_DATA
    texts = ("uiSettings", "uiCustomSettings")

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Signatures."""
        return [*super().extra_commands(), *signature_commands("recipient"), *ui_settings_commands()]


def _set_password(context: Any, value: Word) -> None:
    context.session.actor.require("changeMailListsPassword", context.domain_id)
    context.password = value.text


def _set_email(context: Any, value: Word) -> None:
    checked_members({value.text: ""})
    context.address = value.text


def _set_full_name(context: Any, value: Word) -> None:
    checked_members({context.address: value.text})
    context.full_name = value.text
