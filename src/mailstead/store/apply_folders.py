"""Change records become rows: folders, subscriptions, accounts, and outcomes of queue attempts.

Invariants: as in apply_changes.py; a folder's id never names another folder; UIDVALIDITY of an account's folders rises
strictly; a deleted folder's messages stay restorable for the retention time under its id.
"""

from __future__ import annotations

from typing import Any

from mailstead.store.accounts import ensure_account
from mailstead.store.apply_changes import (
    Refused,
    Result,
    change_flags,
    copy_messages,
    expunge,
    insert_copies,
    release,
    remove_idle_entry,
    remove_moved,
)
from mailstead.store.apply_scripts import change_scripts
from mailstead.store.apply_sharing import create_owner, forget_folders, set_acl, set_metadata, set_unique_ids, set_url_key
from mailstead.store.apply_undelete import remember_folder, restore_folder, restore_messages
from mailstead.store.operations import (
    ChangeFlags,
    ChangeScripts,
    CopyMessages,
    CreateFolder,
    CreateOwner,
    DeleteFolder,
    Expunge,
    InsertCopies,
    Operation,
    QueueOutcome,
    RemoveAccount,
    RemoveMoved,
    RenameFolder,
    RestoreFolder,
    RestoreMessages,
    SetAcl,
    SetMetadata,
    SetUniqueIds,
    SetUrlKey,
    Subscribe,
)
from mailstead.store.shard import Shard

DONE, BOUNCED, DEFERRED = 1, 2, 0
"""States of a queue recipient; a deferred one is due again."""


def _next_validity(shard: Shard, account: int, wanted: int) -> int:
    row = shard.row(
        "UPDATE account SET uidvalidity = max(uidvalidity + 1, ?) WHERE id = ? RETURNING uidvalidity", (wanted, account)
    )
    assert row is not None
    return int(row[0])


def create_folder(shard: Shard, op: CreateFolder, id: int) -> Result:
    ensure_account(shard, op.account, id)
    if shard.row("SELECT 1 FROM folder WHERE account = ? AND name = ?", (op.account, op.name)):
        raise Refused("exists", "a folder of that name exists already")
    if op.limit:
        row = shard.row("SELECT count(*) FROM folder WHERE account = ?", (op.account,))
        if row and row[0] >= op.limit:
            raise Refused("quota", f"no more than {op.limit} folders")
    validity = _next_validity(shard, op.account, op.uidvalidity)
    shard.execute(
        "INSERT INTO folder VALUES(?, ?, ?, ?, 0, ?, ?, 1, 1, 0, 0, 0, 0, ?)",
        (op.id, op.account, op.name, op.special_use, op.kind, validity, op.uidvalidity),
    )
    return Result(
        folder=op.id,
        id=op.id,
        uidvalidity=validity,
        effects=[["folder", "create", op.id, op.account, op.name, validity, op.special_use, op.kind, op.uidvalidity]],
    )


def rename_folder(shard: Shard, op: RenameFolder) -> Result:
    row = shard.row("SELECT id FROM folder WHERE account = ? AND name = ?", (op.account, op.old))
    if row is None:
        raise Refused("missing", "no such folder")
    if shard.row("SELECT 1 FROM folder WHERE account = ? AND name = ?", (op.account, op.new)):
        raise Refused("exists", "a folder of that name exists already")
    folder = int(row[0])
    if op.old == "INBOX":
        validity = _next_validity(shard, op.account, op.uidvalidity)
        shard.execute(
            "INSERT INTO folder VALUES(?, ?, ?, NULL, 0, 'mail', ?, 1, 1, 0, 0, 0, 0, ?)",
            (op.new_id, op.account, op.new, validity, op.uidvalidity),
        )
        moved = copy_messages(shard, CopyMessages(op.shard, folder, op.new_id, [1, 0xFFFFFFFF], True, op.uidvalidity))
        moved.effects.insert(0, ["folder", "create", op.new_id, op.account, op.new, validity, None, "mail", op.uidvalidity])
        return moved
    below = f"{op.old}/"
    clash = shard.row(
        "SELECT 1 FROM folder a JOIN folder b ON b.account = a.account AND b.name = ?2 || substr(a.name, ?3) "
        "WHERE a.account = ?1 AND substr(a.name, 1, ?4) = ?5",
        (op.account, op.new, len(op.old) + 1, len(below), below),
    )
    if clash:
        raise Refused("exists", "a folder below has a name that exists already")
    shard.execute("UPDATE folder SET name = ? WHERE id = ?", (op.new, folder))
    shard.execute(
        "UPDATE folder SET name = ? || substr(name, ?) WHERE account = ? AND substr(name, 1, ?) = ?",
        (op.new, len(op.old) + 1, op.account, len(below), below),
    )
    return Result(folder=folder, id=folder, effects=[["folder", "rename", folder, op.account, op.old, op.new]])


def delete_folder(shard: Shard, op: DeleteFolder) -> Result:
    row = shard.row("SELECT id, size, messages FROM folder WHERE account = ? AND name = ?", (op.account, op.name))
    if row is None:
        raise Refused("missing", "no such folder")
    folder, size, messages = (int(value) for value in row)
    remember_folder(shard, folder, op.at)
    shard.execute(
        "INSERT OR IGNORE INTO expunged SELECT ?, folder, uid, ?, flags, mid, size, date, thread FROM message WHERE folder = ?",
        (op.at, op.account, folder),
    )
    shard.execute("DELETE FROM message WHERE folder = ?", (folder,))
    shard.execute("DELETE FROM change WHERE folder = ?", (folder,))
    forget_folders(shard, "id = ?", (folder,))
    shard.execute("DELETE FROM folder WHERE id = ?", (folder,))
    shard.execute("UPDATE account SET size = size - ?, messages = messages - ? WHERE id = ?", (size, messages, op.account))
    return Result(folder=folder, id=folder, effects=[["folder", "delete", folder, op.account, op.name, op.at]])


def subscribe(shard: Shard, op: Subscribe, id: int) -> Result:
    ensure_account(shard, op.account, id)
    if op.on:
        shard.execute("INSERT OR IGNORE INTO subscription VALUES(?, ?)", (op.account, op.name))
    else:
        shard.execute("DELETE FROM subscription WHERE account = ? AND name = ?", (op.account, op.name))
    return Result(effects=[["subscribe", op.account, op.name, op.on]])


def remove_account(shard: Shard, op: RemoveAccount) -> Result:
    """Everything of an account goes; its messages stay restorable for the retention time."""
    shard.execute(
        "INSERT OR IGNORE INTO expunged SELECT ?, m.folder, m.uid, f.account, m.flags, m.mid, m.size, m.date, m.thread "
        "FROM folder f JOIN message m ON m.folder = f.id WHERE f.account = ?",
        (op.at, op.account),
    )
    for table in ("message", "change"):
        shard.execute(f"DELETE FROM {table} WHERE folder IN (SELECT id FROM folder WHERE account = ?)", (op.account,))
    forget_folders(shard, "account = ?", (op.account,))
    shard.execute("DELETE FROM acl WHERE identifier IN (?, ?)", (f"u{op.account}", f"-u{op.account}"))
    shard.execute("DELETE FROM url_key WHERE reader = ?", (op.account,))
    for table in ("acl", "metadata", "script", "folder", "subscription", "keyword", "keyword_set", "thread", "deleted_folder"):
        shard.execute(f"DELETE FROM {table} WHERE account = ?", (op.account,))
    shard.execute("DELETE FROM account WHERE id = ?", (op.account,))
    shard.inboxes.pop(op.account, None)
    return Result(effects=[["account", "remove", op.account, op.at]])


def queue_outcome(shard: Shard, op: QueueOutcome) -> Result:
    """Record what became of recipients; an entry goes when nobody waits for it any more."""
    for number, state, due, attempts, notified, status, detail in op.rows:
        if state == DEFERRED:
            shard.execute(
                "UPDATE recipient SET state = 0, due = ?, attempts = ?, notified = ?, status = ?, detail = ?, claimed_by = 0, "
                "claimed_until = 0 WHERE mid = ? AND number = ?",
                (due, attempts, notified, status, detail, op.mid, number),
            )
        else:
            shard.execute("DELETE FROM recipient WHERE mid = ? AND number = ?", (op.mid, number))
    remove_idle_entry(shard, op.mid)
    return Result(id=op.mid, effects=[["outcome", op.mid, [[row[0], row[1], row[5]] for row in op.rows]]])


def purge_expunged(shard: Shard, before: int, limit: int = 500) -> int:
    """Forget up to ``limit`` messages expunged before that unix time; returns how many. Inside a transaction."""
    rows = list(shard.execute("SELECT at, folder, uid, mid FROM expunged WHERE at < ? ORDER BY at LIMIT ?", (before, limit)))
    release(shard, [row[3] for row in rows])
    shard.executemany("DELETE FROM expunged WHERE at = ? AND folder = ? AND uid = ?", [row[:3] for row in rows])
    if len(rows) < limit:
        shard.execute("DELETE FROM deleted_folder WHERE at < ?", (before,))
    return len(rows)


def apply_operation(shard: Shard, op: Operation, id: int) -> Result:
    """One operation of change record ``id``, inside the open transaction. Raises Refused."""
    match op:
        case ChangeFlags():
            return change_flags(shard, op)
        case Expunge():
            return expunge(shard, op)
        case CopyMessages():
            return copy_messages(shard, op)
        case InsertCopies():
            return insert_copies(shard, op)
        case RemoveMoved():
            return remove_moved(shard, op)
        case CreateFolder():
            return create_folder(shard, op, id)
        case RenameFolder():
            return rename_folder(shard, op)
        case DeleteFolder():
            return delete_folder(shard, op)
        case Subscribe():
            return subscribe(shard, op, id)
        case RemoveAccount():
            return remove_account(shard, op)
        case QueueOutcome():
            return queue_outcome(shard, op)
        case SetAcl():
            return set_acl(shard, op)
        case SetMetadata():
            return set_metadata(shard, op, id)
        case ChangeScripts():
            return change_scripts(shard, op, id)
        case SetUniqueIds():
            return set_unique_ids(shard, op)
        case SetUrlKey():
            return set_url_key(shard, op)
        case CreateOwner():
            return create_owner(shard, op)
        case RestoreMessages():
            return restore_messages(shard, op)
        case RestoreFolder():
            return restore_folder(shard, op)


def operations_weight(ops: list[Any]) -> int:
    """About how many rows the operations touch, to choose between the loop and a thread."""
    weight = 0
    for op in ops:
        ranges = getattr(op, "ranges", None)
        if ranges:
            rows = min(sum(ranges[1::2]) - sum(ranges[::2]) + 1, 1_000_000)
            # A row whose flags change costs a fraction of one that comes or goes.
            weight += rows // 16 if isinstance(op, ChangeFlags) and not op.reader else rows
        elif isinstance(op, InsertCopies):
            weight += len(op.rows)
        elif isinstance(op, RestoreMessages):
            weight += len(op.keys)
        elif isinstance(op, RemoveAccount | DeleteFolder | RenameFolder | RestoreFolder):
            weight += 1_000
    return weight
