"""Change records become rows: flags, expunge, copy, move.

Invariants: every function runs inside its shard's open transaction and keeps the folder's counters, the account's
use and the change sequence exact; it raises ``Refused`` before it has changed anything or leaves the caller to roll
its savepoint back; applying is deterministic in the rows it meets, so replay gives what the first time gave.
"""

from __future__ import annotations

import time
from typing import Any

from mailstead.store.apply_sharing import change_by_row, change_reader_flags, forget_own, give_to_reader, merged, own_join
from mailstead.store.keywords import KEYWORD_SHIFT, FlagChange, KeywordLimit, keyword_flags, read_keywords
from mailstead.store.operations import (
    DELETED,
    SEEN,
    ChangeFlags,
    CopyMessages,
    Expunge,
    InsertCopies,
    RemoveMoved,
    count_ranges,
    from_ranges,
    to_ranges,
    uids_in,
)
from mailstead.store.record import Target
from mailstead.store.results import FLAGS, GONE, NEW, Refused, Result, record_change, record_ranges, uid_condition
from mailstead.store.search_jobs import note_new
from mailstead.store.shard import Shard
from mailstead.store.thread_ids import thread_of_copy

__all__ = [
    "FLAGS", "GONE", "NEW", "Refused", "Result", "allocate", "change_flags", "check_quota", "copied_rows", "copy_messages",
    "count_dead", "expunge", "insert_copies", "record_change", "release", "remove_moved", "remove_replaced", "uid_condition",
]  # fmt: skip


def _folder_account(shard: Shard, folder: int) -> int:
    row = shard.row("SELECT account FROM folder WHERE id = ?", (folder,))
    if row is None:
        raise Refused("missing", "no such folder")
    return int(row[0])


def change_flags(shard: Shard, op: ChangeFlags) -> Result:
    """Set, add or remove flags. Rows that have the value already keep their modseq (RFC 7162 3.1.3)."""
    head = shard.row("SELECT account, modseq FROM folder WHERE id = ?", (op.folder,))
    if head is None:
        raise Refused("missing", "no such folder")
    account, modseq = int(head[0]), int(head[1]) + 1
    if op.reader:
        return change_reader_flags(shard, op, account)
    try:
        change = FlagChange(shard, account, op.mode, op.system, op.keywords)
        if change.by_row:
            return change_by_row(shard, op, change)
    except KeywordLimit as limit:
        raise Refused("keywords", str(limit)) from None
    bits = change.bits
    ranges = op.ranges
    where, bindings = uid_condition(ranges)
    result = Result(folder=op.folder, bits=bits)
    if op.unchanged_since >= 0:
        failed = {
            int(row[0])
            for row in shard.execute(
                f"SELECT uid FROM message WHERE folder = ? AND {where} AND modseq > ?",
                (op.folder, *bindings, op.unchanged_since),
            )
        }
        if failed:
            result.modified = sorted(failed)
            ranges = to_ranges(uid for uid in from_ranges(ranges) if uid not in failed) or [0, 0]
            where, bindings = uid_condition(ranges)
    if op.mode == "add":
        value, changes = "flags | ?", "(flags & ?) <> ?"
        args: tuple[int, ...] = (bits, bits)
    elif op.mode == "remove":
        value, changes, args = "flags & ~?", "(flags & ?) <> 0", (bits,)
    else:
        value, changes, args = "?", "flags <> ?", (bits,)
    unseen = deleted = 0
    if op.mode == "set" or bits & (SEEN | DELETED):
        unseen, deleted = _counted(shard, f"folder = ? AND {where} AND {changes}", (op.folder, *bindings, *args), op.mode, bits)
    shard.execute(
        f"UPDATE message SET flags = {value}, modseq = ? WHERE folder = ? AND {where} AND {changes}",
        (bits, modseq, op.folder, *bindings, *args),
    )
    changed = shard.connection.changes()
    if not changed:
        return result
    if changed != count_ranges(ranges):
        # Only the rows that changed have the new modseq.
        rows = shard.execute(f"SELECT uid FROM message WHERE folder = ? AND {where} AND modseq = ?", (op.folder, *bindings, modseq))
        ranges = to_ranges([uid for (uid,) in rows])
    shard.execute(
        "UPDATE folder SET modseq = ?, unseen = unseen + ?, deleted = deleted + ? WHERE id = ?",
        (modseq, unseen, deleted, op.folder),
    )
    result.modseq, result.uids = modseq, uids_in(ranges)
    record_ranges(shard, op.folder, modseq, FLAGS, ranges)
    result.effects.append(["flags", op.folder, modseq, ranges, op.mode, op.system, op.keywords])
    return result


def _counted(shard: Shard, condition: str, bindings: tuple[Any, ...], mode: str, bits: int) -> tuple[int, int]:
    """By how much the counters of unseen and \\Deleted messages change with the rows of a change of flags."""
    row = shard.row(f"SELECT count(*), sum(flags & 1), sum((flags & 8) <> 0) FROM message WHERE {condition}", bindings)
    assert row is not None
    count, seen, deleted = (int(value or 0) for value in row)
    on = mode != "remove"
    now_seen = (count if on else 0) if bits & SEEN else 0 if mode == "set" else seen
    now_deleted = (count if on else 0) if bits & DELETED else 0 if mode == "set" else deleted
    return seen - now_seen, now_deleted - deleted


def _remove_rows(shard: Shard, folder: int, account: int, uids: list[int], *, keep_until: int | None) -> int:
    """Delete rows and count them off; with ``keep_until`` they stay restorable from then on. Returns the modseq."""
    where, bindings = uid_condition(to_ranges(uids))
    counts = shard.row(
        f"SELECT count(*), sum((flags & 1) = 0), sum((flags & 8) <> 0), sum(size) FROM message WHERE folder = ? AND {where}",
        (folder, *bindings),
    )
    assert counts is not None
    count, unseen, deleted, size = (int(value or 0) for value in counts)
    if keep_until is not None:
        shard.execute(
            f"INSERT OR IGNORE INTO expunged SELECT ?, folder, uid, ?, flags, mid, size, date, thread FROM message "
            f"WHERE folder = ? AND {where}",
            (keep_until, account, folder, *bindings),
        )
    shard.execute(f"DELETE FROM message WHERE folder = ? AND {where}", (folder, *bindings))
    forget_own(shard, folder, where, bindings)
    row = shard.row(
        "UPDATE folder SET modseq = modseq + 1, messages = messages - ?, unseen = unseen - ?, deleted = deleted - ?, "
        "size = size - ? WHERE id = ? RETURNING modseq",
        (count, unseen, deleted, size, folder),
    )
    assert row is not None
    shard.execute("UPDATE account SET size = size - ?, messages = messages - ? WHERE id = ?", (size, count, account))
    record_change(shard, folder, int(row[0]), GONE, uids)
    return int(row[0])


def expunge(shard: Shard, op: Expunge) -> Result:
    """Remove messages; they stay restorable for the retention time."""
    account = _folder_account(shard, op.folder)
    where, bindings = uid_condition(op.ranges)
    deleted = "" if op.any_flags else " AND (flags & 8) <> 0"
    uids = [
        int(row[0])
        for row in shard.execute(f"SELECT uid FROM message WHERE folder = ? AND {where}{deleted}", (op.folder, *bindings))
    ]
    result = Result(folder=op.folder)
    if uids:
        result.modseq = _remove_rows(shard, op.folder, account, uids, keep_until=op.at)
        result.uids = uids
        result.effects.append(["gone", op.folder, result.modseq, to_ranges(uids), op.at])
    return result


def remove_replaced(shard: Shard, target: Target, at: int) -> list[Any]:
    """The message that a new one replaces goes; it stays restorable. Returns the effects."""
    folder, uid = target.replaces_folder, target.replaces_uid
    modseq = _remove_rows(shard, folder, _folder_account(shard, folder), [uid], keep_until=at)
    return [["gone", folder, modseq, [uid, uid], at]]


def remove_moved(shard: Shard, op: RemoveMoved) -> Result:
    """The source side of a move to another shard: the rows go, nothing is kept."""
    account = _folder_account(shard, op.folder)
    where, bindings = uid_condition(op.ranges)
    rows = list(shard.execute(f"SELECT uid, mid FROM message WHERE folder = ? AND {where}", (op.folder, *bindings)))
    result = Result(folder=op.folder)
    if rows:
        result.uids = [uid for uid, _ in rows]
        result.modseq = _remove_rows(shard, op.folder, account, result.uids, keep_until=None)
        release(shard, [mid for _, mid in rows])
        result.effects.append(["moved", op.folder, result.modseq, to_ranges(result.uids)])
    return result


def release(shard: Shard, mids: list[int]) -> None:
    """Take one reference from each; a message nobody holds any more is dead weight of its log file."""
    dead: dict[int, int] = {}
    for mid in mids:
        row = shard.row("SELECT references_left FROM copies WHERE mid = ?", (mid,))
        if row is not None:
            if row[0] > 2:
                shard.execute("UPDATE copies SET references_left = references_left - 1 WHERE mid = ?", (mid,))
            else:
                shard.execute("DELETE FROM copies WHERE mid = ?", (mid,))
            continue
        row = shard.row("DELETE FROM wide WHERE mid = ? RETURNING file, length", (mid,))
        if row is not None:
            dead[row[0]] = dead.get(row[0], 0) + int(row[1])
    count_dead(shard, dead)


def count_dead(shard: Shard, dead: dict[int, int]) -> None:
    """Note octets of log files that this index wants no more: where compaction is worth a look."""
    shard.executemany(
        "INSERT INTO dead VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET octets = octets + excluded.octets",
        [(file, octets, int(time.time())) for file, octets in dead.items()],
    )


def check_quota(
    shard: Shard, target: int, count: int, size: int, size_limit: int, messages_limit: int, folder_size: int = 0,
    folder_messages: int = 0,
) -> None:  # fmt: skip
    """Raises Refused where so much more would be too much for a folder or its owner; limits of 0 are none."""
    if folder_size or folder_messages:
        row = shard.row("SELECT size, messages FROM folder WHERE id = ?", (target,))
        if row and ((folder_size and row[0] + size > folder_size) or (folder_messages and row[1] + count > folder_messages)):
            raise Refused("quota", "the folder is over its quota")
    if not size_limit and not messages_limit:
        return
    row = shard.row("SELECT a.size, a.messages FROM folder f JOIN account a ON a.id = f.account WHERE f.id = ?", (target,))
    if row and ((size_limit and row[0] + size > size_limit) or (messages_limit and row[1] + count > messages_limit)):
        raise Refused("quota", "over quota")


def allocate(shard: Shard, target: int, count: int, unseen: int, deleted: int, size: int) -> tuple[int, int, int, int]:
    """``(first uid, modseq, uidvalidity, account)`` for ``count`` new rows of a folder; Refused where it is gone."""
    row = shard.row(
        "UPDATE folder SET uidnext = uidnext + ?2, modseq = modseq + 1, messages = messages + ?2, unseen = unseen + ?3, "
        "deleted = deleted + ?4, size = size + ?5 WHERE id = ?1 RETURNING uidnext, modseq, uidvalidity, account",
        (target, count, unseen, deleted, size),
    )
    if row is None:
        raise Refused("missing", "the target folder is gone")
    shard.execute("UPDATE account SET size = size + ?, messages = messages + ? WHERE id = ?", (size, count, row[3]))
    return int(row[0]) - count, int(row[1]), int(row[2]), int(row[3])


def copy_messages(shard: Shard, op: CopyMessages) -> Result:
    """COPY or MOVE within a shard: rows in order of uid, bodies shared."""
    account = _folder_account(shard, op.source)
    if op.reader or _folder_account(shard, op.target) != account:
        return _copy_translated(shard, op)
    where, bindings = uid_condition(op.ranges)
    counts = shard.row(
        f"SELECT count(*), sum((flags & 1) = 0), sum((flags & 8) <> 0), sum(size) FROM message WHERE folder = ? AND {where}",
        (op.source, *bindings),
    )
    assert counts is not None
    count, unseen, deleted, size = (int(value or 0) for value in counts)
    result = Result(folder=op.source, target=op.target)
    if not count:
        return result
    if not op.move or _folder_account(shard, op.target) != account:
        check_quota(shard, op.target, count, size, op.quota_size, op.quota_messages)
    if not op.move or op.source != op.target:
        check_quota(shard, op.target, count, size, 0, 0, op.folder_size, op.folder_messages)
    first, modseq, result.uidvalidity, owner = allocate(shard, op.target, count, unseen, deleted, size)
    rows = list(shard.execute(f"SELECT uid, mid FROM message WHERE folder = ? AND {where} ORDER BY uid", (op.source, *bindings)))
    result.uids = [uid for uid, _ in rows]
    if len(rows) == 1 or result.uids[-1] - result.uids[0] == len(rows) - 1:
        shift = first - result.uids[0]
        shard.execute(
            f"INSERT INTO message SELECT ?, uid + ?, ?, flags, mid, size, date, ?, thread FROM message "
            f"WHERE folder = ? AND {where}",
            (op.target, shift, modseq, op.saved, op.source, *bindings),
        )
    else:
        shard.execute(
            f"INSERT INTO message SELECT ?, ? + row_number() OVER (ORDER BY uid), ?, flags, mid, size, date, ?, thread "
            f"FROM message WHERE folder = ? AND {where}",
            (op.target, first - 1, modseq, op.saved, op.source, *bindings),
        )
    result.new_uids = list(range(first, first + count))
    if owner != account:
        note_new(shard, [(owner, mid) for _, mid in rows])
    source = [op.source, to_ranges(result.uids), op.saved]
    result.effects.append(["new", op.target, modseq, first, [mid for _, mid in rows], source, [], owner])
    if op.target_reader:
        result.effects += give_to_reader(shard, op.target, result.new_uids, op.target_reader, modseq)
    if op.move:
        result.modseq = _remove_rows(shard, op.source, account, result.uids, keep_until=None)
        result.effects.append(["moved", op.source, result.modseq, to_ranges(result.uids)])
    else:
        shard.executemany(
            "INSERT INTO copies VALUES(?, 2) ON CONFLICT DO UPDATE SET references_left = references_left + 1",
            [(mid,) for _, mid in rows],
        )
    return result


def _copy_translated(shard: Shard, op: CopyMessages) -> Result:
    """Between accounts, whose keywords have other bits and whose threads other ids, and by a reader, who has flags of his
    own."""
    rows = copied_rows(shard, op.source, op.ranges, op.reader)
    # What moves within an account takes no more room than before.
    within = op.move and _folder_account(shard, op.source) == _folder_account(shard, op.target)
    quota = (0, 0) if within else (op.quota_size, op.quota_messages)
    folder = (0, 0) if op.move and op.source == op.target else (op.folder_size, op.folder_messages)
    copies = InsertCopies(op.shard, op.target, rows, op.saved, *quota, op.target_reader, op.target_mask, *folder)
    result = insert_copies(shard, copies)
    result.folder, result.uids = op.source, from_ranges(op.ranges)
    where, bindings = uid_condition(op.ranges)
    found = [int(row[0]) for row in shard.execute(f"SELECT uid FROM message WHERE folder = ? AND {where}", (op.source, *bindings))]
    result.uids = found
    if op.move:
        moved = remove_moved(shard, RemoveMoved(op.shard, op.source, op.ranges))
        result.modseq = moved.modseq
        result.effects += moved.effects
    return result


def copied_rows(shard: Shard, folder: int, ranges: list[int], reader: int = 0) -> list[tuple[int, list[str], int, int, list[Any]]]:
    """The rows of an InsertCopies for messages of a folder as a reader (0: the owner) sees them, keyword names in clear."""
    names = read_keywords(shard, _folder_account(shard, folder))
    where, bindings = uid_condition(ranges, "m.uid")
    rows = []
    for flags, date, size, *wide in shard.execute(
        f"SELECT {merged() if reader else 'm.flags'}, m.date, m.size, w.* FROM message m JOIN wide w ON w.mid = m.mid "
        f"{own_join(reader) if reader else ''} WHERE m.folder = ? AND {where} ORDER BY m.uid",
        (folder, *bindings),
    ):
        rows.append((flags & ((1 << KEYWORD_SHIFT) - 1), names.names(flags), date, size, list(wide)))
    return rows


def insert_copies(shard: Shard, op: InsertCopies) -> Result:
    """The target side of a copy from another shard or account."""
    account = _folder_account(shard, op.target)
    flags = []
    for system, keywords, _, _, _ in op.rows:
        try:
            flags.append((system | keyword_flags(shard, account, keywords)) & op.target_mask)
        except KeywordLimit as limit:
            raise Refused("keywords", str(limit)) from None
    result = Result(target=op.target)
    if not op.rows:
        return result
    unseen = sum(1 for bits in flags if not bits & SEEN)
    deleted = sum(1 for bits in flags if bits & DELETED)
    size = sum(row[3] for row in op.rows)
    check_quota(
        shard, op.target, len(op.rows), size, op.quota_size, op.quota_messages, op.folder_size, op.folder_messages
    )
    first, modseq, result.uidvalidity, _ = allocate(shard, op.target, len(op.rows), unseen, deleted, size)
    marks = ", ".join("?" * 20)
    for uid, (bits, (_, _, date, octets, wide)) in enumerate(zip(flags, op.rows, strict=True), first):
        mid = wide[0]
        shard.execute(f"INSERT OR IGNORE INTO wide VALUES({marks})", tuple(wide))
        held = shard.connection.changes() == 0
        shard.execute(
            "INSERT INTO message VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (op.target, uid, modseq, bits, mid, octets, date, op.saved, thread_of_copy(shard, account, mid, str(wide[9]))),
        )
        if held:
            shard.execute(
                "INSERT INTO copies VALUES(?, 2) ON CONFLICT DO UPDATE SET references_left = references_left + 1",
                (mid,),
            )
    result.new_uids = list(range(first, first + len(op.rows)))
    result.modseq = modseq
    note_new(shard, [(account, row[4][0]) for row in op.rows])
    values = [[bits, row[2], row[3], op.saved] for bits, row in zip(flags, op.rows, strict=True)]
    result.effects.append(["new", op.target, modseq, first, [row[4][0] for row in op.rows], [], values, account])
    if op.target_reader:
        result.effects += give_to_reader(shard, op.target, result.new_uids, op.target_reader, modseq)
    return result


def remove_idle_entry(shard: Shard, mid: int) -> None:
    """A message in the queue goes when nobody waits for it any more."""
    if not shard.row("SELECT 1 FROM recipient WHERE mid = ?", (mid,)):
        row = shard.row("DELETE FROM entry WHERE mid = ? RETURNING file, length", (mid,))
        if row is not None:
            count_dead(shard, {row[0]: int(row[1])})
