"""fsck: whether log and index hold what they must and agree with one another; and putting right what does not.

Invariants: without ``repair`` nothing is changed and a server may run beside it; the log is never changed; what is
beyond repair is named by account id, folder, uid and Message-ID before anything else happens to it.

The log is the truth and is read whole (fsck_log.py); every index file is held against itself and against it
(fsck_index.py); repairs are in fsck_repair.py, building an index file anew in rebuild.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw

from mailstead.settings.database import LOST_REMEDY
from mailstead.store.files import Files
from mailstead.store.fsck_index import BODIES, BROKEN_PAGES, WITHOUT_WIDE, ShardFacts, applied_marks, check_shard, open_for_reading
from mailstead.store.fsck_log import LogFacts, read_whole_log
from mailstead.store.fsck_repair import repair_shard
from mailstead.store.operations import QUEUE_SHARDS
from mailstead.store.rebuild import rebuild_shard as rebuild_shard_file
from mailstead.store.shard import shard_path

CLEAN, FINDINGS, BEYOND_REPAIR = 0, 1, 2


def index_numbers(index: Path) -> list[int]:
    """Numbers of the index files there are, mail shards first."""
    found: list[int] = []
    for prefix, base in (("shard-", 0), ("queue-", QUEUE_SHARDS)):
        found += sorted(
            base + int(path.stem[len(prefix) :]) for path in index.glob(f"{prefix}*.db") if path.stem[len(prefix) :].isdigit()
        )
    return found


def fsck(
    data_dir: Path,
    repair: bool = False,
    rebuild_shard: int | None = None,
    out: Callable[[str], None] = print,
    files: Files | None = None,
    *,
    whole: bool = False,
) -> int:
    """Check a store, and repair or rebuild where asked (the server must be stopped then). Blocking. ``whole``: it is the data
    directory of a server, where a system database must be.

    Returns 0: clean; 1: something was found (with ``repair``: and put right); 2: something is lost. Raises OSError.
    """
    files = files or Files()
    status = CLEAN
    lost = to_build = False
    if rebuild_shard is not None:
        known = sorted({*index_numbers(data_dir / "index"), *read_whole_log(data_dir / "log", files).shards})
        if rebuild_shard not in known:
            out(f"there is no index {rebuild_shard}; there are {', '.join(map(str, known)) or 'none'}")
            return FINDINGS
        status = _rebuild(data_dir, rebuild_shard, out, files)
        lost = status == BEYOND_REPAIR
    index = data_dir / "index"
    marks = {number: applied_marks(index, number) for number in index_numbers(index)}
    log = read_whole_log(data_dir / "log", files)
    status = max(status, _tell_log(log, out))
    system = index / "system.db"
    without_settings = (whole or system.exists()) and not _has_settings(system, out)
    if without_settings:
        status = BEYOND_REPAIR
    for number in sorted({*index_numbers(index), *log.shards}):
        name = shard_path(index, number).stem
        if not shard_path(index, number).exists():
            out(f"{name}: the file is missing, and the log has records for it; rebuild it (--rebuild-shard {number})")
            status, to_build = BEYOND_REPAIR, True
            continue
        facts = check_shard(index, number, log, marks.get(number, {}), is_queue=number >= QUEUE_SHARDS)
        status = max(status, _tell_shard(name, facts, out))
        lost = lost or any(finding.kind in (BODIES, WITHOUT_WIDE) for finding in facts.findings)
        to_build = to_build or any(finding.kind == BROKEN_PAGES for finding in facts.findings)
        if repair and facts.findings and not any(finding.kind == BROKEN_PAGES for finding in facts.findings):
            repaired = repair_shard(data_dir, number, facts.findings, files)
            if repaired:
                out(f"{name}: {repaired} of {len(facts.findings)} put right")
    done = repair or rebuild_shard is not None
    if status == CLEAN:
        out("clean")
    elif lost:
        out("beyond repair: see above")
    elif without_settings:
        out("not clean: settings and accounts have to come from a backup: see above")
    elif to_build:
        out("not clean: an index file has to be built anew from the log: see above")
    else:
        out("not clean: see above for what was put right" if done else "not clean: see above")
    return status


def _tell_log(log: LogFacts, out: Callable[[str], None]) -> int:
    out(f"log: {len(log.segments)} segments of {len(log.durable)} writers, {log.records} records")
    for damage in log.damage:
        out(f"log: {damage.path}: {damage.length} octets from {damage.offset} on are damaged: {damage.reason}")
    for text in log.unreadable:
        out(f"log: {text}")
    return FINDINGS if log.damage or log.unreadable else CLEAN


def _has_settings(path: Path, out: Callable[[str], None]) -> bool:
    """Whether the system database is whole, of which no log tells; says what to do where it is not."""
    try:
        connection = open_for_reading(path)
        try:
            told = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
            empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()[0][0] == 0
        finally:
            connection.close()
    except apsw.Error as error:
        told, empty = [str(error)], False
    if told == ["ok"] and not empty:
        return True
    out(f"system: {'the file is empty' if empty else '; '.join(told)}")
    out(f"system: {LOST_REMEDY}")
    return False


def _tell_shard(name: str, facts: ShardFacts, out: Callable[[str], None]) -> int:
    status = CLEAN
    out(f"{name}: {facts.messages} messages")
    for finding in facts.findings:
        out(f"{name}: {finding.text}")
        if finding.kind in (BODIES, WITHOUT_WIDE) or (finding.kind == BROKEN_PAGES and facts.unopened):
            status = BEYOND_REPAIR
        else:
            status = max(status, FINDINGS)
    if any(finding.kind == BROKEN_PAGES for finding in facts.findings):
        out(f"{name}: the file is damaged; rebuild it from the log (--rebuild-shard {facts.number})")
    return status


def _rebuild(data_dir: Path, number: int, out: Callable[[str], None], files: Files) -> int:
    name = shard_path(data_dir / "index", number).stem
    result = rebuild_shard_file(data_dir, number, files, lambda text: out(f"{name}: building anew {text}"))
    out(f"{name}: {result.commits} commits and {result.replayed + result.salvaged} records applied")
    if result.put_aside:
        out(f"{name}: the old file is {result.put_aside}")
    if result.gap:
        out(f"{name}: the log does not tell all, so the next uid of every folder was raised")
    for text in result.lost:
        out(f"{name}: lost: {text}")
    return BEYOND_REPAIR if result.lost else FINDINGS
