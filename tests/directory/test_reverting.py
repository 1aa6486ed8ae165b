"""Taking changes back: by their opposite, with what is refused and why."""

from __future__ import annotations

import json

import pytest

from mailstead.directory import Actor, Directory
from mailstead.directory.history_names import ObjectNames, objects_named
from mailstead.directory.model import DirectoryError, RecipientEdit
from mailstead.directory.reverting import RevertError, revert
from mailstead.settings import PermissionDeniedError
from mailstead.settings.declarations import CONTACT_INFO, OBJECT_KINDS, SMS_CONNECTOR_AUTH
from mailstead.settings.edits import Pending, place_of
from mailstead.settings.history import Filter, HistoryEntry, entries
from tests.directory.conftest import ADMIN


def newest(directory: Directory) -> HistoryEntry:
    return entries(directory.database, Filter(), limit=1)[0]


async def back(directory: Directory, entry: HistoryEntry | None = None, **more: bool) -> None:
    await revert(directory, (entry or newest(directory)).seq, actor=ADMIN, **more)


async def test_a_setting_of_a_service(directory: Directory) -> None:
    settings = directory.settings
    await settings.set("imap", "maxErrors", "9", ADMIN)
    await settings.set("imap", "maxErrors", "10", ADMIN)
    await back(directory)
    assert settings.service("imap").maxErrors == 9
    await back(directory)  # which takes the taking back back
    assert settings.service("imap").maxErrors == 10
    await settings.reset("imap", "maxErrors", ADMIN)
    await back(directory)
    assert settings.service("imap").maxErrors == 10


async def test_a_first_value_goes_back_to_the_default(directory: Directory) -> None:
    await directory.settings.set("imap", "maxErrors", "9", ADMIN)
    await back(directory)
    assert directory.settings.service("imap").maxErrors == 20
    assert directory.settings.explicit("service", 0) == {}


async def test_a_later_change_of_the_same_value_is_not_undone_by_accident(directory: Directory) -> None:
    await directory.settings.set("imap", "maxErrors", "9", ADMIN)
    first = newest(directory)
    await directory.settings.set("imap", "maxAuthErrors", "3", ADMIN)
    await directory.settings.set("imap", "maxErrors", "11", Actor.system("bob"))
    with pytest.raises(RevertError, match=f"entry {first.seq + 2} by bob changed it later"):
        await back(directory, first)
    assert directory.settings.service("imap").maxErrors == 11
    await back(directory, first, force=True)
    assert directory.settings.service("imap").maxErrors == 20
    assert directory.settings.service("imap").maxAuthErrors == 3


async def test_inherited_values_of_domain_class_and_account(directory: Directory) -> None:
    await directory.set_domain_default("example.test", "imapConnectionCount", "5", actor=ADMIN)
    await directory.set_domain_setting("example.test", "maxAccounts", "7", actor=ADMIN)
    created = await directory.create_account_class("example.test", "vip", actor=ADMIN)
    await directory.set_class_setting(created.id, "imapConnectionCount", "6", actor=ADMIN)
    account = await directory.create_account("example.test", "anna", actor=ADMIN, class_id=created.id)
    await directory.set_account_setting(account.id, "imapConnectionCount", "8", actor=ADMIN)
    await back(directory)
    assert directory.account_setting(account.id, "imapConnectionCount") == 6
    for entry in entries(directory.database, Filter()):
        if entry.is_value and entry.kind == "setting":
            await back(directory, entry)
    assert directory.account_setting(account.id, "imapConnectionCount") == 16
    domain = directory.domain_by_name("example.test")
    assert domain is not None
    assert directory.domain_settings(domain.id).maxAccounts == 0


async def test_values_of_an_account_s_own(directory: Directory) -> None:
    account = await directory.create_account("example.test", "anna", actor=ADMIN)
    for text in ("Anna", "Ann"):
        pending = Pending()
        place = place_of(CONTACT_INFO, account.id, account.domain_id)
        pending.set_value(place, CONTACT_INFO, CONTACT_INFO.setting("firstName"), text)
        await directory.commit(pending, actor=ADMIN, own=lambda _seq: True)
    await back(directory)
    assert directory.settings.explicit("accountData", account.id) == {"contactInfo.firstName": "Anna"}
    found = directory.account(account.id)
    assert found is not None
    assert found.full_name == "Anna"


async def test_a_right_that_is_given_back_counts_at_once(directory: Directory) -> None:
    account = await directory.create_account("example.test", "anna", actor=ADMIN)
    await directory.set_account_setting(account.id, "services", "(pop3)", actor=ADMIN)
    before = directory.account(account.id)
    assert before is not None
    await back(directory)
    after = directory.account(account.id)
    assert after is not None
    assert "imap" in after.services
    assert after.auth_version > before.auth_version


async def test_named_objects(directory: Directory) -> None:
    objects, kind = directory.settings.objects, OBJECT_KINDS["logRule"]
    await directory.database.write(objects.adder(kind, {"priority": "5", "fileName": "a.txt"}, "anna", "service"))
    await directory.database.write(objects.updater(kind, "5", {"fileName": "b.txt", "logLevel": "3"}, "anna", "service"))
    await back(directory)
    (found,) = objects.all(kind, "service")
    assert found.attributes == {"priority": "5", "fileName": "a.txt"}
    await directory.database.write(objects.remover(kind, "5", "anna", "service"))
    await back(directory)
    assert [one.attributes for one in objects.all(kind, "service")] == [found.attributes]
    await back(directory)
    assert objects.all(kind, "service") == []


async def test_objects_with_secrets_do_not_come_back_without_them(directory: Directory) -> None:
    objects, kind = directory.settings.objects, OBJECT_KINDS["ldapConnector"]
    await directory.database.write(objects.adder(kind, {"name": "ad", "bindPass": "hush"}, "anna", "service"))
    await directory.database.write(objects.remover(kind, "ad", "anna", "service"))
    with pytest.raises(RevertError, match="has no bindPass"):
        await back(directory)
    await directory.settings.set("smtpOutgoing", "smartHostPassword", "hush", ADMIN)
    with pytest.raises(RevertError, match="smartHostPassword is a secret"):
        await back(directory)


async def test_listeners_and_rules(directory: Directory) -> None:
    settings = directory.settings
    listener = await settings.add_listener("imap", "[::1]:1143", {"maxConnections": "7"}, ADMIN)
    await settings.update_listener("imap", "[::1]:1143", {"address": "[::1]:2143", "idleTimeout": "60"}, ADMIN)
    await back(directory)
    (found,) = settings.listeners("imap")
    assert (found.address, found.idleTimeout, found.maxConnections, found.id) == ("[::1]:1143", 1800, 7, listener.id)
    await settings.add_access_rule("imap", "allow", "10.0.0.0/8", {"enable": "yes", "maxConnections": "3"}, ADMIN)
    await settings.update_access_rule("imap", "allow", "10.0.0.0/8", {"enable": "no", "priority": "9"}, ADMIN)
    await back(directory)
    (rule,) = settings.access_rules("imap").all
    assert (rule.enable, rule.priority, rule.limits.maxConnections) == (True, 500, 3)
    await settings.remove_access_rule("imap", "allow", "10.0.0.0/8", ADMIN)
    await back(directory)
    (again,) = settings.access_rules("imap").all
    assert (again.enable, again.priority, again.limits) == (rule.enable, rule.priority, rule.limits)
    await settings.remove_listener("imap", "[::1]:1143", ADMIN)
    await back(directory)
    assert [one.maxConnections for one in settings.listeners("imap")] == [7]


async def test_domains_and_accounts(directory: Directory) -> None:
    account = await directory.create_account("example.test", "anna", "anna-anna-1", actor=ADMIN)
    await directory.add_account_alias(account.id, "a.nna", actor=ADMIN)
    await back(directory)
    assert directory.account_aliases(account.id) == []
    await back(directory)
    assert directory.account_aliases(account.id) == ["a.nna"]
    await directory.rename_account(account.id, "anne", actor=ADMIN)
    await back(directory)
    assert directory.account_by_address("anna@example.test") is not None
    await directory.enable_account(account.id, False, actor=ADMIN)
    await back(directory)
    await directory.add_domain_alias("example.test", "example.org", actor=ADMIN)
    await directory.rename_domain("example.test", "example.net", actor=ADMIN)
    await back(directory)
    found = directory.account_by_address("anna@example.org")
    assert found is not None
    assert found.enabled
    await directory.delete_account(account.id, actor=ADMIN)
    await back(directory)
    assert directory.account_by_address("anna@example.test") is not None
    await directory.delete_domain("example.test", actor=ADMIN)
    await back(directory)
    assert directory.account_by_address("a.nna@example.test") is not None


async def test_groups_and_their_members(directory: Directory) -> None:
    group = await directory.create_group("example.test", "all", ["a@x.example"], actor=ADMIN)
    await directory.add_members(group.id, ["b@x.example", "c@x.example"], actor=ADMIN)
    await back(directory)
    await directory.set_recipient_attributes(group.id, actor=ADMIN, receiveEmailFrom="members")
    await back(directory)
    found = directory.recipient(group.id)
    assert found is not None
    assert found.attributes == {}
    rows = directory.database.query("SELECT address FROM member")
    assert rows == [("a@x.example",)]


def told(directory: Directory, object_id: int) -> list[tuple[str, str, bool, bool]]:
    return [(one.address, one.name, one.digest, one.nomail) for one in directory.members(object_id)]


async def test_members_come_back_with_their_names_and_wishes(directory: Directory) -> None:
    names = {"bea@x.example": "Bea B", "cas@x.example": "", "dan@x.example": "Dan"}
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    await directory.add_members(news.id, names, actor=ADMIN)
    await directory.update_member(news.id, "bea@x.example", digest=True, actor=ADMIN)
    await directory.update_member(news.id, "cas@x.example", nomail=True, actor=ADMIN)
    before = told(directory, news.id)
    assert before[0] == ("bea@x.example", "Bea B", True, False)
    await directory.remove_members(news.id, ["BEA@x.example", "nobody@x.example"], actor=ADMIN)
    await back(directory)
    assert told(directory, news.id) == before
    for edit in (
        RecipientEdit(members_removed=["bea@x.example", "dan@x.example"], members_added={"eve@x.example": "Eve"}),
        RecipientEdit(clear_members=True, members_added={"eve@x.example": "Eve", "dan@x.example": "Another"}),
        RecipientEdit(members_renamed={"bea@x.example": ("b@y.example", "B")}, members_options={"b@y.example": {"digest": False}}),
        RecipientEdit(members_options={"cas@x.example": {"digest": True, "nomail": False}}),
    ):
        await directory.edit_recipient(news.id, edit, actor=ADMIN)
        after = told(directory, news.id)
        assert after != before
        await back(directory)
        assert told(directory, news.id) == before, edit
        await back(directory)  # which takes the taking back back
        assert told(directory, news.id) == after, edit
        await back(directory)


async def test_a_changed_member_goes_back(directory: Directory) -> None:
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    await directory.add_members(news.id, {"bea@x.example": "Bea"}, actor=ADMIN)
    number = next(iter(directory.members(news.id))).id
    await directory.update_member(news.id, "bea@x.example", new_address="b@y.example", name="B", nomail=True, actor=ADMIN)
    await back(directory)
    assert told(directory, news.id) == [("bea@x.example", "Bea", False, False)]
    assert list(newest(directory).lines()) == [
        "members: (address b@y.example, name B, nomail yes) -> (address bea@x.example, name Bea)"
    ]
    await directory.update_member(news.id, "bea@x.example", digest=True, actor=ADMIN)
    await back(directory)
    assert told(directory, news.id) == [("bea@x.example", "Bea", False, False)]
    assert next(iter(directory.members(news.id))).id == number  # links and bounces go by it


async def test_who_was_a_member_before_stays_when_adding_is_taken_back(directory: Directory) -> None:
    for made in (
        await directory.create_list("example.test", "news", ["a@x.example"], actor=ADMIN),
        await directory.create_group("example.test", "all", ["a@x.example"], actor=ADMIN),
    ):
        await directory.add_members(made.id, ["A@x.example", "b@x.example"], actor=ADMIN)
        await back(directory)
        assert [one.address for one in directory.members(made.id)] == ["a@x.example"]
        edit = RecipientEdit(members_added={"a@x.example": "", "b@x.example": ""}, members_removed=["nobody@x.example"])
        await directory.edit_recipient(made.id, edit, actor=ADMIN)
        await back(directory)
        assert [one.address for one in directory.members(made.id)] == ["a@x.example"]


async def test_names_and_state_of_lists_go_back(directory: Directory) -> None:
    news = await directory.create_list("example.test", "news", actor=ADMIN, moderate="nonmembers", adminEmail="boss@x.example")
    await directory.edit_recipient(news.id, RecipientEdit(name="letters", attributes={"moderate": "everybody"}), actor=ADMIN)
    assert directory.resolve("letters-request@example.test").role == "request"
    await back(directory)
    assert directory.resolve("news-request@example.test").role == "request"
    await directory.set_recipient_attributes(
        news.id, actor=ADMIN, subscribeRcpt="join", adminEmail="other@x.example", senderAllow="members", services="(imap)"
    )
    await back(directory)
    assert directory.resolve("news-subscribe@example.test").role == "subscribe"
    await directory.edit_recipient(news.id, RecipientEdit(enabled=True, attributes={"description": "News"}), actor=ADMIN)
    await back(directory)
    found = directory.recipient(news.id)
    assert found is not None
    assert (found.name, found.enabled) == ("news", True)
    assert found.attributes == {"moderate": "nonmembers", "adminEmail": "boss@x.example"}


async def test_members_who_came_meanwhile_do_not_stand_in_the_way(directory: Directory) -> None:
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    await directory.set_recipient_attributes(news.id, actor=ADMIN, moderate="everybody")
    changed = newest(directory)
    await directory.add_members(news.id, ["a@x.example"], actor=ADMIN)
    added = newest(directory)
    await directory.set_member_state(news.id, next(iter(directory.members(news.id))).id, "disabled")
    await directory.add_members(news.id, ["b@x.example"], actor=ADMIN)
    await back(directory, changed)
    assert directory.recipient_value(news.id, "moderate") == "nobody"
    await directory.update_member(news.id, "A@x.example", name="Ann", actor=ADMIN)
    with pytest.raises(RevertError, match="changed it later"):
        await back(directory, added)
    await back(directory, added, force=True)
    assert [one.address for one in directory.members(news.id)] == ["b@x.example"]


async def test_a_temporary_alias_comes_back_for_the_time_it_had(directory: Directory) -> None:
    account = await directory.create_account("example.test", "anna", actor=ADMIN)
    await directory.set_account_setting(account.id, "temporaryAliasesCount", "5", actor=ADMIN)
    await directory.add_account_alias(account.id, "shop", actor=ADMIN, days=3)
    sql = "SELECT expires FROM address WHERE local = 'shop'"
    (expires,) = directory.database.query(sql)
    await directory.remove_account_alias(account.id, "shop", actor=ADMIN)
    await back(directory)
    assert directory.database.query(sql) == [expires]
    await directory.remove_account_alias(account.id, "shop", actor=ADMIN)
    removed = newest(directory)
    past = {"alias": "shop", "expires": 1_000_000_000}
    await directory.database.write(
        lambda t: t.execute("UPDATE history SET old = ? WHERE seq = ?", (json.dumps(past), removed.seq))
    )
    with pytest.raises(RevertError, match="has expired"):
        await back(directory, removed)


async def test_rights_of_administrators(directory: Directory) -> None:
    await directory.create_admin("root", "rootroot-1", actor=ADMIN, everything=True)
    await directory.create_admin("junior", "junior-jr-1", actor=ADMIN)
    await directory.create_admin_group("helpers", actor=ADMIN)
    await directory.grant("junior", "manageIMAP", actor=ADMIN)
    await directory.deny("junior", "manageIMAP", actor=ADMIN)
    await back(directory)
    assert directory.admin_actor("junior").may("manageIMAP")
    await directory.revoke("junior", "manageIMAP", actor=ADMIN)
    await back(directory)
    assert directory.admin_actor("junior").may("manageIMAP")
    await directory.grant("helpers", "managePOP3", actor=ADMIN)
    await directory.add_admin_member("helpers", "junior", actor=ADMIN)
    assert directory.admin_actor("junior").may("managePOP3")
    await back(directory)
    assert not directory.admin_actor("junior").may("managePOP3")


async def test_what_is_refused_has_a_reason(directory: Directory) -> None:
    account = await directory.create_account("example.test", "anna", "anna-anna-1", actor=ADMIN)
    created = newest(directory)
    await directory.set_password(account.id, "anna-anna-2", actor=ADMIN)
    with pytest.raises(RevertError, match="has no passwords"):
        await back(directory)
    with pytest.raises(RevertError, match="mailstead user delete"):
        await back(directory, created, force=True)
    with pytest.raises(RevertError, match="no entry 99999"):
        await revert(directory, 99_999, actor=ADMIN)
    pending = Pending()
    pending.set_content(place_of(CONTACT_INFO, account.id, account.domain_id), "contactNotes", "text", "manageAccounts")
    await directory.commit(pending, actor=ADMIN, own=lambda _seq: True)
    with pytest.raises(RevertError, match="not the texts"):
        await back(directory)
    before = newest(directory).seq
    await directory.set_account_setting(account.id, "imapConnectionCount", "8", actor=ADMIN)
    await directory.delete_account(account.id, actor=ADMIN, keep_copy=False)
    with pytest.raises(RevertError, match="changed it later"):
        await revert(directory, before + 1, actor=ADMIN)
    with pytest.raises(RevertError, match="does not exist any more"):
        await revert(directory, before + 1, actor=ADMIN, force=True)


async def test_the_rights_of_the_verb_are_asked(directory: Directory) -> None:
    await directory.settings.set("imap", "maxErrors", "9", ADMIN)
    with pytest.raises(PermissionDeniedError, match="junior lacks the permission manageIMAP"):
        await revert(directory, newest(directory).seq, actor=Actor("junior", server=frozenset({"managePOP3"})))
    assert directory.settings.service("imap").maxErrors == 9


async def test_names_of_objects_are_found_both_ways(directory: Directory) -> None:
    account = await directory.create_account("example.test", "anna", actor=ADMIN)
    await directory.settings.set("imap", "maxErrors", "9", ADMIN)
    listener = await directory.settings.add_listener("imap", "[::1]:1143", {}, ADMIN)
    await directory.settings.add_access_rule("imap", "deny", "10.0.0.1", {}, ADMIN, listener_id=listener.id)
    rule = OBJECT_KINDS["logRule"]
    await directory.database.write(directory.settings.objects.adder(rule, {"priority": "5"}, "anna", "service"))
    reserved = OBJECT_KINDS["reservedRcpt"]
    await directory.database.write(
        directory.settings.objects.adder(reserved, {"rcpt": "boss"}, "anna", "domainConfig", account.domain_id)
    )
    await directory.set_domain_default("example.test", "imapConnectionCount", "5", actor=ADMIN)
    await directory.delete_account(account.id, actor=ADMIN)
    names = ObjectNames(directory.database)
    assert [names.of(one) for one in reversed(entries(directory.database, Filter()))] == [
        "domain example.test",
        "account anna@example.test (deleted)",
        "imap",
        "listener imap [::1]:1143",
        "rule imap deny 10.0.0.1",
        "logRule 5",
        "reservedRcpt boss of domain example.test",
        "domain example.test, account defaults",
        "account anna@example.test (deleted)",
    ]

    def verbs(text: str) -> list[str]:
        return [one.verb for one in reversed(entries(directory.database, Filter(objects_named(directory, text))))]

    assert verbs("IMAP") == ["set imap"]
    assert verbs("example.test") == ["create", "set account"]
    assert verbs("anna@example.test") == ["create", "delete"]
    assert verbs("logrule") == ["add logRule"]
    assert verbs("listeners") == ["add", "add"]
    assert verbs(f"account:{account.id}") == ["create", "delete"]
    with pytest.raises(DirectoryError, match="there is no 'nothing'"):
        objects_named(directory, "nothing")


async def test_values_of_a_named_object_that_are_rows_of_their_own(directory: Directory) -> None:
    kind = OBJECT_KINDS["smsConnector"]
    await directory.database.write(directory.settings.objects.adder(kind, {"name": "gate"}, "test", "service", 0, 78))
    for text in ("basic", "bearer"):
        pending = Pending()
        place = place_of(SMS_CONNECTOR_AUTH, 78)
        pending.set_value(place, SMS_CONNECTOR_AUTH, SMS_CONNECTOR_AUTH.setting("type"), text)
        await directory.commit(pending, actor=ADMIN, own=lambda _seq: True)
    assert ObjectNames(directory.database).of(newest(directory)) == "smsConnector gate"
    await back(directory)
    assert directory.settings.explicit("object", 78) == {"type": "basic"}
