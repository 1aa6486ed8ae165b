"""What must hold inside an index file and between it and the log, for fsck.

Invariants: nothing is changed here; all questions to one file are asked in one read transaction, so a server may go
on writing beside it; a row is called lost only after it was read a second time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from mailstead.store.fsck_log import LogFacts
from mailstead.store.shard import shard_path

BROKEN_PAGES = "pages"
COUNTERS = "counters"
NUMBERS = "numbers"
COPIES = "copies"
LEAKED = "leaked"
HOMELESS = "homeless"
WITHOUT_WIDE = "without wide row"
QUEUE = "queue"
MARKS = "marks"
BODIES = "bodies"
"""What a finding is about; repair.py goes by it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``text`` for the operator; ``keys`` name the rows for the repair."""

    kind: str
    text: str
    keys: tuple[Any, ...] = ()


@dataclass(slots=True)
class ShardFacts:
    number: int
    findings: list[Finding] = field(default_factory=list)
    messages: int = 0
    unopened: bool = False

    def add(self, kind: str, text: str, *keys: Any) -> None:
        self.findings.append(Finding(kind, text, keys))


def open_for_reading(path: Path) -> apsw.Connection:
    """A connection that changes nothing, beside a running server or without one. Raises apsw errors."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.execute("PRAGMA query_only=1")
    connection.setbusytimeout(5000)
    return connection


def check_shard(index: Path, number: int, log: LogFacts, marks: dict[int, int], *, is_queue: bool) -> ShardFacts:
    """Ask one index file everything. ``marks``: its applied marks, read before the log was."""
    facts = ShardFacts(number)
    try:
        connection = open_for_reading(shard_path(index, number))
    except apsw.Error as error:
        facts.unopened = True
        facts.add(BROKEN_PAGES, f"cannot be opened: {error}")
        return facts
    try:
        connection.execute("BEGIN")
        broken = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
        for text in broken:
            facts.add(BROKEN_PAGES, text)
        if is_queue:
            _check_queue(connection, facts)
            suspects = _suspects(connection, log, "entry")
        else:
            _check_counters(connection, facts)
            _check_references(connection, facts)
            suspects = _suspects(connection, log, "wide")
        connection.execute("COMMIT")
        _check_suspects(connection, facts, log, suspects, is_queue=is_queue)
        for writer, seq in marks.items():
            if seq > log.durable.get(writer, 0):
                text = f"holds records of writer {writer} up to {seq}, the log ends at {log.durable.get(writer, 0)}"
                facts.add(MARKS, text, writer, seq)
    except apsw.Error as error:
        facts.unopened = True
        facts.add(BROKEN_PAGES, f"cannot be read: {error}")
    finally:
        connection.close()
    return facts


def applied_marks(index: Path, number: int) -> dict[int, int]:
    """Per writer, the last durable record the index holds; {} where it cannot be read (``check_shard`` says why)."""
    try:
        connection = open_for_reading(shard_path(index, number))
        try:
            return {int(row[0]): int(row[1]) for row in connection.execute("SELECT writer, seq FROM applied WHERE stream = 0")}
        finally:
            connection.close()
    except apsw.Error:
        return {}


def _check_counters(connection: apsw.Connection, facts: ShardFacts) -> None:
    rows = connection.execute(
        "SELECT f.id, f.account, f.name, f.uidnext, f.modseq, f.messages, f.unseen, f.deleted, f.size, count(m.uid), "
        "coalesce(sum((m.flags & 1) = 0), 0), coalesce(sum((m.flags & 8) <> 0), 0), coalesce(sum(m.size), 0), "
        "coalesce(max(m.uid), 0), coalesce(max(m.modseq), 0), "
        "coalesce((SELECT max(c.modseq) FROM change c WHERE c.folder = f.id), 0) "
        "FROM folder f LEFT JOIN message m ON m.folder = f.id AND m.uid IS NOT NULL GROUP BY f.id"
    )
    for folder, account, name, uidnext, modseq, *rest in rows:
        counted, real, highest = rest[:4], rest[4:8], rest[8:]
        facts.messages += int(real[0])
        if counted != real:
            facts.add(COUNTERS, f"account {account}, {name}: counters say {counted}, rows say {real}", folder)
        if uidnext <= highest[0]:
            facts.add(NUMBERS, f"account {account}, {name}: next uid {uidnext}, but uid {highest[0]} exists", folder)
        if modseq < max(highest[1:]):
            facts.add(NUMBERS, f"account {account}, {name}: modseq {modseq}, but {max(highest[1:])} exists", folder)
    for account, size, messages, real_size, real_messages in connection.execute(
        "SELECT a.id, a.size, a.messages, (SELECT coalesce(sum(m.size), 0) FROM folder f JOIN message m ON m.folder = f.id "
        "WHERE f.account = a.id), (SELECT count(m.uid) FROM folder f JOIN message m ON m.folder = f.id WHERE f.account = a.id) "
        "FROM account a"
    ):
        if (size, messages) != (real_size, real_messages):
            text = f"account {account}: use is {size} octets in {messages} messages, rows say {real_size} in {real_messages}"
            facts.add(COUNTERS, text, 0, account)
    for (account,) in connection.execute("SELECT id FROM account WHERE inbox <> 0 AND inbox NOT IN (SELECT id FROM folder)"):
        facts.add(HOMELESS, f"account {account} has no INBOX", "inbox", account)
    for folder, count in connection.execute(
        "SELECT folder, count(*) FROM message WHERE folder NOT IN (SELECT id FROM folder) GROUP BY folder"
    ):
        facts.add(HOMELESS, f"{count} messages are in folder {folder}, which does not exist", "folder", folder)


def _check_references(connection: apsw.Connection, facts: ShardFacts) -> None:
    held = "SELECT mid, count(*) AS n FROM (SELECT mid FROM message UNION ALL SELECT mid FROM expunged) GROUP BY mid"
    for mid, count, noted in connection.execute(
        f"SELECT h.mid, h.n, coalesce(c.references_left, 1) FROM ({held}) h LEFT JOIN copies c ON c.mid = h.mid "
        "WHERE h.n <> coalesce(c.references_left, 1)"
    ):
        facts.add(COPIES, f"message {mid:x} is referred to {count} times, noted are {noted}", mid, count)
    for (mid,) in connection.execute(
        "SELECT mid FROM copies WHERE mid NOT IN (SELECT mid FROM message UNION ALL SELECT mid FROM expunged)"
    ):
        facts.add(COPIES, f"message {mid:x} is referred to by nothing, yet counted", mid, 0)
    for (mid,) in connection.execute(
        "SELECT mid FROM wide WHERE mid NOT IN (SELECT mid FROM message UNION ALL SELECT mid FROM expunged)"
    ):
        facts.add(LEAKED, f"row of message {mid:x} belongs to nothing", mid)
    lost = [
        int(row[0])
        for row in connection.execute(
            "SELECT DISTINCT mid FROM (SELECT mid FROM message UNION ALL SELECT mid FROM expunged) "
            "WHERE mid NOT IN (SELECT mid FROM wide)"
        )
    ]
    for mid, where in places(connection, lost).items():
        facts.add(WITHOUT_WIDE, f"{'; '.join(where)}: the index lacks its row", mid)


def _check_queue(connection: apsw.Connection, facts: ShardFacts) -> None:
    counted: Any = connection.execute("SELECT count(*) FROM entry").fetchone()
    facts.messages = int(counted[0])
    for (mid,) in connection.execute("SELECT mid FROM entry WHERE mid NOT IN (SELECT mid FROM recipient)"):
        facts.add(QUEUE, f"queued message {mid:x} has no recipient", "entry", mid)
    for mid, address in connection.execute("SELECT mid, address FROM recipient WHERE mid NOT IN (SELECT mid FROM entry)"):
        facts.add(QUEUE, f"recipient {address} of message {mid:x} has no message", "recipient", mid)


_PLACE = "mid, file, offset, length, external, external_size"


def _suspects(connection: apsw.Connection, log: LogFacts, table: str) -> list[int]:
    """Rows whose octets are not as the log has them, at first sight."""
    return [
        int(mid)
        for mid, file, offset, length, external, external_size in connection.execute(f"SELECT {_PLACE} FROM {table}")
        if log.body_fault(file, offset, length) or (external and log.external_fault(external, external_size))
    ]


def _check_suspects(connection: apsw.Connection, facts: ShardFacts, log: LogFacts, suspects: list[int], *, is_queue: bool) -> None:
    """Look at them again: a running server may have moved the octets meanwhile."""
    faults: dict[int, str] = {}
    table = "entry" if is_queue else "wide"
    for mid in suspects:
        row: Any = connection.execute(f"SELECT {_PLACE} FROM {table} WHERE mid = ?", (mid,)).fetchone()
        if row is None:
            continue
        fault = log.body_fault(*row[1:4]) or (row[4] and log.external_fault(row[4], row[5]))
        if fault:
            faults[mid] = str(fault)
    if is_queue:
        for mid, fault in faults.items():
            names = [str(row[0]) for row in connection.execute("SELECT address FROM recipient WHERE mid = ?", (mid,))]
            facts.add(BODIES, f"queued message {mid:x} to {', '.join(names)}: {fault}", mid)
        return
    for mid, where in places(connection, list(faults)).items():
        facts.add(BODIES, f"{'; '.join(where)}: {faults[mid]}", mid)


def places(connection: apsw.Connection, mids: list[int]) -> dict[int, list[str]]:
    """Where messages lie, in words: account, folder, uid and Message-ID."""
    found: dict[int, list[str]] = {mid: [] for mid in mids}
    if not mids:
        return found
    wanted = set(mids)
    names = {int(row[0]): (int(row[1]), str(row[2])) for row in connection.execute("SELECT id, account, name FROM folder")}
    for folder, uid, mid in connection.execute("SELECT folder, uid, mid FROM message"):
        if mid in wanted:
            account, name = names.get(folder, (0, f"folder {folder}"))
            found[mid].append(f"account {account}, {name}, uid {uid}")
    for account, folder, uid, mid in connection.execute("SELECT account, folder, uid, mid FROM expunged"):
        if mid in wanted:
            found[mid].append(f"account {account}, deleted from {names.get(folder, (0, f'folder {folder}'))[1]}, uid {uid}")
    for mid, where in found.items():
        row: Any = connection.execute("SELECT message_id FROM wide WHERE mid = ?", (mid,)).fetchone()
        where.append(f"Message-ID {row[0] or '(none)'}" if row else f"id {mid:x}")
    return found
