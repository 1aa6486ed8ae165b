"""Logins by password: reasons, cache, upgrade of imported hashes, guard."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time

import pytest

from mailstead.directory import Account, Actor, Directory
from mailstead.identity import authenticator as module
from mailstead.identity.authenticator import Authenticator, AuthReason
from mailstead.identity.guard import LocalGuard, peer_key
from mailstead.settings.database import Transaction

WORD = "wonder-land-1"
NAME = "alice@example.test"


async def reason(
    authenticator: Authenticator, login: str = NAME, password: str = WORD, service: str = "imap", peer: str = "192.0.2.1"
) -> AuthReason:
    return (await authenticator.verify_password(login, password, service=service, peer=peer)).reason


async def test_reasons(authenticator: Authenticator, directory: Directory, alice: Account, admin: Actor) -> None:
    assert await reason(authenticator) is AuthReason.OK
    assert await reason(authenticator, "ALICE@Example.Test") is AuthReason.OK
    assert await reason(authenticator, "alice") is AuthReason.OK
    assert await reason(authenticator, password="wrong") is AuthReason.BAD_CREDENTIALS
    assert await reason(authenticator, password="") is AuthReason.BAD_CREDENTIALS
    assert await reason(authenticator, "ghost@example.test") is AuthReason.BAD_CREDENTIALS
    await directory.set_account_setting(alice.id, "services", "(pop3)", actor=admin)
    assert await reason(authenticator) is AuthReason.SERVICE_OFF
    assert await reason(authenticator, service="pop3") is AuthReason.OK
    await directory.disable_account(alice.id, actor=admin)
    assert await reason(authenticator, service="pop3") is AuthReason.DISABLED
    assert await reason(authenticator, password="wrong", service="pop3", peer="192.0.2.9") is AuthReason.BAD_CREDENTIALS


async def test_alias_logins_follow_their_switch(
    authenticator: Authenticator, directory: Directory, alice: Account, admin: Actor
) -> None:
    await directory.add_account_alias(alice.id, "ali", actor=admin)
    await directory.add_domain_alias("example.test", "alias.test", actor=admin)
    for login in ("ali@example.test", "alice@alias.test"):
        assert await reason(authenticator, login) is AuthReason.OK
    await directory.settings.set("server", "allowAliasLogins", "no", admin)
    for login in ("ali@example.test", "alice@alias.test"):
        assert await reason(authenticator, login) is AuthReason.BAD_CREDENTIALS
    assert await reason(authenticator) is AuthReason.OK


def counted_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stored hashes that passwords are checked against from now on, in their order."""
    hashes: list[str] = []
    check = module._check

    def counted(password: str, stored: str) -> bool:
        hashes.append(stored)
        return check(password, stored)

    monkeypatch.setattr(module, "_check", counted)
    return hashes


async def test_known_proof_is_cheap_and_dies_with_the_password(
    authenticator: Authenticator, directory: Directory, alice: Account, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = counted_checks(monkeypatch)
    for _ in range(200):
        assert await reason(authenticator) is AuthReason.OK
    assert len(hashes) == 1, "a cached proof must not cost a hash"
    await directory.set_password(alice.id, "other-word-1", actor=admin)
    assert await reason(authenticator) is AuthReason.BAD_CREDENTIALS


async def test_known_proof_expires(authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = counted_checks(monkeypatch)
    await reason(authenticator)
    await reason(authenticator)
    assert len(hashes) == 1
    later = time.monotonic() + module.CACHE_SECONDS + 1
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    await reason(authenticator)
    assert len(hashes) == 2


async def test_equal_logins_at_once_share_one_hash(authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = counted_checks(monkeypatch)
    results = await asyncio.gather(*(reason(authenticator) for _ in range(20)))
    assert set(results) == {AuthReason.OK}
    assert len(hashes) == 1


async def test_unknown_names_cost_a_hash_as_known_ones_do(authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    real = module.spend_time
    monkeypatch.setattr(module, "spend_time", lambda password: (verified.append(password), real(password)))
    await reason(authenticator, "ghost@example.test", "guess")
    assert verified == ["guess"]
    await reason(authenticator, NAME, "guess-2")
    assert verified == ["guess"]


async def test_imported_hash_is_upgraded_at_login_and_scram_keys_appear(
    authenticator: Authenticator, directory: Directory, admin: Actor
) -> None:
    old = "{SSHA}" + base64.b64encode(hashlib.sha1(b"old-word-1salt").digest() + b"salt").decode()
    bob = await directory.create_account("example.test", "bob", hash=old, actor=admin)
    assert await reason(authenticator, "bob@example.test", "wrong") is AuthReason.BAD_CREDENTIALS
    assert directory.credentials(bob.id).password == old  # type: ignore[union-attr]
    assert await reason(authenticator, "bob@example.test", "old-word-1") is AuthReason.OK
    await asyncio.gather(*authenticator._tasks)
    credentials = directory.credentials(bob.id)
    assert credentials is not None
    assert credentials.password.startswith("$argon2id$")
    assert authenticator.scram_keys(bob, "bob", "SCRAM-SHA-256")[1]
    assert directory.account(bob.id).auth_version == bob.auth_version  # type: ignore[union-attr]
    assert await reason(authenticator, "bob@example.test", "old-word-1") is AuthReason.OK
    assert "old-word" not in repr(credentials)


async def test_too_many_waiting_hashes_are_put_off(authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_PER_THREAD", 0)
    assert await reason(authenticator) is AuthReason.TEMPORARY


async def test_guessing_peer_is_locked_and_the_owner_is_not(authenticator: Authenticator) -> None:
    owner, attacker = "192.0.2.1", "198.51.100."
    assert await reason(authenticator, peer=owner) is AuthReason.OK
    for turn in range(5):
        assert await reason(authenticator, password=f"guess-{turn}", peer=attacker + "1") is AuthReason.BAD_CREDENTIALS
    assert await reason(authenticator, peer=attacker + "1") is AuthReason.LOCKED
    for turn in range(3):
        await reason(authenticator, password=f"more-{turn}", peer=f"{attacker}{turn + 2}")
    assert await reason(authenticator, peer=attacker + "99") is AuthReason.LOCKED
    assert await reason(authenticator, peer=owner) is AuthReason.OK


async def test_logins_appear_in_the_registry(authenticator: Authenticator, directory: Directory, alice: Account) -> None:
    await reason(authenticator)
    await reason(authenticator, service="pop3", peer="2001:db8::1")
    await asyncio.gather(*authenticator._tasks)
    assert {(login.service, login.peer) for login in directory.last_logins(alice.id)} == {
        ("imap", "192.0.2.1"),
        ("pop3", "2001:db8::1"),
    }


def test_guard_forgets_after_its_interval_and_counts_ipv6_by_network() -> None:
    now = [0.0]
    guard = LocalGuard(peer_failures=2, account_failures=0, interval=60, clock=lambda: now[0])
    guard.failed("2001:db8::1", "a")
    guard.failed("2001:db8::ffff:2", "b")
    assert guard.blocked("2001:db8::3", "c")
    assert not guard.blocked("2001:db8:0:1::3", "c")
    now[0] = 61
    assert not guard.blocked("2001:db8::3", "c")
    assert peer_key("::ffff:192.0.2.1") == peer_key("192.0.2.1")
    for _ in range(9):
        guard.failed("127.0.0.1", "x")
    assert not guard.blocked("127.0.0.1", "y")


def test_guard_memory_is_bounded() -> None:
    guard = LocalGuard()
    for number in range(80_000):
        guard.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", f"user{number}")
    assert len(guard._failures) <= 65_536


async def test_passwords_expire_after_a_time_or_at_a_date(
    directory: Directory, alice: Account, authenticator: Authenticator, admin: Actor
) -> None:
    async def age(days: int) -> None:
        def operation(transaction: Transaction) -> None:
            transaction.execute("UPDATE account SET password_changed = ?", ((int(time.time()) - days * 86_400) * 1_000_000,))
            transaction.record("test", "account", alice.id, "age")

        await directory.database.write(operation)

    async def set_all(**values: str) -> None:
        for name, value in values.items():
            await directory.set_account_setting(alice.id, name, value, actor=admin)

    await age(100)
    assert await reason(authenticator) is AuthReason.OK
    await set_all(passExpirationEnabled="yes", passExpirationInterval="90")
    assert await reason(authenticator) is AuthReason.EXPIRED
    assert await reason(authenticator, service="webmail") is AuthReason.OK  # where it can be changed
    await age(89)
    assert await reason(authenticator) is AuthReason.OK
    await set_all(passExpirationType="date", passExpirationDate="2019-06-20")
    assert await reason(authenticator) is AuthReason.OK  # it was set after that day
    await age(4000)
    assert await reason(authenticator) is AuthReason.EXPIRED
    await set_all(passExpirationDate="Wed, 20 Jun 2063 02:15:34 +0300")
    assert await reason(authenticator) is AuthReason.OK
