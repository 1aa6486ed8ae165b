"""Views: what a session may miss, see twice, or see too early."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailstead.mailbox import view_filling
from mailstead.mailbox.model import EventKind, Folder, NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.mailbox.view import FolderView
from tests.mailbox.conftest import ACCOUNT, text


async def _inbox(mailbox: Mailbox, count: int) -> Folder:
    folder = await mailbox.folder(ACCOUNT, "INBOX")
    assert folder is not None
    if count:
        await mailbox.append(folder, [NewMessage(text(number)) for number in range(count)])
    return folder


async def test_a_session_that_leaves_while_a_view_loads_takes_nobody_with_it(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_filling, "LOAD_SLICE", 2)
    folder = await _inbox(mailbox, 7)
    first = asyncio.create_task(mailbox.open(folder))
    await asyncio.sleep(0)
    second = asyncio.create_task(mailbox.open(folder))
    await asyncio.sleep(0)
    first.cancel()
    view = await second
    assert list(view.uids) == [1, 2, 3, 4, 5, 6, 7]
    assert view.users == 1


async def test_a_view_that_could_not_be_loaded_is_loaded_anew(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = await _inbox(mailbox, 3)
    index = mailbox._store.mail_index(folder.shard)
    names = index.keywords

    def broken(account: int) -> list[str]:
        raise OSError("input/output error")

    monkeypatch.setattr(index, "keywords", broken)
    with pytest.raises(OSError, match="input"):
        await mailbox.open(folder)
    monkeypatch.setattr(index, "keywords", names)
    view = await mailbox.open(folder)
    assert list(view.uids) == [1, 2, 3]
    assert view.users == 1


async def test_many_expunges_in_one_refresh(mailbox: Mailbox) -> None:
    folder = await _inbox(mailbox, 6)
    view = await mailbox.open(folder)
    known, number = view.uids, view.event_no
    store = mailbox._store
    twin = FolderView(store, folder, lambda _: None)
    await twin.load()
    for uid in (2, 5, 1):
        await mailbox.remove(twin, [uid])
    await view.refresh()
    assert list(view.uids) == list(twin.uids) == [3, 4, 6]
    assert list(known) == [1, 2, 3, 4, 5, 6]
    events = view.events_since(number)
    assert events is not None
    assert [(event.kind, list(event.uids)) for event in events] == [(EventKind.EXPUNGE, [uid]) for uid in (2, 5, 1)]
    assert [event.modseq for event in events] == sorted(event.modseq for event in events)
    assert view.generation == 1
    twin.close()


async def test_durable_means_all_that_the_view_holds(mailbox: Mailbox) -> None:
    folder = await _inbox(mailbox, 1)
    view = await mailbox.open(folder)
    await mailbox.store_flags(view, [1], "add", ["\\Seen"])
    assert not view.is_durable
    waiting = asyncio.create_task(view.durable())
    await asyncio.sleep(0)
    await mailbox.store_flags(view, [1], "add", ["\\Flagged"])
    shown: list[bool] = []
    waiting.add_done_callback(lambda _: shown.append(view.is_durable))
    await waiting
    await asyncio.sleep(0)
    assert shown == [True]


async def test_nobody_is_remembered_where_nobody_looks(mailbox: Mailbox) -> None:
    folder = await _inbox(mailbox, 1)
    view = await mailbox.open(folder)
    view.release()
    for number in range(5):
        author: Any = object()
        await mailbox.append(folder, [NewMessage(text(number))], origin=author)
    assert not view._origins
    again = await mailbox.open(folder)
    assert len(again.uids) == 6
