"""Names lead somewhere: asked by the verbs themselves, whoever calls them; what is brought from elsewhere comes as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory, NotFoundError, RecipientKind
from mailstead.directory.model import RecipientEdit
from mailstead.settings.declarations import DOMAIN, DOMAIN_CONTEXTS
from mailstead.settings.edits import Pending, place_of, read_values

SYSTEM = Actor.system("test")


@pytest.fixture
async def directory(tmp_path: Path) -> Iterator[Directory]:  # type: ignore[misc]
    opened = Directory.open(tmp_path, create=True)
    await opened.create_domain("example.test", actor=SYSTEM)
    await opened.create_account("example.test", "alice", actor=SYSTEM)
    yield opened
    opened.close()


async def test_members_of_a_group_lead_somewhere(directory: Directory) -> None:
    with pytest.raises(NotFoundError, match=r"gone@example\.test leads nowhere: example\.test has no such name"):
        await directory.create_group("example.test", "team", ["alice@example.test", "gone@example.test"], actor=SYSTEM)
    group = await directory.create_group("example.test", "team", ["alice@example.test", "who@elsewhere.test"], actor=SYSTEM)
    with pytest.raises(NotFoundError, match="leads nowhere"):
        await directory.add_members(group.id, ["gone@example.test"], actor=SYSTEM)
    with pytest.raises(NotFoundError, match="leads nowhere"):
        await directory.update_member(group.id, "alice@example.test", new_address="gone@example.test", actor=SYSTEM)
    with pytest.raises(NotFoundError, match="leads nowhere"):
        renamed = RecipientEdit(members_renamed={"alice@example.test": ("gone@example.test", "")})
        await directory.edit_recipient(group.id, renamed, actor=SYSTEM)
    assert sorted(member.address for member in directory.member_page(group.id)) == ["alice@example.test", "who@elsewhere.test"]
    # A list has whom it likes, and what is there already is no obstacle to anything else.
    await directory.create_list("example.test", "news", ["gone@example.test"], actor=SYSTEM)
    account = directory.account_by_address("alice@example.test")
    assert account is not None
    await directory.delete_account(account.id, actor=SYSTEM)
    await directory.edit_recipient(group.id, RecipientEdit(enabled=False, members_removed=["who@elsewhere.test"]), actor=SYSTEM)


async def test_folders_that_are_named_exist(directory: Directory) -> None:
    directory.know_public_folders(lambda domain_id, name: name == "News")
    with pytest.raises(NotFoundError, match=r"mboxName: example\.test has no public folder Nowhere"):
        await directory.create_folder_recipient("example.test", "board", "Nowhere", actor=SYSTEM)
    board = await directory.create_folder_recipient("example.test", "board", "News", actor=SYSTEM)
    with pytest.raises(NotFoundError, match=r"mboxName: example\.test has no public folder Nowhere"):
        await directory.set_recipient_attributes(board.id, mboxName="Nowhere", actor=SYSTEM)
    with pytest.raises(NotFoundError, match=r"catchAllFolderName: example\.test has no public folder Nowhere"):
        await directory.set_domain_setting("example.test", "catchAllFolderName", "Nowhere", actor=SYSTEM)
    await directory.set_domain_setting("example.test", "catchAllFolderName", "News", actor=SYSTEM)
    # What stands there may be sent back, as programs do, also when the folder is gone.
    directory.know_public_folders(lambda domain_id, name: False)
    await directory.set_recipient_attributes(board.id, mboxName="News", actor=SYSTEM)
    await directory.set_domain_setting("example.test", "catchAllFolderName", "News", actor=SYSTEM)


async def test_what_is_committed_names_what_exists(directory: Directory) -> None:
    domain = directory.domain_by_name("example.test")
    assert domain is not None

    async def commit(name: str, text: str, *, as_it_was: bool = False) -> None:
        pending = Pending()
        pending.set_value(place_of(DOMAIN, domain.id, domain.id), DOMAIN, DOMAIN.setting(name), text)
        await directory.commit(pending, actor=SYSTEM, own=lambda _seq: True, as_it_was=as_it_was)

    directory.know_public_folders(lambda domain_id, name: False)
    for name, text, kind in (("catchAllAccountName", "gone", "account"), ("catchAllFolderName", "Gone", "public folder")):
        with pytest.raises(NotFoundError, match=f"{name}: example.test has no {kind} {text}"):
            await commit(name, text)
        await commit(name, text, as_it_was=True)


async def test_a_class_that_is_named_exists(directory: Directory) -> None:
    domain = directory.domain_by_name("example.test")
    assert domain is not None
    context = DOMAIN_CONTEXTS["migrationData"]
    pending = Pending()
    pending.set_value(
        place_of(context, domain.id, domain.id), context, context.setting("defaultAccountClassName"), "gold"
    )
    with pytest.raises(NotFoundError, match=r"defaultAccountClassName: example\.test has no account class gold"):
        await directory.commit(pending, actor=SYSTEM, own=lambda _seq: True)
    gold = await directory.create_account_class("example.test", "Gold", actor=SYSTEM)
    await directory.commit(pending, actor=SYSTEM, own=lambda _seq: True)
    await directory.rename_account_class(gold.id, "silver", actor=SYSTEM)
    stored = read_values(directory.database, place_of(context, domain.id, domain.id), context)
    assert stored["defaultAccountClassName"] == "silver"
    assert list(directory.dangling_names()) == []
    await directory.delete_account_class(gold.id, actor=SYSTEM)
    told = "domain example.test: defaultAccountClassName names silver, which does not exist"
    assert list(directory.dangling_names()) == [told]


async def test_what_is_brought_comes_as_it_was(directory: Directory) -> None:
    edit = RecipientEdit(members_added={"gone@example.test": ""})
    group = await directory.create_recipient(
        RecipientKind.GROUP, "example.test", "team", {}, (), actor=SYSTEM, edit=edit, as_it_was=True
    )
    assert [member.address for member in directory.member_page(group.id)] == ["gone@example.test"]
