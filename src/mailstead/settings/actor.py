"""Who does something, and what it may do.

Invariants:
- Every verb of settings and directory takes an actor and checks it before it changes anything.
- An actor's rights are computed when it logs in; a changed right raises the administrator's `auth_version`, and a
  face builds the actor anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mailstead.settings.permissions import SERVER_FORM, SERVER_PERMISSIONS

_ANY_DOMAIN = frozenset(SERVER_FORM.values())


class PermissionDeniedError(Exception):
    """The actor lacks a permission; the text names it."""


PermissionDenied = PermissionDeniedError


@dataclass(frozen=True, slots=True)
class Actor:
    """Name for the history, and effective permissions on the server and on single domains (by domain id).

    `denied` holds explicit refusals on single domains; they beat a server permission that covers every domain.
    `account_id` is set when an account acts for itself (its own password).
    """

    name: str
    everything: bool = False
    server: frozenset[str] = frozenset()
    domains: Mapping[int, frozenset[str]] = field(default_factory=dict)
    denied: Mapping[int, frozenset[str]] = field(default_factory=dict)
    account_id: int = 0

    @classmethod
    def system(cls, name: str = "system") -> Actor:
        """The server itself, and commands of the operator on this machine: every right."""
        return cls(name, everything=True)

    @classmethod
    def user(cls, account_id: int, address: str) -> Actor:
        """An account acting for itself: no administrative right at all."""
        return cls(address, account_id=account_id)

    def may(self, permission: str, domain_id: int = 0) -> bool:
        """True when the actor holds a server permission (on whatever domain) or a domain permission on that domain."""
        if self.everything:
            return True
        if domain_id == 0 or permission in SERVER_PERMISSIONS:
            return permission in self.server
        if permission in self.denied.get(domain_id, ()):
            return False
        return permission in self.domains.get(domain_id, ()) or SERVER_FORM.get(permission) in self.server

    def sees(self, domain_id: int) -> bool:
        """True when the actor holds any right on a domain; one without does not learn that the domain exists."""
        if self.everything or self.server & _ANY_DOMAIN - frozenset(
            SERVER_FORM[name] for name in self.denied.get(domain_id, ()) if name in SERVER_FORM
        ):
            return True
        return bool(self.domains.get(domain_id, frozenset()) - self.denied.get(domain_id, frozenset()))

    def may_any(self, permissions: Iterable[str], domain_id: int = 0) -> bool:
        """True when the actor holds one of several permissions."""
        return any(self.may(permission, domain_id) for permission in permissions)

    def require(self, permission: str, domain_id: int = 0) -> None:
        """Raise PermissionDeniedError unless `may`."""
        if not self.may(permission, domain_id):
            where = " on this domain" if domain_id and permission not in SERVER_PERMISSIONS else ""
            raise PermissionDeniedError(f"{self.name} lacks the permission {permission}{where}")

    def require_giving(self, permission: str, domain_id: int = 0) -> None:
        """Raise PermissionDeniedError unless the actor may let others have a permission: it holds all of it. One on any domain
        is not held whole by who is refused it on a single domain."""
        self.require(permission, domain_id)
        if domain_id or self.everything:
            return
        if any(SERVER_FORM.get(name) == permission for refused in self.denied.values() for name in refused):
            raise PermissionDeniedError(f"{self.name} is refused the permission {permission} on a domain, and may not give it")
