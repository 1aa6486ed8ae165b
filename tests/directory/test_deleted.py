"""What is deleted can be brought back as it was, within the retention time and by who may."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailstead.directory import Actor, AlreadyExistsError, Directory, LimitReachedError, NotFoundError, PermissionDeniedError
from mailstead.directory.object_rows import ACCOUNT_TABLES, rows_of
from mailstead.settings.declarations import OBJECT_KINDS

TABLES = (
    "domain", "domain_name", "account_class", "account", "recipient", "address", "admin_permission", "member", "setting",
    "object", "content", "login", "password_history",
)  # fmt: skip


def state(directory: Directory) -> dict[str, set[tuple[object, ...]]]:
    """All rows, but for the versions that end sessions and what numbers itself."""
    left_out = {"account": {"auth_version"}, "recipient": {"auth_version"}, "domain": {"version"}, "object": {"id"}}
    found: dict[str, set[tuple[object, ...]]] = {}
    for table in TABLES:
        names = [row[0] for row in directory.database.query("SELECT name FROM pragma_table_info(?)", (table,))]
        shown = [name for name in names if name not in left_out.get(table, set())]
        found[table] = set(directory.database.query(f"SELECT {', '.join(shown)} FROM {table}"))
    return found


async def furnish(directory: Directory, admin: Actor) -> int:
    """One of each object; returns the account's id."""
    gold = await directory.create_account_class("example.test", "gold", actor=admin)
    await directory.set_class_setting(gold.id, "totalMessageSize", "1000", actor=admin)
    alice = await directory.create_account("example.test", "alice", "first-1", full_name="Alice A.", class_id=gold.id, actor=admin)
    await directory.set_domain_default("example.test", "passHistorySize", "3", actor=admin)
    await directory.set_password(alice.id, "second-2", actor=admin)
    await directory.add_account_alias(alice.id, "sales", actor=admin)
    await directory.set_account_setting(alice.id, "totalMessageCount", "77", actor=admin)
    await directory.record_login(alice.id, "imap", "127.0.0.1")
    await directory.create_group("example.test", "crew", ["alice@example.test"], actor=admin)
    await directory.create_list("example.test", "news", ["bob@elsewhere.test"], actor=admin)
    await directory.create_folder_recipient("example.test", "box", "Board", actor=admin)
    await directory.add_domain_alias("example.test", "example.org", actor=admin)
    await directory.set_domain_setting("example.test", "maxAccounts", "5", actor=admin)
    await directory.create_admin("helper", "helper-secret", actor=admin)
    await directory.grant("helper", "manageAccounts", "example.test", actor=admin)

    def more(transaction: object) -> None:
        execute = transaction.execute  # type: ignore[attr-defined]
        execute("INSERT INTO object VALUES (1, 'presetFilter', 'account', ?, 'x', '{}')", (alice.id,))
        execute("INSERT INTO content VALUES ('account', ?, 'contactNotes', 'long')", (alice.id,))

    await directory.database.write(more)
    return alice.id


async def test_a_deleted_account_comes_back_as_it_was(directory: Directory, admin: Actor) -> None:
    alice = await furnish(directory, admin)
    before, version = state(directory), directory.account(alice).auth_version  # type: ignore[union-attr]
    await directory.delete_account(alice, actor=admin)
    assert directory.account_by_address("alice@example.test") is None
    assert [(one.id, one.name) for one in directory.deleted_accounts("example.test")] == [(alice, "alice@example.test")]
    back = await directory.restore_account("ALICE@example.test", actor=admin)
    assert back.account.id == alice
    assert not back.left_out
    assert state(directory) == before
    assert back.account.auth_version > version
    assert directory.deleted_accounts("example.test") == []
    assert directory.database.query("SELECT * FROM deleted_row") == directory.database.query("SELECT * FROM deleted_mailbox") == []


async def test_a_deleted_domain_comes_back_as_it_was(directory: Directory, admin: Actor) -> None:
    alice = await furnish(directory, admin)
    before = state(directory)
    shards = directory.database.query("SELECT * FROM shard ORDER BY number")
    await directory.delete_domain("example.test", actor=admin)
    assert not any(state(directory)[table] for table in ("domain", "account", "address", "recipient", "object"))
    (deleted,) = directory.deleted_domains()
    back = await directory.restore_domain("Example.TEST", actor=admin)
    assert back.domain.id == deleted.id
    assert back.accounts == 1
    assert directory.account(alice) is not None
    assert state(directory) == before
    assert directory.database.query("SELECT * FROM shard ORDER BY number") == shards


async def test_names_that_others_took_stay_theirs(directory: Directory, admin: Actor) -> None:
    alice = await furnish(directory, admin)
    await directory.delete_account(alice, actor=admin)
    other = await directory.create_account("example.test", "alice", actor=admin)
    await directory.create_group("example.test", "sales", [], actor=admin)
    with pytest.raises(AlreadyExistsError, match="another name"):
        await directory.restore_account(alice, actor=admin)
    back = await directory.restore_account(alice, name="alice2", actor=admin)
    assert back.account.address == "alice2@example.test"
    assert back.left_out == ("the alias sales, which is taken",)
    assert directory.account_by_address("alice@example.test").id == other.id  # type: ignore[union-attr]
    await directory.delete_domain("example.test", actor=admin)
    await directory.create_domain("example.test", actor=admin)
    await directory.create_domain("example.org", actor=admin)
    with pytest.raises(AlreadyExistsError, match="another name"):
        await directory.restore_domain("example.test", actor=admin)
    domain = await directory.restore_domain("example.test", name="old.test", actor=admin)
    assert domain.left_out == ("the domain alias example.org, which is taken",)
    assert directory.account_by_address("alice2@old.test").id == alice  # type: ignore[union-attr]


async def test_the_domains_limits_hold_and_its_classes_may_be_gone(directory: Directory, admin: Actor) -> None:
    alice = await furnish(directory, admin)
    await directory.delete_account(alice, actor=admin)
    await directory.delete_account_class(directory.account_classes(directory.domain_by_name("example.test").id)[0].id, actor=admin)  # type: ignore[union-attr]
    for number in range(5):
        await directory.create_account("example.test", f"a{number}", actor=admin)
    with pytest.raises(LimitReachedError):
        await directory.restore_account(alice, actor=admin)
    await directory.set_domain_setting("example.test", "maxAccounts", "6", actor=admin)
    back = await directory.restore_account(alice, actor=admin)
    assert back.account.class_id == 0
    assert back.left_out == ("its account class, which is gone",)


async def test_only_who_may_restore_does(directory: Directory, admin: Actor) -> None:
    alice = await directory.create_account("example.test", "alice", actor=admin)
    domain = directory.domain_by_name("example.test")
    assert domain is not None
    await directory.delete_account(alice.id, actor=admin)
    with pytest.raises(PermissionDeniedError, match="restoreDomain"):
        await directory.restore_account(alice.id, actor=Actor("x", server=frozenset({"removeAccountsOnAnyDomain"})))
    await directory.restore_account(alice.id, actor=Actor("x", domains={domain.id: frozenset({"restoreDomain"})}))
    await directory.delete_domain("example.test", actor=admin)
    with pytest.raises(PermissionDeniedError):
        await directory.restore_domain(domain.id, actor=Actor("x", domains={1: frozenset({"restoreDomain"})}))
    await directory.restore_domain(domain.id, actor=Actor("x", server=frozenset({"restoreAnyDomain"})))


async def test_the_end_of_the_retention_time_is_final(directory: Directory, admin: Actor) -> None:
    alice = await directory.create_account("example.test", "alice", actor=admin)
    await directory.delete_account(alice.id, actor=admin)
    assert await directory.claim_deleted_mailboxes() == []
    await directory.settings.set("server", "retentionDays", "0", admin)
    (claimed,) = await directory.claim_deleted_mailboxes()
    assert (claimed.owner, claimed.shard) == (alice.id, alice.shard)
    assert claimed.time > 0
    await directory.settings.set("server", "retentionDays", "14", admin)
    with pytest.raises(NotFoundError):
        await directory.restore_account(alice.id, actor=admin)
    assert [one.owner for one in await directory.claim_deleted_mailboxes()] == [alice.id]  # a crash before it was done
    await directory.mailbox_removed(alice.id)
    assert await directory.claim_deleted_mailboxes() == []
    assert directory.database.query("SELECT * FROM deleted") == []


async def test_without_a_copy_nothing_comes_back(directory: Directory, admin: Actor) -> None:
    alice = await directory.create_account("example.test", "alice", "secret-1", actor=admin)
    domain = await directory.create_domain("other.test", actor=admin)
    bob = await directory.create_account("other.test", "bob", "secret-1", actor=admin)
    await directory.delete_account(alice.id, actor=admin, keep_copy=False)
    await directory.delete_domain("other.test", actor=admin, keep_copy=False)
    assert directory.deleted_domains() == directory.deleted_accounts("example.test") == []
    assert directory.database.query("SELECT * FROM deleted_row") == []
    claimed = await directory.claim_deleted_mailboxes()
    assert {(one.owner, one.time) for one in claimed} == {(alice.id, 0), (domain.id, 0), (bob.id, 0)}


async def test_a_copy_can_be_given_up(directory: Directory, admin: Actor) -> None:
    alice = await directory.create_account("example.test", "alice", actor=admin)
    await directory.delete_account(alice.id, actor=admin)
    await directory.erase_deleted("account", "alice@example.test", actor=admin)
    assert directory.deleted_accounts("example.test") == []
    assert [one.owner for one in await directory.claim_deleted_mailboxes()] == [alice.id]


async def test_secrets_of_the_deleted_are_in_no_history(directory: Directory, admin: Actor, tmp_path: Path) -> None:
    alice = await directory.create_account("example.test", "alice", hash="{PLAIN}very-secret", actor=admin)
    await directory.delete_account(alice.id, actor=admin)
    await directory.restore_account(alice.id, actor=admin)
    assert not [row for row in directory.database.query("SELECT old, new FROM history") if "very-secret" in f"{row}"]


async def test_what_named_objects_own_comes_back_with_them(directory: Directory, admin: Actor) -> None:
    alice = await directory.create_account("example.test", "alice", actor=admin)
    domain = directory.domain_by_name("example.test")
    assert domain is not None
    objects = directory.settings.objects
    for operation in (
        objects.adder(OBJECT_KINDS["signature"], {"name": "short"}, "test", "account", alice.id, 71),
        objects.adder(OBJECT_KINDS["preset"], {"name": "strict"}, "test", "domainConfig", domain.id, 72),
        objects.adder(OBJECT_KINDS["presetFilter"], {"name": "spam", "enabled": "no"}, "test", "object", 72, 73),
    ):
        await directory.database.write(operation)
    await directory.database.write(
        lambda transaction: transaction.execute(
            "INSERT INTO content VALUES ('object', 71, 'text', 'Alice'), ('object', 73, 't', 'x')"
        )
    )
    before = state(directory)
    await directory.delete_account(alice.id, actor=admin)
    assert [row[0] for row in directory.database.query("SELECT value FROM content")] == ["x"]
    await directory.restore_account(alice.id, actor=admin)
    assert state(directory) == before
    await directory.delete_domain("example.test", actor=admin)
    assert directory.database.query("SELECT 1 FROM content UNION ALL SELECT 1 FROM object") == []
    await directory.restore_domain("example.test", actor=admin)
    assert state(directory) == before


async def test_a_copy_of_an_account_has_objects_of_its_own(directory: Directory, admin: Actor) -> None:
    alice = await directory.create_account("example.test", "alice", actor=admin)
    kind = OBJECT_KINDS["signature"]
    await directory.database.write(directory.settings.objects.adder(kind, {"name": "short"}, "test", "account", alice.id, 71))
    text = "INSERT INTO content VALUES ('object', 71, 'text', 'old')"
    await directory.database.write(lambda transaction: transaction.execute(text))
    rows = list(rows_of(directory.database.query, ACCOUNT_TABLES, alice.id))
    await directory.database.write(lambda transaction: transaction.execute("UPDATE content SET value = 'new'"))
    copy = await directory.bring_account(rows, "example.test", actor=admin, name="alice2")
    texts = {}
    for account in (alice, copy.account):
        (found,) = directory.settings.objects.all(kind, "account", account.id)
        rows_there = directory.database.query("SELECT value FROM content WHERE scope = 'object' AND scope_id = ?", (found.id,))
        texts[account.name] = rows_there
    assert texts == {"alice": [("new",)], "alice2": [("old",)]}
    await directory.take_back(alice.id, rows, actor=admin, password=False, settings=True)
    (found,) = directory.settings.objects.all(kind, "account", alice.id)
    sql = "SELECT value FROM content WHERE scope = 'object' AND scope_id = ?"
    assert directory.database.query(sql, (found.id,)) == [("old",)]
