"""Repairs of an index file, with the server stopped.

Invariants: the log is never changed; a message is dropped only when its octets cannot be had, after what is left of
them was written to ``lost/`` and the list of them is on disk; a number once shown is never given again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mailstead.store.apply_changes import GONE, record_change
from mailstead.store.counters import leave_no_leaks, recount
from mailstead.store.files import Files
from mailstead.store.fsck_index import (
    BODIES,
    COPIES,
    COUNTERS,
    HOMELESS,
    LEAKED,
    NUMBERS,
    QUEUE,
    WITHOUT_WIDE,
    Finding,
)
from mailstead.store.segment import external_path, file_path
from mailstead.store.shard import Shard


def repair_shard(data_dir: Path, number: int, findings: list[Finding], files: Files) -> int:
    """Put right what can be; returns how many findings that were. Raises apsw errors, OSError."""
    shard = Shard(data_dir / "index", number, files)
    repaired = 0
    try:
        lost = [finding for finding in findings if finding.kind in (BODIES, WITHOUT_WIDE)]
        if lost:
            _keep_what_is_left(data_dir, shard, lost, files)
        shard.begin()
        try:
            mids = [int(finding.keys[0]) for finding in lost]
            if shard.is_queue:
                _drop_entries(shard, [*mids, *(finding.keys[1] for finding in findings if finding.kind == QUEUE)])
            else:
                for finding in findings:
                    if finding.kind == HOMELESS:
                        _find_home(shard, *finding.keys)
                _drop_messages(shard, mids)
                leave_no_leaks(shard)
                recount(shard)
            shard.commit()
        except BaseException:
            shard.rollback()
            raise
        repaired = sum(
            finding.kind in (BODIES, WITHOUT_WIDE, COPIES, COUNTERS, HOMELESS, LEAKED, NUMBERS, QUEUE) for finding in findings
        )
        shard.sync_wal()
    finally:
        shard.close()
    return repaired


def _keep_what_is_left(data_dir: Path, shard: Shard, lost: list[Finding], files: Files) -> None:
    """List lost messages under ``lost/`` and write there whatever octets of them can be read."""
    home = data_dir / "lost"
    files.make_directory(home)
    table = "entry" if shard.is_queue else "wide"
    for finding in lost:
        row = shard.row(f"SELECT file, offset, length, overlay, external FROM {table} WHERE mid = ?", (finding.keys[0],))
        octets = _readable(data_dir / "log", row, files) if row else b""
        if octets:
            (home / f"{finding.keys[0]:016x}.eml").write_bytes(octets)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = home / f"{shard.path.stem}-{stamp}.txt"
    data = "".join(f"{finding.text}\n" for finding in lost).encode("utf-8", "backslashreplace")
    fd = files.open(path, write=True) if path.exists() else files.create(path)
    try:
        files.writev(fd, [data], files.size(fd))
        files.sync(fd)
    finally:
        files.close(fd)
    files.sync_directory(home)


def _readable(log: Path, row: tuple[Any, ...], files: Files) -> bytes:
    file, offset, length, overlay, external = row
    octets = bytes(overlay or b"")
    for path, start, size in ((file_path(log, file), offset, length), (external_path(log, external), 0, 1 << 40)):
        if not size or (path.suffix == ".mext" and not external):
            continue
        try:
            fd = files.open(path)
        except OSError:
            continue  # the finding says so already
        try:
            octets += files.read(fd, min(size, max(0, files.size(fd) - start)), start)
        except OSError:
            continue
        finally:
            files.close(fd)
    return octets.rstrip(b"\0")


def _drop_entries(shard: Shard, mids: list[int]) -> None:
    shard.executemany("DELETE FROM recipient WHERE mid = ?", [(mid,) for mid in mids])
    shard.executemany("DELETE FROM entry WHERE mid = ?", [(mid,) for mid in mids])


def _find_home(shard: Shard, what: str, id: int) -> None:
    """Make the folder that messages or an account need."""
    if what == "inbox":
        row = shard.row("SELECT inbox, uidvalidity FROM account WHERE id = ?", (id,))
        if row:
            _make_folder(shard, row[0], id, "INBOX", row[1] + 1)
        return
    row = shard.row(
        "SELECT f.account FROM expunged f WHERE f.folder = ? UNION SELECT a.id FROM account a WHERE a.inbox = ? LIMIT 1", (id, id)
    )
    account = int(row[0]) if row else 0
    if not account:
        # Nobody knows whose they were: listed as lost, kept in the log.
        shard.execute("DELETE FROM message WHERE folder = ?", (id,))
        return
    name = f"Recovered {id:x}"
    validity = shard.row("UPDATE account SET uidvalidity = uidvalidity + 1 WHERE id = ? RETURNING uidvalidity", (account,))
    _make_folder(shard, id, account, name, int(validity[0]) if validity else 1)


def _make_folder(shard: Shard, id: int, account: int, name: str, validity: int) -> None:
    shard.execute(
        "INSERT OR IGNORE INTO folder VALUES(?, ?, ?, NULL, 1, 'mail', ?, 1, 1, 0, 0, 0, 0, ?)",
        (id, account, name, validity, int(time.time())),
    )


def _drop_messages(shard: Shard, mids: list[int]) -> None:
    """Take messages out of their folders as an expunge would, so that every client hears of it."""
    gone = set(mids)
    if not gone:
        return
    folders: dict[int, list[int]] = {}
    for folder, uid, mid in shard.execute("SELECT folder, uid, mid FROM message"):
        if mid in gone:
            folders.setdefault(folder, []).append(uid)
    for folder, uids in folders.items():
        shard.executemany("DELETE FROM message WHERE folder = ? AND uid = ?", [(folder, uid) for uid in uids])
        row = shard.row("UPDATE folder SET modseq = modseq + 1 WHERE id = ? RETURNING modseq", (folder,))
        if row:
            record_change(shard, folder, int(row[0]), GONE, uids)
    for mid in gone:
        shard.execute("DELETE FROM expunged WHERE mid = ?", (mid,))
        shard.execute("DELETE FROM wide WHERE mid = ?", (mid,))
