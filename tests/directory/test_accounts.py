"""Accounts: creation, names, limits with inheritance, import, shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailstead.directory import (
    Actor,
    AlreadyExistsError,
    Directory,
    InvalidNameError,
    LimitReachedError,
    NewAccount,
    NotFoundError,
    PasswordRefusedError,
)
from mailstead.identity.passwords import hash_password, verify
from mailstead.settings import InvalidValueError
from mailstead.settings.database import Transaction
from mailstead.settings.declarations import WEBMAIL_DATA
from mailstead.settings.edits import Pending, place_of


async def test_names_are_one_space_and_a_deleted_name_is_free(directory: Directory, admin: Actor) -> None:
    alice = await directory.create_account("example.test", "alice", actor=admin)
    await directory.add_account_alias(alice.id, "sales", actor=admin)
    for name in ("Alice", "SALES"):
        with pytest.raises(AlreadyExistsError):
            await directory.create_account("example.test", name, actor=admin)
        with pytest.raises(AlreadyExistsError):
            await directory.create_group("example.test", name, actor=admin)
    await directory.delete_account(alice.id, actor=admin)
    assert directory.account(alice.id) is None
    again = await directory.create_account("example.test", "sales", actor=admin)
    assert again.id > alice.id


@pytest.mark.parametrize("name", ["", "a b", "a@b", ".a", "a..b", "a\nb", "x" * 65, 'a"b', "a\u200e\u2028", "a,b"])
async def test_bad_names_are_refused(directory: Directory, admin: Actor, name: str) -> None:
    with pytest.raises(InvalidNameError):
        await directory.create_account("example.test", name, actor=admin)


@pytest.mark.parametrize("name", ["", "exa mple", "-a.test", "a..test", "127.0.0.1", "a" * 64 + ".test", "x" * 300])
async def test_bad_domains_are_refused(directory: Directory, admin: Actor, name: str) -> None:
    with pytest.raises(InvalidNameError):
        await directory.create_domain(name, actor=admin)


async def test_rename_keeps_the_id_and_frees_the_name(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account("example.test", "old", actor=admin)
    await directory.rename_account(account.id, "new", actor=admin)
    assert directory.account_by_address("old@example.test") is None
    found = directory.account_by_login("new@example.test")
    assert found is not None
    assert found.id == account.id
    assert found.address == "new@example.test"


async def test_limits_are_inherited_and_explicit_values_win(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account("example.test", "alice", actor=admin)

    def quota() -> tuple[int, str]:
        known = directory.account(account.id)
        assert known is not None
        return known.quota_bytes, directory.account_settings(account.id)["totalMessageSize"].origin

    assert quota() == (0, "factory")
    await directory.settings.set_account_default("totalMessageSize", "100", admin)
    assert quota() == (100 * 1024, "defaults")
    await directory.set_domain_default("example.test", "totalMessageSize", "200", actor=admin)
    assert quota() == (200 * 1024, "domain")
    gold = await directory.create_account_class("example.test", "gold", actor=admin)
    await directory.set_class_setting(gold.id, "totalMessageSize", "300", actor=admin)
    assert quota() == (200 * 1024, "domain")
    await directory.set_account_class(account.id, gold.id, actor=admin)
    assert quota() == (300 * 1024, "class")
    await directory.set_account_setting(account.id, "totalMessageSize", "400", actor=admin)
    assert quota() == (400 * 1024, "explicit")
    await directory.set_account_setting(account.id, "totalMessageSize", None, actor=admin)
    assert quota() == (300 * 1024, "class")
    await directory.delete_account_class(gold.id, actor=admin)
    assert quota() == (200 * 1024, "domain")
    with pytest.raises(InvalidValueError, match="totalMessageSize"):
        await directory.set_account_setting(account.id, "totalMessageSize", "-1", actor=admin)


async def test_auth_version_never_falls(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account("example.test", "alice", actor=admin)
    gold = await directory.create_account_class("example.test", "gold", actor=admin)
    for _ in range(5):
        await directory.set_class_setting(gold.id, "services", "(imap)", actor=admin)
    seen = [account.auth_version]

    def note() -> None:
        known = directory.account(account.id)
        assert known is not None
        seen.append(known.auth_version)

    await directory.set_account_class(account.id, gold.id, actor=admin)
    note()
    await directory.set_account_class(account.id, 0, actor=admin)
    note()
    await directory.set_account_class(account.id, gold.id, actor=admin)
    await directory.delete_account_class(gold.id, actor=admin)
    note()
    await directory.set_password(account.id, "another-1", actor=admin)
    note()
    assert seen == sorted(set(seen))


async def test_services_are_cut_by_the_domain(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account("example.test", "alice", actor=admin)
    await directory.set_domain_setting("example.test", "services", "(imap pop3)", actor=admin)
    await directory.set_account_setting(account.id, "services", "(imap webmail)", actor=admin)
    assert directory.account(account.id).services == {"imap"}  # type: ignore[union-attr]


async def test_domain_limits_hold_for_single_and_bulk_creation(directory: Directory, admin: Actor) -> None:
    await directory.set_domain_setting("example.test", "maxAccounts", "2", actor=admin)
    await directory.create_account("example.test", "one", actor=admin)
    ready = hash_password("x")
    result = await directory.import_accounts([NewAccount(f"u{i}@example.test", hash=ready) for i in range(3)], actor=admin)
    assert result.created == 1
    assert [index for index, _ in result.refused] == [1, 2]
    with pytest.raises(LimitReachedError):
        await directory.create_account("example.test", "two", actor=admin)


async def test_import_of_1000_ready_hashes_hashes_none_and_reports_bad_lines(
    directory: Directory, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = hash_password("imported")
    lines = [NewAccount(f"user{i}@example.test", hash=ready) for i in range(1000)]
    lines[10] = NewAccount("no-at-sign", hash=ready)
    lines[11] = NewAccount("x@unknown.test", hash=ready)
    lines[12] = NewAccount("user1@example.test", hash=ready)
    lines[13] = NewAccount("odd@example.test", hash="{ROT13}abc")
    lines[14] = NewAccount("clear@example.test", password="clear-word-1")
    seen: list[tuple[int, int]] = []
    hashed: list[str] = []

    def counted(password: str) -> str:
        hashed.append(password)
        return hash_password(password)

    monkeypatch.setattr("mailstead.directory.password_policy.hash_password", counted)
    result = await directory.import_accounts(lines, actor=admin, progress=lambda done, total: seen.append((done, total)))
    assert hashed == ["clear-word-1"]
    assert result.created == 996
    assert [index for index, _ in result.refused] == [10, 11, 12, 13]
    assert seen == [(1000, 1000)]
    clear = directory.account_by_address("clear@example.test")
    assert clear is not None
    assert verify("clear-word-1", directory.credentials(clear.id).password)  # type: ignore[union-attr]
    assert directory.account_count() == 996
    assert len({account.id for account in directory.accounts()}) == 996


async def test_shards_are_filled_evenly_and_kept(tmp_path: Path, admin: Actor) -> None:
    directory = Directory.open(tmp_path, shards=3, create=True)
    await directory.create_domain("example.test", actor=admin)
    made = [await directory.create_account("example.test", f"a{i}", actor=admin) for i in range(6)]
    assert sorted(account.shard for account in made) == [0, 0, 1, 1, 2, 2]
    await directory.delete_account(made[0].id, actor=admin)
    assert (await directory.create_account("example.test", "next", actor=admin)).shard == made[0].shard
    directory.close()
    wider = Directory.open(tmp_path, shards=4)
    assert wider.account(made[5].id) == made[5]
    assert (await wider.create_account("example.test", "wide", actor=admin)).shard == 3
    wider.close()


async def test_password_rules_bind_users_not_administrators(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account("example.test", "alice", "x", actor=admin)
    user = Actor.user(account.id, account.address)
    await directory.set_domain_default("example.test", "requiredPasswordCharacters", "lettersAndNumbersAndSpecial", actor=admin)
    await directory.set_domain_default("example.test", "passHistorySize", "2", actor=admin)
    for bad in ("Ab1!", "abcdefghij", "abcdefgh12", "12345678!!"):
        with pytest.raises(PasswordRefusedError) as refusal:
            await directory.set_password(account.id, bad, actor=user)
        assert bad not in str(refusal.value)
    await directory.set_password(account.id, "Good-word-1", actor=user)
    await directory.set_password(account.id, "Good-word-2", actor=user)
    with pytest.raises(PasswordRefusedError, match="used before"):
        await directory.set_password(account.id, "Good-word-1", actor=user)
    await directory.set_domain_default("example.test", "passUnchangeable", "yes", actor=admin)
    with pytest.raises(PasswordRefusedError):
        await directory.set_password(account.id, "Good-word-3", actor=user)


async def test_deleting_a_domain_takes_everything_with_it(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account("example.test", "alice", "secret", actor=admin)
    await directory.create_group("example.test", "g", ["alice@example.test"], actor=admin)
    assert await directory.delete_domain("example.test", actor=admin) == [account.id]
    assert not directory.is_local_domain("example.test")
    assert directory.account(account.id) is None
    for table in ("account", "address", "recipient", "member", "domain_name"):
        assert directory.database.query(f"SELECT count(*) FROM {table}")[0][0] == 0, table
    assert directory.database.query("SELECT sum(accounts) FROM shard")[0][0] == 0
    with pytest.raises(NotFoundError):
        await directory.delete_domain("example.test", actor=admin)


async def test_history_names_every_change_and_holds_no_secret(directory: Directory, admin: Actor, tmp_path: Path) -> None:
    account = await directory.create_account("example.test", "alice", "sehr-geheim-1", actor=admin)
    await directory.set_password(account.id, "noch-geheimer-2", actor=admin)
    await directory.settings.set("smtpOutgoing", "smartHostPassword", "drittes-geheimnis", admin)
    rows = directory.database.query("SELECT author, kind, verb, old, new FROM history ORDER BY seq")
    assert [(row[1], row[2]) for row in rows] == [
        ("domain", "create"),
        ("account", "create"),
        ("account", "set password"),
        ("setting", "set smtpOutgoing"),
    ]
    assert {row[0] for row in rows} == {"test"}
    text = repr(rows)
    assert "geheim" not in text
    assert "argon2" not in text
    assert (tmp_path / "index" / "system.db").stat().st_mode & 0o077 == 0


async def test_last_login_is_written_once_a_minute(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account("example.test", "alice", actor=admin)
    assert await directory.record_login(account.id, "imap", "192.0.2.1")
    assert not await directory.record_login(account.id, "imap", "192.0.2.2")
    assert await directory.record_login(account.id, "pop3", "192.0.2.3")
    assert [(login.service, login.peer) for login in directory.last_logins(account.id)] == [
        ("imap", "192.0.2.1"),
        ("pop3", "192.0.2.3"),
    ]


async def test_the_language_an_account_chose_comes_before_what_it_inherits(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account("example.test", "alice", actor=admin)
    assert directory.language_of(account.id) == "en"
    await directory.set_domain_setting("example.test", "defaultLanguage", "fr", actor=admin)
    assert directory.language_of(account.id) == "fr"
    await directory.set_domain_default("example.test", "language", "it", actor=admin)
    assert directory.language_of(account.id) == "it"
    pending = Pending()
    pending.set_value(place_of(WEBMAIL_DATA, account.id, account.domain_id), WEBMAIL_DATA, WEBMAIL_DATA.setting("language"), "de")
    await directory.commit(pending, actor=admin, own=lambda _seq: True)
    assert directory.language_of(account.id) == "de"


@pytest.mark.parametrize(("scope", "name", "text"), [
    ("domainConfig", "maxAccounts", "-5"), ("account", "mboxCount", "-5"), ("account", "totalMessageSize", "much"),
    ("class", "services", "(nonsense)"), ("defaults", "imapConnectionCount", "-5"), ("account", "quotaLimitThreshold", "-5"),
])  # fmt: skip
async def test_a_value_no_longer_in_range_does_not_lock_anybody_out(
    directory: Directory, admin: Actor, scope: str, name: str, text: str
) -> None:
    """A range became narrower in a newer release: the value above holds, as for every other reader."""
    account = await directory.create_account("example.test", "alice", actor=admin)
    made = await directory.create_account_class("example.test", "gold", actor=admin)
    await directory.set_account_class(account.id, made.id, actor=admin)
    plain = directory.account(account.id)
    owner = {"domainConfig": account.domain_id, "account": account.id, "class": made.id, "defaults": 0}[scope]

    def store(transaction: Transaction) -> None:
        transaction.execute("INSERT INTO setting (scope, scope_id, name, value) VALUES (?, ?, ?, ?)", (scope, owner, name, text))
        transaction.record("other release", "setting", owner, "set account")

    directory.database.write_sync(store)
    assert directory.account(account.id) == plain
    assert directory.domain_settings(account.domain_id).maxAccounts == 0
