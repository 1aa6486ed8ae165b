"""Mailing lists, groups and folder recipients as an administrator changes them."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.directory import (
    Actor,
    AlreadyExistsError,
    Directory,
    InvalidNameError,
    NotFoundError,
    PermissionDeniedError,
    RecipientKind,
)
from mailstead.directory.address import address_key
from mailstead.directory.list_templates import DEFAULTS, filled
from mailstead.directory.model import RecipientEdit
from mailstead.directory.recipient_kinds import CONTENTS, LIST, checked_header
from mailstead.settings.database import SystemDatabase
from mailstead.settings.declaration import InvalidValueError
from mailstead.settings.schema import MIGRATIONS
from tests.transport.turns import counted_turns

DOMAIN = "example.test"


async def test_one_edit_changes_everything_or_nothing(directory: Directory, admin: Actor) -> None:
    made = await directory.create_recipient(
        RecipientKind.LIST, DOMAIN, "news", {"description": "News"}, ["a@remote.test"], actor=admin,
        edit=RecipientEdit(
            password="open-sesame", attributes={"moderate": "nonmembers"}, contents={"welcome": "Hello $NAME"},
            members_added={"b@remote.test": "Bea"}, members_options={"b@remote.test": {"digest": True}},
        ),
    )  # fmt: skip
    assert made.attributes["moderate"] == "nonmembers"
    assert directory.recipient_content(made.id, "welcome") == "Hello $NAME"
    assert directory.recipient_content(made.id, "goodbye") == DEFAULTS["goodbye"]
    assert [(m.address, m.name, m.digest) for m in directory.members(made.id)] == [
        ("a@remote.test", "", False), ("b@remote.test", "Bea", True),
    ]  # fmt: skip
    edit = RecipientEdit(
        name="letters", enabled=False, attributes={"description": None, "removeHeaders": "(X-A X-B)"}, contents={"WELCOME": None},
        members_added={"c@remote.test": "Cas"}, members_removed=["A@REMOTE.TEST"],
        members_renamed={"b@remote.test": ("bea@x.test", "B")},
    )  # fmt: skip
    changed = await directory.edit_recipient(made.id, edit, actor=admin)
    assert (changed.name, changed.enabled, "description" in changed.attributes) == ("letters", False, False)
    assert directory.recipient_value(made.id, "removeHeaders") == ("X-A", "X-B")
    assert directory.recipient_content(made.id, "welcome") == DEFAULTS["welcome"]
    assert [(m.address, m.name) for m in directory.members(made.id)] == [("bea@x.test", "B"), ("c@remote.test", "Cas")]
    before = directory.database.query("SELECT count(*) FROM history")
    for bad in (
        RecipientEdit(enabled=True, members_renamed={"nobody@x.test": ("y@x.test", "")}),
        RecipientEdit(enabled=True, members_renamed={"bea@x.test": ("C@remote.test", "")}),
    ):
        with pytest.raises((NotFoundError, AlreadyExistsError)):
            await directory.edit_recipient(made.id, bad, actor=admin)
    assert directory.database.query("SELECT count(*) FROM history") == before
    found = directory.recipient(made.id)
    assert found is not None
    assert not found.enabled


async def test_names_of_a_list_are_taken_only_while_in_use(directory: Directory, admin: Actor) -> None:
    news = await directory.create_list(DOMAIN, "news", actor=admin)
    for role in ("subscribe", "unsubscribe", "request", "bounces", "confirm"):
        found = directory.resolve(f"NEWS-{role}@{DOMAIN}")
        assert (found.kind, found.object_id, found.role) == (RecipientKind.LIST, news.id, role)
    with pytest.raises(AlreadyExistsError):
        await directory.create_account(DOMAIN, "news-request", actor=admin)
    await directory.set_recipient_attributes(news.id, actor=admin, enabledRcpts="(unsubscribe)", unsubscribeRcpt="leave")
    assert directory.resolve(f"leave@{DOMAIN}").role == "unsubscribe"
    assert directory.resolve(f"news-unsubscribe@{DOMAIN}").kind is RecipientKind.UNKNOWN_USER
    await directory.create_account(DOMAIN, "news-request", actor=admin)
    with pytest.raises(AlreadyExistsError):
        await directory.set_recipient_attributes(news.id, actor=admin, enabledRcpts="all")
    assert directory.resolve(f"leave@{DOMAIN}").role == "unsubscribe"
    await directory.rename_recipient(news.id, "letters", actor=admin)
    assert directory.resolve(f"letters-bounces+abc23@{DOMAIN}").detail == "abc23"
    assert directory.resolve(f"news@{DOMAIN}").kind is RecipientKind.UNKNOWN_USER
    await directory.settings.set("smtpIncoming", "recipientDelimiter", "-", admin)
    assert directory.resolve(f"letters-bounces+abc23@{DOMAIN}").role == "bounces"
    await directory.delete_recipient(news.id, actor=admin)
    assert directory.resolve(f"letters-bounces@{DOMAIN}").kind is RecipientKind.UNKNOWN_USER


async def test_the_owner_address_leads_to_the_administrator_and_never_round(directory: Directory, admin: Actor) -> None:
    boss = await directory.create_account(DOMAIN, "boss", actor=admin)
    other = await directory.create_account(DOMAIN, "other", actor=admin)
    news = await directory.create_list(DOMAIN, "news", actor=admin, adminEmail=f"other@{DOMAIN}")
    assert directory.resolve(f"news-owner@{DOMAIN}").account == other
    await directory.set_recipient_attributes(news.id, actor=admin, adminEmail="someone@remote.test")
    assert directory.resolve(f"news-owner@{DOMAIN}").kind is RecipientKind.REMOTE
    for round_ in (f"news-owner@{DOMAIN}", f"news@{DOMAIN}", f"nobody@{DOMAIN}", ""):
        await directory.set_recipient_attributes(news.id, actor=admin, adminEmail=round_)
        assert directory.resolve(f"news-owner@{DOMAIN}").account == boss
    with pytest.raises((InvalidNameError, InvalidValueError)):
        await directory.set_recipient_attributes(news.id, actor=admin, adminEmail="x@y.test\r\nBcc: z@y.test")


async def test_a_list_is_a_login_with_a_mailbox(directory: Directory, admin: Actor) -> None:
    news = await directory.create_list(DOMAIN, "news", actor=admin, services="(imap)")
    login = directory.account_by_login(f"news@{DOMAIN}")
    assert login is not None
    assert (login.id, login.services, login.shard) == (news.id, frozenset({"imap"}), news.shard)
    assert directory.account_by_login(f"news-request@{DOMAIN}") is None
    assert directory.account_by_address(f"news@{DOMAIN}") is None
    credentials = directory.credentials(news.id)
    assert credentials is not None
    assert credentials.password == ""
    changed: list[int] = []
    directory.on_account_change(changed.append)
    await directory.set_list_password(news.id, "open-sesame", actor=admin)
    credentials = directory.credentials(news.id)
    assert credentials is not None
    assert credentials.password.startswith("$argon2id$") or "argon2" in credentials.password
    renewed = directory.account(news.id)
    assert renewed is not None
    assert renewed.auth_version > login.auth_version
    assert news.id in changed
    history = directory.database.query("SELECT old, new FROM history WHERE object_id = ?", (news.id,))
    assert "open-sesame" not in repr(history)
    assert directory.account_setting(news.id, "mboxCount") == 0
    await directory.delete_recipient(news.id, actor=admin)
    assert directory.account(news.id) is None


async def test_every_attribute_and_text_has_its_permission(directory: Directory, admin: Actor) -> None:
    news = await directory.create_list(DOMAIN, "news", actor=admin)
    domain = directory.domain_by_name(DOMAIN)
    assert domain is not None
    cases: dict[str, RecipientEdit] = {
        "manageMailListsNaming": RecipientEdit(name="n2"),
        "manageMaillists": RecipientEdit(enabled=False, attributes={"description": "x"}),
        "changeMailListsPassword": RecipientEdit(password="open-sesame"),
        "manageMailListsMembers": RecipientEdit(members_added={"x@y.test": ""}, members_options={"x@y.test": {"nomail": True}}),
        "manageMailListsSubscription": RecipientEdit(attributes={"adminConfirm": "yes", "subscribeRcpt": "join"}),
        "manageMailListsPosting": RecipientEdit(attributes={"moderate": "everybody", "rewriteFrom": "yes"}),
        "manageMailListsMessageHeaders": RecipientEdit(attributes={"removeHeaders": "(X)"}, contents={"bodyEnd": "--"}),
        "manageMailListsTemplates": RecipientEdit(contents={"goodbye": "bye"}),
        "manageMailListsServices": RecipientEdit(attributes={"services": "(pop3)"}),
    }
    for permission, edit in cases.items():
        with pytest.raises(PermissionDeniedError, match=permission):
            await directory.edit_recipient(news.id, edit, actor=Actor("nobody"))
        await directory.edit_recipient(news.id, edit, actor=Actor("only", domains={domain.id: frozenset({permission})}))


async def test_wrong_values_are_refused(directory: Directory, admin: Actor) -> None:
    news = await directory.create_list(DOMAIN, "news", actor=admin)
    for attributes in ({"moderate": "sometimes"}, {"nothing": "x"}, {"removeHeaders": "(a:b)"}, {"subscribeRcpt": "a b"}):
        with pytest.raises((InvalidValueError, InvalidNameError)):
            await directory.edit_recipient(news.id, RecipientEdit(attributes=attributes), actor=admin)
    for contents in (
        {"wrong": "x"},
        {"addHeader": "no field"},
        {"addHeader": "Content-Type: x/y"},
        {"welcome": "x" * 70_000},
    ):
        with pytest.raises(InvalidValueError):
            await directory.edit_recipient(news.id, RecipientEdit(contents=contents), actor=admin)
    for member in ("x", "x@y.test>", "a b@c.test", "x@y.test\r\n"[:-1] + "z"):
        with pytest.raises(InvalidNameError):
            await directory.add_members(news.id, [member], actor=admin)
    assert set(CONTENTS) == set(DEFAULTS)
    assert {"services", "ctypeAllow", "removeHeaders"} <= set(LIST.defaults())
    assert checked_header("X-A: 1\r\nX-B: 2\r\n folded\n") == ["X-A: 1", "X-B: 2\r\n folded"]


async def test_members_come_in_pages_and_change_one_by_one(directory: Directory, admin: Actor) -> None:
    news = await directory.create_list(DOMAIN, "news", [f"m{i:04}@remote.test" for i in range(2500)], actor=admin)
    assert directory.member_count(news.id) == 2500
    seen, after = [], ""
    while page := directory.member_page(news.id, after, 999):
        seen += [member.address for member in page]
        after = page[-1].address
    assert seen == [f"m{i:04}@remote.test" for i in range(2500)]
    await directory.add_members(news.id, {"M0001@remote.test": "again"}, actor=admin)
    assert directory.member_count(news.id) == 2500
    await directory.update_member(news.id, "M0001@Remote.Test", name=" One\r\n", nomail=True, actor=admin)
    found = directory.member(news.id, "m0001@remote.test")
    assert found is not None
    assert (found.name, found.nomail) == ("One", True)
    assert await directory.remove_members(news.id, ["m0001@remote.test", "none@remote.test"], actor=admin) == 1


async def test_memberships_are_found_from_below(directory: Directory, admin: Actor) -> None:
    ann = await directory.create_account(DOMAIN, "ann", actor=admin)
    await directory.add_account_alias(ann.id, "annie", actor=admin)
    await directory.create_domain("other.test", actor=admin)
    inner = await directory.create_group(DOMAIN, "inner", [f"annie@{DOMAIN}"], actor=admin)
    outer = await directory.create_group("other.test", "outer", [f"inner@{DOMAIN}"], actor=admin)
    news = await directory.create_list(DOMAIN, "news", [f"ann+lists@{DOMAIN}", "x@remote.test"], actor=admin)

    def names(address: str, **options: bool) -> set[str]:
        return {found.name for found in directory.memberships(address, **options)}

    assert names(f"ann@{DOMAIN}") == {"inner", "outer", "news"}
    assert names(f"ann@{DOMAIN}", no_lists=True) == {"inner", "outer"}
    assert names(f"ann@{DOMAIN}", no_groups=True) == {"news"}
    assert names(f"ann@{DOMAIN}", same_domain=True) == {"inner", "news"}
    assert names(f"ann@{DOMAIN}", direct=True) == {"inner", "news"}
    assert names("X@remote.test") == {"news"}
    assert names(f"inner@{DOMAIN}") == {"outer"}
    assert names("nobody") == set()
    assert directory.is_member(outer, f"annie@{DOMAIN}")
    assert not directory.is_member(outer, f"annie@{DOMAIN}", direct=True)
    assert directory.is_member(news, "x@REMOTE.test")
    await directory.enable_recipient(inner.id, False, actor=admin)
    assert names(f"ann@{DOMAIN}") == {"news"}
    await directory.create_group(DOMAIN, "all", [], actor=admin, distributeEmailTo="domain")
    top = await directory.create_group(DOMAIN, "top", [f"all@{DOMAIN}"], actor=admin, receiveEmailFrom="members")
    assert directory.is_member(top, f"ann@{DOMAIN}")
    assert directory.resolve(f"top@{DOMAIN}", sender="y@remote.test").kind is RecipientKind.NOT_PERMITTED


async def test_who_may_send_with_the_address_of_a_group_or_folder(directory: Directory, admin: Actor) -> None:
    ann = await directory.create_account(DOMAIN, "ann", actor=admin)
    ben = await directory.create_account(DOMAIN, "ben", actor=admin)
    await directory.create_domain("other.test", actor=admin)
    far = await directory.create_account("other.test", "far", actor=admin)
    inner = await directory.create_group(DOMAIN, "inner", [f"ann@{DOMAIN}"], actor=admin)
    staff = await directory.create_group(DOMAIN, "staff", [f"inner@{DOMAIN}"], actor=admin)
    folder = await directory.create_folder_recipient(DOMAIN, "office", "Office", actor=admin)
    for account in (ann, ben, far):
        assert not directory.may_send_as(account, f"staff@{DOMAIN}")
        assert not directory.may_send_as(account, f"office@{DOMAIN}")
    await directory.set_recipient_attributes(staff.id, actor=admin, membersSendMailAsGroup="yes")
    await directory.set_recipient_attributes(folder.id, actor=admin, domainSendMailAs="yes")
    assert [directory.may_send_as(account, f"STAFF@{DOMAIN}") for account in (ann, ben, far)] == [True, False, False]
    assert [directory.may_send_as(account, f"office@{DOMAIN}") for account in (ann, ben, far)] == [True, True, False]
    await directory.set_recipient_attributes(staff.id, actor=admin, distributeEmailTo="nobody")
    assert directory.may_send_as(ann, f"staff@{DOMAIN}")
    await directory.enable_recipient(inner.id, False, actor=admin)
    assert not directory.may_send_as(ann, f"staff@{DOMAIN}")


async def test_capitals_beyond_ascii_make_no_other_member(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account(DOMAIN, "zoë", actor=admin)
    group = await directory.create_group(DOMAIN, "staff", [f"ZOË@{DOMAIN}"], actor=admin)
    assert f"g{group.id}" in directory.identifiers(account.id)
    assert directory.is_member(group, f"zoë@{DOMAIN}")


async def test_an_expansion_goes_on_where_it_broke_off(directory: Directory, admin: Actor) -> None:
    for name in ("ann", "ben", "cas"):
        await directory.create_account(DOMAIN, name, actor=admin)
    inner = await directory.create_group(DOMAIN, "inner", [f"ann@{DOMAIN}", "y@remote.test"], actor=admin)
    members = [f"ann@{DOMAIN}", f"inner@{DOMAIN}", "a@remote.test", f"cas@{DOMAIN}", f"CAS+x@{DOMAIN}", "z@remote.test"]
    outer = await directory.create_group(DOMAIN, "outer", members, actor=admin)
    await directory.add_members(inner.id, [f"outer@{DOMAIN}"], actor=admin)
    whole = list(directory.walk(outer.id))
    assert len({one.address for one in whole}) == len(whole) == 5
    for place in range(len(whole)):
        assert list(directory.walk(outer.id, whole[place].path)) == whole[place + 1 :]


def test_lists_of_before_are_brought_along(tmp_path: Path) -> None:
    path = tmp_path / "index" / "system.db"
    old = SystemDatabase(path, create=True, migrations=MIGRATIONS[:3])
    old.write_sync(lambda t: t.execute("INSERT INTO domain (id, name, enabled, version, created) VALUES (1, 'd.test', 1, 0, 0)"))
    old.write_sync(lambda t: t.execute("INSERT INTO domain_name VALUES ('d.test', 'd.test', 1, 1)"))
    old.write_sync(lambda t: t.execute("INSERT INTO recipient VALUES (7, 'list', 1, 'News', 1, '', '{}', 0)"))
    old.write_sync(lambda t: t.execute("INSERT INTO address VALUES (1, 'news', 'News', 'list', 7, 1, 0)"))
    for address in ("A@x.test", "a@x.test", "ZOË@d.test"):
        old.write_sync(lambda t, address=address: t.execute("INSERT INTO member VALUES (7, ?, '')", (address,)))  # type: ignore[misc]
    old.close()
    directory = Directory.open(tmp_path)
    try:
        assert len(list(directory.members(7))) == 2
        assert directory.resolve("news-bounces+x@d.test").role == "bounces"
        assert directory.is_member(directory.recipient(7), "zoë@d.test")  # type: ignore[arg-type]
    finally:
        directory.close()
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT max(number) FROM migration").fetchall() == [(MIGRATIONS[-1].number,)]
    connection.close()


@given(st.dictionaries(st.sampled_from(["EMAIL", "NAME", "LIST", "REASON"]), st.text(max_size=50)), st.text(max_size=200))
def test_nothing_that_comes_along_becomes_a_line_or_a_placeholder(values: dict[str, str], template: str) -> None:
    subject, body = filled(f"Subject: $EMAIL {template}\n$NAME|$REASON", values)
    assert "\n" not in subject.replace(template.partition("\n")[0], "") or "\n" in template
    first, _, _second = filled("$NAME|$REASON", {"NAME": "$REASON\r\nBcc: x", "REASON": "r"})[1].partition("|")
    assert first == "$REASON Bcc: x"
    assert isinstance(body, str)


@given(st.text(max_size=80))
def test_a_compared_form_is_its_own(text: str) -> None:
    key = address_key(text)
    assert key is None or address_key(key) == key


async def test_thousands_of_members_do_not_hold_the_loop(directory: Directory, admin: Actor) -> None:
    """Looking over ten thousand addresses takes some hundred thousand calls: the others have their turns meanwhile."""
    made = await directory.create_list(DOMAIN, "big", actor=admin)
    many = {f"user{number}@host{number % 50}.test": "A Name" for number in range(10_000)}
    with counted_turns() as turns:
        await directory.edit_recipient(made.id, RecipientEdit(members_added=many), actor=admin)
        await directory.edit_recipient(made.id, RecipientEdit(members_removed=tuple(many)), actor=admin)
        await directory.add_members(made.id, many, actor=admin)
        assert await directory.remove_members(made.id, list(many), actor=admin) == 10_000
        await directory.create_recipient(RecipientKind.GROUP, DOMAIN, "g", {}, list(many), actor=admin)
    assert turns.longest < 10_000
