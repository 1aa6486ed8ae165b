"""Taking changes back: by their opposite, with what is refused and why."""

from __future__ import annotations

import pytest

from mailstead.directory import Actor, Directory
from mailstead.directory.history_names import ObjectNames, objects_named
from mailstead.directory.model import DirectoryError
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
