"""The duty that keeps the search index: it starts its worker when there is work, stops it, and does not hammer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.process import index_helper, indexing
from mailstead.process.indexing import Indexing
from mailstead.store.search_file import search_path
from mailstead.store.search_jobs import pending
from mailstead.store.search_status import progress
from mailstead.store.service import Store
from tests.mailbox.conftest import ACCOUNT, Accounts


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path)
    yield opened
    await opened.close()


def settings(**values: Any) -> Any:
    server = SimpleNamespace(**({"indexAttachments": False, "maxIndexingThreads": 2} | values))
    return SimpleNamespace(service=lambda _name: server)


async def fill(store: Store, count: int) -> None:
    mailbox = Mailbox(store, Accounts())
    folder = await mailbox.folder(ACCOUNT, "INBOX")
    assert folder is not None
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nneedle %d\r\n" % number) for number in range(count)])


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  (another process does it)
            await asyncio.sleep(0.05)


async def test_mail_is_indexed_and_the_worker_goes_with_the_duty(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "ROUND_SECONDS", 0.1)
    duty = Indexing(tmp_path, store, settings())
    task = asyncio.create_task(duty.run())
    await fill(store, 250)
    await until(lambda: pending(store.reader(0), 10) == 0)
    assert [one.pending for one in progress(tmp_path, 0, [ACCOUNT])] == [0]
    process = duty._process
    assert process is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert process.returncode == -signal.SIGKILL


async def test_a_worker_of_another_release_touches_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(index_helper, "schema", lambda: "1")
    duty = Indexing(tmp_path, store, settings())
    await fill(store, 250)
    task = asyncio.create_task(duty.run())
    await until(lambda: duty._pause)
    assert pending(store.reader(0), 10) == 10
    assert not search_path(tmp_path / "index", 0).exists()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_worker_that_is_killed_is_started_again_after_a_pause(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "ROUND_SECONDS", 0.05)
    duty = Indexing(tmp_path, store, settings())
    task = asyncio.create_task(duty.run())
    await fill(store, 250)
    await until(lambda: duty._process is not None)
    assert duty._process is not None
    os.kill(duty._process.pid, signal.SIGKILL)
    await until(lambda: duty._process is None)
    assert duty._pause == 5.0
    duty._not_before = 0.0  # the pause is over
    await fill(store, 250)
    await until(lambda: pending(store.reader(0), 10) == 0)
    assert [one.indexed for one in progress(tmp_path, 0, [ACCOUNT])] == [500]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_switched_off_nothing_is_started(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "ROUND_SECONDS", 0.01)
    duty = Indexing(tmp_path, store, settings(maxIndexingThreads=0))
    task = asyncio.create_task(duty.run())
    await fill(store, 250)
    await until(lambda: duty._rounds > 20)
    assert duty._process is None
    assert pending(store.reader(0), 300) == 250
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lost_file_is_work_though_no_job_waits(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "ROUND_SECONDS", 0.05)
    duty = Indexing(tmp_path, store, settings())
    await fill(store, 5)
    store.reader(0).execute("DELETE FROM job")
    task = asyncio.create_task(duty.run())
    await until(lambda: [one.pending for one in progress(tmp_path, 0, [ACCOUNT])] == [0])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
