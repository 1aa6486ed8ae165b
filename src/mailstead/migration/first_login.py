"""Users of another server come over at their first login (MIG-01).

Invariants:
- An account is made only of a name that nobody has here, after the other server took the very name and password that were
  given here; account and copy job are one transaction, so there is none without the other.
- A refusal tells nothing: it takes as long for a name that is known here as for one that is asked about elsewhere (the
  longest of late, within bounds), and it counts with the guard.
- The other server is asked little: the same name and password once a minute, a bounded number at once, and never this
  server itself.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import shlex
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from mailstead.directory.address import checked_local, local_key
from mailstead.directory.cache import BoundedCache
from mailstead.directory.model import Account, AlreadyExistsError, DirectoryError, Domain
from mailstead.directory.service import Directory
from mailstead.identity.authenticator import NotAsked
from mailstead.identity.passwords import verify
from mailstead.migration.domains import MigratingDomains
from mailstead.migration.imap_client import ImapClient, LoginRefused, Refused
from mailstead.migration.imap_stream import RemoteError
from mailstead.migration.jobs import Options
from mailstead.migration.remote import Remote, host_address
from mailstead.migration.service import MigrationService
from mailstead.observe.log import get_logger
from mailstead.settings import Actor, InvalidValueError, SystemDatabaseError
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Snapshot
from mailstead.settings.declarations import ACCOUNT_DATA
from mailstead.settings.edits import place_of
from mailstead.settings.service import store_value

log = get_logger("MIGRATION")

SERVICES = frozenset(("imap", "pop3", "webmail", "mailboxapi", "jmap"))
AT_ONCE = 8
WAITING = 64
REMOTE_SECONDS = 8.0
LEAST_SECONDS = 1.0
USUAL_SECONDS = 2.0
REFUSED_SECONDS = 60.0
INTERVAL = 3600
"""Seconds between the rounds of a continuous copy, beside those that logins bring about."""
ACTOR = Actor.system("migration at the first login")
_PASSING = frozenset((b"UNAVAILABLE", b"INUSE", b"LIMIT", b"SERVERBUG", b"CONTACTADMIN"))
"""Response codes of a refusal that says nothing about the password (RFC 5530)."""


class FirstLogin:
    """One per process; the authenticator's `UnknownLogin`. `is_own(address, port)` says where this server itself listens."""

    def __init__(
        self,
        directory: Directory,
        data_dir: Path,
        domains: MigratingDomains,
        *,
        is_own: Callable[[str, int], bool] = lambda address, port: False,
    ) -> None:
        self._directory = directory
        self._domains = domains
        self._jobs = MigrationService(directory, data_dir)
        self._is_own = is_own
        self._key = secrets.token_bytes(32)
        self._refused: BoundedCache[bytes, float] = BoundedCache(20_000)
        self._asking: dict[bytes, asyncio.Task[Account | None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._durations: dict[int, deque[float]] = {}

    async def close(self) -> None:
        """Ask no more."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    # -- what the authenticator asks -----------------------------------------------------------------------------

    def refusal_seconds(self, login: str, default_domain: str, service: str) -> float:
        """How long a refusal of this login takes at least; 0 where no other server is ever asked."""
        found = self._domain(login, default_domain, service)
        if found is None:
            return 0.0
        recent = self._durations.get(found[0].id)
        return min(REMOTE_SECONDS, max(LEAST_SECONDS, *recent) * 1.1) if recent else USUAL_SECONDS

    async def prove(self, login: str, password: str, *, service: str, default_domain: str) -> Account | None:
        """The account that was made of a name unknown here; None where the other server refused or none is asked. Raises
        NotAsked where it could not be asked."""
        found = self._domain(login, default_domain, service)
        if found is None or not password or len(password) > 1024 or any(c in password for c in "\0\r\n"):
            return None
        domain, local, values = found
        if not self._may_be(domain, local, values):
            return None
        octets = f"{domain.id} {login} {password}".encode("utf-8", "surrogateescape")
        mark = hmac.digest(self._key, octets, "sha256")
        if self._refused.get(mark, 0.0) > time.monotonic():
            return None
        task = self._asking.get(mark)
        if task is None:
            if len(self._asking) >= WAITING:
                raise NotAsked
            task = asyncio.get_running_loop().create_task(self._ask(domain, local, values, login, password, mark))
            self._asking[mark] = task
            task.add_done_callback(lambda _: self._asking.pop(mark, None))
        # Shielded: a client that goes away must not take the others' answer with it.
        return await asyncio.shield(task)

    async def logged_in(self, account: Account) -> None:
        """An account has logged in: where its domain says so, the copy takes what is new."""
        if self._domains.values(account.domain_id).enableContinuousMigration:
            try:
                await self._jobs.again(account.id)
            except SystemDatabaseError as error:  # the next login tries again
                log.warning("migration not repeated", account=account.address, reason=str(error))

    # -- names -----------------------------------------------------------------------------------------------------

    def _domain(self, login: str, default_domain: str, service: str) -> tuple[Domain, str, Snapshot] | None:
        if service not in SERVICES or len(login) > 320:
            return None
        local, at, name = login.strip().rpartition("@")
        if not at:
            local, name = login.strip(), default_domain or self._directory.bare_domain()
        found = self._domains.taking_over(name) if local and name else None
        return (found[0], local, found[1]) if found is not None else None

    def _may_be(self, domain: Domain, local: str, values: Snapshot) -> bool:
        """Whether an account of that name can be made: nobody has it, nor had it until it was deleted."""
        try:
            key = local_key(checked_local(local))
        except DirectoryError:
            return False
        database = self._directory.database
        if database.query_row("SELECT 1 FROM address WHERE domain_id = ? AND local = ?", (domain.id, key)):
            return False
        gone = "SELECT name FROM deleted WHERE domain_id = ? AND kind = 'account'"  # by address
        if any(local_key(str(name).rpartition("@")[0] or str(name)) == key for (name,) in database.query(gone, (domain.id,))):
            return False
        chain = [("domain", domain.id)]
        if class_id := self._class(domain, values):
            chain.insert(0, ("class", class_id))
        flag = self._directory.settings.account_values(chain).get("enableAutoMigration")
        return flag is None or bool(flag.value)

    def _class(self, domain: Domain, values: Snapshot) -> int:
        name = str(values.defaultAccountClassName)
        if not name:
            return 0
        for found in self._directory.account_classes(domain.id):
            if found.name.lower() == name.lower():
                return found.id
        log.error("the class for migrated accounts does not exist", domain=domain.name, name=name)
        return 0

    # -- asking ----------------------------------------------------------------------------------------------------

    async def _ask(self, domain: Domain, local: str, values: Snapshot, login: str, password: str, mark: bytes) -> Account | None:
        host, port = str(values.remoteImapHost), int(values.remoteImapPort)
        started = time.monotonic()
        try:
            async with self._slots, asyncio.timeout(REMOTE_SECONDS):
                remote = Remote(host, port, login, password, verify=_has_name(host))
                client = await ImapClient.connect(
                    remote, timeout=REMOTE_SECONDS, connect_timeout=REMOTE_SECONDS, trace=_trace(domain, values),
                    ca_bundle=self._directory.settings.file(self._directory.settings.service("server").caBundlePath),
                )  # fmt: skip
                try:
                    if self._is_own(*client.stream.peer):
                        raise RemoteError("it is this server itself")
                    await client.login(login, password)
                finally:
                    client.close()
        except LoginRefused as refused:
            if refused.code.partition(b" ")[0] in _PASSING:
                log.warning("migration: the other server did not answer", domain=domain.name, reason=str(refused))
                raise NotAsked from None
            self._refused.put(mark, time.monotonic() + REFUSED_SECONDS)
            self._durations.setdefault(domain.id, deque(maxlen=20)).append(time.monotonic() - started)
            return None
        except (RemoteError, Refused, TimeoutError, ValueError, OSError) as error:
            reason = str(error) or "it took too long"
            log.warning("migration: the other server cannot be asked", domain=domain.name, host=host, reason=reason)
            raise NotAsked from None
        return await self._create(domain, local, values, login, password)

    async def _create(self, domain: Domain, local: str, values: Snapshot, login: str, password: str) -> Account | None:
        directory = self._directory
        class_id = self._class(domain, values)
        name = checked_local(local)
        account_id = directory.ids.next()
        options = Options(
            str(values.remoteImapHost), int(values.remoteImapPort), login, verify=_has_name(str(values.remoteImapHost)),
            continuous=bool(values.enableContinuousMigration), interval=INTERVAL, command=_command(values, f"{name}@{domain.name}"),
            debug=bool(values.enableDebugLogging),
        )  # fmt: skip
        place = place_of(ACCOUNT_DATA, account_id, domain.id)
        kind = ACCOUNT_DATA.setting("accountType")
        text = "premium" if values.createPremiumAccounts else "basic"
        try:
            stored = await directory.stored_password(password)
            step = directory.account_creation(account_id, domain.id, name, stored, actor=ACTOR)

            def operation(t: Transaction) -> None:
                step.operation(t)
                if class_id:
                    t.execute("UPDATE account SET class_id = ? WHERE id = ?", (class_id, account_id))
                store_value(t, ACTOR.name, place.scope, place.scope_id, place.stored(kind.name), kind, text)
                self._jobs.insert(t, account_id, options, password, ACTOR)

            await directory.database.write(operation)
        except AlreadyExistsError:
            # Another process was quicker; what counts is the password it has now.
            account = directory.account_by_login(f"{name}@{domain.name}")
            credentials = directory.credentials(account.id) if account is not None else None
            if credentials is None or not await asyncio.to_thread(verify, password, credentials.password):
                return None
            return account
        except (DirectoryError, SystemDatabaseError, InvalidValueError, OSError) as error:
            log.error("account not made at the first login", domain=domain.name, name=name, reason=str(error))
            raise NotAsked from None
        directory.poll()
        log.info("account made at the first login", account=f"{name}@{domain.name}", host=options.host)
        return directory.account(account_id)


def _has_name(host: str) -> bool:
    """Whether a certificate can be verified for it: an address has no name."""
    try:
        ipaddress.ip_address(host_address(host))
    except ValueError:
        return True
    return False


def _command(values: Snapshot, address: str) -> tuple[str, ...]:
    """The program and its arguments, `{address}`, `{account}` and `{domain}` filled in; no shell sees them."""
    if not values.enableMigrationCommand or not values.migrationCommand:
        return ()
    try:
        words = shlex.split(str(values.migrationCommand))
    except ValueError as error:
        log.error("the migration command cannot be read", reason=str(error))
        return ()
    account, _, domain = address.rpartition("@")
    known = {"{address}": address, "{account}": account, "{domain}": domain}
    for mark, text in known.items():
        words = [word.replace(mark, text) for word in words]
    return tuple(words)


def _trace(domain: Domain, values: Snapshot) -> Callable[[str], None] | None:
    if not values.enableDebugLogging:
        return None
    return lambda line: log.info("migration protocol", domain=domain.name, line=line)
