"""Rows of migration jobs: what is to be copied from where, how far it has come, what was said about it.

Invariants: a state is changed only by whoever may: verbs change jobs that wait, the background process those that run;
a job that has ended holds no secret; the lines of a job are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mailstead.settings.database import SystemDatabase, Transaction

MAX_LINES = 2_000

WAITING, RUNNING, RESTING = "waiting", "running", "resting"
DONE, FAILED, ABORTED, QUOTA = "done", "failed", "aborted", "over quota"
LIVE = (WAITING, RUNNING, RESTING)


@dataclass(frozen=True, slots=True)
class Options:
    """What a job does. `interval`: seconds between the rounds of a `continuous` one."""

    host: str = ""
    port: int = 143
    user: str = ""
    security: str = "auto"
    verify: bool = True
    ignore_folders: tuple[str, ...] = ()
    override_quota: bool = False
    delete_original: bool = False
    structure_only: bool = False
    verbose: bool = False
    continuous: bool = False
    interval: int = 900
    debug: bool = False
    command: tuple[str, ...] = ()
    """Run before the first round, for an account that was just made (MIG-01)."""


@dataclass(frozen=True, slots=True)
class Job:
    """Times are microseconds since 1970, 0 for never; `there` and `taken` count messages."""

    id: int
    account_id: int
    kind: str
    source: str
    options: Options
    secret: str = field(repr=False)
    state: str
    wanted: str
    author: str
    created: int
    started: int
    ended: int
    next_at: int
    rounds: int
    failures: int
    there: int
    taken: int
    reason: str


_COLUMNS = (
    "id, account_id, kind, source, options, secret, state, wanted, author, created, started, ended, next_at, rounds, failures, "
    "there, taken, reason"
)


def _job(row: Sequence[Any]) -> Job:
    given: dict[str, Any] = json.loads(row[4])
    for name in ("ignore_folders", "command"):
        given[name] = tuple(given.get(name, ()))
    known = {name: value for name, value in given.items() if name in Options.__dataclass_fields__}
    fields: dict[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    fields["options"] = Options(**known)
    return Job(**fields)


def select(database: SystemDatabase, where: str = "1 = 1", values: Sequence[Any] = ()) -> list[Job]:
    """Jobs by id; `where` is SQL of this package."""
    return [_job(row) for row in database.query(f"SELECT {_COLUMNS} FROM migration_job WHERE {where} ORDER BY id", values)]


def get(database: SystemDatabase, id: int) -> Job | None:
    """One job."""
    found = select(database, "id = ?", (id,))
    return found[0] if found else None


def due(database: SystemDatabase, now: int, without: Sequence[int], limit: int) -> list[Job]:
    """Jobs whose time has come, the longest waiting first; at most `limit`, and none of `without`."""
    marks = ", ".join("?" * len(without))
    rows = database.query(
        f"SELECT {_COLUMNS} FROM migration_job WHERE state IN (?, ?, ?) AND kind = 'imap' AND wanted <> 'abort' AND next_at <= ? "
        f"AND id NOT IN ({marks}) ORDER BY next_at, id LIMIT ?",
        (*LIVE, now, *without, limit),
    )
    return [_job(row) for row in rows]


def insert(t: Transaction, id: int, account: int, kind: str, source: str, options: Options, secret: str, author: str) -> None:
    """A new job that waits."""
    t.execute(
        f"INSERT INTO migration_job ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, ?, 0, 0, 0, 0, 0, 0, 0, '')",
        (id, account, kind, source, json.dumps(asdict(options)), secret, WAITING, author, t.now),
    )


def again(t: Transaction, id: int, options: Options, secret: str, author: str) -> None:
    """The same job once more: what it took stays known."""
    t.execute(
        "UPDATE migration_job SET options = ?, secret = ?, state = ?, wanted = '', author = ?, ended = 0, next_at = 0, "
        "failures = 0, reason = '' WHERE id = ?",
        (json.dumps(asdict(options)), secret, WAITING, author, id),
    )


def end(t: Transaction, id: int, state: str, reason: str = "") -> None:
    """The job is over; its secret goes."""
    t.execute(
        "UPDATE migration_job SET state = ?, wanted = '', secret = '', ended = ?, reason = ? WHERE id = ?",
        (state, t.now, reason[:500], id),
    )


def remove(t: Transaction, id: int) -> None:
    """The job with all that it knows."""
    for table, column in (("job", "id"), ("folder", "job_id"), ("batch", "job_id"), ("line", "job_id")):
        t.execute(f"DELETE FROM migration_{table} WHERE {column} = ?", (id,))


def say(t: Transaction, id: int, lines: Iterable[str]) -> None:
    """Add lines for whoever watches; the oldest go."""
    last = t.value("SELECT coalesce(max(number), 0) FROM migration_line WHERE job_id = ?", (id,))
    for line in lines:
        last += 1
        t.execute("INSERT INTO migration_line (job_id, number, time, line) VALUES (?, ?, ?, ?)", (id, last, t.now, line[:500]))
    t.execute("DELETE FROM migration_line WHERE job_id = ? AND number <= ?", (id, last - MAX_LINES))


def lines(database: SystemDatabase, id: int, after: int = 0) -> list[tuple[int, int, str]]:
    """(number, time, text) of the lines behind a number."""
    rows = database.query(
        "SELECT number, time, line FROM migration_line WHERE job_id = ? AND number > ? ORDER BY number", (id, after)
    )
    return [(int(number), int(time), str(line)) for number, time, line in rows]
