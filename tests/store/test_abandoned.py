"""Logs of writers that were killed are ended at the next start of the node, and those that somebody writes are not."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from click import ClickException

from mailstead.cli.data_directory import store_beside
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.process.bootstrap import Bootstrap
from mailstead.process.system import lock_data_directory
from mailstead.store.abandoned import opening, preparing, writer_lock
from mailstead.store.epochs import ended_in_order
from mailstead.store.files import Files
from mailstead.store.segment import segment_numbers
from mailstead.store.service import Store, prepare
from tests.store.workload import Accounts, text

ACCOUNT = 100


async def _append(store: Store, token: str) -> None:
    mailbox = Mailbox(store, Accounts())
    inbox = await mailbox.folder(ACCOUNT, "INBOX")
    assert inbox is not None
    await mailbox.append(inbox, [NewMessage(text(token))])


async def _count(store: Store) -> int:
    mailbox = Mailbox(store, Accounts())
    inbox = await mailbox.folder(ACCOUNT, "INBOX")
    assert inbox is not None
    view = await mailbox.open(inbox)
    try:
        return len(view.uids)
    finally:
        view.release()


async def _killed(tmp_path: Path) -> Path:
    """A data directory as it lies there after a node with two workers, a command and a mount was killed."""
    live = tmp_path / "live"
    node = await Store.open(live, "w0", 2)
    others = [await Store.open(live, name, 2, prepared=True) for name in ("w1", "c0", "c1")]
    for store, token in zip([node, *others], ("one", "two", "three", "four"), strict=True):
        await _append(store, token)
    left = tmp_path / "left"
    shutil.copytree(live, left, ignore=shutil.ignore_patterns("*.sock"))
    for store in [*others, node]:
        await store.close()
    return left


async def test_the_next_start_finds_every_log_ended(tmp_path: Path) -> None:
    left = await _killed(tmp_path)
    assert not ended_in_order(left / "log", Files())
    node = await Store.open(left, "w0", 2)
    assert await _count(node) == 4
    await _append(node, "five")
    await node.close()
    assert ended_in_order(left / "log", Files()), "neither the second worker nor command and mount came back"
    before = {name: segment_numbers(Files(), left / "log" / name) for name in ("w1", "c0", "c1")}
    mount = await Store.open(left, "c1", 2)
    assert await _count(mount) == 5
    await mount.close()
    after = {name: segment_numbers(Files(), left / "log" / name) for name in ("w1", "c0", "c1")}
    assert (after["w1"], after["c0"]) == (before["w1"], before["c0"]), "what is ended is not ended again"


@contextlib.contextmanager
def _at_work(data_dir: Path, writer: str) -> Iterator[None]:
    fd = os.open(writer_lock(data_dir, writer), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


async def test_a_command_that_goes_on_keeps_its_log(tmp_path: Path) -> None:
    left = await _killed(tmp_path)
    before = segment_numbers(Files(), left / "log" / "c0")
    with _at_work(left, "c0"):
        prepare(left, 2)
        assert segment_numbers(Files(), left / "log" / "c0") == before
        assert len(segment_numbers(Files(), left / "log" / "c1")) == 2


def _jumps(data_dir: Path) -> int:
    connection = apsw.Connection(str(data_dir / "index" / "shard-0.db"))
    try:
        return int(connection.execute("SELECT count(*) FROM epoch").fetchone()[0])  # type: ignore[index]
    finally:
        connection.close()


async def test_what_a_command_writes_while_the_node_starts_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = await Store.open(tmp_path, "w0", 2)
    await _append(node, "one")
    with _at_work(tmp_path, "c0"):
        command = await Store.open(tmp_path, "c0", 2, prepared=True)
        await _append(command, "two")
        # A record is in the log, and the command has not come to the index yet, when the server starts anew.
        with monkeypatch.context() as slow:
            slow.setattr(command._committer, "_apply_ready", lambda: None)
            before = command._log.position
            third = asyncio.create_task(_append(command, "three"))
            async with asyncio.timeout(60):
                while command._log.position == before or command._committer._writing:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await node.close()
            node = await Store.open(tmp_path, "w0", 2)
        command._committer._apply_ready()
        await asyncio.wait_for(third, 60)
        await _append(command, "four")
        assert await _count(node) == 4
        assert _jumps(tmp_path) == 0, "nothing ended out of order, and no search index need be looked through"
        # What the one changes, the other hears of.
        mailbox = Mailbox(command, Accounts())
        inbox = await mailbox.folder(ACCOUNT, "INBOX")
        assert inbox is not None
        heard = asyncio.Event()
        command.listen(inbox.id, lambda *_: heard.set())
        async with asyncio.timeout(60):
            while not heard.is_set():
                await _append(node, "more")
                await asyncio.sleep(0.05)
        await command.close()
    await node.close()
    assert ended_in_order(tmp_path / "log", Files())


async def test_a_command_opens_the_store_when_the_node_is_prepared(tmp_path: Path) -> None:
    await (await Store.open(tmp_path, "w0", 2)).close()
    with contextlib.ExitStack() as start:
        start.enter_context(preparing(tmp_path))
        command = asyncio.create_task(Store.open(tmp_path, "c0", 2, prepared=True))
        await asyncio.sleep(0.2)
        assert not command.done()
    store = await asyncio.wait_for(command, 60)
    await _append(store, "one")
    await store.close()
    with opening(tmp_path), opening(tmp_path):
        pass  # several at the same time


async def test_a_command_beside_a_server_that_only_begins_makes_no_empty_index_in_place_of_a_missing_one(tmp_path: Path) -> None:
    node = await Store.open(tmp_path, "w0", 2)
    await _append(node, "one")
    await node.close()
    for path in (tmp_path / "index").glob("shard-0.db*"):
        path.unlink()
    lock = lock_data_directory(tmp_path)  # what a server does first
    try:
        with pytest.raises(ClickException, match="is starting"):
            async with store_beside(Bootstrap(tmp_path, shards=2)):
                pass
        node = await Store.open(tmp_path, "w0", 2)
        assert await _count(node) == 1
        async with store_beside(Bootstrap(tmp_path, shards=2)) as command:
            assert await _count(command) == 1
        await node.close()
    finally:
        os.close(lock)


async def test_a_command_waits_for_no_server_that_has_yet_to_take_in_what_was_left(tmp_path: Path) -> None:
    left = await _killed(tmp_path)
    lock = lock_data_directory(left)
    try:
        with pytest.raises(ClickException, match="is starting"):
            async with store_beside(Bootstrap(left, shards=2)):
                pass
        await (await Store.open(left, "w0", 2)).close()
        async with store_beside(Bootstrap(left, shards=2)) as command:
            assert await _count(command) == 4
    finally:
        os.close(lock)


async def test_what_a_killed_command_left_is_taken_by_the_next_one_without_a_server(tmp_path: Path) -> None:
    left = await _killed(tmp_path)
    with _at_work(left, "c0"):
        alone = await Store.open(left, "c0", 2)
        assert await _count(alone) == 4
        await alone.close()
    assert ended_in_order(left / "log", Files())
