"""With whom an account may exchange mail (RST-01).

Invariants: what matches an exception is decided the other way round; the null sender and addresses without a domain of ours are
foreign, so that a policy of local mail keeps them out unless the exception ``<>`` lets them in; mail that this server itself
writes is never restricted.
"""

from __future__ import annotations

from mailstead.directory.account_rules import Restriction
from mailstead.directory.model import Account
from mailstead.directory.service import Directory


def permits(directory: Directory, account: Account, restriction: Restriction | None, address: str) -> bool:
    """Whether the account may exchange mail with an address ("": the null sender)."""
    if restriction is None:
        return True
    return _policy(directory, account, restriction.policy, address) != restriction.exceptions.match(address)


def _policy(directory: Directory, account: Account, policy: str, address: str) -> bool:
    if policy in ("allowAnyDomain", "denyAnyDomain"):
        return policy == "allowAnyDomain"
    name = address.rpartition("@")[2]
    if not name:
        return False
    domain = directory.domain_by_name(name)
    if domain is not None and domain.id == account.domain_id:
        return True
    if policy != "allowLocalDomainAndSubdomains":
        return False
    own = directory.domain(account.domain_id)
    if own is None:
        return False
    key = domain.key if domain is not None else name.lower()
    return key.endswith((f".{own.key}", f".{own.name.lower()}"))
