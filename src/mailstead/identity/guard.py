"""Brute-force guard: how often a peer or an account failed lately, and whether it must wait.

Invariants:
- A peer is one IPv4 address or one IPv6 /64: more is in nobody's hand, less is in everybody's.
- An account under attack stays open to peers from which its owner logged in before.
- Memory is bounded; the oldest entries go first. Nothing here blocks.

`Guard` is the interface; `LocalGuard` counts in this process, a table in shared memory can take its place.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

MAX_TRACKED = 65_536


class Guard(Protocol):
    """Counts failed logins. `login` is the name as it was given."""

    def blocked(self, peer: str, login: str) -> bool:
        """True when a login must be refused without looking at the password."""

    def failed(self, peer: str, login: str) -> None:
        """Note a failed login."""

    def succeeded(self, peer: str, login: str) -> None:
        """Note a successful login: this peer's slate for the account is clean."""


@lru_cache(16_384)
def peer_key(peer: str) -> str:
    """The unit failures of a peer are counted for."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer[:64]  # A unix socket or a test: counted by its name.
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{int(address) >> 64:x}::/64"
    return str(address)


class LocalGuard:
    """Fixed windows in this process. A limit of 0 switches its check off.

    `loopback_exempt` keeps local web mail and monitoring, which share 127.0.0.1, from locking one another out.
    """

    def __init__(
        self,
        *,
        peer_failures: int = 30,
        account_failures: int = 50,
        interval: float = 600.0,
        loopback_exempt: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.peer_failures = peer_failures
        self.account_failures = account_failures
        self.interval = interval
        self._exempt = loopback_exempt
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def configure(self, *, peer_failures: int, account_failures: int, interval: float) -> None:
        """Take over limits from the settings (guardPeerFailures, guardAccountFailures, guardInterval in s)."""
        self.peer_failures, self.account_failures, self.interval = peer_failures, account_failures, interval

    def blocked(self, peer: str, login: str) -> bool:
        """See Guard."""
        if not self._failures:
            return False
        key = peer_key(peer)
        if self.peer_failures and not self._is_exempt(key) and self._count(f"p{key}") >= self.peer_failures:
            return True
        if not self.account_failures or self._count(f"a{_login_key(login)}") < self.account_failures:
            return False
        return (key, _login_key(login)) not in self._known

    def failed(self, peer: str, login: str) -> None:
        """See Guard."""
        self._add(f"p{peer_key(peer)}")
        self._add(f"a{_login_key(login)}")

    def succeeded(self, peer: str, login: str) -> None:
        """See Guard. The peer's own count stays: one good account must not clear it for guessing others."""
        known = (peer_key(peer), _login_key(login))
        self._known[known] = None
        self._known.move_to_end(known)
        while len(self._known) > MAX_TRACKED:
            self._known.popitem(last=False)

    def _is_exempt(self, key: str) -> bool:
        return self._exempt and (key.startswith("127.") or key == "0::/64")

    def _count(self, key: str) -> int:
        entry = self._failures.get(key)
        if entry is None:
            return 0
        if self._clock() - entry[0] >= self.interval:
            del self._failures[key]
            return 0
        return entry[1]

    def _add(self, key: str) -> None:
        now = self._clock()
        start, count = self._failures.get(key, (now, 0))
        if now - start >= self.interval:
            start, count = now, 0
        self._failures[key] = (start, count + 1)
        self._failures.move_to_end(key)
        while len(self._failures) > MAX_TRACKED:
            self._failures.popitem(last=False)


def _login_key(login: str) -> str:
    return login.strip().lower()[:320]
