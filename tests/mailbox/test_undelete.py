"""What was deleted comes back: messages with flags and dates, folders with rights and notes, nothing twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mailstead.directory.account_rules import FolderQuotas
from mailstead.mailbox.errors import FolderExists, NotPermitted, OverQuota
from mailstead.mailbox.model import Folder, NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.settings.actor import Actor
from mailstead.store.expiry import Expiry
from mailstead.store.fsck import CLEAN, fsck
from tests.mailbox.conftest import ACCOUNT, Accounts, text

ADMIN = Actor.system("test")
OWNER = Actor.user(ACCOUNT, "me")


async def need(mailbox: Mailbox, name: str) -> Folder:
    folder = await mailbox.folder(ACCOUNT, name)
    assert folder is not None
    return folder


async def contents(mailbox: Mailbox, name: str) -> list[tuple[int, list[str], int, bytes]]:
    """uid, keywords, date and octets of a folder."""
    view = await mailbox.open(await need(mailbox, name))
    try:
        names = mailbox._store.mail_index(0).keywords(ACCOUNT)
        rows = mailbox.rows(view, list(view.uids), ("flags", "date", "location"))
        return [(uid, names.names(flags), date, mailbox.read(location)) for uid, flags, date, location in rows]
    finally:
        view.release()


async def delete_all(mailbox: Mailbox, name: str) -> None:
    view = await mailbox.open(await need(mailbox, name))
    await mailbox.store_flags(view, list(view.uids), "add", ["\\Deleted"], durable=True)
    await mailbox.expunge(view, None)
    view.release()


async def test_expunged_messages_come_back_with_flags_and_dates(mailbox: Mailbox, tmp_path: Path) -> None:
    inbox = await need(mailbox, "INBOX")
    await mailbox.append(inbox, [NewMessage(text(n), ("\\Seen", f"kw{n}"), 1_000_000 + n) for n in range(5)])
    before = await contents(mailbox, "INBOX")
    await delete_all(mailbox, "INBOX")
    listed = await mailbox.deleted_messages(ACCOUNT, actor=OWNER)
    assert [(one.subject.lower(), one.folder_name) for one in listed] == [(f"n{n}", "INBOX") for n in range(5)]
    assert await mailbox.deleted_messages(ACCOUNT, actor=OWNER, since=int(time.time()) + 60) == []
    result = await mailbox.restore_messages(ACCOUNT, listed, actor=OWNER)
    assert (result.folders, result.missing) == ({"INBOX": 5}, 0)
    after = await contents(mailbox, "INBOX")
    assert [row[1:] for row in after] == [row[1:] for row in before]
    assert after[0][0] > before[-1][0], "a uid names one message only"
    status = await mailbox.status(inbox)
    assert (status.messages, status.unseen, status.deleted) == (5, 0, 0)
    assert await mailbox.restore_messages(ACCOUNT, listed, actor=OWNER) == type(result)({"INBOX": 0}, 5)
    assert await mailbox.deleted_messages(ACCOUNT, actor=OWNER) == []
    assert fsck(tmp_path, out=lambda _: None) == CLEAN


async def test_a_session_sees_what_comes_back(mailbox: Mailbox) -> None:
    inbox = await need(mailbox, "INBOX")
    await mailbox.append(inbox, [NewMessage(text(1))])
    await delete_all(mailbox, "INBOX")
    view = await mailbox.open(inbox)
    await mailbox.restore_messages(ACCOUNT, await mailbox.deleted_messages(ACCOUNT, actor=OWNER), actor=OWNER)
    await view.refresh()
    assert len(view.uids) == 1
    view.release()


async def test_a_deleted_folder_comes_back_with_all_that_belonged_to_it(mailbox: Mailbox, tmp_path: Path) -> None:
    folder = await mailbox.create_folder(ACCOUNT, "Work/2024", special_use="\\Important")
    await mailbox.set_metadata(ACCOUNT, folder, {"/shared/comment": b"notes"})
    await mailbox.append(folder, [NewMessage(text(n), ("\\Flagged",), 1_000 + n) for n in range(30)])
    before = await contents(mailbox, "Work/2024")
    await mailbox.delete_folder(ACCOUNT, "Work/2024")
    await mailbox.delete_folder(ACCOUNT, "Work")
    work, year = sorted(await mailbox.deleted_folders(ACCOUNT, actor=OWNER), key=lambda one: one.name)
    assert (work.name, work.messages, year.name, year.messages) == ("Work", 0, "Work/2024", 30)
    assert await mailbox.restore_folder(ACCOUNT, year, actor=OWNER) == 30
    back = await need(mailbox, "Work/2024")
    assert back.uidvalidity > folder.uidvalidity
    assert (back.id == folder.id, back.special_use, back.subscribed) == (False, "\\Important", True)
    assert await mailbox.metadata(ACCOUNT, back) == {"/shared/comment": b"notes"}
    assert [row[1:] for row in await contents(mailbox, "Work/2024")] == [row[1:] for row in before]
    with pytest.raises(FolderExists):
        await mailbox.restore_folder(ACCOUNT, work, actor=OWNER)
    assert fsck(tmp_path, out=lambda _: None) == CLEAN


async def test_messages_of_a_folder_that_is_gone_go_to_one_of_its_name(mailbox: Mailbox) -> None:
    folder = await mailbox.create_folder(ACCOUNT, "Old")
    await mailbox.append(folder, [NewMessage(text(n)) for n in range(2)])
    await mailbox.delete_folder(ACCOUNT, "Old")
    listed = await mailbox.deleted_messages(ACCOUNT, actor=OWNER)
    result = await mailbox.restore_messages(ACCOUNT, listed[:1], actor=OWNER)
    assert result.folders == {"Old": 1}
    result = await mailbox.restore_messages(ACCOUNT, listed[1:], actor=OWNER, into="inbox")
    assert result.folders == {"INBOX": 1}


async def test_a_folder_that_messages_are_to_come_back_into_is_made(mailbox: Mailbox) -> None:
    inbox = await mailbox.folder(ACCOUNT, "INBOX")
    assert inbox is not None
    await mailbox.append(inbox, [NewMessage(text(n)) for n in range(2)])
    view = await mailbox.open(inbox)
    await mailbox.remove(view, list(view.uids))
    view.release()
    listed = await mailbox.deleted_messages(ACCOUNT, actor=OWNER)
    result = await mailbox.restore_messages(ACCOUNT, listed, actor=OWNER, into="Back/Then")
    assert (result.folders, result.missing) == ({"Back/Then": 2}, 0)
    back = await mailbox.folder(ACCOUNT, "Back/Then")
    assert back is not None
    view = await mailbox.open(back)
    assert len(view.uids) == 2
    view.release()


async def test_quotas_hold_unless_an_administrator_says_otherwise(mailbox: Mailbox, accounts: Accounts) -> None:
    inbox = await need(mailbox, "INBOX")
    await mailbox.append(inbox, [NewMessage(text(n)) for n in range(3)])
    await delete_all(mailbox, "INBOX")
    accounts.limits[ACCOUNT].quota_messages = 2
    listed = await mailbox.deleted_messages(ACCOUNT, actor=OWNER)
    with pytest.raises(OverQuota):
        await mailbox.restore_messages(ACCOUNT, listed, actor=OWNER, ignore_quota=True)
    assert await contents(mailbox, "INBOX") == []
    assert (await mailbox.restore_messages(ACCOUNT, listed, actor=ADMIN, ignore_quota=True)).folders == {"INBOX": 3}


async def test_a_folder_that_comes_back_is_held_to_its_own_quota(mailbox: Mailbox, accounts: Accounts) -> None:
    folder = await mailbox.create_folder(ACCOUNT, "Old")
    await mailbox.append(folder, [NewMessage(text(n)) for n in range(3)])
    await mailbox.delete_folder(ACCOUNT, "Old")
    accounts.limits[ACCOUNT].folders = FolderQuotas(messages=2)  # type: ignore[attr-defined]
    (deleted,) = await mailbox.deleted_folders(ACCOUNT, actor=OWNER)
    with pytest.raises(OverQuota):
        await mailbox.restore_folder(ACCOUNT, deleted, actor=OWNER)
    assert await mailbox.restore_folder(ACCOUNT, deleted, actor=ADMIN, ignore_quota=True) == 3


async def test_a_message_that_is_named_twice_comes_back_once(mailbox: Mailbox, tmp_path: Path) -> None:
    await mailbox.append(await need(mailbox, "INBOX"), [NewMessage(text(1))])
    await delete_all(mailbox, "INBOX")
    listed = await mailbox.deleted_messages(ACCOUNT, actor=OWNER)
    assert (await mailbox.restore_messages(ACCOUNT, [*listed, *listed], actor=OWNER)).folders == {"INBOX": 1}
    assert len(await contents(mailbox, "INBOX")) == 1
    assert fsck(tmp_path, out=lambda _: None) == CLEAN


async def test_nobody_else_restores(mailbox: Mailbox) -> None:
    for actor in (Actor.user(8, "other"), Actor("helper", server=frozenset({"manageAccountsOnAnyDomain"}))):
        with pytest.raises(NotPermitted):
            await mailbox.deleted_messages(ACCOUNT, actor=actor)


async def test_the_retention_time_ends(mailbox: Mailbox, tmp_path: Path) -> None:
    folder = await mailbox.create_folder(ACCOUNT, "Old")
    await mailbox.append(folder, [NewMessage(text(1))])
    await mailbox.delete_folder(ACCOUNT, "Old")
    (gone,) = await mailbox.deleted_folders(ACCOUNT, actor=OWNER)
    listed = await mailbox.deleted_messages(ACCOUNT, actor=OWNER)
    expiry = Expiry(tmp_path / "index", [0], -10)
    await expiry.run_once()
    expiry.close()
    assert await mailbox.deleted_folders(ACCOUNT, actor=OWNER) == []
    assert (await mailbox.restore_messages(ACCOUNT, listed, actor=OWNER)).missing == 1
    with pytest.raises(Exception, match="no such deleted folder"):
        await mailbox.restore_folder(ACCOUNT, gone, actor=OWNER)
