"""Folders: names, limits, and others doing the same at the same time."""

from __future__ import annotations

import asyncio

import pytest

from mailstead.mailbox import folders
from mailstead.mailbox.errors import FolderExists, InvalidFolderName, LimitReached
from mailstead.mailbox.service import Mailbox
from tests.mailbox.conftest import ACCOUNT


async def _names(mailbox: Mailbox) -> set[str]:
    return {folder.name for folder in await mailbox.folders(ACCOUNT)}


async def test_two_at_once_may_need_the_same_folder_above(mailbox: Mailbox) -> None:
    await mailbox.folders(ACCOUNT)
    found = await asyncio.gather(mailbox.create_folder(ACCOUNT, "a/b"), mailbox.create_folder(ACCOUNT, "a/c"))
    assert [folder.name for folder in found] == ["a/b", "a/c"]
    await asyncio.gather(mailbox.rename_folder(ACCOUNT, "a/b", "x/b"), mailbox.rename_folder(ACCOUNT, "a/c", "x/c"))
    assert {"a", "x", "x/b", "x/c"} <= await _names(mailbox)


async def test_only_one_of_two_makes_a_folder(mailbox: Mailbox) -> None:
    await mailbox.folders(ACCOUNT)
    found = await asyncio.gather(*(mailbox.create_folder(ACCOUNT, "p/q") for _ in range(2)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == ["Folder", "FolderExists"]


async def test_a_name_is_found_however_its_accents_are_written(mailbox: Mailbox) -> None:
    made = await mailbox.create_folder(ACCOUNT, "Cafe\u0301")
    for name in ("Cafe\u0301", "Caf\u00e9"):
        found = await mailbox.folder(ACCOUNT, name)
        assert found is not None
        assert found.id == made.id


async def test_a_tree_does_not_grow_deeper_by_renaming(mailbox: Mailbox) -> None:
    await mailbox.create_folder(ACCOUNT, "a/b/c")
    deep = "/".join(["d"] * 19)
    with pytest.raises(InvalidFolderName):
        await mailbox.rename_folder(ACCOUNT, "a", deep)
    await mailbox.rename_folder(ACCOUNT, "a", "/".join(["d"] * 18))
    assert max(name.count("/") for name in await _names(mailbox)) == 19


async def test_renaming_does_not_pass_the_limit_of_folders(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_FOLDERS", len(await _names(mailbox)) + 2)
    with pytest.raises(LimitReached):
        await mailbox.create_folder(ACCOUNT, "1/2/3")
    await mailbox.create_folder(ACCOUNT, "1/2")
    with pytest.raises(LimitReached):
        await mailbox.rename_folder(ACCOUNT, "INBOX", "old")
    with pytest.raises(LimitReached):
        await mailbox.rename_folder(ACCOUNT, "1/2", "3/4")
    await mailbox.rename_folder(ACCOUNT, "1/2", "5")
    with pytest.raises(FolderExists):
        await mailbox.rename_folder(ACCOUNT, "5", "1")


async def test_subscriptions_have_a_limit(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    await mailbox.folders(ACCOUNT)
    known = await mailbox.subscriptions(ACCOUNT)
    monkeypatch.setattr(folders, "MAX_FOLDERS", len(known))
    with pytest.raises(LimitReached):
        await mailbox.set_subscribed(ACCOUNT, "one more", True)
    await mailbox.set_subscribed(ACCOUNT, known[0], True)
    await mailbox.set_subscribed(ACCOUNT, known[0], False)
    await mailbox.set_subscribed(ACCOUNT, "one more", True)
