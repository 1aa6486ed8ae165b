"""How many objects of a kind a domain may have (ADM-02): one rule for the verbs that make one and for who asks before.

Invariants: the check that counts is made in the transaction that adds the object; the one before it only spares an administrator
to fill in what would be refused. A limit of 0 is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mailstead.directory.address import domain_key
from mailstead.directory.model import LimitReachedError
from mailstead.directory.recipient_kinds import FAMILIES
from mailstead.settings.database import Query

_RECIPIENTS = "SELECT count(*) FROM recipient WHERE domain_id = ? AND kind = '{}'"
_ABOVE = (
    "SELECT s.scope_id, s.value FROM setting s INDEXED BY setting_of_domains "
    "WHERE s.scope = 'domainConfig' AND s.name = 'parentDomain' AND s.value <> ''"
)


class _Room(NamedTuple):
    """The setting of the domain that bounds a kind, how they are called, and the query that counts those of a domain."""

    limit: str
    plural: str
    counting: str


ACCOUNTS, CLASSES, SUBDOMAINS = "account", "class", "subdomain"
_ROOMS: Mapping[str, _Room] = {
    ACCOUNTS: _Room("maxAccounts", "accounts", "SELECT count(*) FROM account WHERE domain_id = ?"),
    CLASSES: _Room("maxAccountClasses", "classes", "SELECT count(*) FROM account_class WHERE domain_id = ?"),
    **{kind.value: _Room(one.limit, one.plural, _RECIPIENTS.format(kind.value)) for kind, one in FAMILIES.items()},
    SUBDOMAINS: _Room("maxSubdomains", "subdomains", ""),
}
"""By kind: ACCOUNTS, CLASSES, SUBDOMAINS (all below the domain), or the value of a RecipientKind."""


def limit_setting(kind: str) -> str:
    """The setting of a domain that bounds a kind."""
    return _ROOMS[kind].limit


def check_room(query: Query, domain_id: int, kind: str, limit: int) -> None:
    """Refuse one more object of a kind where the domain has used up its `limit`. Raises LimitReachedError."""
    if limit:
        sql = _ROOMS[kind].counting
        refuse_full(kind, limit, int(query(sql, (domain_id,))[0][0]) if sql else _below(query, domain_id))


def refuse_full(kind: str, limit: int, count: int) -> None:
    """The same where `count` is known. Raises LimitReachedError."""
    if limit and count >= limit:
        raise LimitReachedError(f"the domain may have at most {limit} {_ROOMS[kind].plural}")


def _below(query: Query, domain_id: int) -> int:
    """How many domains are below a domain, and below those. An independent domain whose name ends alike is none of them."""
    owners: dict[str, int] = dict(query("SELECT key, domain_id FROM domain_name", ()))
    children: dict[int, list[int]] = {}
    for number, above in query(_ABOVE, ()):
        parent = owners.get(domain_key(str(above)) or "")
        if parent is not None:
            children.setdefault(parent, []).append(number)
    seen, level = {domain_id}, [domain_id]
    while level:
        found = [child for parent in level for child in children.get(parent, ()) if child not in seen]
        seen.update(found)
        level = found
    return len(seen) - 1
