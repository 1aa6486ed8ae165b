"""Where mail for an address goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.directory import Actor, Directory, RecipientKind

ADMIN = Actor.system("test")


async def test_aliases_domain_aliases_and_case_lead_to_the_account(directory: Directory, admin: Actor) -> None:
    alice = await directory.create_account("example.test", "Alice", actor=admin)
    await directory.add_account_alias(alice.id, "ali", actor=admin)
    await directory.add_domain_alias("example.test", "bücher.test", actor=admin)
    for address in ("alice@example.test", "ALI@EXAMPLE.TEST", "ali@xn--bcher-kva.test", "Alice@BÜCHER.test.", '"ali"@example.test'):
        found = directory.resolve(address)
        assert (found.kind, found.account) == (RecipientKind.LOCAL, alice), address
        assert found.address == "Alice@example.test"
        assert found.original == address
    assert directory.is_local_domain("BÜCHER.test")
    await directory.remove_domain_alias("example.test", "xn--bcher-kva.test", actor=admin)
    assert directory.resolve("ali@xn--bcher-kva.test").kind is RecipientKind.REMOTE
    await directory.remove_account_alias(alice.id, "ALI", actor=admin)
    assert directory.resolve("ali@example.test").kind is RecipientKind.UNKNOWN_USER


async def test_subaddress_gives_the_detail_and_an_exact_name_wins(directory: Directory, admin: Actor) -> None:
    bob = await directory.create_account("example.test", "bob", actor=admin)
    found = directory.resolve("Bob+Lists.2024+x@example.test")
    assert (found.account, found.detail) == (bob, "lists.2024+x")
    exact = await directory.create_account("example.test", "bob+sales", actor=admin)
    assert directory.resolve("bob+sales@example.test").account == exact
    assert directory.account_by_login("bob+lists@example.test") is None
    await directory.settings.set("smtpIncoming", "recipientDelimiter", "-", admin)
    assert directory.resolve("bob+lists@example.test").kind is RecipientKind.UNKNOWN_USER
    assert directory.resolve("bob-lists@example.test").detail == "lists"


async def test_catch_all_takes_unknown_names_into_account_or_folder(directory: Directory, admin: Actor) -> None:
    sink = await directory.create_account("example.test", "sink", actor=admin)
    assert directory.resolve("nobody@example.test").kind is RecipientKind.UNKNOWN_USER
    await directory.set_domain_setting("example.test", "catchAllAccountName", "sink", actor=admin)
    await directory.set_domain_setting("example.test", "catchAllType", "account", actor=admin)
    assert directory.resolve("nobody@example.test").account == sink
    assert directory.account_by_address("nobody@example.test") is None
    await directory.set_domain_setting("example.test", "catchAllType", "folder", actor=admin)
    await directory.set_domain_setting("example.test", "catchAllFolderName", "Strays", actor=admin)
    found = directory.resolve("nobody@example.test")
    assert (found.kind, found.folder) == (RecipientKind.FOLDER, "Strays")


async def test_postmaster_is_always_accepted(directory: Directory, admin: Actor) -> None:
    first = await directory.create_account("example.test", "first", actor=admin)
    await directory.create_domain("second.test", actor=admin)
    for address in ("postmaster", "Postmaster", "PostMaster@example.test", "postmaster@second.test"):
        assert directory.resolve(address).account == first, address
    named = await directory.create_account("example.test", "postmaster", actor=admin)
    assert directory.resolve("postmaster@example.test").account == named
    assert directory.resolve("postmaster").account == named
    await directory.set_domain_setting("example.test", "postmasterAccount", "first", actor=admin)
    assert directory.resolve("postmaster@example.test").account == first


async def test_disabled_account_and_domain_are_told_apart_from_unknown(directory: Directory, admin: Actor) -> None:
    account = await directory.create_account("example.test", "carol", actor=admin)
    await directory.disable_account(account.id, actor=admin)
    assert directory.resolve("carol@example.test").kind is RecipientKind.DISABLED
    await directory.enable_account(account.id, actor=admin)
    await directory.disable_domain("example.test", actor=admin)
    assert directory.resolve("carol@example.test").kind is RecipientKind.DISABLED
    assert not directory.account(account.id).enabled  # type: ignore[union-attr]
    await directory.enable_domain("example.test", actor=admin)
    assert directory.resolve("carol@example.test").kind is RecipientKind.LOCAL


async def test_temporary_alias_takes_mail_until_it_expires_and_is_no_login(
    directory: Directory, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await directory.create_account("example.test", "dora", actor=admin)
    await directory.add_account_alias(account.id, "shop-17", actor=Actor.user(account.id, account.address), days=2)
    assert directory.resolve("shop-17@example.test").account == account
    assert directory.account_by_login("shop-17@example.test") is None
    later = time.time() + 3 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    assert directory.resolve("shop-17@example.test").kind is RecipientKind.UNKNOWN_USER


async def test_group_expansion_nests_ends_in_loops_and_gives_each_address_once(directory: Directory, admin: Actor) -> None:
    for name in ("ann", "ben"):
        await directory.create_account("example.test", name, actor=admin)
    lost = await directory.create_account("example.test", "lost", actor=admin)
    inner = await directory.create_group("example.test", "inner", ["ann@example.test", "x@remote.test"], actor=admin)
    outer = await directory.create_group(
        "example.test", "outer", ["inner@example.test", "ANN@example.test", "ben+x@example.test", "lost@example.test"], actor=admin
    )
    await directory.delete_account(lost.id, actor=admin)
    await directory.add_members(inner.id, ["outer@example.test", "inner@example.test"], actor=admin)
    assert sorted(directory.expand(outer.id)) == ["ann@example.test", "ben@example.test", "lost@example.test", "x@remote.test"]
    assert directory.resolve("outer@example.test").kind is RecipientKind.GROUP
    await directory.remove_members(inner.id, ["x@remote.test"], actor=admin)
    assert "x@remote.test" not in list(directory.expand(outer.id))


async def test_large_group_expands_over_pages(directory: Directory, admin: Actor) -> None:
    group = await directory.create_group("example.test", "crowd", [f"m{i}@remote.test" for i in range(2500)], actor=admin)
    assert len(list(directory.expand(group.id))) == 2500


async def test_group_scopes_and_who_may_send(directory: Directory, admin: Actor) -> None:
    ann = await directory.create_account("example.test", "ann", actor=admin)
    ben = await directory.create_account("example.test", "ben", actor=admin)
    group = await directory.create_group("example.test", "staff", ["ann@example.test"], actor=admin, receiveEmailFrom="members")
    address = "staff@example.test"
    assert directory.resolve(address, sender="ann@example.test").kind is RecipientKind.GROUP
    assert directory.resolve(address, sender="ben@example.test").kind is RecipientKind.NOT_PERMITTED
    assert directory.resolve(address, sender="ann@example.test", login=ben).kind is RecipientKind.NOT_PERMITTED
    assert directory.resolve(address, sender="", login=None).kind is RecipientKind.NOT_PERMITTED
    await directory.set_recipient_attributes(group.id, actor=admin, receiveEmailFrom="server", distributeEmailTo="domain")
    assert directory.resolve(address, sender="ben@example.test").kind is RecipientKind.GROUP
    assert directory.resolve(address, sender="x@remote.test").kind is RecipientKind.NOT_PERMITTED
    assert sorted(directory.expand(group.id)) == [ann.address, ben.address]
    await directory.enable_recipient(group.id, False, actor=admin)
    assert directory.resolve(address).kind is RecipientKind.DISABLED


async def test_lists_and_folder_recipients_resolve(directory: Directory, admin: Actor) -> None:
    news = await directory.create_list("example.test", "news", ["r@remote.test"], actor=admin, senderAllow="nobody")
    assert directory.resolve("news@example.test").object_id == news.id
    assert directory.resolve("news@example.test", sender="r@remote.test").kind is RecipientKind.NOT_PERMITTED
    await directory.create_folder_recipient("example.test", "inbox", "Public/Inbox", actor=admin)
    found = directory.resolve("inbox@example.test")
    assert (found.kind, found.folder) == (RecipientKind.FOLDER, "Public/Inbox")
    await directory.delete_recipient(news.id, actor=admin)
    assert directory.resolve("news@example.test").kind is RecipientKind.UNKNOWN_USER


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    """A directory nobody changes, for properties."""
    path: Path = tmp_path_factory.mktemp("still")
    opened = Directory.open(path, create=True)

    async def fill() -> None:
        await opened.create_domain("example.test", actor=ADMIN)
        await opened.create_account("example.test", "user.name", actor=ADMIN)

    asyncio.run(fill())
    yield opened
    opened.close()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400))
def test_any_text_resolves_without_raising(still: Directory, text: str) -> None:
    for address in (text, f"{text}@example.test", f"user.name@{text}"):
        assert still.resolve(address).original == address
        still.account_by_login(address)
        still.is_local_domain(address)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.booleans(), min_size=22, max_size=22),
    st.text(st.characters(exclude_characters="@\x00", codec="utf-8"), max_size=40),
)
def test_case_never_matters_and_detail_is_what_follows(still: Directory, upper: list[bool], detail: str) -> None:
    address = "".join(c.upper() if up else c for c, up in zip("user.name@example.test", upper, strict=True))
    assert still.resolve(address).kind is RecipientKind.LOCAL
    local, _, domain = address.partition("@")
    found = still.resolve(f"{local}+{detail}@{domain}")
    assert (found.kind is RecipientKind.LOCAL) or len(f"{local}+{detail}".lower().encode()) > 64
    if found.kind is RecipientKind.LOCAL and detail.isascii():
        assert found.detail == detail.lower()
