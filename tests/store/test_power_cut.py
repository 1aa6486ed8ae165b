"""Power cuts at any moment: whatever was promised is there afterwards, exactly once and whole."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from pathlib import Path

import apsw
import pytest

from mailstead.mailbox.service import Mailbox
from mailstead.store.compaction import Compactor
from mailstead.store.service import Store
from mailstead.store.snapshot import take_snapshot
from tests.store.recording_disk import Disk, RecordingFiles, RecordingVFS
from tests.store.workload import SHARDS, Accounts, Run, check, record

CUTS = int(os.environ.get("MAILSTEAD_CUTS", "250"))


def first_broken(run: Run, root: Path, cuts: int, seed: int) -> tuple[int, list[str]] | None:
    """Cut at random events; the first cut that breaks a promise, and which."""
    rng = random.Random(seed)
    ready = next(number for number, event in enumerate(run.disk.events) if event[0] == "start")
    for number in range(cuts):
        cut = rng.randrange(ready, len(run.disk.events))
        image = root / f"image{number}"
        run.disk.image(cut, random.Random(f"{seed}/{number}"), image)
        try:
            broken = check(run, cut, image)
        except apsw.Error as error:
            broken = [f"the index is damaged: {error}"]
        shutil.rmtree(image)
        if broken:
            return cut, broken
    return None


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_every_promise_survives(tmp_path: Path, seed: int) -> None:
    """250 cuts each in 4 runs, two writers, checkpoints under way."""
    run = asyncio.run(record(tmp_path / "live", seed))
    assert len(run.promises) > 100
    assert first_broken(run, tmp_path, CUTS, seed) is None


def test_with_every_index_lost_the_log_keeps_the_promises(tmp_path: Path) -> None:
    """The indexes are built from the log alone, after a cut at any moment; no uid names anything else."""
    run = asyncio.run(record(tmp_path / "live", 21, compacting=False))
    rng = random.Random(21)
    ready = next(number for number, event in enumerate(run.disk.events) if event[0] == "start")
    for number in range(40):
        cut = rng.randrange(ready, len(run.disk.events))
        image = tmp_path / f"image{number}"
        run.disk.image(cut, random.Random(f"21/{number}"), image)
        for path in (image / "index").glob("shard-*"):
            path.unlink()
        assert check(run, cut, image) == []
        shutil.rmtree(image)


async def compacted(root: Path, seed: int) -> tuple[Run, int]:
    """A quiet store that is compacted: nothing else syncs anything. The run, and the event at which compaction began."""
    run = Run(root, seed)
    name = f"quiet-{root.parent.name}-{seed}"
    vfs = RecordingVFS(name, run.disk)
    files = RecordingFiles(run.disk)
    store = await Store.open(root, "w0", SHARDS, files=files, vfs=name, segment_size=16 * 1024)
    await run.deliver(store, 60)
    await run.transfer(Mailbox(store, Accounts()), 5)
    await store._committer.drain()
    for number in store.indexes:
        take_snapshot(root / "index", number, files, name)
    begun = run.disk.note("start")
    compactor = Compactor(store, fill=2.0, grace=0.0, vfs=name, segments=100)
    await compactor.run_once()
    assert await compactor.run_once() > 2
    compactor.close()
    run.disk.note("end")
    ended = len(run.disk.events)
    await store.close()
    del run.disk.events[ended:]
    del vfs
    return run, begun


def broken_by_compaction(root: Path, seed: int) -> list[str]:
    run, begun = asyncio.run(compacted(root / "live", seed))
    rng = random.Random(seed)
    events = len(run.disk.events)
    for number, cut in enumerate([events, *(rng.randrange(begun, events) for _ in range(60))]):
        image = root / f"image{number}"
        run.disk.image(cut, random.Random(f"{seed}/{number}"), image)
        broken = check(run, cut, image)
        shutil.rmtree(image)
        if broken:
            return broken
    return []


def test_compaction_alone_survives(tmp_path: Path) -> None:
    assert broken_by_compaction(tmp_path, 11) == []


def test_compaction_without_syncs_loses_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment removed before the rows that leave it are durable is noticed."""
    monkeypatch.setattr(Compactor, "_sync", lambda self: None)
    # What a run leaves unsynced depends on how its transactions fell together, so that one alone may have luck.
    assert any(broken_by_compaction(tmp_path / str(seed), seed) for seed in range(12, 24))


def test_without_syncs_promises_break(tmp_path: Path) -> None:
    """The check can fail: on a disk that syncs nothing it does."""
    run = asyncio.run(record(tmp_path / "live", 7))
    run.disk.ignore_syncs = True
    assert first_broken(run, tmp_path, 40, 7) is not None


class SwallowingFiles(RecordingFiles):
    """A log whose writer ignores a sync that failed: it returns as if all were well."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self.calls = 0

    def sync(self, fd: int) -> None:
        self.calls += 1
        if self.paths[fd].endswith(".mlog") and self.calls % 2:
            return
        super().sync(fd)


def test_an_ignored_sync_error_breaks_promises(tmp_path: Path) -> None:
    """The check notices a single ignored error, too."""
    run = asyncio.run(record(tmp_path / "live", 8, files_class=SwallowingFiles))
    assert first_broken(run, tmp_path, 200, 8) is not None
