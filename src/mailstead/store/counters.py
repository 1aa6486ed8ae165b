"""Counters and references of an index, counted from its rows: for repairs and rebuilds.

Invariants: inside the caller's transaction, but for ``recount_owner``; a next uid or modseq is only ever raised.
"""

from __future__ import annotations

from mailstead.store.shard import Shard

UID_JUMP = 65_536
MODSEQ_JUMP = 1_000


def leave_no_leaks(shard: Shard) -> None:
    """References as the rows have them; wide rows that none refers to go."""
    held = "SELECT mid FROM message UNION ALL SELECT mid FROM expunged"
    shard.execute(f"DELETE FROM wide WHERE mid NOT IN ({held})")
    shard.execute("DELETE FROM copies")
    shard.execute(f"INSERT INTO copies SELECT mid, count(*) FROM ({held}) GROUP BY mid HAVING count(*) > 1")


def recount(shard: Shard) -> None:
    """Counters from the rows; the next uid and modseq above every one there is."""
    shard.execute(
        "UPDATE folder SET (messages, unseen, deleted, size) = (SELECT count(*), coalesce(sum((flags & 1) = 0), 0), "
        "coalesce(sum((flags & 8) <> 0), 0), coalesce(sum(size), 0) FROM message WHERE folder = folder.id)"
    )
    shard.execute(
        "UPDATE account SET (size, messages) = (SELECT coalesce(sum(size), 0), coalesce(sum(messages), 0) FROM folder "
        "WHERE account = account.id)"
    )
    # A number that fell behind may have fallen far: the jump leaves room for those whose rows are gone.
    shard.execute(
        "UPDATE folder SET uidnext = (SELECT max(uid) FROM message WHERE folder = folder.id) + ? "
        "WHERE uidnext <= (SELECT max(uid) FROM message WHERE folder = folder.id)",
        (UID_JUMP,),
    )
    shard.execute(
        "UPDATE folder SET modseq = top.m + ? FROM (SELECT id AS f, max(coalesce((SELECT max(modseq) FROM message "
        "WHERE folder = id), 0), coalesce((SELECT max(modseq) FROM change WHERE folder = id), 0)) AS m FROM folder) AS top "
        "WHERE folder.id = top.f AND folder.modseq < top.m",
        (MODSEQ_JUMP,),
    )


def raise_numbers(shard: Shard) -> None:
    """Leave out the numbers that clients may have seen of what is lost."""
    shard.execute("UPDATE folder SET uidnext = uidnext + ?, modseq = modseq + ?", (UID_JUMP, MODSEQ_JUMP))


_OF_FOLDER = (
    "SELECT count(*), coalesce(sum((flags & 1) = 0), 0), coalesce(sum((flags & 8) <> 0), 0), coalesce(sum(size), 0), "
    "coalesce(max(uid), 0), max(coalesce(max(modseq), 0), coalesce((SELECT max(modseq) FROM change WHERE folder = ?1), 0)) "
    "FROM message WHERE folder = ?1"
)
_KEPT = "SELECT messages, unseen, deleted, size, uidnext, modseq, name FROM folder WHERE id = ?"
_OF_OWNER = (
    "SELECT coalesce(sum(size), 0), coalesce(sum(messages), 0), (SELECT size FROM account WHERE id = ?1), "
    "(SELECT messages FROM account WHERE id = ?1) FROM folder WHERE account = ?1"
)


def recount_owner(shard: Shard, owner: int) -> list[str]:
    """One owner's counters from the rows, beside a running server: all others change counters by differences, under the lock.

    A folder is locked only where it was found wrong, each in a transaction of its own. Returns what was put right, in words;
    durable then. Blocking; raises apsw errors, OSError.
    """
    done: list[str] = []
    rows = shard.execute("SELECT id FROM folder WHERE account = ? ORDER BY name", (owner,)).fetchall()
    for folder in (int(str(row[0])) for row in rows):
        if _amends(shard, folder) is None:
            continue
        shard.begin()
        try:
            amended = _amends(shard, folder)
            if amended is not None:
                text, values = amended
                shard.execute(
                    "UPDATE folder SET messages = ?, unseen = ?, deleted = ?, size = ?, uidnext = ?, modseq = ? WHERE id = ?",
                    (*values, folder),
                )
                done.append(text)
            shard.commit()
        except BaseException:
            shard.rollback()
            raise
    row = shard.row(_OF_OWNER, (owner,))
    if row is not None and row[2] is not None and row[:2] != row[2:]:
        shard.begin()
        try:
            size, messages, *_was = shard.row(_OF_OWNER, (owner,)) or (0, 0)
            shard.execute("UPDATE account SET size = ?, messages = ? WHERE id = ?", (size, messages, owner))
            shard.commit()
        except BaseException:
            shard.rollback()
            raise
        done.append(f"use is {messages} messages, {size} octets now")
    if done:
        shard.sync_wal()
    return done


def _amends(shard: Shard, folder: int) -> tuple[str, tuple[int, ...]] | None:
    """What is wrong with a folder's counters in words, and what they must be; None where nothing is."""
    kept, counted = shard.row(_KEPT, (folder,)), shard.row(_OF_FOLDER, (folder,))
    if kept is None or counted is None:
        return None  # removed meanwhile
    uidnext, modseq, name = kept[4:]
    highest_uid, highest_modseq = counted[4:]
    new_uid = uidnext if uidnext > highest_uid else highest_uid + UID_JUMP
    new_modseq = modseq if modseq >= highest_modseq else highest_modseq + MODSEQ_JUMP
    values = (*counted[:4], new_uid, new_modseq)
    if values == kept[:6]:
        return None
    return f"{name}: {counted[0]} messages, {counted[1]} unseen, {counted[3]} octets now", values
