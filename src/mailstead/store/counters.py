"""Counters and references of an index, counted from its rows: for repairs and rebuilds.

Invariants: inside the caller's transaction; a next uid or modseq is only ever raised.
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
