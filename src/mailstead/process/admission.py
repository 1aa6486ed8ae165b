"""Who may connect, and how many (features LIS-03, LIS-04, LIS-05).

Invariants: all limits that apply to one connection are passed together or not at all; they hold over all processes;
a deny rule that matches first refuses without counting anything.

How: levels are asked in the order listener, service, global. The first rule that matches decides: deny refuses,
allow applies its own limits, and no further level is asked. A level without a matching rule applies its limits and
passes on to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailstead.process.shared_table import Claim, SharedTable
from mailstead.settings import AccessRules, InvalidValueError
from mailstead.settings.declaration import Snapshot
from mailstead.transport.endpoint import Endpoint, Refusal


@dataclass(frozen=True, slots=True)
class Limits:
    """The six flow limits (LIS-03); 0 means unlimited, intervals in seconds."""

    connections: int = 0
    interval_connections: int = 0
    interval: float = 60.0
    peer_connections: int = 0
    peer_interval_connections: int = 0
    peer_interval: float = 60.0


def limits_of(values: Snapshot) -> Limits:
    """The limits among the attributes of a listener or a rule."""
    return Limits(
        connections=values.maxConnections,
        interval_connections=values.maxIntervalConnections,
        interval=values.timeInterval,
        peer_connections=values.peerMaxConnections,
        peer_interval_connections=values.peerMaxIntervalConnections,
        peer_interval=values.peerTimeInterval,
    )


@dataclass(frozen=True, slots=True)
class Level:
    """Rules and limits of a listener, a service or the whole server. `name` is unique within the node."""

    name: str
    rules: AccessRules
    limits: Limits = Limits()


class HeldLease:
    """Slots held by one connection."""

    __slots__ = ("_slots", "_table")

    def __init__(self, table: SharedTable, slots: Sequence[int]) -> None:
        self._table = table
        self._slots = slots

    def release(self) -> None:
        """Give them back; once."""
        slots, self._slots = self._slots, ()
        self._table.release_slots(slots)


#: Peers whose claims are kept at hand.
MAX_REMEMBERED = 4096

_REASONS = ("too many connections", "too many connections per interval", "too many connections from your address",
            "too many connections per interval from your address")  # fmt: skip


class FlowControl:
    """The admission of one listener; immutable, replaced as a whole when settings change."""

    def __init__(self, table: SharedTable, levels: Iterable[Level]) -> None:
        self._table = table
        self._levels = tuple(levels)
        # What a peer has to pass never changes for this object: settings that change make a new one.
        self._known: dict[str, list[Claim] | Refusal] = {}

    def admit(self, endpoint: Endpoint, peer_ip: str, now: float) -> HeldLease | Refusal:
        """See transport.endpoint.Admission."""
        claims = self._known.get(peer_ip)
        if claims is None:
            claims = self._claims(peer_ip)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[peer_ip] = claims
        if isinstance(claims, Refusal):
            return claims
        slots: list[int] = []
        failed = self._table.claim(claims, now, slots)
        if failed >= 0:
            return Refusal(_REASONS[claims[failed].key[0] - 0x30])
        return HeldLease(self._table, slots)

    def _claims(self, peer: str) -> list[Claim] | Refusal:
        claims: list[Claim] = []
        for level in self._levels:
            try:
                rule = level.rules.match(peer)
            except InvalidValueError:
                return Refusal("access denied")
            if rule is None:
                claims += _claims(level.name, level.limits, peer)
                continue
            if not rule.allow:
                return Refusal("access denied")
            return claims + _claims(f"{level.name}/{rule.id}", limits_of(rule.limits), peer)
        return claims


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
