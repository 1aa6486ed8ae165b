"""Limits, quotas, restrictions and advertising: of an account, of a class, and what a domain's accounts begin with (DOM-09).

Invariants: a value shows where it comes from; RESET makes it inherited again; changes wait in the context above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from mailstead.admin_cli.attributes import InheritingContext, Source
from mailstead.admin_cli.context import CliContext, Command, DoneContext
from mailstead.admin_cli.lists import value_list_commands
from mailstead.settings.declaration import Context, Setting
from mailstead.settings.declarations import (
    ADVERTISING_CONTEXT,
    LIMITS_CONTEXT,
    QUOTAS_CONTEXT,
    RESTRICTIONS_CONTEXT,
)
from mailstead.settings.edits import Place, place_of

EXCEPTIONS = frozenset({"sentRecipientsExceptions", "sendPolicyExceptions", "recvPolicyExceptions"})
"""List settings that have ADD and REMOVE instead of SET."""
BANNERS = ("topBannerContent", "rightBannerContent", "bottomBannerContent")


class InheritedContext(InheritingContext, DoneContext):
    """Settings of one level; the parent says whose they are (`inherited_place`, `inherited_sources`)."""

    level: ClassVar[str] = ""
    bounded = True

    def place(self) -> Place:
        """The level's own values."""
        return place_of(self.declared(), self.owner_id(), self.domain_id, self.level)

    def owner_id(self) -> int:
        """Id of the account, class or domain."""
        return int(getattr(self.parent, "object_id", 0))

    def settings(self) -> Sequence[Setting]:
        """Without those that are set entry by entry."""
        return [setting for setting in self.declared().settings if setting.name not in EXCEPTIONS]

    def setting_named(self, name: str) -> Setting | None:
        """Also those, for the commands over lists."""
        found = super().setting_named(name)
        return found if found is not None else self.declared().by_name.get(name.lower())

    def sources(self) -> Sequence[Source]:
        """Class and domain, or what the parent has between."""
        return inherited_sources(self, self.domain_id, int(getattr(self.parent, "class_id", 0)) if self.level == "account" else 0,
                                 own_domain=self.level == "domain")  # fmt: skip


def inherited_sources(context: CliContext, domain_id: int, class_id: int, *, own_domain: bool = False) -> list[Source]:
    """From where an account's or class's values come: its class, its domain, the server."""
    settings = context.session.services.settings
    found = []
    if class_id:
        found.append(Source("account class", settings.explicit("class", class_id)))
    if not own_domain:
        found.append(Source("domain defaults", settings.explicit("domain", domain_id)))
    found.append(Source("server defaults", settings.account_defaults()))
    return found


def _lists(context: str) -> list[Command]:
    if context == "limits":
        return value_list_commands(
            "sentRecipientsExceptions", singular="sentRecipientsExceptions", plural="sentRecipientsExceptions",
            title="The list of sent recipients exceptions:",
        )  # fmt: skip
    if context == "restrictions":
        return [
            *value_list_commands(
                "sendPolicyExceptions", singular="sendPolicyException", plural="sendPolicyExceptions",
                title="The list of send policy exceptions:", argument="string",
            ),
            *value_list_commands(
                "recvPolicyExceptions", singular="recvPolicyException", plural="recvPolicyExceptions",
                title="The list of receive policy exceptions:", argument="string",
            ),
        ]  # fmt: skip
    return []


def _family(
    declared: Context, part: str, level: str, name: str, title: str, more: Sequence[Command] = ()
) -> type[InheritedContext]:
    """A context class for one part at one level."""
    own = [*_lists(part), *more]

    def extra_commands(cls: type) -> list[Command]:
        return [*super(made, cls).extra_commands(), *own]  # type: ignore[misc]

    members: Mapping[str, object] = {
        "__doc__": f"`<{name}#>`.",
        "declaration": declared,
        "level": level,
        "name": name,
        "title": title,
        "texts": BANNERS if part == "advertising" else (),
        "extra_commands": classmethod(extra_commands),
    }
    made: type[InheritedContext] = type(title.replace(" ", ""), (InheritedContext,), dict(members))
    return made


_PARTS = (
    (LIMITS_CONTEXT, "limits", "Limits", "limits"),
    (QUOTAS_CONTEXT, "quotas", "Quotas", "quotas"),
    (RESTRICTIONS_CONTEXT, "restrictions", "SendRecvRestrictions", "sendRecvRestrictions"),
    (ADVERTISING_CONTEXT, "advertising", "WebmailAdvertising", "webmailAdvertising"),
)


def contexts(
    level: str, prefix: str, title: str, more: Mapping[str, Sequence[Command]] | None = None
) -> dict[str, type[InheritedContext]]:
    """The context classes of a level, by the word CONFIG takes."""
    return {
        word: _family(
            declared, part, level, f"domain-accountDefault{word}" if level == "domain" else f"{prefix}-{prompt}",
            f"{title}{word}", (more or {}).get(part, ()),
        )
        for declared, part, word, prompt in _PARTS
    }  # fmt: skip


DOMAIN_DEFAULTS = contexts("domain", "domain", "accountDefault")
CLASS_PARTS = contexts("class", "domain-accountClass", "accountClass")
