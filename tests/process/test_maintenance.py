"""Maintenance of the background process: the read lock, tasks that end with it, what a scan tells."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory
from mailstead.mailbox.service import Mailbox
from mailstead.process import maintenance as module
from mailstead.process.background import BackgroundRefusedError, BackgroundVerbs
from mailstead.process.maintenance import Maintenance
from mailstead.store.backup.hold import removing
from mailstead.store.service import Store

ADMIN = Actor.system("test")


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[tuple[Path, Store, Mailbox]]:
    directory = Directory.open(tmp_path, create=True)
    await directory.create_domain("example.test", actor=ADMIN)
    store = await Store.open(tmp_path, "b0")
    yield tmp_path, store, Mailbox(store, directory, directory)
    await store.close()
    directory.close()


async def begun(parts: tuple[Path, Store, Mailbox]) -> tuple[Maintenance, BackgroundVerbs, asyncio.Task[None]]:
    made, verbs = Maintenance(*parts), BackgroundVerbs()
    made.offer(verbs)
    begun_with_lock, first_round = asyncio.Event(), asyncio.Event()
    take_again, end_old = made._take_lock_again, made._end_old_lock

    async def taken_again() -> None:
        await take_again()
        begun_with_lock.set()

    async def ended_old() -> None:
        await end_old()
        if begun_with_lock.is_set():  # a start asks once more, before it takes the lock again
            first_round.set()

    made._take_lock_again = taken_again  # type: ignore[method-assign]
    made._end_old_lock = ended_old  # type: ignore[method-assign]
    running = asyncio.create_task(made.run())
    await asyncio.wait_for(first_round.wait(), 60)
    return made, verbs, running


async def ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def may_remove(data_dir: Path) -> bool:
    with removing(data_dir / "index") as allowed:
        return allowed


async def test_a_read_lock_outlives_the_process_and_ends_after_a_day(parts: tuple[Path, Store, Mailbox]) -> None:
    data_dir = parts[0]
    _made, verbs, running = await begun(parts)
    assert may_remove(data_dir)
    await verbs.call("maintenance.lock", domain=0)
    await verbs.call("maintenance.lock", domain=7)
    assert not may_remove(data_dir)
    await ended(running)
    assert may_remove(data_dir), "the lock is the process's"

    _made, verbs, running = await begun(parts)
    assert not may_remove(data_dir)
    assert sorted(row[1] for row in await verbs.call("maintenance.list")) == [0, 7]
    await verbs.call("maintenance.unlock", domain=0)
    assert not may_remove(data_dir)
    await verbs.call("maintenance.unlock", domain=7)
    assert may_remove(data_dir) and not (data_dir / "run" / module.LOCK_FILE).exists()
    await ended(running)

    (data_dir / "run" / module.LOCK_FILE).write_text(json.dumps({"0": time.time() - module.LOCK_SECONDS - 1}))
    _made, verbs, running = await begun(parts)
    assert may_remove(data_dir) and await verbs.call("maintenance.list") == []
    await ended(running)
    (data_dir / "run" / module.LOCK_FILE).write_text("damaged")
    _made, verbs, running = await begun(parts)
    assert may_remove(data_dir)
    await ended(running)


async def test_one_task_of_a_kind_and_what_it_says_is_bounded(
    parts: tuple[Path, Store, Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 10)
    made, verbs, running = await begun(parts)
    gate = asyncio.Event()

    async def slow(say: module.Say, arguments: object) -> None:
        for number in range(50):
            say(f"line {number}")
        await gate.wait()

    monkeypatch.setattr(made, "_scan", slow)
    await verbs.call("maintenance.start", kind="scan", domain=3, owners=[])
    await asyncio.sleep(0)
    with pytest.raises(BackgroundRefusedError, match="under way"):
        await verbs.call("maintenance.start", kind="scan", domain=3, owners=[])
    await verbs.call("maintenance.start", kind="scan", domain=4, owners=[])
    told = await verbs.call("maintenance.lines", kind="scan", domain=3, after=0)
    assert told == {"state": "running", "lines": [f"line {number}" for number in range(40, 50)], "next": 50}
    assert (await verbs.call("maintenance.lines", kind="scan", domain=3, after=50))["lines"] == []
    await verbs.call("maintenance.abort", kind="scan", domain=4)
    assert (await verbs.call("maintenance.lines", kind="scan", domain=4, after=0))["state"] == "aborted"
    gate.set()
    async with asyncio.timeout(60):
        while (state := (await verbs.call("maintenance.lines", kind="scan", domain=3, after=0))["state"]) == "running":  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert state == "done"
    with pytest.raises(BackgroundRefusedError, match="no task"):
        await verbs.call("maintenance.start", kind="nonsense", domain=0)
    await ended(running)
