"""Change records become rows: what was deleted comes back (messages to a folder, a folder with its messages).

Invariants: as in apply_changes.py; what comes back gets new UIDs and a new modseq, a folder a new id and UIDVALIDITY, for
clients have been told that the old ones are gone; \\Deleted is not brought back, or the next EXPUNGE would take it again.

A deleted folder leaves a row in ``deleted_folder`` (name, use, rights, notes); its messages lie in ``expunged`` under
its id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from mailstead.store.apply_changes import allocate, check_quota
from mailstead.store.operations import DELETED, SEEN, RestoreFolder, RestoreMessages
from mailstead.store.results import Refused, Result
from mailstead.store.search_jobs import note_new
from mailstead.store.shard import Shard
from mailstead.store.thread_ids import thread_of_copy

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[tuple[str, str]], list[tuple[int, str, bytes]]]).decode
SLICE = 500
Key = tuple[int, int, int]
"""When it was deleted (unix time), folder and uid: what names a deleted message."""


def remember_folder(shard: Shard, folder: int, at: int) -> None:
    """Keep what is needed to make a folder anew that is about to be deleted; inside the transaction."""
    acl = list(shard.execute("SELECT identifier, rights FROM acl WHERE folder = ? ORDER BY identifier", (folder,)))
    notes = list(shard.execute("SELECT reader, entry, value FROM metadata WHERE folder = ? ORDER BY reader, entry", (folder,)))
    shard.execute(
        "INSERT OR REPLACE INTO deleted_folder SELECT id, ?, account, name, special_use, kind, ? FROM folder WHERE id = ?",
        (at, _encode((acl, notes)), folder),
    )


def restore_messages(shard: Shard, op: RestoreMessages) -> Result:
    """Those of ``op.keys`` that can still be restored."""
    if shard.row("SELECT 1 FROM folder WHERE id = ? AND account = ?", (op.target, op.account)) is None:
        raise Refused("missing", "no such folder")
    rows = [row for row in _rows(shard, op.keys) if row[3] == op.account]
    return _bring_back(shard, op.account, op.target, rows, op.saved, _quota(op), 0)


def restore_folder(shard: Shard, op: RestoreFolder) -> Result:
    """Make a deleted folder anew, with rights and notes, and bring back the messages that went with it."""
    row = shard.row(
        "SELECT at, special_use, kind, content FROM deleted_folder WHERE id = ? AND account = ?", (op.deleted, op.account)
    )
    if row is None:
        raise Refused("missing", "there is no such deleted folder")
    at, use, kind, content = row
    if shard.row("SELECT 1 FROM folder WHERE account = ? AND name = ?", (op.account, op.name)):
        raise Refused("exists", "a folder of that name exists already")
    if use and shard.row("SELECT 1 FROM folder WHERE account = ? AND special_use = ?", (op.account, use)):
        use = None  # another has that use now
    validity = shard.row(
        "UPDATE account SET uidvalidity = max(uidvalidity + 1, ?) WHERE id = ? RETURNING uidvalidity", (op.saved, op.account)
    )
    if validity is None:
        raise Refused("missing", "no such account")
    shard.execute(
        "INSERT INTO folder VALUES(?, ?, ?, ?, 0, ?, ?, 1, 1, 0, 0, 0, 0, ?)",
        (op.id, op.account, op.name, use, kind, validity[0], op.saved),
    )
    effects: list[Any] = [["folder", "create", op.id, op.account, op.name, validity[0], use, kind, op.saved]]
    acl, notes = _decode(content)
    for identifier, rights in acl:
        shard.execute("INSERT OR REPLACE INTO acl VALUES(?, ?, ?, ?)", (op.account, op.id, identifier, rights))
        effects.append(["acl", op.account, op.id, identifier, rights])
    for reader, entry, value in notes:
        shard.execute("INSERT OR REPLACE INTO metadata VALUES(?, ?, ?, ?, ?)", (op.account, op.id, reader, entry, value))
        effects.append(["metadata", op.account, op.id, reader, [(entry, value)]])
    rows = list(
        shard.execute(
            "SELECT at, folder, uid, account, flags, mid, size, date FROM expunged WHERE at = ? AND folder = ? ORDER BY uid",
            (at, op.deleted),
        )
    )
    result = _bring_back(shard, op.account, op.id, rows, op.saved, _quota(op), op.deleted)
    result.folder = result.id = op.id
    result.uidvalidity = int(validity[0])
    result.effects = [*effects, *result.effects]
    return result


def _quota(op: RestoreMessages | RestoreFolder) -> tuple[int, int, int, int]:
    return op.quota_size, op.quota_messages, op.folder_size, op.folder_messages


def _rows(shard: Shard, keys: Sequence[Key]) -> Iterator[tuple[Any, ...]]:
    for key in keys:
        row = shard.row(
            "SELECT at, folder, uid, account, flags, mid, size, date FROM expunged WHERE at = ? AND folder = ? AND uid = ?",
            tuple(key),
        )
        if row is not None:
            yield row


def _bring_back(
    shard: Shard, account: int, target: int, rows: list[tuple[Any, ...]], saved: int, quota: tuple[int, ...], deleted: int
) -> Result:
    """``rows`` of ``expunged`` become messages of a folder; their references stay as many."""
    result = Result(target=target)
    keys = [list(row[:3]) for row in rows]
    values = [[row[4] & ~DELETED, row[7], row[6], saved] for row in rows]
    if rows:
        size = sum(row[6] for row in rows)
        check_quota(shard, target, len(rows), size, *quota)
        unseen = sum(1 for flags, *_ in values if not flags & SEEN)
        first, modseq, result.uidvalidity, _ = allocate(shard, target, len(rows), unseen, 0, size)
        for uid, (row, (flags, date, octets, _)) in enumerate(zip(rows, values, strict=True), first):
            wide = shard.row("SELECT message_id FROM wide WHERE mid = ?", (row[5],))
            thread = thread_of_copy(shard, account, row[5], str(wide[0]) if wide else "")
            shard.execute(
                "INSERT INTO message VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (target, uid, modseq, flags, row[5], octets, date, saved, thread),
            )
        result.modseq, result.new_uids = modseq, list(range(first, first + len(rows)))
        note_new(shard, [(account, row[5]) for row in rows])
        result.effects.append(["new", target, modseq, first, [row[5] for row in rows], [], values, account])
    if rows or deleted:
        forget_deleted(shard, deleted, keys)
        result.effects.append(["restored", deleted, keys])
    return result


def forget_deleted(shard: Shard, folder: int, keys: Sequence[Sequence[int]]) -> None:
    """What came back is no longer deleted: messages by key, and a folder where that is not 0. Inside a transaction."""
    shard.executemany("DELETE FROM expunged WHERE at = ? AND folder = ? AND uid = ?", [tuple(key) for key in keys])
    if folder:
        shard.execute("DELETE FROM deleted_folder WHERE id = ?", (folder,))
