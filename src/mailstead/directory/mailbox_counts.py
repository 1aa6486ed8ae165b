"""How many accounts of a domain may have what is sold apart (ADM-02): sharing, the organizer, connectors, type premium.

Invariants: no change of the directory, of whatever kind, takes such a number beyond its limit, or further beyond; lowering a limit
takes nothing away from anybody. Where no domain has such a limit a change costs one look.

Image analysis (`maxIAMailboxCount`) has nothing of an account's to count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from mailstead.directory.model import LimitReachedError
from mailstead.settings.database import Transaction
from mailstead.settings.declarations import ACCOUNT

T = TypeVar("T")
PREMIUM = "maxPremiumMailboxCount"
SWITCHES: Mapping[str, str] = {
    "maxSharingMailboxCount": "enableSharing",
    "maxPersonalOrganizerMailboxCount": "enableWebPersonalOrganizer",
    "maxOutlookConnectorMailboxCount": "enableOutlookConnector",
    "maxActiveSyncMailboxCount": "enableActiveSync",
}
_NAMES = (PREMIUM, *SWITCHES)
_LIMITS = (
    "SELECT scope_id, name, value FROM setting INDEXED BY setting_of_domains WHERE scope = 'domainConfig' "
    f"AND name IN ({', '.join('?' * len(_NAMES))}) AND value <> '0'"
)
_WITH = """
SELECT count(*) FROM account a
LEFT JOIN setting o ON o.scope = 'account' AND o.scope_id = a.id AND o.name = ?1
LEFT JOIN setting c ON c.scope = 'class' AND c.scope_id = a.class_id AND c.name = ?1
WHERE a.domain_id = ?2 AND coalesce(o.value, c.value, (SELECT value FROM setting WHERE scope = 'domain' AND scope_id = ?2
AND name = ?1), (SELECT value FROM setting WHERE scope = 'defaults' AND scope_id = 0 AND name = ?1), ?3) = 'yes'
"""
_PREMIUM = """
SELECT count(*) FROM account a WHERE a.domain_id = ? AND NOT EXISTS (SELECT 1 FROM setting WHERE scope = 'accountData'
AND scope_id = a.id AND name = 'accountType' AND value = 'basic')
"""


def within_counts(operation: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
    """The operation, refused by LimitReachedError where it takes a number beyond its limit."""

    def checked(transaction: Transaction) -> T:
        before = {key: _count(transaction, *key) for key in _limits(transaction)}
        result = operation(transaction)
        for key, limit in _limits(transaction).items() if before else ():
            if key not in before:
                continue
            now = _count(transaction, *key)
            if now > limit and now > before[key]:
                raise LimitReachedError(f"{key[1]}: the domain may have at most {limit} such accounts")
        return result

    return checked


def _limits(transaction: Transaction) -> dict[tuple[int, str], int]:
    return {(int(domain), str(name)): int(value) for domain, name, value in transaction.execute(_LIMITS, _NAMES)}


def _count(transaction: Transaction, domain_id: int, limit: str) -> int:
    if limit == PREMIUM:
        return int(transaction.value(_PREMIUM, (domain_id,)))
    setting = ACCOUNT.setting(SWITCHES[limit])
    return int(transaction.value(_WITH, (setting.name, domain_id, setting.render(setting.default))))
