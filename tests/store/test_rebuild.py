"""An index built anew is the index that was: every row, uid, modseq, flag and UIDVALIDITY."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mailstead.mailbox.model import Folder, NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.settings.actor import Actor
from mailstead.store.apply_delivery import REPLACED_GONE
from mailstead.store.files import Files
from mailstead.store.fsck import fsck
from mailstead.store.operations import QueueOutcome
from mailstead.store.rebuild import rebuild_shard
from mailstead.store.record import MessageHead, Target, TargetKind, encode_ranges
from mailstead.store.service import QUEUE, Store, prepare
from mailstead.store.shard import shard_path
from mailstead.store.snapshot import snapshots, take_snapshot
from tests.store.index_dump import difference, dump
from tests.store.workload import SHARDS, Accounts, Run, record, text

ADMIN = Actor.system("test")


async def need(mailbox: Mailbox, account: int, name: str) -> Folder:
    folder = await mailbox.folder(account, name)
    assert folder is not None
    return folder


async def everything(store: Store, other: Store, tag: str) -> None:
    """Each kind of change there is, through two writers."""
    here, there = Mailbox(store, Accounts()), Mailbox(other, Accounts())
    for account in (100, 101):
        for mailbox in (here, there):
            inbox = await mailbox.folder(account, "INBOX")
            assert inbox is not None
            uids = []
            for number in range(4):
                token = f"{tag}{account}{id(mailbox)}{number}"
                message = NewMessage(text(token), flags=("\\Seen", "$Forwarded", f"kw{number % 2}{tag}"))
                uids += (await mailbox.append(inbox, [message])).uids
            view = await mailbox.open(inbox)
            name = f"Work{tag}/{uids[0]}"
            folder = await mailbox.create_folder(account, name, special_use=None)
            await mailbox.set_subscribed(account, name, True)
            await mailbox.copy(view, uids[:2], folder)
            across = await mailbox.folder(201 - account, "Archive")
            assert across is not None
            await mailbox.copy(view, uids[2:], across)
            await mailbox.move(view, uids[2:3], folder)
            await mailbox.move(view, uids[3:], across)
            await mailbox.store_flags(view, uids[:1], "set", ["\\Flagged", f"new{tag}"], durable=True)
            await mailbox.store_flags(view, uids[:2], "add", [f"many{n}{tag}" for n in range(45)], durable=True)
            await mailbox.store_flags(view, uids[:1], "remove", [f"many{n}{tag}" for n in range(20, 42)], durable=False)
            await mailbox.store_flags(view, uids[:2], "add", ["\\Deleted"], durable=False)
            await mailbox.expunge(view, uids[1:2])
            await mailbox.expunge(view, uids[1:2])
            view.release()
            script = f"{tag}{uids[0]}"
            for name_ in (script, f"{script}-gone"):
                await mailbox.put_script(account, name_, f"# {name_}\r\nkeep;\r\n")
            await mailbox.rename_script(account, script, f"{script}-renamed")
            await mailbox.activate_script(account, f"{script}-renamed")
            await mailbox.delete_script(account, f"{script}-gone")
            await mailbox.rename_folder(account, name, f"{name}-renamed")
            if account == 100:
                await mailbox.set_metadata(account, await need(mailbox, account, f"{name}-renamed"), {"/private/comment": b"kept"})
                await mailbox.delete_folder(account, f"{name}-renamed")
                (gone,) = [one for one in await mailbox.deleted_folders(account, actor=ADMIN) if one.name == f"{name}-renamed"]
                assert await mailbox.restore_folder(account, gone, actor=ADMIN, name=f"{name}-back") == gone.messages > 0
                await mailbox.delete_folder(account, f"{name}-back")
            expunged = await mailbox.deleted_messages(account, actor=ADMIN)
            back = await mailbox.restore_messages(account, expunged[:3], actor=ADMIN, into="Sent")
            assert sum(back.folders.values()) == min(len(expunged), 3) > 0
    await here.rename_folder(101, "INBOX", f"Old{tag}")
    leaving = 400 + 2 * ord(tag)
    reply = text(f"reply{tag}").replace(b"\r\n\r\n", b"\r\nReferences: <%b@t>\r\n\r\n" % f"r{tag}".encode(), 1)
    targets = [
        Target(TargetKind.FOLDER, n % SHARDS, n, overlay=b"X-For: %d\r\n" % n, mid=store.new_id()) for n in (100, 101, leaving)
    ]
    await store.submit_message(MessageHead("s@x", 7, targets), reply)
    for account in (100, 101):  # taken away in the record of a message for one of them, and once more, when it is gone
        box = await need(here, account, "Archive")
        uids = (await here.append(box, [NewMessage(text(f"away{tag}{account}{n}")) for n in range(3)])).uids
        ranges = encode_ranges([uids[0], uids[1]])
        away = Target(TargetKind.REMOVAL, box.shard, account, box.id, date=9, mid=store.new_id(), detail=ranges)
        with_message = [away, Target(TargetKind.FOLDER, 100 % SHARDS, 100)]
        found = [await store.submit_message(MessageHead("s@x", 7, with_message), text(f"instead{tag}{account}")) for _ in "ab"]
        assert [outcome.outcome for outcomes in found for outcome in outcomes] == [0, 0, REPLACED_GONE, 0]
        view = await here.open(box)
        assert not set(view.uids) & set(uids[:2]) and uids[2] in view.uids
        view.release()
    queued = [Target(TargetKind.QUEUE, QUEUE, date=1, recipient=f"{n}@remote.test") for n in "ab"]
    (outcome, _) = await store.submit_message(MessageHead("s@x", 7, queued), text(f"out{tag}"))
    await other.change([QueueOutcome(QUEUE, outcome.mid, [(0, 1, 0, 1, 0, "250", b"")])], shown=False)
    await there.remove_account(leaving, 0)


def same_after_rebuild(root: Path) -> None:
    for number in (0, 1, QUEUE):
        before = dump(root, number)
        result = rebuild_shard(root, number)
        assert difference(before, dump(root, number)) == []
        assert not result.gap
        assert not result.lost
    assert fsck(root, out=lambda _: None) == 0


async def two_runs(root: Path, between: bool) -> None:
    for tag in ("a", "b"):
        store = await Store.open(root, "w0", SHARDS)
        other = await Store.open(root, "w1", SHARDS, prepared=True)
        await everything(store, other, tag)
        if between and tag == "a":
            for number in store.indexes:
                take_snapshot(root / "index", number, Files())
            await everything(other, store, "c")
        await store.close()
        await other.close()


@pytest.mark.parametrize("between", [False, True])
def test_from_the_log_and_from_a_snapshot(tmp_path: Path, between: bool) -> None:
    root = tmp_path / "data"
    asyncio.run(two_runs(root, between))
    same_after_rebuild(root)
    same_after_rebuild(root)


@pytest.mark.parametrize("seed", range(3))
def test_concurrent_writers(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "data"
    root.mkdir()
    asyncio.run(record(root, 40 + seed))
    for number in (0, 1):
        before = dump(root, number)
        rebuild_shard(root, number)
        after = dump(root, number)
        # Deleted messages that were forgotten since the snapshot come back until they are forgotten again.
        for table in ("account", "folder", "subscription", "keyword", "message", "thread", "change"):
            assert difference({table: before[table]}, {table: after[table]}) == []
    assert fsck(root, out=lambda _: None) == 0


def test_a_lost_index_is_built_at_the_next_start(tmp_path: Path) -> None:
    root = tmp_path / "data"
    asyncio.run(two_runs(root, False))
    before = dump(root, 0)
    for path in (root / "index").glob("shard-0.db*"):
        path.unlink()
    prepare(root, SHARDS)
    assert difference(before, dump(root, 0)) == []


def test_a_damaged_snapshot_is_passed_over(tmp_path: Path) -> None:
    root = tmp_path / "data"
    asyncio.run(two_runs(root, True))
    take_snapshot(root / "index", 0, Files())
    newest = snapshots(root / "index", 0)[0][1]
    newest.write_bytes(b"\0" * 8192)
    before = dump(root, 0)
    result = rebuild_shard(root, 0)
    assert newest.name not in result.base
    assert difference(before, dump(root, 0)) == []


def test_after_a_kill_nothing_is_lost_and_no_number_given_twice(tmp_path: Path) -> None:
    """The last effects were not logged: the rebuilt index leaves the numbers out that clients may have seen."""
    root = tmp_path / "data"
    root.mkdir()
    point = "mailstead.store.committer:Committer._finish"
    child = subprocess.run(
        [sys.executable, "-m", "tests.store.crash_child", str(root), "5", point, "before", "60"],
        cwd=Path(__file__).parents[2], capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL
    prepare(root, SHARDS)
    for number in range(SHARDS):
        for _, path in snapshots(root / "index", number):
            path.unlink()
    gaps = 0
    for number in range(SHARDS):
        before = dump(root, number)
        result = rebuild_shard(root, number)
        after = dump(root, number)
        gaps += result.gap
        assert result.gap or difference(before, after) == [], "of the other shard all may have been logged"
        seen = {(row[0], row[1]): row[4] for row in before["message"]}
        now = {(row[0], row[1]): row[4] for row in after["message"]}
        assert {(place[0], mid) for place, mid in seen.items()} <= {(place[0], mid) for place, mid in now.items()}
        assert all(seen.get(place, mid) == mid for place, mid in now.items())
        highest = {row[0]: row[7] for row in before["folder"]}
        assert all(row[7] >= highest.get(row[0], 0) for row in after["folder"])
    assert gaps
    assert fsck(root, out=lambda _: None) == 0


async def rewound(root: Path) -> tuple[dict, dict]:
    """An index that lost its last commits in a power cut, although the log tells of them."""
    store = await Store.open(root, "w0", SHARDS)
    run = Run(root, 1)
    run.promise = lambda *what: None  # type: ignore[method-assign]
    await run.deliver(store, 10)
    await store._committer.drain()
    path = take_snapshot(root / "index", 0, Files())
    await run.deliver(store, 20)
    await store.close()
    for file in (root / "index").glob("shard-0.db*"):
        file.unlink()
    os.link(path, shard_path(root / "index", 0))
    path.unlink()
    # The end of the last segment, its seal, did not reach the disk either.
    last = sorted((root / "log" / "w0").glob("*.mlog"))[-1]
    os.truncate(last, last.stat().st_size - 40)
    again = await Store.open(root, "w0", SHARDS)
    await run.deliver(again, 5)
    await again.close()
    before = dump(root, 0)
    rebuild_shard(root, 0)
    return before, dump(root, 0)


def test_effects_of_commits_that_a_power_cut_took_back_are_void(tmp_path: Path) -> None:
    before, after = asyncio.run(rewound(tmp_path / "data"))
    assert difference(before, after) == []
