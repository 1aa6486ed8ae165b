"""Failed logins and exclusive locks, counted for the whole node.

Invariants: what one process refuses every process refuses, from the next login on; a lock is held by one session of
one process, and is free again when that process dies.
"""

from __future__ import annotations

import time

from mailstead.identity.guard import peer_key
from mailstead.process.shared_table import Claim, SharedTable

#: How long a peer that logged in is remembered as its account's owner.
KNOWN_SECONDS = 30 * 86_400.0


class SharedGuard:
    """See identity.guard.Guard. A limit of 0 switches its check off; loopback is exempt from the limit of a peer."""

    def __init__(self, table: SharedTable) -> None:
        self._table = table
        self.peer_failures = 30
        self.account_failures = 50
        self.interval = 600.0

    def configure(self, *, peer_failures: int, account_failures: int, interval: float) -> None:
        """Take over limits from the settings; interval in seconds."""
        self.peer_failures, self.account_failures, self.interval = peer_failures, account_failures, interval

    def blocked(self, peer: str, login: str) -> bool:
        """Whether a login must be refused without looking at the password."""
        now, key, name = time.time(), peer_key(peer), _login_key(login)
        counted = self.peer_failures and not _is_loopback(key)
        if counted and self._table.hits(_peer(key), self.interval, now) >= self.peer_failures:
            return True
        if not self.account_failures:
            return False
        if self._table.hits(_account(name), self.interval, now) < self.account_failures:
            return False
        return self._table.hits(_known(key, name), KNOWN_SECONDS, now) == 0

    def failed(self, peer: str, login: str) -> None:
        """Count a failed login."""
        now = time.time()
        self._table.hit(_peer(peer_key(peer)), self.interval, now)
        self._table.hit(_account(_login_key(login)), self.interval, now)

    def succeeded(self, peer: str, login: str) -> None:
        """Remember that the account's owner comes from this peer. The peer's own count stays."""
        now, known = time.time(), _known(peer_key(peer), _login_key(login))
        if not self._table.hits(known, KNOWN_SECONDS, now):
            self._table.hit(known, KNOWN_SECONDS, now)


class SharedLocks:
    """Counted slots by name: the POP3 lock (limit 1), sessions of an account (its limit; 0 = unlimited)."""

    def __init__(self, table: SharedTable, kind: str) -> None:
        self._table = table
        self._kind = f"lock {kind} ".encode()

    def acquire(self, account: int, limit: int = 1) -> bool:
        """Take one of `limit` slots of the account."""
        return self._table.acquire(self._kind + str(account).encode(), limit)

    def release(self, account: int) -> None:
        """Give one back."""
        self._table.release(self._kind + str(account).encode())

    def too_soon(self, account: int, seconds: int) -> bool:
        """Whether the last moment that was noted for the account is less than `seconds` ago; if not, note this one."""
        claim = Claim(self._kind + b"moment " + str(account).encode(), 1, float(seconds))
        return self._table.claim((claim,), time.time()) >= 0


def _is_loopback(key: str) -> bool:
    return key.startswith("127.") or key == "0::/64"


def _login_key(login: str) -> str:
    return login.strip().lower()[:320]


def _peer(key: str) -> bytes:
    return b"login peer " + key.encode("utf-8", "replace")


def _account(name: str) -> bytes:
    return b"login account " + name.encode("utf-8", "replace")


def _known(key: str, name: str) -> bytes:
    return b"login known " + f"{key} {name}".encode("utf-8", "replace")
