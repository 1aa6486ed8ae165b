"""What restricts an account beyond its quota: folders, sending, with whom, and how long its password lives.

Invariants: an account for which nobody set anything of this has no rules at all (`Account.rules` is None), so that it pays
nothing for them; values are those in force (DOM-09), made anew whenever one of them changes anywhere.

Sizes are octets, times seconds, 0 means no limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from mailstead.directory.patterns import AddressPatterns
from mailstead.settings.written_forms import MONTHS

DAY = 86_400
MBOX_QUOTA_SQL = "SELECT key, attributes FROM object WHERE scope = ? AND scope_id = ? AND kind = 'mboxQuota'"
"""Quotas of an owner's folders, for `folder_quotas`."""
NAMES = frozenset({
    "messageCount", "messageSize", "quotaLimitThreshold", "quotaLimitNotificationEnabled", "quotaSendMessageThreshold",
    "sentMessagesCount", "sentRecipientsCount", "sentMessagesSize", "enableSendRestrictions", "enableRecvRestrictions",
    "passExpirationEnabled", "passExpirationDate",
})  # fmt: skip
"""Settings of which at least one must be explicit somewhere for an account to have rules."""


@dataclass(frozen=True, slots=True)
class FolderQuotas:
    """QTA-01: what one folder may hold; `explicit` by the owner's name of it, None where the default holds."""

    size: int = 0
    messages: int = 0
    explicit: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[int, int]:
        """Octets and messages that the folder may hold."""
        size, messages = self.explicit.get(name, (None, None))
        return self.size if size is None else size, self.messages if messages is None else messages


@dataclass(frozen=True, slots=True)
class QuotaAlert:
    """QTA-02: from which percentage of the quota the user is told, how often (seconds), by which template."""

    threshold: int
    interval: int
    file: str


@dataclass(frozen=True, slots=True)
class SendingLimits:
    """QTA-04: what may be sent in an interval; recipients that match `exceptions` do not count."""

    messages: int
    recipients: int
    size: int
    interval: int
    exceptions: AddressPatterns
    notice_to: str
    notice_file: str


@dataclass(frozen=True, slots=True)
class Restriction:
    """RST-01: whom the account may send to, or get mail from; the policy is turned round for what matches `exceptions`."""

    policy: str
    exceptions: AddressPatterns


@dataclass(frozen=True, slots=True)
class PasswordExpiry:
    """PWD-01: `interval` in seconds (0: at `date`, unix time); warnings begin `warning` seconds before (0: none)."""

    interval: int
    date: int
    warning: int
    daily: bool
    file: str

    def expires(self, changed: int) -> int:
        """When a password set at `changed` (unix seconds) is no longer good; 0 for never. One that was set after the date
        lives."""
        if self.interval:
            return changed + self.interval
        return self.date if changed < self.date else 0


@dataclass(frozen=True, slots=True)
class AccountRules:
    """All of it; None for what does not restrict."""

    folders: FolderQuotas | None = None
    alert: QuotaAlert | None = None
    send_threshold: int = 0
    sending: SendingLimits | None = None
    send: Restriction | None = None
    receive: Restriction | None = None
    expiry: PasswordExpiry | None = None


def folder_quotas(size_kb: int, messages: int, rows: Iterable[tuple[str, str]]) -> FolderQuotas | None:
    """Of the default and rows (folder, attributes as JSON) of the kind mboxQuota."""
    explicit: dict[str, tuple[int | None, int | None]] = {}
    for name, text in rows:
        given = json.loads(text)
        size, count = given.get("messageSize"), given.get("messageCount")
        explicit[given.get("mboxName", name)] = (None if size is None else int(size) * 1024, None if count is None else int(count))
    return FolderQuotas(size_kb * 1024, messages, explicit) if size_kb or messages or explicit else None


def make_rules(value: Callable[[str], Any], quotas: Iterable[tuple[str, str]]) -> AccountRules | None:
    """The rules of an account by its effective values and its folders' quotas; None where nothing restricts."""
    found = AccountRules(
        folder_quotas(value("messageSize"), value("messageCount"), quotas),
        _alert(value),
        value("quotaSendMessageThreshold"),
        _sending(value),
        _restriction(value, "enableSendRestrictions", "sendPolicy", "sendPolicyExceptions"),
        _restriction(value, "enableRecvRestrictions", "recvPolicy", "recvPolicyExceptions"),
        _expiry(value),
    )
    return found if found != AccountRules() else None


def _alert(value: Callable[[str], Any]) -> QuotaAlert | None:
    threshold = value("quotaLimitThreshold")
    if not threshold or not value("quotaLimitNotificationEnabled"):
        return None
    return QuotaAlert(threshold, value("quotaLimitNotificationInterval") * 60, value("quotaLimitNotificationFileName"))


def _sending(value: Callable[[str], Any]) -> SendingLimits | None:
    messages, recipients, size = value("sentMessagesCount"), value("sentRecipientsCount"), value("sentMessagesSize")
    if not messages and not recipients and not size:
        return None
    return SendingLimits(
        messages, recipients, size * 1024, value("sentMessagesInterval"), AddressPatterns(value("sentRecipientsExceptions")),
        value("sentOverquotaEmailAddress"), value("sentOverquotaFileName"),
    )  # fmt: skip


def _restriction(value: Callable[[str], Any], enable: str, policy: str, exceptions: str) -> Restriction | None:
    if not value(enable):
        return None
    words = value(exceptions)
    if value(policy) == "allowAnyDomain" and not words:
        return None
    return Restriction(value(policy), AddressPatterns(words))


def _expiry(value: Callable[[str], Any]) -> PasswordExpiry | None:
    if not value("passExpirationEnabled"):
        return None
    by_date = value("passExpirationType") == "date"
    date = unix_time(value("passExpirationDate")) if by_date else 0
    if by_date and not date:
        return None
    return PasswordExpiry(
        0 if by_date else value("passExpirationInterval") * DAY, date,
        value("passExpirationWarningInterval") * DAY if value("passExpirationWarningEnabled") else 0,
        value("passExpirationWarningSentDaily"), value("passExpirationWarningFileName"),
    )  # fmt: skip


def unix_time(text: str) -> int:
    """A date as settings have it (`20 Jun 2018`, or with time and zone) as unix time, 0 for none."""
    words = text.split()
    try:
        if len(words) == 3:
            return int(datetime(int(words[2]), MONTHS.index(words[1]) + 1, int(words[0]), tzinfo=UTC).timestamp())
        return int(parsedate_to_datetime(text).timestamp()) if text else 0
    except (ValueError, OverflowError):
        return 0
