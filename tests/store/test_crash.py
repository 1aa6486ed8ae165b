"""kill -9 at any point of reception, delivery, append, copy, move, replace, expunge, folders, queue, checkpoints, expiry and
compaction.

Every promise made before the process died holds afterwards; nothing is half there; numbers are not given twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailstead.store.files import Files
from mailstead.store.fsck import fsck
from mailstead.store.service import QUEUE
from mailstead.store.shard import Shard
from tests.store.workload import Run, check

S = "mailstead.store."
FUNCTIONS = [
    *(f"{S}files:Files.{name}" for name in ("writev", "sync", "create", "sync_directory", "truncate")),
    *(f"{S}log_writer:LogWriter.{name}" for name in ("write_and_sync", "begin_segment", "_seal")),
    *(f"{S}committer:Committer.{name}" for name in ("_write_next", "_written", "_apply_next", "_finish", "_part_done", "sweep")),
    *(f"{S}shard:Shard.{name}" for name in ("begin", "commit", "mark_applied", "sync_wal")),
    f"{S}apply_step:run_step",
    f"{S}accounts:ensure_account",
    *(f"{S}apply_delivery:{name}" for name in ("apply_deliveries", "apply_queue")),
    *(
        f"{S}apply_changes:{name}"
        for name in ("change_flags", "expunge", "copy_messages", "insert_copies", "remove_moved", "remove_replaced", "release")
    ),
    *(
        f"{S}apply_folders:{name}"
        for name in ("create_folder", "rename_folder", "delete_folder", "queue_outcome", "purge_expunged")
    ),
    *(f"{S}spool:Spool.{name}" for name in ("_write", "_sync")),
    f"{S}checkpoint:Checkpointer.checkpoint",
    *(f"{S}compaction:Compactor.{name}" for name in ("_examine", "_repoint", "_sync", "_remove")),
    f"{S}service:Store.relocate",
    f"{S}snapshot:take_snapshot",
    f"{S}files:Files.unlink",
    f"{S}wal_sync:WalSync._start",
]
POINTS = [(function, when) for function in FUNCTIONS for when in ("before", "after")]
SELDOM = {
    "Files.truncate", "LogWriter.begin_segment", "LogWriter._seal", "Committer.sweep", "ensure_account", "insert_copies",
    "remove_moved", "remove_replaced", "rename_folder", "delete_folder", "purge_expunged", "Spool._write", "Spool._sync",
    "expunge", "release", "Checkpointer.checkpoint", "Files.create", "Files.sync_directory", "change_flags", "copy_messages",
    "create_folder", "queue_outcome", "apply_queue",
}  # fmt: skip
RARE = {"Committer.sweep", "Checkpointer.checkpoint", "Compactor._remove", "Compactor._sync", "Files.unlink"}
SELDOM |= {"Compactor._examine", "Compactor._repoint", "Store.relocate", "take_snapshot"}
SEEDS = int(os.environ.get("MAILSTEAD_CRASHES", "1"))


def test_there_are_enough_points() -> None:
    assert len(POINTS) >= 40


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(("function", "when"), POINTS)
def test_kill(tmp_path: Path, function: str, when: str, seed: int) -> None:
    name = function.rpartition(":")[2]
    spread = 1 if name in RARE else 3 if name in SELDOM else 50
    nth = 1 + (seed * 31 + len(function) * 7 + (when == "after")) % spread
    root, result = tmp_path / "live0", None
    while result is None or (result.returncode == 0 and nth > 1):
        if result is not None:  # batches were larger than usual, so there were fewer calls
            nth //= 3
            root = tmp_path / f"live{nth}"
        root.mkdir()
        result = subprocess.run(
            [sys.executable, "-m", "tests.store.crash_child", str(root), str(seed), function, when, str(max(nth, 1))],
            cwd=Path(__file__).parents[2], capture_output=True, timeout=600, check=False,
        )  # fmt: skip
    assert result.returncode == -9, result.stderr.decode()[-2000:]
    run = Run(root, seed)
    for line in result.stdout.splitlines():
        word, *what = json.loads(line)
        what = [tuple(item) if isinstance(item, list) else item for item in what]
        if word == "promise":
            run.promises.append((0, *what))
        elif word == "start":
            run.started.append((0, *what))
    assert check(run, 1, root) == []
    assert check_folders_and_queue(run, root) == []
    said: list[str] = []
    assert fsck(root, out=said.append) == 0, said


def check_folders_and_queue(run: Run, root: Path) -> list[str]:
    broken: list[str] = []
    shard = Shard(root / "index", 300 % 2, Files())
    names = {str(row[0]): int(row[1]) for row in shard.execute("SELECT name, id FROM folder WHERE account = 300")}
    shard.close()
    queue = Shard(root / "index", QUEUE, Files())
    waiting = {int(row[0]) for row in queue.execute("SELECT mid FROM recipient")}
    entries = {int(row[0]) for row in queue.execute("SELECT mid FROM entry")}
    queue.close()
    if waiting != entries:
        broken.append("queue entries and recipients differ")
    gone = {rest[1] for _, kind, *rest in run.promises if kind in ("renamed", "deleted")}
    sent = {rest[0] for _, kind, *rest in run.promises if kind == "sent"}
    attempted = {rest[0] for number, (_, kind, *rest) in enumerate(q for q in run.promises if q[1] == "queued") if number % 2}
    for _, kind, *rest in run.promises:
        if kind == "folder" and rest[1] not in gone and f"{rest[1]}-new" not in names and rest[1] not in names:
            # A rename or deletion may have been under way when the process died, never for every third one.
            number = [q[3] for q in run.promises if q[1] == "folder"].index(rest[1])
            if number % 3 != 2:
                broken.append(f"folder {rest[1]} is lost")
        elif kind == "renamed" and (rest[2] not in names or rest[1] in names):
            broken.append(f"rename of {rest[1]} is lost")
        elif kind == "deleted" and rest[1] in names:
            broken.append(f"deleted {rest[1]} is back")
        elif kind == "queued" and rest[0] not in waiting and rest[0] not in sent | attempted:
            broken.append(f"queued {rest[0]} is lost")
        elif kind == "sent" and rest[0] in waiting:
            broken.append(f"sent {rest[0]} would be sent again")
    return broken
