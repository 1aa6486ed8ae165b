"""Several processes on one store: limits to the unit, and news within a moment."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.mailbox.model import EventKind
from mailstead.mailbox.service import Mailbox
from mailstead.store.fsck import fsck
from mailstead.store.service import Store
from tests.store.workload import SHARDS, Accounts


class Other:
    """tests/store/other_process.py: does what it is told, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, *order: object) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return json.loads(await asyncio.wait_for(self._process.stdout.readline(), 60))

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert await asyncio.wait_for(self._process.wait(), 60) == 0


async def start(root: Path, writer: str) -> Other:
    other = Other(
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.store.other_process", str(root), writer,
            cwd=Path(__file__).parents[2], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
    )  # fmt: skip
    assert await other.do("ready") == "ready"
    return other


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "data", "w0", SHARDS)
    yield opened
    await opened.close()
    assert fsck(tmp_path / "data", out=lambda _: None) == 0


async def test_quota_is_exact_over_processes(store: Store) -> None:
    others = await asyncio.gather(start(store.data_dir, "w1"), start(store.data_dir, "w2"))
    results = await asyncio.gather(*(other.do("fill", 100, 60, 75) for other in others))
    assert sum(int(str(result)) for result in results) == 75
    assert await Mailbox(store, Accounts()).status((await Mailbox(store, Accounts()).folders(100))[0])
    assert (await Mailbox(store, Accounts()).quota(100)).messages == 75
    for other in others:
        await other.end()


async def test_uids_rise_over_processes(store: Store) -> None:
    others = await asyncio.gather(start(store.data_dir, "w1"), start(store.data_dir, "w2"))
    given = await asyncio.gather(*(other.do("append", 100, 40) for other in others))
    assert all(uids == sorted(uids) for uids in given)  # type: ignore[type-var]
    assert sorted(uid for uids in given for uid in uids) == list(range(1, 81))  # type: ignore[attr-defined]
    for other in others:
        await other.end()


async def test_news_come_from_another_process(store: Store) -> None:
    other = await start(store.data_dir, "w1")
    await other.do("append", 100, 3)
    mailbox = Mailbox(store, Accounts())
    inbox = await mailbox.folder(100, "INBOX")
    assert inbox is not None
    view = await mailbox.open(inbox)
    assert list(view.uids) == [1, 2, 3]
    woken = asyncio.Event()
    view.attach(woken.set)
    for order, kind, uids in (
        (("append", 100, 2), EventKind.EXISTS, [4]),
        (("flags", 100, [2], "\\Flagged"), EventKind.FLAGS, [2]),
        (("flags", 100, [1, 3], "\\Deleted"), EventKind.FLAGS, [1, 3]),
        (("expunge", 100), EventKind.EXPUNGE, [1, 3]),
    ):
        seen = view.event_no
        woken.clear()
        done = asyncio.create_task(other.do(*order))
        # A wake may be for what was taken in before: it comes once that is durable.
        while not (events := view.events_since(seen)):
            await asyncio.wait_for(woken.wait(), 60)
            woken.clear()
        event = events[0]
        assert event.kind == kind
        assert list(event.uids)[: len(uids)] == uids
        await done
        await view.refresh()
    assert list(view.uids) == [2, 4, 5]
    assert view.flags[0] & 4
    for _ in range(10):
        woken.clear()
        committed = asyncio.create_task(other.do("append", 100, 1))
        await asyncio.wait_for(woken.wait(), 60)  # by the news alone: the other process does not sweep (other_process.py)
        await committed
    view.detach(woken.set)
    view.release()
    await other.end()


async def test_a_folder_deleted_elsewhere_is_gone(store: Store) -> None:
    other = await start(store.data_dir, "w1")
    mailbox = Mailbox(store, Accounts())
    folder = await mailbox.create_folder(100, "Shared")
    view = await mailbox.open(folder)
    await other.do("delete", 100, "Shared")
    await view.refresh()
    assert view.gone
    assert await mailbox.folder(100, "Shared") is None
    view.release()
    await other.end()
