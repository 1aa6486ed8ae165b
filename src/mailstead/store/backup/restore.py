"""A server from a backup, in an empty data directory, as it was at a backup or at any time between two.

Invariants: ``mailstead.toml`` is written last, so what a crash leaves half done cannot be started; index files are built from
the copies in the backup and the log after them, as after a crash; unless it is known that the log in the backup is the
whole log, numbers that clients may have seen since are left out, and everything is told to them as changed.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mailstead.store.backup.repository import BackupError, Repository
from mailstead.store.backup.view import Point, cut_log, fetch
from mailstead.store.counters import MODSEQ_JUMP, UID_JUMP
from mailstead.store.epochs import ended_in_order
from mailstead.store.files import Files
from mailstead.store.operations import QUEUE_SHARDS, to_ranges
from mailstead.store.rebuild import rebuild_shard
from mailstead.store.results import GONE, record_ranges
from mailstead.store.search_jobs import ask_for_all
from mailstead.store.shard import Shard, shard_path
from mailstead.store.snapshot import snapshots, take_snapshot

BOOTSTRAP = "mailstead.toml"
UIDS_A_SECOND = 10
MODSEQS_A_SECOND = 1_000
"""So many numbers of one folder may have been given in each second since, in the mean."""
MAX_UID = 1 << 31
"""A folder whose next UID would lie above gets another UIDVALIDITY instead."""


@dataclass(slots=True)
class Restored:
    """``raised``: by how much next UID and modseq of every folder were raised, None where they are as they were; ``renewed``:
    folders that got another UIDVALIDITY; ``lost``: what could not be restored, in words; ``queued``: messages that wait to be
    sent."""

    messages: int = 0
    queued: int = 0
    raised: tuple[int, int] | None = None
    renewed: int = 0
    lost: list[str] = field(default_factory=list)


def restore_server(
    repository: Repository,
    point: Point,
    target: Path,
    *,
    log_ends_here: bool = False,
    new_uidvalidity: bool = False,
    before_ready: Callable[[], None] = lambda: None,
    told: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Restore into ``target``, which must not exist or be empty. ``log_ends_here``: the operator knows that the server was stopped
    when the backup was made and has not run since; ``before_ready`` is called before the result can be started. Blocking. Raises
    BackupError, Damaged, OSError, apsw errors; then ``target`` holds nothing that would start."""
    if target.exists() and any(target.iterdir()):
        raise BackupError(f"{target} is not empty")
    files = Files()
    target.mkdir(mode=0o750, parents=True, exist_ok=True)
    for name in ("log", "index", "index/snapshots", "keys", "certs", "run", "tmp"):
        (target / name).mkdir(mode=0o750, exist_ok=True)
    told(f"the log, {sum(entry.size for entry in point.log.values()) >> 20} MB")
    for path, entry in point.log.items():
        fetch(repository, entry, target / path)
    cut = cut_log(target / "log", point.horizon, files)
    whole = ended_in_order(target / "log", files) and not cut and not point.exact
    if log_ends_here and not whole:
        raise BackupError("the backup was made while the server ran (or is to be cut), so its log does not end here")
    bootstrap = b""
    numbers: list[int] = []
    for entry in point.base.files:
        if entry.kind == "index":
            stem = Path(entry.path).stem
            commit = point.base.commits[stem]
            fetch(repository, entry, target / "index" / "snapshots" / f"{stem}-{commit:018d}.db")
            kind, _, place = stem.rpartition("-")
            numbers.append(int(place) + (QUEUE_SHARDS if kind == "queue" else 0))
        elif entry.path == BOOTSTRAP:
            bootstrap = b"".join(chunk for piece in entry.pieces for chunk in repository.read(piece))
        elif entry.kind in ("system", "file"):
            fetch(repository, entry, target / entry.path)
    jump = None if log_ends_here else _jump(point.time)
    result = Restored(raised=jump)
    for number in sorted(numbers):
        _build(target, number, files, result, jump, new_uidvalidity, told)
    before_ready()
    _finish(target, bootstrap, files)
    return result


def _jump(since: float) -> tuple[int, int]:
    """How far next UID and modseq are raised for what may have been given since then."""
    seconds = int(max(0.0, time.time() - since)) + 1
    return max(UID_JUMP, seconds * UIDS_A_SECOND), max(MODSEQ_JUMP, seconds * MODSEQS_A_SECOND)


def _build(
    target: Path,
    number: int,
    files: Files,
    result: Restored,
    jump: tuple[int, int] | None,
    new_uidvalidity: bool,
    told: Callable[[str], None],
) -> None:
    index = target / "index"
    name = shard_path(index, number).stem
    built = rebuild_shard(target, number, files, lambda text: told(f"{name} {text}"))
    result.lost += [f"{name}: {text}" for text in built.lost]
    if number >= QUEUE_SHARDS:
        result.queued += built.messages
        return
    result.messages += built.messages
    shard = Shard(index, number, files)
    try:
        if jump is not None:
            if built.gap:  # the rebuilding has left out numbers, too
                result.raised = jump[0] + UID_JUMP, jump[1] + MODSEQ_JUMP
            result.renewed += _leave_out_numbers(shard, *jump, new_uidvalidity=new_uidvalidity)
        accounts = [int(row[0]) for row in shard.execute("SELECT id FROM account")]
        ask_for_all(shard, accounts, anew=False)
        shard.sync_wal()
        shard.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        shard.close()
    # The older ones do not know of the numbers that were left out.
    newest = take_snapshot(index, number, files)
    for _, path in snapshots(index, number):
        if path != newest:
            files.unlink(path)


def _leave_out_numbers(shard: Shard, uids: int, modseqs: int, *, new_uidvalidity: bool) -> int:
    """Raise next UID and modseq of every folder; every UID that no message has counts as expunged since and every message as
    changed, so that clients that saw more than there is now find out. Returns how many folders got another UIDVALIDITY."""
    now = int(time.time())
    shard.begin()
    renewed = 0
    for folder, account, uidnext, modseq in list(shard.execute("SELECT id, account, uidnext, modseq FROM folder")):
        modseq += modseqs
        if new_uidvalidity or uidnext + uids > MAX_UID:
            row = shard.row(
                "UPDATE account SET uidvalidity = max(uidvalidity + 1, ?) WHERE id = ? RETURNING uidvalidity", (now, account)
            )
            validity = int(row[0]) if row is not None else now
            shard.execute("UPDATE folder SET uidvalidity = ?, modseq = ? WHERE id = ?", (validity, modseq, folder))
            renewed += 1
        else:
            shard.execute("UPDATE folder SET uidnext = ?, modseq = ? WHERE id = ?", (uidnext + uids, modseq, folder))
            there = to_ranges(
                [int(row[0]) for row in shard.execute("SELECT uid FROM message WHERE folder = ? ORDER BY uid", (folder,))]
            )
            edges = [0, *there, uidnext + uids]
            absent = [(low + 1, high - 1) for low, high in zip(edges[::2], edges[1::2], strict=True) if low + 1 < high]
            record_ranges(shard, folder, modseq, GONE, [uid for span in absent for uid in span])
        shard.execute("UPDATE message SET modseq = ? WHERE folder = ?", (modseq, folder))
    shard.commit()
    return renewed


def _finish(target: Path, bootstrap: bytes, files: Files) -> None:
    """Make all names durable, the whole the property of whom the directory belongs to, and the bootstrap file last."""
    owner = target.stat()
    for root, folders, names in os.walk(target):
        for name in (*folders, *names):
            if os.geteuid() == 0 and owner.st_uid != 0:
                shutil.chown(Path(root) / name, owner.st_uid, owner.st_gid)
        files.sync_directory(Path(root))
    if bootstrap:
        text = re.sub(rb"(?m)^data_dir\s*=.*$", b'data_dir = "."', bootstrap)
        draft = target / f"{BOOTSTRAP}.part"
        with open(draft, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if os.geteuid() == 0 and owner.st_uid != 0:
            shutil.chown(draft, owner.st_uid, owner.st_gid)
        draft.rename(target / BOOTSTRAP)
        files.sync_directory(target)
