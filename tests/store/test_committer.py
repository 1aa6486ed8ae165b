"""What is refused is absent, also after a failed sync or on a full disk; what is one change is whole or absent."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from mailstead.mailbox.errors import LimitReached, OverQuota, StoreUnavailable
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.store.files import Files
from mailstead.store.fsck import fsck
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.service import Store
from mailstead.store.submission import Unavailable
from tests.store.recording_disk import Disk, RecordingFiles
from tests.store.workload import SHARDS, Accounts, Limits, text


def deliver(store: Store, token: str, *accounts: int) -> asyncio.Future:
    targets = [Target(TargetKind.FOLDER, account % SHARDS, account, date=1) for account in accounts or (100,)]
    return store.submit_message(MessageHead("s@x", 1, targets), text(token))


def tokens(store: Store, number: int = 0) -> list[str]:
    rows = store._readers[number].execute(
        "SELECT w.message_id FROM message m JOIN wide w ON w.mid = m.mid ORDER BY m.folder, m.uid"
    )
    return [str(row[0]).partition("@")[0] for row in rows]


class Limited:
    """Accounts with a quota of their own."""

    def __init__(self, **limits: int) -> None:
        self.limits = limits

    def account(self, account_id: int) -> Limits:
        return Limits(account_id % SHARDS, **self.limits)


async def test_a_failed_sync_refuses_the_batch_for_good(tmp_path: Path) -> None:
    files = RecordingFiles(Disk(tmp_path))
    store = await Store.open(tmp_path, "w0", SHARDS, files=files)
    await deliver(store, "before")
    files.fail_syncs = 1
    batch = [deliver(store, f"refused{number}", 100, 101) for number in range(5)]
    results = await asyncio.gather(*batch, return_exceptions=True)
    assert isinstance(results[0], Unavailable)
    kept = [f"refused{number}" for number, result in enumerate(results) if not isinstance(result, Exception)]
    await deliver(store, "after")
    assert not store.broken.is_set()
    assert tokens(store) == ["before", *kept, "after"]
    await store.close()
    again = await Store.open(tmp_path, "w0", SHARDS)
    assert tokens(again) == ["before", *kept, "after"]
    await again.close()
    assert fsck(tmp_path, out=lambda _: None) == 0


async def test_refused_stays_refused_when_the_index_is_built_anew(tmp_path: Path) -> None:
    """The octets of the refused batch are in the log; what counts is that they are void."""
    files = RecordingFiles(Disk(tmp_path))
    store = await Store.open(tmp_path, "w0", SHARDS, files=files)
    files.fail_syncs = 1
    with pytest.raises(Unavailable):
        await deliver(store, "refused")
    await deliver(store, "after")
    await store.close()
    for path in (tmp_path / "index").glob("shard-*"):
        path.unlink()
    again = await Store.open(tmp_path, "w0", SHARDS)
    assert tokens(again) == ["after"]
    await again.close()


async def test_two_failed_syncs_in_a_row_stop_the_store(tmp_path: Path) -> None:
    """What was being written gets no answer: it may be there after a restart, so a refusal could be a lie."""
    files = RecordingFiles(Disk(tmp_path))
    store = await Store.open(tmp_path, "w0", SHARDS, files=files)
    await deliver(store, "before")
    files.fail_syncs = 1000
    unanswered = deliver(store, "unanswered")
    await asyncio.wait_for(store.broken.wait(), 60)
    with pytest.raises(Unavailable):
        await deliver(store, "late")
    assert not unanswered.done()
    files.fail_syncs = 0
    await store.close()
    again = await Store.open(tmp_path, "w0", SHARDS)
    assert set(tokens(again)) - {"unanswered"} == {"before"}
    await again.close()


class FullDisk(Files):
    """No room for another segment while ``full``."""

    full = False

    def create(self, path: Path, size: int = 0) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return super().create(path, size)


async def test_a_full_disk_refuses_and_recovers_by_itself(tmp_path: Path) -> None:
    files = FullDisk()
    store = await Store.open(tmp_path, "w0", SHARDS, files=files, segment_size=16 * 1024)
    mailbox = Mailbox(store, Accounts())
    kept, refused = [], 0
    files.full = True
    for number in range(60):
        try:
            await deliver(store, f"f{number}")
        except Unavailable:
            refused += 1
        else:
            kept.append(f"f{number}")
    assert refused > 5
    inbox = await mailbox.folder(100, "INBOX")
    assert inbox is not None
    with pytest.raises(StoreUnavailable):
        await mailbox.append(inbox, [NewMessage(text("large", 400_000))])
    files.full = False
    await deliver(store, "again")
    await mailbox.append(inbox, [NewMessage(text("large", 400_000))])
    await store.close()
    reopened = await Store.open(tmp_path, "w0", SHARDS)
    assert tokens(reopened) == [*kept, "again", "large"]
    await reopened.close()
    assert fsck(tmp_path, out=lambda _: None) == 0


async def test_a_group_is_whole_or_absent(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, "w0", SHARDS)
    mailbox = Mailbox(store, Limited(quota_messages=5))
    inbox = await mailbox.folder(100, "INBOX")
    assert inbox is not None
    result = await mailbox.append(inbox, [NewMessage(text(f"g{number}")) for number in range(3)])
    assert list(result.uids) == [1, 2, 3]
    with pytest.raises(OverQuota):
        await mailbox.append(inbox, [NewMessage(text(f"h{number}")) for number in range(3)])
    assert tokens(store) == ["g0", "g1", "g2"]
    result = await mailbox.append(inbox, [NewMessage(text(f"i{number}")) for number in range(2)])
    assert list(result.uids) == [4, 5]
    await store.close()
    for path in (tmp_path / "index").glob("shard-*"):
        path.unlink()
    again = await Store.open(tmp_path, "w0", SHARDS)
    assert tokens(again) == ["g0", "g1", "g2", "i0", "i1"]
    await again.close()


async def test_copy_and_move_across_indexes(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, "w0", SHARDS)
    mailbox = Mailbox(store, Accounts())
    source, target = await mailbox.folder(100, "INBOX"), await mailbox.folder(101, "Archive")
    assert source is not None
    assert target is not None
    assert source.shard != target.shard
    bodies = [text(f"x{number}", 2000) for number in range(4)]
    uids = []
    for body in bodies:
        uids += (await mailbox.append(source, [NewMessage(body, ("\\Seen", "mine"), 86_400)])).uids
    view = await mailbox.open(source)
    copied = await mailbox.copy(view, uids[:2], target)
    moved = await mailbox.move(view, uids[2:], target)
    assert list(copied.source_uids) == uids[:2]
    assert [*copied.target_uids, *moved.target_uids] == [1, 2, 3, 4]
    assert list(view.uids) == uids[:2]
    view.release()
    theirs = await mailbox.open(target)
    assert list(theirs.uids) == [1, 2, 3, 4]
    assert theirs.keywords == ["mine"]
    assert set(theirs.flags) == {1 | 1 << 5}
    rows = store._readers[1].execute("SELECT w.file, w.offset, w.length FROM message m JOIN wide w ON w.mid = m.mid ORDER BY m.uid")
    assert [store.read_log(*row) for row in rows] == bodies
    theirs.release()
    assert (await mailbox.quota(100)).messages == 2
    assert (await mailbox.quota(101)).messages == 4
    await store.close()
    assert fsck(tmp_path, out=lambda _: None) == 0


async def test_the_keyword_limit(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, "w0", SHARDS)
    mailbox = Mailbox(store, Accounts())
    inbox = await mailbox.folder(100, "INBOX")
    assert inbox is not None
    words = [f"word{number}" for number in range(64)]
    (uid,) = (await mailbox.append(inbox, [NewMessage(text("k"), tuple(words))])).uids
    view = await mailbox.open(inbox)
    with pytest.raises(LimitReached):
        await mailbox.store_flags(view, [uid], "add", ["one-too-many"], durable=True)
    await mailbox.store_flags(view, [uid], "set", ["WORD3"], durable=True)
    assert view.keywords == words
    assert view.flags[0] == 1 << (5 + 3)
    with pytest.raises(LimitReached):
        await mailbox.append(inbox, [NewMessage(text("l"), (*words, "one-too-many", "\\Seen"))])
    for start in range(64, 1000, 60):
        await mailbox.store_flags(view, [uid], "set", [f"word{number}" for number in range(start, min(start + 60, 1000))])
    # A message is worth more than its keyword.
    await mailbox.append(inbox, [NewMessage(text("l"), ("one-too-many", "\\Seen"))])
    await view.refresh()
    assert view.flags[1] & 1
    view.release()
    await store.close()
