"""Space comes back, and nothing that somebody can still read goes with it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.store.compaction import Compactor
from mailstead.store.expiry import Expiry
from mailstead.store.files import Files
from mailstead.store.fsck import fsck
from mailstead.store.operations import QueueOutcome
from mailstead.store.orphans import Orphans
from mailstead.store.rebuild import rebuild_shard
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.service import QUEUE, Store
from mailstead.store.shard import shard_path
from mailstead.store.snapshot import snapshot_all, snapshots
from mailstead.store.upkeep import Upkeep
from tests.store.index_dump import difference, dump
from tests.store.workload import SHARDS, Accounts, text

SEGMENT = 64 * 1024


def log_octets(root: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in (root / "log").rglob("*.m*"))


def segments(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in (root / "log").rglob("*.mlog")}


def snap(store: Store) -> None:
    snapshot_all(store.data_dir / "index", store.indexes, Files())


async def fill(store: Store, mailbox: Mailbox) -> dict[str, bytes]:
    """Forty messages of 20 KB to account 100 (copied to 101 in the other index), of which a few are kept."""
    inbox = await mailbox.folder(100, "INBOX")
    other = await mailbox.folder(101, "Archive")
    assert inbox is not None
    assert other is not None
    uids: list[int] = []
    bodies = {}
    for number in range(40):
        body = text(f"c{number}", 20_000)
        bodies[f"c{number}"] = body
        uids += (await mailbox.append(inbox, [NewMessage(body)])).uids
    view = await mailbox.open(inbox)
    await mailbox.copy(view, uids[::10], other)
    gone = [uid for number, uid in enumerate(uids) if number % 5]
    await mailbox.store_flags(view, gone, "add", ["\\Deleted"], durable=True)
    await mailbox.expunge(view, gone)
    view.release()
    return {token: body for number, (token, body) in enumerate(bodies.items()) if number % 5 == 0}


async def contents(store: Store, mailbox: Mailbox, account: int, name: str) -> dict[str, bytes]:
    folder = await mailbox.folder(account, name)
    assert folder is not None
    found = {}
    shard = store.reader(account % SHARDS)
    for message_id, *place in shard.execute(
        "SELECT w.message_id, w.file, w.offset, w.length, w.external, w.external_size FROM message m "
        "JOIN wide w ON w.mid = m.mid WHERE m.folder = ?",
        (folder.id,),
    ):
        found[message_id.partition("@")[0]] = store.read_message(*place)
    return found


async def expire(root: Path) -> None:
    expiry = Expiry(root / "index", list(range(SHARDS)), -1000)
    await expiry.run_once()
    expiry.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_space_comes_back_and_the_rest_stays(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    mailbox = Mailbox(store, Accounts())
    kept = await fill(store, mailbox)
    await expire(root)
    await store._committer.drain()
    snap(store)
    before, names = log_octets(root), segments(root)
    compactor = Compactor(store, grace=0.0, segments=100)
    await compactor.run_once()
    assert await contents(store, mailbox, 100, "INBOX") == kept
    assert await compactor.run_once() > 5
    assert log_octets(root) < before / 2
    assert len(names - segments(root)) > 5
    assert await contents(store, mailbox, 100, "INBOX") == kept
    assert await contents(store, mailbox, 101, "Archive") == {f"c{n}": kept[f"c{n}"] for n in range(0, 40, 10)}
    compactor.close()
    await store.close()
    assert fsck(root, out=lambda _: None) == 0
    again = await Store.open(root, "w0", SHARDS)
    assert await contents(again, Mailbox(again, Accounts()), 100, "INBOX") == kept
    await again.close()


async def test_deleted_but_restorable_messages_keep_their_octets(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    await fill(store, Mailbox(store, Accounts()))
    await store._committer.drain()
    snap(store)
    compactor = Compactor(store, grace=0.0, segments=100)
    await compactor.run_once()
    await compactor.run_once()
    for file, offset, length in store.reader(0).execute(
        "SELECT w.file, w.offset, w.length FROM expunged e JOIN wide w ON w.mid = e.mid"
    ):
        assert b"Message-ID" in store.read_log(file, offset, length)
    compactor.close()
    await store.close()
    assert fsck(root, out=lambda _: None) == 0


async def test_nothing_goes_without_a_snapshot_or_younger_than_it(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    mailbox = Mailbox(store, Accounts())
    compactor = Compactor(store, grace=0.0, segments=100, fill=1.1)
    await fill(store, mailbox)
    await expire(root)
    names = segments(root)
    await compactor.run_once()
    await compactor.run_once()
    assert names <= segments(root)
    snap(store)
    snap(store)
    older = segments(root)
    await fill(store, mailbox)
    await expire(root)
    younger = segments(root) - older
    await compactor.run_once()
    await compactor.run_once()
    assert younger <= segments(root)
    compactor.close()
    await store.close()


async def test_readers_have_their_time(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    mailbox = Mailbox(store, Accounts())
    await fill(store, mailbox)
    await expire(root)
    await store._committer.drain()
    snap(store)
    names = segments(root)
    compactor = Compactor(store, grace=3600.0, segments=100)
    await compactor.run_once()
    await compactor.run_once()
    assert compactor.relocated
    assert names <= segments(root)
    compactor.close()
    await store.close()


async def test_old_dead_octets_go_whatever_the_fill(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    mailbox = Mailbox(store, Accounts())
    inbox = await mailbox.folder(100, "INBOX")
    assert inbox is not None
    secret = text("secret", 1000)
    (uid,) = (await mailbox.append(inbox, [NewMessage(secret)])).uids
    for number in range(8):
        await mailbox.append(inbox, [NewMessage(text(f"k{number}", 20_000))])
    view = await mailbox.open(inbox)
    await mailbox.store_flags(view, [uid], "add", ["\\Deleted"], durable=True)
    await mailbox.expunge(view, [uid])
    view.release()
    await expire(root)
    await store._committer.drain()
    snap(store)
    compactor = Compactor(store, grace=0.0, segments=100, fill=0.0, dead_seconds=-1)
    await compactor.run_once()
    await compactor.run_once()
    assert not any(b"Message-ID: <secret@t>" in path.read_bytes() for path in (root / "log").rglob("*.mlog"))
    assert len(await contents(store, mailbox, 100, "INBOX")) == 8
    compactor.close()
    await store.close()
    assert fsck(root, out=lambda _: None) == 0


async def test_queued_mail_moves_and_is_sent_once(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    bodies = {}
    for number in range(12):
        targets = [Target(TargetKind.QUEUE, QUEUE, date=1, recipient=f"{name}{number}@remote.test") for name in "ab"]
        body = text(f"q{number}", 20_000)
        (outcome, _) = await store.submit_message(MessageHead("s@x", 1, targets), body)
        bodies[outcome.mid] = body
        rows = [(0, 1, 0, 1, 0, "250", b"")] if number % 4 == 0 else [(n, 1, 0, 1, 0, "250", b"") for n in (0, 1)]
        await store.change([QueueOutcome(QUEUE, outcome.mid, rows)], shown=False)
    await store._committer.drain()
    snap(store)
    compactor = Compactor(store, grace=0.0, segments=100)
    await compactor.run_once()
    assert await compactor.run_once()
    queue = store.reader(QUEUE)
    waiting = {int(row[0]): store.read_log(*row[1:]) for row in queue.execute("SELECT mid, file, offset, length FROM entry")}
    assert waiting == {mid: body for number, (mid, body) in enumerate(bodies.items()) if number % 4 == 0}
    compactor.close()
    await store.close()
    before = dump(root, QUEUE)
    rebuild_shard(root, QUEUE)
    assert difference(before, dump(root, QUEUE)) == []


async def test_rebuild_after_compaction(root: Path) -> None:
    """The snapshot names places that are gone; the copies are found."""
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    mailbox = Mailbox(store, Accounts())
    await fill(store, mailbox)
    await expire(root)
    await store._committer.drain()
    snap(store)
    compactor = Compactor(store, grace=0.0, segments=100)
    await compactor.run_once()
    assert await compactor.run_once()
    inbox = await mailbox.folder(100, "INBOX")
    assert inbox is not None
    await mailbox.append(inbox, [NewMessage(text("later"))])
    compactor.close()
    await store.close()
    for number in range(SHARDS):
        before = dump(root, number)
        result = rebuild_shard(root, number)
        assert result.base.startswith("snapshot")
        assert not result.gap
        assert difference(before, dump(root, number)) == []
    assert fsck(root, out=lambda _: None) == 0


async def test_without_snapshots_the_messages_are_found_all_the_same(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    mailbox = Mailbox(store, Accounts())
    kept = await fill(store, mailbox)
    await expire(root)
    await store._committer.drain()
    snap(store)
    compactor = Compactor(store, grace=0.0, segments=100)
    await compactor.run_once()
    assert await compactor.run_once()
    compactor.close()
    await store.close()
    for number in range(SHARDS):
        for _, path in snapshots(root / "index", number):
            path.unlink()
        shard_path(root / "index", number).unlink()
    again = await Store.open(root, "w0", SHARDS)
    found = await contents(again, Mailbox(again, Accounts()), 100, "INBOX")
    assert {token: found.get(token) for token in kept} == kept
    await again.close()
    assert fsck(root) == 0


def recover(log: Path, target: Path) -> list[bytes]:
    """What the standalone reader finds for account 100."""
    tool = Path(__file__).parents[2] / "tools" / "read_log.py"
    subprocess.run([sys.executable, str(tool), str(log), str(target)], check=True, capture_output=True)
    return [path.read_bytes() for path in (target / "100" / "cur").iterdir()]


async def test_the_standalone_reader_finds_each_message_once(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    mailbox = Mailbox(store, Accounts())
    kept = await fill(store, mailbox)
    await expire(root)
    await store._committer.drain()
    snap(store)
    compactor = Compactor(store, grace=0.0, segments=100)
    await compactor.run_once()
    for removed in (False, True):
        if removed:
            assert await compactor.run_once()
        found = await asyncio.to_thread(recover, root / "log", root.parent / f"recovered-{removed}")
        assert len(found) == len(set(found))
        assert set(kept.values()) <= set(found)
    compactor.close()
    await store.close()


def test_orphans_go_after_two_rounds(root: Path) -> None:
    async def setting() -> Path:
        store = await Store.open(root, "w0", SHARDS)
        mailbox = Mailbox(store, Accounts())
        inbox = await mailbox.folder(100, "INBOX")
        assert inbox is not None
        await mailbox.append(inbox, [NewMessage(text("big", 400_000))])
        orphan = root / "log" / "w0" / "x" / f"{store.new_id():016x}.mext"
        orphan.write_bytes(b"left behind")
        await store.close()
        return orphan

    orphan = asyncio.run(setting())
    old = time.time() - 7200
    for path in orphan.parent.iterdir():
        os.utime(path, (old, old))
    fresh = orphan.with_name(f"{1 << 40:016x}.mext")
    fresh.write_bytes(b"just arriving")
    orphans = Orphans(root, [0, 1, QUEUE], Files())
    assert orphans.run_once() == 0
    assert orphan.exists()
    assert orphans.run_once() == 1
    orphans.close()
    assert not orphan.exists()
    assert fresh.exists()
    assert fsck(root, out=lambda _: None) == 0


async def test_upkeep_does_what_is_due(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=SEGMENT)
    mailbox = Mailbox(store, Accounts())
    await fill(store, mailbox)
    await expire(root)
    await store._committer.drain()
    upkeep = Upkeep(root, store, Compactor(store, grace=0.0, segments=100))
    first = await upkeep.run_once()
    assert [line.partition("-")[0] for line in first[:3]] == ["snapshot shard", "snapshot shard", "snapshot queue"]
    assert "messages moved" in first[3]
    second = await upkeep.run_once()
    assert any("segments removed" in line for line in second)
    upkeep.close()
    await store.close()
    assert fsck(root, out=lambda _: None) == 0


async def test_a_snapshot_follows_on_an_end_without_a_seal(root: Path) -> None:
    store = await Store.open(root, "w0", SHARDS)
    await Mailbox(store, Accounts()).folder(100, "INBOX")
    snap(store)
    await store.close()
    last = sorted((root / "log" / "w0").glob("*.mlog"))[-1]
    os.truncate(last, last.stat().st_size - 10)
    again = await Store.open(root, "w0", SHARDS)
    upkeep = Upkeep(root, again)
    assert len(await upkeep.run_once()) >= SHARDS
    assert await upkeep.run_once() == []
    upkeep.close()
    await again.close()
