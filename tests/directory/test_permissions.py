"""Nobody does what it may not: actors, GRANT, DENY, REVOKE."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.directory import Actor, Directory, DirectoryError, NewAccount, PermissionDeniedError
from mailstead.settings.permissions import DOMAIN_PERMISSIONS, SERVER_FORM, SERVER_PERMISSIONS

Verb = Callable[[Actor], Awaitable[object]]


def verbs(directory: Directory, account: int, group: int, class_id: int) -> dict[str, tuple[str, Verb]]:
    """Verb by name, with the domain permission that alone must suffice."""
    d, name = directory, "example.test"
    return {
        "create account": ("createAccounts", lambda a: d.create_account(name, "new", actor=a)),
        "delete account": ("removeAccounts", lambda a: d.delete_account(account, actor=a)),
        "rename account": ("manageAccountsNaming", lambda a: d.rename_account(account, "renamed", actor=a)),
        "alias": ("manageAccountsNaming", lambda a: d.add_account_alias(account, "al", actor=a)),
        "temporary alias": ("manageTemporaryAddresses", lambda a: d.add_account_alias(account, "t", days=1, actor=a)),
        "disable account": ("manageAccounts", lambda a: d.disable_account(account, actor=a)),
        "password": ("changeAccountsPassword", lambda a: d.set_password(account, "pw-1", actor=a)),
        "class": ("changeAccountsClass", lambda a: d.set_account_class(account, class_id, actor=a)),
        "quota": ("manageFoldersQuotas", lambda a: d.set_account_setting(account, "mboxCount", "1", actor=a)),
        "services": ("manageAccountServices", lambda a: d.set_account_setting(account, "services", "(imap)", actor=a)),
        "policy": ("managePasswordPolicy", lambda a: d.set_account_setting(account, "passHistorySize", "1", actor=a)),
        "full name": ("manageAccountsContactInformation", lambda a: d.set_full_name(account, "A", actor=a)),
        "domain alias": ("manageDomainAliases", lambda a: d.add_domain_alias(name, "b.test", actor=a)),
        "catch-all": ("manageCatchAll", lambda a: d.set_domain_setting(name, "catchAllType", "account", actor=a)),
        "limits": ("manageDomainAdminLimits", lambda a: d.set_domain_setting(name, "maxAccounts", "9", actor=a)),
        "defaults": ("manageDomainConfig", lambda a: d.set_domain_default(name, "mboxCount", "9", actor=a)),
        "disable domain": ("deactivateDomain", lambda a: d.disable_domain(name, actor=a)),
        "create class": ("createAccountClasses", lambda a: d.create_account_class(name, "c", actor=a)),
        "class setting": ("manageAccountClasses", lambda a: d.set_class_setting(class_id, "mboxCount", "1", actor=a)),
        "create group": ("createGroups", lambda a: d.create_group(name, "gg", actor=a)),
        "members": ("manageGroupsMembers", lambda a: d.add_members(group, ["x@y.test"], actor=a)),
        "group": ("manageGroups", lambda a: d.enable_recipient(group, False, actor=a)),
        "delete group": ("removeGroups", lambda a: d.delete_recipient(group, actor=a)),
        "create list": ("createMailLists", lambda a: d.create_list(name, "ll", actor=a)),
    }


NAMES = sorted(verbs(None, 0, 0, 0))  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", NAMES)
async def test_each_verb_needs_its_permission_and_no_other(directory: Directory, admin: Actor, verb: str) -> None:
    account = await directory.create_account("example.test", "alice", actor=admin)
    group = await directory.create_group("example.test", "grp", actor=admin)
    made = await directory.create_account_class("example.test", "cls", actor=admin)
    other = await directory.create_domain("other.test", actor=admin)
    permission, call = verbs(directory, account.id, group.id, made.id)[verb]
    before = directory.database.query("SELECT count(*) FROM history")
    every_other = Actor(
        "other",
        server=SERVER_PERMISSIONS - {SERVER_FORM[permission]},
        domains={account.domain_id: DOMAIN_PERMISSIONS - {permission}, other.id: DOMAIN_PERMISSIONS},
    )
    denied = Actor("denied", server=SERVER_PERMISSIONS, denied={account.domain_id: frozenset({permission})})
    for actor in (Actor("nobody"), every_other, denied, Actor.user(account.id + 1, "x@example.test")):
        with pytest.raises(PermissionDeniedError, match=permission):
            await call(actor)
    assert directory.database.query("SELECT count(*) FROM history") == before
    await call(Actor("only", domains={account.domain_id: frozenset({permission})}))


async def test_import_and_server_verbs_need_permission(directory: Directory, admin: Actor) -> None:
    nobody = Actor("nobody")
    result = await directory.import_accounts([NewAccount("a@example.test", password="x")], actor=nobody)
    assert result.created == 0
    assert "createAccounts" in result.refused[0][1]
    with pytest.raises(PermissionDeniedError):
        await directory.create_domain("more.test", actor=nobody)
    with pytest.raises(PermissionDeniedError):
        await directory.settings.set("imap", "maxErrors", "3", nobody)
    with pytest.raises(PermissionDeniedError):
        await directory.settings.add_listener("imap", "127.0.0.1:2143", {}, nobody)
    await directory.settings.set("imap", "maxErrors", "3", Actor("imap", server=frozenset({"manageIMAP"})))


async def test_grant_deny_revoke_and_groups(directory: Directory, admin: Actor) -> None:
    domain = directory.domain_by_name("example.test")
    assert domain is not None
    await directory.create_admin("eve", "pw-secret-1", actor=admin)
    await directory.create_admin_group("helpdesk", actor=admin)
    await directory.create_admin_group("staff", actor=admin)
    await directory.add_admin_member("staff", "helpdesk", actor=admin)
    await directory.add_admin_member("helpdesk", "eve", actor=admin)
    await directory.add_admin_member("helpdesk", "staff", actor=admin)  # a loop is harmless

    def may() -> bool:
        return directory.admin_actor("eve").may("createAccounts", domain.id)

    assert not may()
    await directory.grant("staff", "CREATEACCOUNTS", "example.test", actor=admin)
    assert may()
    await directory.deny("helpdesk", "createAccounts", "example.test", actor=admin)
    assert not may()
    await directory.grant("eve", "createAccounts", "example.test", actor=admin)
    assert may()
    await directory.deny("eve", "createAccounts", "example.test", actor=admin)
    assert not may()
    await directory.grant("eve", "createAccountsOnAnyDomain", actor=admin)
    assert not may()
    for holder in ("eve", "helpdesk"):
        await directory.revoke(holder, "createAccounts", "example.test", actor=admin)
    assert may()


async def test_rights_cannot_be_raised_by_who_lacks_them(directory: Directory, admin: Actor) -> None:
    await directory.create_admin("root", "pw-secret-1", actor=admin, everything=True)
    await directory.create_admin("mallory", "pw-secret-1", actor=admin)
    await directory.grant("mallory", "manageAdminACL", actor=admin)
    await directory.create_admin_group("powerful", actor=admin)
    await directory.grant("powerful", "manageIMAP", actor=admin)
    mallory = directory.admin_actor("mallory")
    with pytest.raises(PermissionDeniedError):
        await directory.grant("mallory", "manageIMAP", actor=mallory)
    with pytest.raises(PermissionDeniedError):
        await directory.add_admin_member("powerful", "mallory", actor=mallory)
    with pytest.raises(PermissionDeniedError):
        await directory.create_admin("second", "pw-secret-1", everything=True, actor=mallory)
    with pytest.raises(PermissionDeniedError):
        await directory.set_admin_password("root", "mine-secret-1", actor=mallory)
    with pytest.raises(PermissionDeniedError):
        await directory.delete_admin("root", actor=mallory)
    with pytest.raises(DirectoryError, match="last administrator"):
        await directory.delete_admin("root", actor=admin)


async def test_a_password_is_not_set_of_who_may_more(directory: Directory, admin: Actor) -> None:
    """Setting another administrator's password is logging in as it: no way to rights that one does not hold."""
    for name in ("keeper", "operator", "reader"):
        await directory.create_admin(name, "secret-1-x", actor=admin)
    await directory.create_admin_group("operators", actor=admin)
    await directory.grant("operators", "manageIMAP", actor=admin)
    await directory.add_admin_member("operators", "operator", actor=admin)
    await directory.grant("keeper", "manageAdminACL", actor=admin)
    keeper = directory.admin_actor("keeper")
    with pytest.raises(PermissionDeniedError):
        await directory.set_admin_password("operator", "secret-2-x", actor=keeper)
    await directory.set_admin_password("reader", "secret-2-x", actor=keeper)
    await directory.grant("keeper", "manageIMAP", actor=admin)
    await directory.set_admin_password("operator", "secret-2-x", actor=directory.admin_actor("keeper"))


async def test_a_refusal_is_not_lifted_by_leaving_a_group(directory: Directory, admin: Actor) -> None:
    for group in ("giving", "refusing"):
        await directory.create_admin_group(group, actor=admin)
    await directory.create_admin("keeper", "secret-1-x", actor=admin)
    await directory.grant("keeper", "manageAdminACL", actor=admin)
    await directory.grant("giving", "manageIMAP", actor=admin)
    await directory.deny("refusing", "manageIMAP", actor=admin)
    for group in ("giving", "refusing"):
        await directory.add_admin_member(group, "keeper", actor=admin)
    keeper = directory.admin_actor("keeper")
    assert not keeper.may("manageIMAP")
    with pytest.raises(PermissionDeniedError):
        await directory.remove_admin_member("refusing", "keeper", actor=keeper)
    with pytest.raises(PermissionDeniedError):
        await directory.delete_admin("refusing", actor=keeper)
    assert not directory.admin_actor("keeper").may("manageIMAP")
    await directory.remove_admin_member("giving", "keeper", actor=keeper)


async def test_a_right_on_any_domain_is_not_given_by_who_is_refused_on_one(directory: Directory, admin: Actor) -> None:
    domain = directory.domain_by_name("example.test")
    assert domain is not None
    for name in ("keeper", "friend"):
        await directory.create_admin(name, "secret-1-x", actor=admin)
    await directory.create_admin_group("wide", actor=admin)
    await directory.grant("wide", "manageAccountsOnAnyDomain", actor=admin)
    for permission in ("manageAdminACL", "manageAccountsOnAnyDomain"):
        await directory.grant("keeper", permission, actor=admin)
    await directory.deny("keeper", "manageAccounts", "example.test", actor=admin)
    keeper = directory.admin_actor("keeper")
    with pytest.raises(PermissionDeniedError):
        await directory.grant("friend", "manageAccountsOnAnyDomain", actor=keeper)
    with pytest.raises(PermissionDeniedError):
        await directory.add_admin_member("wide", "friend", actor=keeper)
    assert not directory.admin_actor("friend").may("manageAccounts", domain.id)


async def test_who_comes_back_under_a_name_is_not_who_it_was(directory: Directory, admin: Actor) -> None:
    """A session of a removed administrator must not go on as one of the new one of its name."""
    before = await directory.create_admin("anna", "secret-1-x", actor=admin)
    await directory.create_admin("boss", "secret-1-x", actor=admin, everything=True)
    await directory.delete_admin("anna", actor=admin)
    after = await directory.create_admin("anna", "secret-2-x", actor=admin, everything=True)
    assert after.auth_version != before.auth_version


@given(
    st.frozensets(st.sampled_from(sorted(SERVER_PERMISSIONS))),
    st.dictionaries(st.integers(1, 3), st.frozensets(st.sampled_from(sorted(DOMAIN_PERMISSIONS))), max_size=3),
    st.dictionaries(st.integers(1, 3), st.frozensets(st.sampled_from(sorted(DOMAIN_PERMISSIONS))), max_size=3),
    st.sampled_from(sorted(DOMAIN_PERMISSIONS)),
    st.integers(1, 3),
)
def test_a_domain_permission_comes_from_the_domain_or_the_server_form_only(
    server: frozenset[str],
    domains: dict[int, frozenset[str]],
    denied: dict[int, frozenset[str]],
    permission: str,
    domain_id: int,
) -> None:
    actor = Actor("x", server=server, domains=domains, denied=denied)
    given_here = permission in domains.get(domain_id, ()) or SERVER_FORM[permission] in server
    assert actor.may(permission, domain_id) == (given_here and permission not in denied.get(domain_id, ()))


def test_permission_names_are_the_documented_numbers() -> None:
    assert len(DOMAIN_PERMISSIONS) == 66
    assert len(SERVER_PERMISSIONS) == 88
