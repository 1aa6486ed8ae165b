"""From a login name and a proof to an account.

Invariants:
- Whether a name exists cannot be told from the time or the text of a refusal; that an account is disabled or a
  service off is said only to who knows the password.
- A cached proof counts only with the account's present `auth_version`, so a changed password or right is invalid in
  every process from the moment the change is acknowledged.
- No password is kept or logged: the cache holds keyed hashes, the key is random and lives in this process only.

Hashes run in a bounded thread pool; equal logins that arrive together share one hash.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from mailstead.directory.accounting import LOGINS
from mailstead.directory.cache import BoundedCache
from mailstead.directory.model import Account, Credentials, DirectoryError
from mailstead.directory.service import Directory
from mailstead.identity.guard import Guard
from mailstead.identity.passwords import needs_upgrade, spend_time, split_scheme, verify
from mailstead.identity.scram_keys import ITERATIONS, ScramKeys, load
from mailstead.settings.database import SystemDatabaseError
from mailstead.settings.service import Settings

CACHE_SECONDS = 300.0
CACHE_ENTRIES = 50_000
MAX_LOGIN = 320
WAITING_PER_THREAD = 256
"""Hashes that may wait for one thread; beyond that a login is refused for now (about 8 s of waiting)."""


CHANGES_PASSWORDS = frozenset({"webmail", "mailboxapi"})
"""Services in which a password that has expired can be changed, so that a login with it must be possible (PWD-01)."""


def password_expired(account: Account) -> bool:
    """Whether the account has to change its password: it was told to (ACC-01), or the password is too old (PWD-01)."""
    if account.must_change:
        return True
    expiry = account.rules.expiry if account.rules is not None else None
    if expiry is None:
        return False
    expires = expiry.expires(account.password_changed // 1_000_000)
    return bool(expires) and time.time() >= expires


class AuthReason(enum.Enum):
    """Outcome of a login."""

    OK = "ok"
    BAD_CREDENTIALS = "wrong name or password"
    DISABLED = "the account is disabled"
    SERVICE_OFF = "the account may not use this service"
    EXPIRED = "the password must be changed first"
    TEMPORARY = "try again later"
    LOCKED = "too many failed logins"
    MALFORMED = "malformed authentication exchange"


@dataclass(frozen=True, slots=True)
class AuthResult:
    """`account` is set when `ok`, and for DISABLED, SERVICE_OFF and EXPIRED (for logs)."""

    ok: bool
    account: Account | None
    reason: AuthReason


class NotAsked(Exception):
    """The other server could not be asked: the login is refused, and nobody is to blame."""


class UnknownLogin(Protocol):
    """Who may know a login name that the directory does not: another server whose users come over (MIG-01)."""

    def refusal_seconds(self, login: str, default_domain: str, service: str) -> float:
        """How long a refusal of this login takes at least, whether the name is known here or not."""

    async def prove(self, login: str, password: str, *, service: str, default_domain: str) -> Account | None:
        """The account that was made of the name, None where nobody knows it. Raises NotAsked."""

    async def logged_in(self, account: Account) -> None:
        """An account has logged in."""


class Authenticator:
    """Checks logins against the directory; one for each process."""

    def __init__(self, directory: Directory, settings: Settings, guard: Guard, *, threads: int = 0) -> None:
        """`threads` hash at the same time; 0 = one for each core."""
        self.directory = directory
        self.settings = settings
        self.guard = guard
        self.unknown: UnknownLogin | None = None
        self.on_login: Callable[[Account], None] | None = None
        """Called with accounts that have rules when they log in; returns at once."""
        self._threads = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="hash")
        self._waiting = 0
        self._key = secrets.token_bytes(32)
        self._proofs: BoundedCache[bytes, tuple[int, int, float]] = BoundedCache(CACHE_ENTRIES)
        self._running: dict[bytes, asyncio.Task[bool | None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Wait for what runs in the background."""
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- passwords ------------------------------------------------------------------------------------------

    async def verify_password(self, login: str, password: str, *, service: str, peer: str, default_domain: str = "") -> AuthResult:
        """Check a password for a service (`imap`, `pop3`, `smtpIncoming`...) of a client at address `peer`."""
        if len(login) > MAX_LOGIN or self.guard.blocked(peer, login):
            return AuthResult(False, None, AuthReason.LOCKED if len(login) <= MAX_LOGIN else AuthReason.BAD_CREDENTIALS)
        try:
            account = self.directory.account_by_login(login, default_domain)
        except SystemDatabaseError:
            return AuthResult(False, None, AuthReason.TEMPORARY)
        proof = self._proof(account.id if account is not None else 0, login, password)
        known = self._proofs.get(proof)
        if known is not None and account is not None:
            if known[:2] == (account.id, account.auth_version) and known[2] > time.monotonic():
                return self.finish(account, login, service=service, peer=peer)
            del self._proofs[proof]
        started = time.monotonic()
        good = await self._hash(proof, account, password)
        if good is None:
            return AuthResult(False, None, AuthReason.TEMPORARY)
        if account is None and self.unknown is not None:
            try:
                account = await self.unknown.prove(login, password, service=service, default_domain=default_domain)
            except NotAsked:
                await self._settle(started, login, default_domain, service)
                return AuthResult(False, None, AuthReason.BAD_CREDENTIALS)
            good = account is not None
        if not good or account is None:
            self.guard.failed(peer, login)
            await self._settle(started, login, default_domain, service)
            return AuthResult(False, None, AuthReason.BAD_CREDENTIALS)
        # The version from before the hash: a change while it ran makes the proof worthless, as it must.
        self._proofs.put(proof, (account.id, account.auth_version, time.monotonic() + CACHE_SECONDS))
        current = self.directory.account(account.id)
        if current is None or current.auth_version != account.auth_version:
            return AuthResult(False, None, AuthReason.TEMPORARY)
        return self.finish(current, login, service=service, peer=peer)

    async def _settle(self, started: float, login: str, default_domain: str, service: str) -> None:
        """Let a refusal take as long as it does for names that another server is asked about."""
        if self.unknown is not None:
            least = self.unknown.refusal_seconds(login, default_domain, service)
            await asyncio.sleep(max(0.0, started + least - time.monotonic()))

    def finish(self, account: Account, login: str, *, service: str, peer: str) -> AuthResult:
        """After a good proof: check state and service, note the login. SASL mechanisms end here too."""
        self.guard.succeeded(peer, login)
        if not account.enabled:
            return AuthResult(False, account, AuthReason.DISABLED)
        if service not in account.services:
            return AuthResult(False, account, AuthReason.SERVICE_OFF)
        if service not in CHANGES_PASSWORDS and password_expired(account):
            return AuthResult(False, account, AuthReason.EXPIRED)
        if account.rules is not None and self.on_login is not None:
            self.on_login(account)
        self.directory.accounting.count(account.domain_id, LOGINS)
        if self.directory.login_due(account.id, service):
            self._spawn(self._record(account.id, service, peer))
            if self.unknown is not None:
                self._spawn(self.unknown.logged_in(account))
        return AuthResult(True, account, AuthReason.OK)

    def _proof(self, account_id: int, login: str, password: str) -> bytes:
        name = login.encode("utf-8", "surrogateescape")
        octets = b"%d %d %b%b" % (account_id, len(name), name, password.encode("utf-8", "surrogateescape"))
        return hmac.digest(self._key, octets, "sha256")

    async def _hash(self, proof: bytes, account: Account | None, password: str) -> bool | None:
        """Whether the password is right; None when it cannot be said now."""
        running = self._running.get(proof)
        if running is None:
            running = asyncio.get_running_loop().create_task(self._hash_once(account, password))
            self._running[proof] = running
            running.add_done_callback(lambda _: self._running.pop(proof, None))
        # Shielded: a client that goes away must not take the others' answer with it.
        return await asyncio.shield(running)

    async def _hash_once(self, account: Account | None, password: str) -> bool | None:
        try:
            credentials = self.directory.credentials(account.id) if account is not None else None
        except SystemDatabaseError:
            return None
        stored = credentials.password if credentials is not None else ""
        good = await self.check_hash(password, stored)
        if good and account is not None and credentials is not None and self._wants_upgrade(credentials):
            self._spawn(self._upgrade(account.id, password, credentials.password))
        return good

    async def check_hash(self, password: str, stored: str) -> bool | None:
        """Whether a password fits a stored hash, in the bounded threads; None when too many wait."""
        if self._waiting >= WAITING_PER_THREAD * self._threads:
            return None
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _check, password, stored)
        finally:
            self._waiting -= 1

    def _wants_upgrade(self, credentials: Credentials) -> bool:
        server = self.settings.service("server")
        if not server.upgradePasswordHashes:
            return False
        if needs_upgrade(credentials.password) or not credentials.scram:
            return True
        keep: bool = server.recoverableSecrets
        return keep != bool(credentials.recoverable)

    async def _upgrade(self, account_id: int, password: str, verified: str) -> None:
        try:
            await self.directory.upgrade_password(account_id, password, verified)
        except (DirectoryError, SystemDatabaseError):
            return  # The old form still serves; the next login tries again.

    async def _record(self, account_id: int, service: str, peer: str) -> None:
        try:
            await self.directory.record_login(account_id, service, peer)
        except SystemDatabaseError:
            return  # Registry information only; a login must not fail for it.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what SASL mechanisms need ---------------------------------------------------------------------------

    def blocked(self, peer: str, login: str) -> bool:
        """True when the guard refuses this login for now."""
        return self.guard.blocked(peer, login)

    def failed(self, peer: str, login: str) -> None:
        """Note a wrong proof."""
        self.guard.failed(peer, login)

    def account_by_login(self, login: str, default_domain: str = "") -> Account | None:
        """The account of a login name."""
        return self.directory.account_by_login(login, default_domain) if len(login) <= MAX_LOGIN else None

    def scram_keys(self, account: Account | None, login: str, mechanism: str) -> tuple[ScramKeys, bool]:
        """Keys for an exchange, and whether they are real. For unknown names, and accounts whose hash was imported
        and not yet upgraded, they are made up, always the same for the same name, so that the exchange runs to its
        refusal (RFC 5802 section 9 advises so against guessing names)."""
        credentials = self.directory.credentials(account.id) if account is not None else None
        keys = load(credentials.scram) if credentials is not None else {}
        found = keys.get(mechanism)
        if found is not None:
            return found, True
        secret = self._decoy_secret()
        size = hashlib.new("sha1" if mechanism == "SCRAM-SHA-1" else "sha256").digest_size
        salt = hmac.digest(secret, b"salt" + login.strip().lower().encode("utf-8", "replace"), "sha256")[:16]
        return ScramKeys(salt, ITERATIONS, secrets.token_bytes(size), secrets.token_bytes(size)), False

    def _decoy_secret(self) -> bytes:
        """One for the node, so that all its workers make up the same salt; this process's own where there is none."""
        row = self.directory.database.query_row("SELECT value FROM meta WHERE key = 'decoySecret'")
        return row[0].encode() if row else self._key

    def recoverable_secret(self, account: Account) -> str:
        """The clear password for CRAM-MD5; empty unless the administrator keeps recoverable secrets."""
        if not self.settings.service("server").recoverableSecrets:
            return ""
        credentials = self.directory.credentials(account.id)
        return credentials.recoverable if credentials is not None else ""


def _check(password: str, stored: str) -> bool:
    """Runs in the pool. A quick form that does not match costs a full hash too, as an unknown name does."""
    if verify(password, stored):
        return True
    if not split_scheme(stored)[0].startswith("ARGON2"):
        spend_time(password)
    return False
