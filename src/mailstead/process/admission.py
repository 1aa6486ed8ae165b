"""Who may connect, and how many (features LIS-03, LIS-04, LIS-05).

Invariants: all limits that apply to one connection are passed together or not at all; they hold over all processes;
a deny rule that matches first refuses without counting anything.

How: rules are sorted by priority and the first enabled one that contains the address decides. A listener's rule
decides alone: its own limits apply. Where none matches, the listener's limits apply, and then the service's rules
and limits in the same manner. Two sets of rules outrank or follow the service's: the order is listener, service,
global.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailstead.process.shared_table import Claim, SharedTable
from mailstead.transport.endpoint import Endpoint, Refusal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Limits:
    """The six flow limits (LIS-03); 0 means unlimited, intervals in seconds."""

    connections: int = 0
    interval_connections: int = 0
    interval: float = 60.0
    peer_connections: int = 0
    peer_interval_connections: int = 0
    peer_interval: float = 60.0


@dataclass(frozen=True, slots=True)
class AddressSet:
    """An inclusive range of addresses of one family."""

    first: Address
    last: Address

    def contains(self, address: Address) -> bool:
        """Whether `address` lies in the range."""
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)


def parse_address_set(text: str) -> AddressSet:
    """`a.b.c.d`, `first-last`, `net/bits` or `net/mask`; IPv6 likewise. Raises ValueError with the reason."""
    text = text.strip()
    try:
        if "/" in text:
            network = ipaddress.ip_network(text, strict=False)
            return AddressSet(network[0], network[-1])
        low, dash, high = text.partition("-")
        first = ipaddress.ip_address(low.strip())
        last = ipaddress.ip_address(high.strip()) if dash else first
    except ValueError:
        raise ValueError(f"{text!r} is not an address, a range or a network") from None
    if first.version != last.version or int(first) > int(last):
        raise ValueError(f"{text!r} is not a range from a lower to a higher address of one family")
    return AddressSet(first, last)


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One allow or deny rule; `limits` None means deny. Priority 1 is the highest."""

    name: str
    addresses: AddressSet
    limits: Limits | None
    priority: int = 500
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Level:
    """Rules and limits of a listener, a service or the whole server. `name` is unique within the node."""

    name: str
    rules: Sequence[AccessRule] = ()
    limits: Limits = field(default_factory=Limits)

    def ordered(self) -> Level:
        """The same level with its enabled rules in the order of evaluation."""
        return Level(self.name, sorted((r for r in self.rules if r.enabled), key=lambda r: r.priority), self.limits)


class HeldLease:
    """Slots held by one connection."""

    __slots__ = ("_keys", "_table")

    def __init__(self, table: SharedTable, keys: Sequence[bytes]) -> None:
        self._table = table
        self._keys = keys

    def release(self) -> None:
        """Give them back; once."""
        keys, self._keys = self._keys, ()
        for key in keys:
            self._table.release(key)


_REASONS = ("too many connections", "too many connections per interval", "too many connections from your address",
            "too many connections per interval from your address")  # fmt: skip


class FlowControl:
    """The admission of one listener; immutable, replaced as a whole when settings change."""

    def __init__(self, table: SharedTable, levels: Iterable[Level]) -> None:
        self._table = table
        self._levels = [level.ordered() for level in levels]

    def admit(self, endpoint: Endpoint, peer_ip: str, now: float) -> HeldLease | Refusal:
        """See transport.endpoint.Admission."""
        try:
            address = ipaddress.ip_address(peer_ip)
        except ValueError:
            return Refusal("access denied")
        claims: list[Claim] = []
        for level in self._levels:
            rule = next((r for r in level.rules if r.addresses.contains(address)), None)
            if rule is None:
                claims += _claims(level.name, level.limits, peer_ip)
                continue
            if rule.limits is None:
                return Refusal("access denied")
            claims += _claims(f"{level.name}/{rule.name}", rule.limits, peer_ip)
            break
        failed = self._table.claim(claims, now)
        if failed >= 0:
            return Refusal(_REASONS[claims[failed].key[0] - 0x30])
        return HeldLease(self._table, [claim.key for claim in claims if not claim.window])


def _claims(name: str, limits: Limits, peer: str) -> list[Claim]:
    own, both = name.encode(), f"{name}\0{peer}".encode()
    claims = []
    if limits.connections:
        claims.append(Claim(b"0" + own, limits.connections))
    if limits.interval_connections:
        claims.append(Claim(b"1" + own, limits.interval_connections, limits.interval))
    if limits.peer_connections:
        claims.append(Claim(b"2" + both, limits.peer_connections))
    if limits.peer_interval_connections:
        claims.append(Claim(b"3" + both, limits.peer_interval_connections, limits.peer_interval))
    return claims
