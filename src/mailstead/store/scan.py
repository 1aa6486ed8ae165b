"""Looking through the mail of single owners: counters, rows, and the octets of every message.

Invariants: nothing is changed and a server may run beside it; a message is called invalid only when it was looked at twice;
what is found is told as it is found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from mailstead.store.files import Files
from mailstead.store.fsck_index import open_for_reading
from mailstead.store.fsck_log import LogFacts, read_whole_log
from mailstead.store.shard import shard_path

_COUNTERS = (
    "SELECT f.id, f.name, f.messages, f.size, f.unseen, count(m.uid), coalesce(sum(m.size), 0), "
    "coalesce(sum((m.flags & 1) = 0), 0) FROM folder f LEFT JOIN message m ON m.folder = f.id AND m.uid IS NOT NULL "
    "WHERE f.account = ? GROUP BY f.id"
)
_PLACES = (
    "SELECT f.id, f.name, m.uid, m.mid, w.mid, w.file, w.offset, w.length, w.external, w.external_size, w.message_id "
    "FROM folder f JOIN message m ON m.folder = f.id LEFT JOIN wide w ON w.mid = m.mid WHERE f.account = ?"
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose mail is looked at: id, index, and how it is called."""

    id: int
    shard: int
    name: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """A message that cannot be read whole."""

    owner: int
    folder: int
    uid: int
    text: str


@dataclass(slots=True)
class Found:
    """What a scan came to."""

    owners: int = 0
    messages: int = 0
    invalid: int = 0
    counters: int = 0


def scan_owners(
    data_dir: Path,
    owners: Sequence[Owner],
    say: Callable[[str], None],
    invalid: Callable[[Invalid], None],
    *,
    verbose: bool = False,
) -> Found:
    """Look through owners. Blocking, as long as reading the log takes. Raises OSError, apsw.Error."""
    files = Files()
    say("reading the log")
    log = read_whole_log(data_dir / "log", files)
    say(f"log: {log.records} records in {len(log.segments)} segments")
    for damage in log.damage:
        say(f"log: {damage.path.name}: {damage.length} octets from {damage.offset} on are damaged: {damage.reason}")
    found = Found()
    for number in sorted({owner.shard for owner in owners}):
        connection = open_for_reading(shard_path(data_dir / "index", number))
        try:
            for owner in owners:
                if owner.shard == number:
                    _scan_owner(connection, owner, log, found, say, invalid, verbose)
        finally:
            connection.close()
    return found


def _scan_owner(
    connection: apsw.Connection,
    owner: Owner,
    log: LogFacts,
    found: Found,
    say: Callable[[str], None],
    invalid: Callable[[Invalid], None],
    verbose: bool,
) -> None:
    found.owners += 1
    rows: list[Any] = connection.execute(_COUNTERS, (owner.id,)).fetchall()
    for _folder, name, *figures in rows:
        if figures[:3] != figures[3:]:
            found.counters += 1
            say(f"{owner.name}: {name}: counters say {figures[:3]}, rows say {figures[3:]}")
        elif verbose:
            say(f"{owner.name}: {name}: {figures[0]} messages, {figures[1]} octets")
    suspects: list[tuple[int, int]] = []
    for row in connection.execute(_PLACES, (owner.id,)):
        found.messages += 1
        if _fault(log, row):
            suspects.append((int(row[0]), int(row[2])))
    for folder, uid in suspects:  # a running server may have moved the octets, or removed the message, meanwhile
        again: Any = connection.execute(f"{_PLACES} AND f.id = ? AND m.uid = ?", (owner.id, folder, uid)).fetchone()
        fault = _fault(log, again) if again is not None else ""
        if fault:
            found.invalid += 1
            text = f"{owner.name}: {again[1]}, uid {uid}, Message-ID {again[10] or '(none)'}: {fault}"
            invalid(Invalid(owner.id, folder, uid, text))


def _fault(log: LogFacts, row: Any) -> str:
    _folder, _name, _uid, _mid, wide, file, offset, length, external, external_size, _id = row
    if wide is None:
        return "the index lacks its row"
    return log.body_fault(file, offset, length) or (log.external_fault(external, external_size) if external else "")
