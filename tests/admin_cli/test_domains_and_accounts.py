"""Domains, accounts and classes over the protocol, as the scripts of hosters use them (admin-cli 4 and 6, provisioning 4)."""

from __future__ import annotations

import asyncio

import pytest

from mailstead.directory import Actor
from mailstead.identity.passwords import verify
from tests.admin_cli.conftest import PASSWORD, Face

SYSTEM = Actor.system("test")


async def test_a_domain_is_created_with_its_postmaster_in_one_commit(face: Face) -> None:
    client = await face.client()
    reply = await client.send(
        'CREATE Domain name "new.test" domainLocation "/var/opt/axigen/domains/new.test" postmasterPassword "secret-1-x"'
    )
    assert reply == ["+OK: command successful"] and client.prompt == "<domain-create#> "
    await client.ok("SET groupwareSupport yes", 'SET domainObjectsLocation "/x/objects"')
    assert face.directory.domain_by_name("new.test") is None
    await client.ok("COMMIT")
    assert client.prompt == "<#> "
    assert face.directory.account_by_address("postmaster@new.test") is not None
    assert any(row.split()[0] == "new.test" for row in await client.rows("LIST Domains"))
    assert "already exists" in await client.err('CREATE Domain name "new.test" domainLocation "/y" postmasterPassword "p"')


async def test_old_spelling_of_create_domain(face: Face) -> None:
    client = await face.client()
    await client.ok("CREATE DOMAIN NAME old.test DOMAINLOCATION /d/old.test POSTMASTERPASSWD secret-1-x", "COMMIT")
    assert face.directory.domain_by_name("old.test") is not None


async def test_back_leaves_no_domain_behind(face: Face) -> None:
    client = await face.client()
    await client.ok("CREATE Domain name gone.test domainLocation /d postmasterPassword secret-1-x", "BACK")
    assert client.prompt == "<#> " and face.directory.domain_by_name("gone.test") is None


async def test_disable_enable_delete(face: Face) -> None:
    client = await face.client()
    await client.ok('DISABLE Domain name "example.test"')
    rows = await client.rows("LIST AllDomains")
    assert [row.split()[-1] for row in rows if row.startswith("example.test ")] == ["disabled"]
    assert await client.rows("LIST Domains") == []
    assert "disabled" in await client.err("UPDATE Domain name example.test")
    await client.ok('ENABLE Domain name "example.test"', "UPDATE Domain example.test")


async def test_a_deleted_domain_comes_back_unless_no_copy_was_kept(face: Face) -> None:
    client = await face.client()
    await client.ok('DISABLE Domain name "example.test"', 'DELETE Domain name "example.test"')
    assert face.directory.domain_by_name("example.test") is None
    assert "does not exist" in await client.err('DELETE Domain name "example.test"')
    await client.ok('ENABLE Domain name "example.test"')
    assert face.directory.account_by_address("alice@example.test") is not None
    assert [row.split()[0] for row in await client.rows("LIST Domains")] == ["example.test"]
    await client.ok("DISABLE Domain example.test", "DELETE Domain example.test", "ENABLE Domain domainLocation /srv/example.test")
    assert [row.split()[0] for row in await client.rows("LIST Domains")] == ["example.test"]
    await client.ok("DISABLE Domain example.test", "delete domain EXAMPLE.test DONTKEEPCOPY")
    assert "no deleted domain" in await client.err('ENABLE Domain name "example.test"')


@pytest.mark.parametrize(
    "lines", [("ENABLE Domain domainLocation /srv/one",), ("REGISTER Domain domainLocation /srv/one", "COMMIT")], ids=str
)
async def test_a_deleted_domain_comes_back_by_the_location_it_was_given(face: Face, lines: tuple[str, ...]) -> None:
    client = await face.client()
    for name, place in (("one.test", "/srv/one"), ("two.test", "/srv/two")):
        await client.ok(f"CREATE Domain name {name} domainLocation {place} postmasterPassword secret-1-x", "COMMIT")
        await client.ok(f"DISABLE Domain {name}", f"DELETE Domain domainLocation {place}")
    await client.ok(*lines)
    assert [row.split()[0] for row in await client.rows("LIST Domains")] == ["example.test", "one.test"]
    assert "no domain at /srv/on" in await client.err("ENABLE Domain domainLocation /srv/on")


async def test_who_may_not_enable_does_not_bring_a_domain_back_by_enabling_it(face: Face) -> None:
    await face.directory.create_admin("keeper", PASSWORD, actor=SYSTEM)
    await face.directory.grant("keeper", "restoreAnyDomain", None, actor=SYSTEM)
    client, keeper = await face.client(), await face.client("keeper")
    await client.ok("DISABLE Domain example.test", "DELETE Domain example.test")
    assert "keeper lacks the permission activateAnyDomain" in await keeper.err("ENABLE Domain name example.test")
    assert face.directory.domain_by_name("example.test") is None


async def test_account_life(face: Face) -> None:
    client = await face.client()
    await client.ok('UPDATE Domain name "example.test"', 'ADD Account name "john" password "p\\"w 1x"')
    assert client.prompt == "<domain-account#> "
    await client.ok("SET accountType basic", 'SET customerReference "whmcs-7"', "CONFIG Quotas")
    assert client.prompt == "<domain-account-quotas#> "
    await client.ok("SET totalMessageSize 1048576", "SET totalMessageCount 10000", "DONE", "CONFIG ContactInfo")
    await client.ok('SET firstName "John" lastName "Doe"', "DONE")
    assert face.directory.account_by_address("john@example.test") is None
    await client.ok("COMMIT", "COMMIT")
    assert client.prompt == "<#> "
    account = face.directory.account_by_address("john@example.test")
    assert account is not None and account.full_name == "John Doe" and account.quota_bytes == 1 << 30
    await client.ok("UPDATE Domain example.test")
    assert "john" in await client.rows("LIST Accounts") and await client.rows("LIST Accounts j*") == ["john"]
    await client.ok("UPDATE Account name john")
    shown = await client.show()
    assert shown["name"] == '"john"' and shown["accountType"] == "basic" and shown["customerReference"] == '"whmcs-7"'
    assert shown["accountClassName"] == '""'
    await client.ok("CONFIG Quotas")
    assert (await client.show())["totalMessageSize"].split()[0] == "1048576"
    assert (await client.ok("SHOW ATTR totalMessageSize"))[0].startswith("totalMessageSize = 1048576 [explicit")
    await client.ok("RESET totalMessageSize")
    assert "[inherited from " in (await client.show())["totalMessageSize"]
    await client.ok("BACK", "BACK", "REMOVE Account name john")
    assert face.directory.account_by_address("john@example.test") is None
    await client.ok("BACK")


async def test_password_of_an_account_is_taken_and_checked_on_request(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice")
    assert "at least" in await client.err('SET password "a1" respectEnforcement yes')
    await client.ok('SET password "a1" respectEnforcement no', "COMMIT")


async def test_the_last_of_many_passwords_counts_and_a_wrong_one_is_refused_when_it_is_given(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test")
    assert "empty" in await client.err('ADD Account name bob password ""')
    await client.ok("ADD Account name bob password first-secret-1")
    assert "longer" in await client.err(f'SET password "{"x" * 5000}"')
    client.writer.write(b"".join(b"SET password secret-%d\r\n" % number for number in range(5)) + b"COMMIT\r\n")
    replies = b""
    while replies.count(b"+OK: ") < 6 or not replies.endswith(b"> "):
        replies += await asyncio.wait_for(client.reader.read(65536), 60)
    assert b"-ERR: " not in replies
    account = face.directory.account_by_address("bob@example.test")
    assert account is not None
    found = face.directory.credentials(account.id)
    assert found is not None and verify("secret-4", found.password) and not verify("secret-3", found.password)
    await client.ok("ADD Account name carol password secret-1-x", "BACK")
    assert face.directory.account_by_address("carol@example.test") is None


async def test_a_ready_hash_is_taken_in_the_place_of_a_password(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test")
    assert "hash" in await client.err('ADD Account name h1 passwordHash "{NOSUCH}abc"')
    await client.ok('ADD Account name h1 passwordHash "{SSHA}5JFxvOKYRcvxxQFGcMTHm+p5CKwxMjM0"', "COMMIT")
    assert face.directory.account_by_address("h1@example.test") is not None


async def test_aliases_wait_for_commit(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "ADD Alias example.net", "UPDATE Account alice", "ADD Alias al")
    assert await client.items("LIST Aliases") == ["al"]
    assert face.directory.account_by_address("al@example.test") is None
    await client.ok("COMMIT")
    assert face.directory.account_by_address("al@example.test") is not None
    assert face.directory.domain_by_name("example.net") is None
    body = await client.ok("LIST Aliases")
    assert body[1] == "The list of aliases for this domain:" and body[2] == "example.net"
    await client.ok("COMMIT")
    assert face.directory.domain_by_name("example.net") is not None
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "REMOVE Alias al", "COMMIT")
    assert face.directory.account_by_address("al@example.test") is None


async def test_class_values_reach_accounts_and_show_their_origin(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "ADD accountClass gold", "CONFIG Quotas", "SET totalMessageSize 2048", "DONE")
    assert face.directory.account_classes(face.directory.domain_by_name("example.test").id) == []  # type: ignore[union-attr]
    await client.ok("COMMIT", "UPDATE Account alice", "INHERIT SETTINGS FROM accountClass gold", "COMMIT")
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None and account.quota_bytes == 2048 * 1024
    await client.ok("UPDATE Account alice", "CONFIG Quotas")
    assert (await client.ok("SHOW ATTR totalMessageSize"))[0] == (
        "totalMessageSize = 2048 [inherited from account class: 2048]"
    )
    await client.ok("BACK", "INHERIT SETTINGS FROM domainDefaults", "COMMIT", "REMOVE accountClass gold")
    assert "does not exist" in await client.err("UPDATE accountClass gold")


async def test_services_off_suspends_and_reset_brings_back(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG Limits", "SET services ()", "DONE", "COMMIT")
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None and not account.services
    await client.ok("UPDATE Account alice", "CONFIG Limits", "RESET services", "DONE", "COMMIT")
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None and "imap" in account.services


async def test_admin_limits_hold(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "CONFIG adminLimits", "SET maxAccounts 2 maxMaillists 5", "COMMIT")
    await client.ok("ADD Account b password secret-1-x", "COMMIT")
    assert "at most 2 accounts" in await client.err("ADD Account c password secret-1-x"), "before all of it is filled in"
    assert client.prompt == "<domain#> "
    await client.ok("CONFIG adminLimits", "SET maxAccountMessageSizeQuota 1000", "COMMIT", "UPDATE Account alice")
    await client.ok("CONFIG Quotas")
    assert "1 to 1000" in await client.err("SET totalMessageSize 2000")


async def test_a_limit_that_is_used_up_meanwhile_holds_at_commit(face: Face) -> None:
    client, other = await face.client(), await face.client()
    await client.ok("UPDATE Domain example.test", "CONFIG adminLimits", "SET maxAccounts 2", "COMMIT")
    await client.ok("ADD Account b password secret-1-x")
    await other.ok("UPDATE Domain example.test", "ADD Account c password secret-1-x", "COMMIT")
    assert "at most 2 accounts" in await client.err("COMMIT")
    assert client.prompt == "<domain-account#> "
    await other.ok("REMOVE Account c")
    await client.ok("COMMIT")


async def test_limits_of_every_kind_are_told_when_one_more_is_begun(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "CONFIG adminLimits")
    await client.ok("SET maxGroups 1 maxMaillists 1 maxFolderRecipients 1 maxAccountClasses 1", "COMMIT")
    await client.ok("ADD accountClass gold", "COMMIT", "ADD Group team", "COMMIT", "ADD List news password secret-1-x", "COMMIT")
    await client.ok("CONFIG PUBLIC-FOLDER", "ADD Mbox Questions", "COMMIT")
    await client.ok("ADD FolderRcpt inquiries", "SET mboxName Questions", "COMMIT")
    for line, told in (
        ("ADD accountClass silver", "1 classes"),
        ("ADD Group more", "1 groups"),
        ("ADD List more password secret-1-x", "1 mailing lists"),
        ("ADD FolderRcpt more", "1 folder recipients"),
    ):
        assert await client.err(line) == f"the domain may have at most {told}"
        assert client.prompt == "<domain#> "
    await client.ok("REMOVE Group team", "ADD Group more", "COMMIT")


async def test_list_valued_limits(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG SendRecvRestrictions")
    await client.ok("SET enableSendRestrictions yes sendPolicy allowLocalDomain", "ADD sendPolicyException partner.test")
    assert await client.items("LIST sendPolicyExceptions") == ["partner.test"]
    assert "already exists" in await client.err("ADD sendPolicyException PARTNER.test")
    await client.ok("DONE", "COMMIT", "UPDATE Account alice", "CONFIG SendRecvRestrictions")
    assert await client.items("LIST sendPolicyExceptions") == ["partner.test"]
    await client.ok("REMOVE sendPolicyException partner.test", "DONE", "COMMIT")


@pytest.mark.parametrize("line", ["SET totalMessageSize many", "SET totalMessageSize", "SET noSuchThing 1", "SET mboxCount -1"])
async def test_wrong_values_are_named_and_nothing_waits(face: Face, line: str) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG Quotas")
    reason = await client.err(line)
    assert line.split()[1] in reason
    assert "[explicit" not in " ".join((await client.show()).values())


async def test_contact_notes_are_a_text(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG ContactInfo")
    reply = await client.text("ESET contactNotes", "first\n.dotted\n+OK: not a status")
    assert reply[-1].startswith("+OK") and client.prompt == "<domain-account-contactinfo#> "
    await client.ok("DONE", "COMMIT", "UPDATE Account alice", "CONFIG ContactInfo")
    assert await client.ok("SHOW contactNotes") == ["first", "..dotted", ".+OK: not a status"]


async def test_registry_information_has_parseable_dates(face: Face) -> None:
    import email.utils

    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice")
    shown = await client.show("SHOW RegistryInformation")
    for key in ("Creation Date", "Modification Date", "IMAP Last Login Date", "OLK Last Login Date", "WebMail Last Login Date"):
        assert email.utils.parsedate_to_datetime(shown[key])
    assert shown["Mbox size"] == "0" and shown["IMAP Last Login IP"] == "0.0.0.0"


async def test_two_sessions_on_one_account_the_later_commit_is_told(face: Face) -> None:
    first, second = await face.client(), await face.client()
    for client in (first, second):
        await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG Quotas")
    await first.ok("SET totalMessageSize 1111 totalMessageCount 1", "DONE", "COMMIT")
    await second.ok("SET totalMessageSize 2222 totalMessageCount 2", "DONE")
    assert "changed meanwhile by admin" in await second.err("COMMIT")
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None and (account.quota_bytes, account.quota_messages) == (1111 * 1024, 1)
    await second.ok("COMMIT")
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None and (account.quota_bytes, account.quota_messages) == (2222 * 1024, 2)


async def test_administrators_and_their_permissions(face: Face) -> None:
    client = await face.client()
    await client.ok("ENTER AACL", 'ADD admin-user name "hoster" password "hoster-secret-1"')
    assert client.prompt == "<aacl-adminUser#> "
    await client.ok('GRANT permission (manageAccounts createAccounts) domain "example.test"', "DONE")
    assert any(row.startswith("hoster") for row in await client.rows("LIST admin-users"))
    await client.ok("UPDATE admin-user hoster")
    line = next(line for line in await client.ok("SHOW") if line.startswith("Permissions on Domain "))
    assert f"{line}\r"[23:-3] == "example.test"
    await client.ok("BACK", "DONE")
    other = await face.client("hoster", "hoster-secret-1")
    await face.directory.create_domain("secret.test", actor=SYSTEM)
    assert [row.split()[0] for row in await other.rows("LIST Domains")] == ["example.test"]
    assert "does not exist" in await other.err("UPDATE Domain secret.test")
    assert "unknown command" in await other.err("ENTER AACL")
    await other.ok("UPDATE Domain example.test", "ADD Account new password secret-1-x", "COMMIT")
    assert "unknown command" in await other.err("REMOVE Account new")
    assert "unknown command" in await other.err("ADD accountClass gold")
    await client.ok("ENTER AACL", "UPDATE admin-user hoster", "REVOKE permission (createAccounts) domain example.test", "DONE")
    assert "your rights have changed" in await other.err("LIST Accounts")
    await other.ok("UPDATE Domain example.test")
    assert "unknown command" in await other.err("ADD Account more password secret-1-x")
    await client.ok("REMOVE admin-user hoster")
    await other.send("LIST Accounts")
    assert other.prompt == ""


async def test_help_lists_only_what_may_be_done(face: Face) -> None:
    client = await face.client()
    lines = await client.ok("HELP")
    assert lines[0].startswith("The commands of the context") and any(line.startswith("CREATE Domain ") for line in lines)
    await face.directory.create_admin("reader", PASSWORD, actor=SYSTEM)
    await face.directory.grant("reader", "manageAccounts", "example.test", actor=SYSTEM)
    other = await face.client("reader")
    lines = await other.ok("HELP")
    assert not any(line.startswith(("CREATE Domain", "ENTER AACL")) for line in lines)


async def test_what_was_removed_meanwhile_takes_no_names(face: Face) -> None:
    """COMMIT said once more, after "changed meanwhile", must not give names to an account or domain that is gone."""
    await face.directory.create_domain("gone.test", actor=SYSTEM)
    await face.directory.create_account("gone.test", "bob", actor=SYSTEM)
    first, second, third = await face.client(), await face.client(), await face.client()
    await first.ok("UPDATE Domain gone.test", "UPDATE Account bob", "SET name robert")
    await second.ok("UPDATE Domain gone.test", "UPDATE Account bob", "ADD Alias bobby")
    account = face.directory.account_by_address("bob@gone.test")
    assert account is not None
    await face.directory.delete_account(account.id, actor=SYSTEM)
    for client in (first, second):
        assert "changed meanwhile" in await client.err("COMMIT")
        assert "does not exist" in await client.err("COMMIT")
    await third.ok("UPDATE Domain gone.test", "ADD Account robert password secret-1-x", "COMMIT")
    await third.ok("ADD Account bobby password secret-1-x", "COMMIT", "BACK")
    await first.ok("BACK", "SET name other.test")
    await second.ok("BACK", "ADD Alias alias.test")
    await face.directory.delete_domain("gone.test", actor=SYSTEM)
    for client in (first, second):
        await client.send("COMMIT")
        assert "does not exist" in await client.err("COMMIT")
    await third.ok("CREATE Domain name other.test domainLocation /o postmasterPassword secret-1-x", "COMMIT")
    await third.ok("CREATE Domain name alias.test domainLocation /a postmasterPassword secret-1-x", "COMMIT")


async def test_a_class_that_was_removed_meanwhile_is_not_renamed(face: Face) -> None:
    client, other = await face.client(), await face.client()
    await client.ok("UPDATE Domain example.test", "ADD accountClass gold", "COMMIT", "UPDATE accountClass gold", "SET name silver")
    await other.ok("UPDATE Domain example.test", "REMOVE accountClass gold")
    await client.send("COMMIT")
    assert "does not exist" in await client.err("COMMIT")


async def test_an_account_comes_back_though_it_was_changed_when_it_was_gone(face: Face) -> None:
    first = await face.client()
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    await first.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG ContactInfo", "SET firstName Late", "DONE")
    await first.ok("CONFIG WebmailData", "ADD signature name s", "DONE")
    await face.directory.set_full_name(account.id, "Alice", actor=SYSTEM)
    await face.directory.delete_account(account.id, actor=SYSTEM)
    assert "changed meanwhile" in await first.err("COMMIT")
    assert "removed meanwhile" in await first.err("COMMIT")
    await face.directory.restore_account(account.id, actor=SYSTEM)
    await first.send("COMMIT")
    await first.ok("COMMIT")


async def test_setting_the_class_tells_the_command_that_does_it(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "ADD accountClass gold", "COMMIT", "ADD accountClass 'pure.gold'", "COMMIT")
    await client.ok("UPDATE Account alice")
    for word, told in (
        ("gold", "INHERIT SETTINGS FROM accountClass gold"), ('"pure.gold"', "INHERIT SETTINGS FROM accountClass pure.gold"),
        ('""', "INHERIT SETTINGS FROM domainDefaults"),
    ):  # fmt: skip
        assert await client.err(f"SET accountClassName {word}") == f"accountClassName cannot be set; {told} does it"
        await client.ok(told)
    assert await client.err('SET accountClassName "two words"') == (
        'accountClassName cannot be set; INHERIT SETTINGS FROM accountClass "two words" does it'
    )
    await face.directory.create_admin("namer", PASSWORD, actor=SYSTEM)
    await face.directory.grant("namer", "manageAccounts", "example.test", actor=SYSTEM)
    other = await face.client("namer")
    await other.ok("UPDATE Domain example.test", "UPDATE Account alice")
    assert "lacks the permission changeAccountsClass" in await other.err("SET accountClassName gold")
