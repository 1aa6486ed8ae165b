"""Upper bounds that a domain's limits set (ADM-02): what an account, a list, the public folders may have at most.

Invariants: an explicit value is within the bounds when it is given; what is inherited, or the default, never has effect
beyond them, whatever it was when and wherever it was set. An explicit value of an account stays when a bound is lowered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailstead.directory.model import LimitReachedError
from mailstead.settings.declaration import Setting
from mailstead.settings.declarations import ACCOUNT
from mailstead.settings.edits import Place

ACCOUNT_OWNER, LIST_OWNER, PUBLIC_OWNER = "Account", "Maillist", "PublicFolder"

#: Quotas with the domain's upper bound for them; %s is whose they are.
_BOUNDS: Mapping[str, str] = {
    "totalMessageSize": "max%sMessageSizeQuota",
    "totalMessageCount": "max%sMessageCountQuota",
    "mboxCount": "max%sFolderCountQuota",
    "messageSize": "max%sFolderMessageSizeQuota",
    "messageCount": "max%sFolderMessageCountQuota",
}
#: Whose quotas lie in a scope, under a prefix.
_OWNERS: Mapping[tuple[str, str], str] = {
    ("account", ""): ACCOUNT_OWNER,
    ("class", ""): ACCOUNT_OWNER,
    ("domain", ""): ACCOUNT_OWNER,
    ("recipient", "listQuotas."): LIST_OWNER,
    ("domainConfig", "publicFolderQuotas."): PUBLIC_OWNER,
}
FOLDER_OWNERS: Mapping[str, str] = {"account": ACCOUNT_OWNER, "recipient": LIST_OWNER, "domainConfig": PUBLIC_OWNER}
"""Whose folders have quotas of their own in a scope."""


def check_bounds(limits: Any, place: Place, setting: Setting, text: str | None) -> None:
    """Refuse an explicit value beyond what a domain with these `limits` allows. Raises LimitReachedError."""
    owner = _OWNERS.get((place.scope, place.prefix))
    if owner is None or text is None:
        return
    value: Any = setting.parse(text)
    if setting.name == "services":
        beyond = value - getattr(limits, "availableServices", value)
        if beyond:
            raise LimitReachedError(f"services: {' '.join(sorted(beyond))} may not be given in this domain")
        return
    check_within(limits, owner, setting.name, value)


def check_within(limits: Any, owner: str, name: str, value: int) -> None:
    """Refuse a quota beyond its bound. Raises LimitReachedError."""
    bound = _bound(limits, owner, name)
    if bound and (value == 0 or value > bound):
        raise LimitReachedError(f"{name}: the domain allows 1 to {bound}")


def bounded(limits: Any, owner: str, name: str, value: Any) -> Any:
    """The effect of a value that is not the owner's own: the value, or the bound where that is narrower."""
    if name == "services" and owner == ACCOUNT_OWNER:
        return value & limits.availableServices
    bound = _bound(limits, owner, name)
    return bound if bound and (value == 0 or value > bound) else value


def bounded_text(limits: Any, place: Place, setting: Setting, text: str) -> str:
    """The same of a written value that is inherited at a place."""
    owner = _OWNERS.get((place.scope, place.prefix))
    if owner is None or (setting.name != "services" and setting.name not in _BOUNDS):
        return text
    return setting.render(bounded(limits, owner, setting.name, setting.parse(text)))


def bounds_folders(limits: Any, owner: str) -> bool:
    """Whether single folders of that owner have a bound."""
    return any(_bound(limits, owner, name) for name in ("messageSize", "messageCount"))


def listed_default(limits: Any, name: str) -> Any:
    """What a mailing list has of a quota that nobody set for it."""
    return bounded(limits, LIST_OWNER, name, ACCOUNT.setting(name).default)


def _bound(limits: Any, owner: str, name: str) -> int:
    pattern = _BOUNDS.get(name)
    return int(getattr(limits, pattern % owner, 0)) if pattern is not None else 0
