"""Changes of rights in public folders are in the history, and can be taken back (PUB-01)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory
from mailstead.directory.history_names import ObjectNames, objects_named
from mailstead.directory.reverting import RevertError
from mailstead.mailbox.rights_history import revert_rights
from mailstead.mailbox.service import Mailbox
from mailstead.settings import PermissionDeniedError
from mailstead.settings.database import SystemDatabaseError
from mailstead.settings.history import Filter, HistoryEntry, entries
from mailstead.store.operations import SetAcl
from mailstead.store.service import Store

ADMIN = Actor.system("test")
NEWS = "Public Folders/News"


@dataclass
class Place:
    """example.test with its postmaster, bob, carol and the group crew."""

    directory: Directory
    mailbox: Mailbox
    store: Store
    domain: int
    postmaster: int

    async def give(self, who: str, letters: str, mode: str = "set", folder: str = NEWS) -> None:
        await self.mailbox.set_acl(self.postmaster, folder, who, mode, letters, whole=True)

    def told(self) -> list[HistoryEntry]:
        """The newest first."""
        return entries(self.directory.database, Filter([("publicFolder", None, "")]))

    async def back(self, found: HistoryEntry | None = None, *, force: bool = False, actor: Actor = ADMIN) -> None:
        await revert_rights(self.mailbox, self.directory, found or self.told()[0], actor=actor, force=force)

    async def rights(self, folder: str = NEWS) -> dict[str, str]:
        return dict(await self.mailbox.acl(self.postmaster, folder, whole=True))

    def own(self) -> list[tuple[str, str, str]]:
        """Entries of their own that folders have."""
        owner = self.directory.owner(self.domain)
        assert owner is not None
        return sorted(self.store.sharing(owner.shard).acl(self.domain))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    directory = Directory.open(tmp_path, create=True)
    domain = await directory.create_domain("example.test", actor=ADMIN)
    accounts = [await directory.create_account("example.test", name, actor=ADMIN) for name in ("postmaster", "bob", "carol")]
    await directory.create_group("example.test", "crew", ["bob@example.test"], actor=ADMIN)
    store = await Store.open(tmp_path)
    mailbox = Mailbox(store, directory, directory)
    await mailbox.create_folder(accounts[0].id, NEWS)
    yield Place(directory, mailbox, store, domain.id, accounts[0].id)
    await store.close()
    directory.close()


async def test_old_and_new_rights_are_told_with_who_gave_them(place: Place) -> None:
    await place.give("bob", "lrs")
    await place.give("bob", "wi", "add")
    await place.give("bob", "s", "remove")
    await place.mailbox.delete_acl(place.postmaster, NEWS, "bob")
    await place.give("anyone", "", folder="Public Folders")
    assert ["; ".join(one.lines()) for one in reversed(place.told())] == [
        "rights of bob@example.test in News: inherited -> lrs",
        "rights of bob@example.test in News: lrs -> lrswi",
        "rights of bob@example.test in News: lrswi -> lrwi",
        "rights of bob@example.test in News: lrwi -> inherited",
        "rights of anyone in all folders: lrswip -> none",
    ]
    assert {one.author for one in place.told()} == {"postmaster@example.test"}
    found = place.told()[-1]
    assert ObjectNames(place.directory.database).of(found) == "public folders of example.test"
    ((_, number, _),) = objects_named(place.directory, "example.test")
    assert number == found.object_id


async def test_what_changes_nothing_and_folders_of_accounts_are_not_told(place: Place) -> None:
    await place.give("bob", "lrs")
    await place.give("bob", "lrs")
    await place.mailbox.delete_acl(place.postmaster, NEWS, "group=crew")
    await place.mailbox.create_folder(place.postmaster, "Own")
    await place.give("bob", "lrs", folder="Own")
    assert len(place.told()) == 1


async def test_each_change_goes_back_and_forth(place: Place) -> None:
    await place.give("carol", "lr")
    for who, letters, mode, folder in (
        ("bob", "lrs", "set", NEWS), ("bob", "lrswi", "set", NEWS), ("bob", "s", "remove", NEWS), ("bob", "", "set", NEWS),
        ("anyone", "", "set", NEWS), ("group=crew", "lrs", "set", "Public Folders"), ("-bob", "r", "set", NEWS),
        ("anyone", "lr", "set", "Public Folders"),
    ):  # fmt: skip
        before = await place.rights(), await place.rights("Public Folders")
        await place.give(who, letters, mode, folder)
        after = await place.rights(), await place.rights("Public Folders")
        count = len(place.told())
        await place.back()
        assert (await place.rights(), await place.rights("Public Folders")) == before
        assert (place.told()[0].author, len(place.told())) == ("test", count + 1)
        await place.back()
        assert (await place.rights(), await place.rights("Public Folders")) == after


async def test_rights_that_were_inherited_are_again(place: Place) -> None:
    await place.give("bob", "lrs", folder="Public Folders")
    await place.give("bob", "")
    before = place.own()
    assert "bob@example.test" not in await place.rights()
    await place.back()
    await place.give("bob", "lr", folder="Public Folders")
    assert (await place.rights())["bob@example.test"] == "lr"
    assert place.own() != before


async def test_a_later_change_is_not_undone_by_accident(place: Place) -> None:
    await place.give("bob", "lrs")
    first = place.told()[0]
    await place.give("carol", "lrs")
    await place.give("bob", "lrswi")
    with pytest.raises(RevertError, match="changed it later"):
        await place.back(first)
    assert (await place.rights())["bob@example.test"] == "lrswi"
    await place.back(first, force=True)
    assert "bob@example.test" not in await place.rights()
    assert (await place.rights())["carol@example.test"] == "lrs"


async def test_rights_that_are_others_without_an_entry_are_not_undone_by_accident(place: Place) -> None:
    await place.give("bob", "lrs")
    folder = await place.mailbox.folder(place.postmaster, NEWS)
    bob = place.directory.identifier(place.domain, "bob")
    assert folder is not None and bob is not None
    await place.store.change([SetAcl(folder.shard, place.domain, folder.id, bob, "lr")])
    with pytest.raises(RevertError, match="are others by now"):
        await place.back()
    await place.back(force=True)
    assert "bob@example.test" not in await place.rights()


async def test_a_renamed_folder_is_followed_and_one_that_is_gone_is_told(place: Place) -> None:
    await place.give("bob", "lrs")
    await place.mailbox.rename_folder(place.postmaster, NEWS, "Public Folders/Papers")
    await place.back()
    assert "bob@example.test" not in await place.rights("Public Folders/Papers")
    await place.mailbox.delete_folder(place.postmaster, "Public Folders/Papers")
    with pytest.raises(RevertError, match="the folder News does not exist any more"):
        await place.back(place.told()[-1], force=True)


async def test_what_is_refused_has_a_reason(place: Place) -> None:
    await place.give("carol", "lrs")
    await place.mailbox.delete_acl(place.postmaster, NEWS, "carol")
    carol = place.directory.account_by_address("carol@example.test")
    assert carol is not None
    await place.directory.delete_account(carol.id, actor=ADMIN)
    with pytest.raises(RevertError, match=r"carol@example\.test is not here any more"):
        await place.back()
    with pytest.raises(PermissionDeniedError, match="managePublicFolder"):
        await place.back(actor=Actor("junior"))


async def test_rights_hold_though_the_history_cannot_be_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write(_operation: object) -> None:
        raise SystemDatabaseError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(place.directory.database, "write", write)
        await place.give("bob", "lrs")
    assert (await place.rights())["bob@example.test"] == "lrs"
    assert place.told() == []


async def test_who_change_an_entry_at_once_each_have_their_own_change_told(place: Place) -> None:
    await asyncio.gather(*(place.give("bob", letter, "add") for letter in "lrs"))
    told = [((one.old or {})["rights"] or "", (one.new or {})["rights"]) for one in place.told()]
    assert sorted(told) == [("", "l"), ("l", "lr"), ("lr", "lrs")]
    await place.back(next(one for one in place.told() if (one.new or {})["rights"] == "lrs"), force=True)
    assert (await place.rights())["bob@example.test"] == "lr"
