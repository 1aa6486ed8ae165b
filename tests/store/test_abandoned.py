"""Logs of writers that were killed are ended at the next start of the node, and those that somebody writes are not."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.store.abandoned import writer_lock
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


async def test_a_command_that_goes_on_keeps_its_log(tmp_path: Path) -> None:
    left = await _killed(tmp_path)
    before = segment_numbers(Files(), left / "log" / "c0")
    fd = os.open(writer_lock(left, "c0"), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        prepare(left, 2)
        assert segment_numbers(Files(), left / "log" / "c0") == before
        assert len(segment_numbers(Files(), left / "log" / "c1")) == 2
    finally:
        os.close(fd)
