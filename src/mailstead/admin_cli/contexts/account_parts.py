"""Parts of an account: limits, quotas, restrictions and advertising with inheritance; contact data and WebMail's data without.

Invariants: changes wait in the account's context.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailstead.admin_cli.attributes import AttributeContext
from mailstead.admin_cli.context import Command, DoneContext
from mailstead.admin_cli.contexts.account_objects import signature_commands, ui_settings_commands
from mailstead.admin_cli.contexts.inherited import contexts
from mailstead.admin_cli.contexts.mbox_quotas import mbox_quota_commands
from mailstead.admin_cli.contexts.send_quota import send_quota_commands
from mailstead.admin_cli.grammar import Word
from mailstead.settings.declarations import CONTACT_INFO, WEBMAIL_DATA
from mailstead.settings.edits import Place, place_of


class AccountDataContext(AttributeContext, DoneContext):
    """Data of the account's own."""

    def place(self) -> Place:
        """The account's own."""
        return place_of(self.declared(), int(getattr(self.parent, "object_id", 0)), self.domain_id)


class ContactInfoContext(AccountDataContext):
    """`<domain-account-contactinfo#>`."""

    name = "domain-account-contactinfo"
    title = "ContactInfo"
    declaration = CONTACT_INFO
    texts = ("contactNotes",)


class WebmailDataContext(AccountDataContext):
    """`<domain-account-webmaildata#>`."""

    name = "domain-account-webmaildata"
    title = "WebmailData"
    declaration = WEBMAIL_DATA
    texts = ("uiSettings", "uiCustomSettings")

    async def set_words(self, words: Sequence[Word]) -> None:
        """SET; `secretQuestion` is followed by the question and its answer."""
        whole = list(words)
        for place in range(0, len(whole), 2):
            if place + 2 < len(whole) and whole[place].same("secretQuestion"):
                answer = whole[place + 2]
                if answer.quoted or self.setting_named(answer.text) is None:
                    whole.insert(place + 2, Word("secretAnswer"))
        await super().set_words(whole)

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Signatures."""
        return [*super().extra_commands(), *signature_commands("account"), *ui_settings_commands()]


ACCOUNT_PARTS: dict[str, type[AttributeContext]] = {
    **contexts(
        "account", "domain-account", "account", {"quotas": mbox_quota_commands("account"), "limits": send_quota_commands()}
    ),
    "ContactInfo": ContactInfoContext,
    "WebmailData": WebmailDataContext,
}
