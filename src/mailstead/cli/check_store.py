"""What the data directory holds beside mail: databases, files left over, log files, locks.

Invariants: nothing is changed; a check of a database ends after QUICK_SECONDS, finished or not.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from mailstead.cli.finding import OK, PROBLEM, WARNING, Finding
from mailstead.settings.database import LOST_REMEDY
from mailstead.settings.schema import MIGRATIONS
from mailstead.store.schema import QUEUE_STEPS, SHARD_STEPS

QUICK_SECONDS = 10.0
OLD_SECONDS = 86_400.0
MUCH_LOG = 5 << 30
LOCK_SECONDS = 3600.0
AHEAD_SECONDS = 60.0
_RUN_FSCK = "stop the server and run `mailstead fsck`, then as it says (`--repair`, `--rebuild-shard`)"


def is_behind(path: Path) -> bool:
    """Whether the system database has an older schema than this release's. Raises apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("PRAGMA query_only=1")
        had = {int(row[0]) for row in connection.execute("SELECT number FROM migration").fetchall()}  # type: ignore[arg-type]
        return bool(had) and not had >= {one.number for one in MIGRATIONS}
    except apsw.SQLError:
        return False  # no table of that name: no system database
    finally:
        connection.close()


def store_checks(data_dir: Path, logs: Path, *, counted: bool) -> Iterator[Finding]:
    """All of them; `counted`: rules of the log say how many files are kept."""
    yield from _databases(data_dir / "index")
    yield from _left_over(data_dir)
    yield from _log_files(logs, counted)
    yield from _lock(data_dir / "run" / "readlock.json")
    yield from _times(data_dir)


def _databases(index: Path) -> Iterator[Finding]:
    good = unfinished = 0
    for path in sorted(index.glob("*.db")):
        try:
            state = quick_check(path)
        except apsw.Error as error:
            fix = LOST_REMEDY if path.name == "system.db" else _RUN_FSCK
            yield Finding(PROBLEM, "database", f"{path} cannot be read: {error}", fix)
            continue
        if state not in ("ok", ""):
            fix = LOST_REMEDY if path.name == "system.db" else _RUN_FSCK
            yield Finding(PROBLEM, "database", f"{path} is damaged: {state}", fix)
        good += state == "ok"
        unfinished += state == ""
        yield from _schema(path)
    text = f"{good} files are whole" + (f"; {unfinished} are too large for a quick look" if unfinished else "")
    yield Finding(OK, "database", text, "`mailstead fsck` reads everything" if unfinished else "")


def quick_check(path: Path) -> str:
    """What SQLite says of a file: "ok", what is wrong, "" where it took too long. Raises apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    end = time.monotonic() + QUICK_SECONDS
    try:
        connection.execute("PRAGMA query_only=1")
        connection.setbusytimeout(3000)
        connection.set_progress_handler(lambda: time.monotonic() > end, 50_000)
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])  # type: ignore[index]
    except apsw.InterruptError:
        return ""
    finally:
        connection.close()


def _schema(path: Path) -> Iterator[Finding]:
    stem = path.stem.partition("-")[0]
    if stem not in ("shard", "queue", "system"):
        return
    newest = {"shard": len(SHARD_STEPS), "queue": len(QUEUE_STEPS), "system": MIGRATIONS[-1].number}[stem]
    table = "migration" if stem == "system" else "version"
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("PRAGMA query_only=1")
        row = connection.execute(f"SELECT coalesce(max(number), 0) FROM {table}").fetchone()
        number = int(row[0]) if row else 0
    except apsw.Error:
        return
    finally:
        connection.close()
    if number > newest:
        fix = "install the release that wrote it, or a newer one"
        yield Finding(PROBLEM, "database", f"{path} has schema {number}, this release knows {newest}", fix)
    elif number < newest:
        fix = "make a backup; the server's next start brings it up to date"
        yield Finding(WARNING, "database", f"{path} has schema {number} of {newest}", fix)


def _left_over(data_dir: Path) -> Iterator[Finding]:
    """Files that were begun and never finished: a process was killed in the middle."""
    limit = time.time() - OLD_SECONDS
    found = []
    for pattern in ("*.part", "*/*.part", "*/.*.part", "tmp/*", "index/*.rebuild*"):
        for path in data_dir.glob(pattern):
            try:
                if path.stat().st_mtime < limit:
                    found.append(path)
            except OSError:
                continue
    if found:
        fix = "they are left over from something that was interrupted; they may be removed"
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield Finding(WARNING, "left over", f"{found[0]}{more}", fix)
    else:
        yield Finding(OK, "left over", "no unfinished files")


def _log_files(logs: Path, counted: bool) -> Iterator[Finding]:
    sizes = [path.stat().st_size for path in logs.glob("*.txt")] if logs.is_dir() else []
    text = f"{len(sizes)} files with {sum(sizes) / (1 << 20):.0f} MB in {logs}"
    if sum(sizes) > MUCH_LOG:
        fix = "SET fileCount in the rules of CONFIG LOG, so that old files are deleted; remove what nobody needs"
        yield Finding(WARNING, "logs", text, fix)
    else:
        yield Finding(OK, "logs", text + ("" if counted else "; no rule limits how many files are kept (fileCount)"))


def _times(data_dir: Path) -> Iterator[Finding]:
    """Files from the future: the clock was set back, or came back wrong with the machine."""
    latest, newest = 0.0, data_dir
    for path in (*data_dir.glob("index/*.db*"), *data_dir.glob("log/*/*.mlog")):
        with contextlib.suppress(OSError):
            if (time_of := path.stat().st_mtime) > latest:
                latest, newest = time_of, path
    ahead = latest - time.time()
    if ahead > AHEAD_SECONDS:
        text = f"{newest} was written {_span(ahead)} after what the clock says now"
        fix = "set the clock (`timedatectl set-ntp true`, or `date -s`) before the server is started: mail has its time"
        yield Finding(PROBLEM, "clock", text, fix)


def _span(seconds: float) -> str:
    if seconds > 2 * 86_400:
        return f"{seconds / 86_400:.0f} days"
    return f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds:.0f} seconds"


def _lock(path: Path) -> Iterator[Finding]:
    try:
        since = min(float(value) for value in json.loads(path.read_text()).values())
    except (OSError, ValueError, AttributeError, TypeError):
        return
    if time.time() - since > LOCK_SECONDS:
        text = f"locked for reading since {time.strftime('%d %b %H:%M', time.localtime(since))}: the log gives back no space"
        yield Finding(WARNING, "storages", text, "READUNLOCK Storages in the administration protocol")
