"""Access rules (LIS-04): who may connect, and with which limits of its own.

Invariants: rules are tried by priority (1 first), a deny rule before an allow rule of the same priority; the first
enabled rule that holds the peer decides; a disabled rule never does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailstead.settings.declaration import Snapshot
from mailstead.settings.ip_set import IpSet, address_number

MAX_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One rule; `limits` has the six flow limits of LIS-03 (0 = none of its own) and is meaningful for allow rules."""

    id: int
    service: str
    listener_id: int
    allow: bool
    ip_set: IpSet
    enable: bool
    priority: int
    limits: Snapshot

    @property
    def action(self) -> str:
        """`allow` or `deny`."""
        return "allow" if self.allow else "deny"


class AccessRules:
    """The rules of one listener or service, in the order they are tried."""

    def __init__(self, rules: Iterable[AccessRule]) -> None:
        self.all = sorted(rules, key=lambda rule: (rule.priority, rule.allow, rule.id))
        self._active = [rule for rule in self.all if rule.enable]
        self._remembered: dict[str, AccessRule | None] = {}

    def match(self, peer: str) -> AccessRule | None:
        """The rule that decides for a peer's address, or None. Raises InvalidValueError for what is no address."""
        if not self._active:
            return None
        if peer in self._remembered:
            return self._remembered[peer]
        number = address_number(peer)
        found = next((rule for rule in self._active if number in rule.ip_set), None)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[peer] = found
        return found
