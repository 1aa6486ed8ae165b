"""Change records become rows: who may see a folder, what is noted of it, and the flags that each reader has of his own.

Invariants: as in apply_changes.py.  A reader who is not the owner has \\Seen, \\Flagged and keywords of his own, in
``reader_flags``; \\Answered, \\Deleted and \\Draft are the message's and all see them (feature SHR-04).  A change of a
reader's own flags takes a modseq of the folder and is noted in ``reader_change``, so that only his sessions are told.

Identifiers in ``acl`` are ``u<account>``, ``g<group>`` and ``d<domain>`` (everybody in it), with ``-`` in front for rights
taken away (RFC 4314 section 2); folder 0 stands for all folders of the account.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mailstead.store.accounts import ensure_account
from mailstead.store.keywords import FlagChange, KeywordLimit
from mailstead.store.operations import (
    DELETED,
    RIGHTS,
    SEEN,
    ChangeFlags,
    CreateOwner,
    SetAcl,
    SetMetadata,
    SetUniqueIds,
    SetUrlKey,
    from_ranges,
    to_ranges,
)
from mailstead.store.results import FLAGS, Refused, Result, pack_uids, record_change, uid_condition
from mailstead.store.shard import Shard

SHARED_FLAGS = 26
"""\\Answered, \\Deleted, \\Draft: one value for all readers."""


def merged(alias: str = "m", own: str = "r") -> str:
    """SQL for the flags a reader sees, of a message row and his own row (or none)."""
    return f"(({alias}.flags & {SHARED_FLAGS}) | coalesce({own}.flags, 0))"


def own_join(reader: int) -> str:
    """SQL that joins a reader's own rows to ``message m``."""
    return f" LEFT JOIN reader_flags r ON r.folder = m.folder AND r.reader = {int(reader)} AND r.uid = m.uid"


def create_owner(shard: Shard, op: CreateOwner) -> Result:
    """An account without any folder of its own, such as a domain's public folders have."""
    if shard.row("SELECT 1 FROM account WHERE id = ?", (op.account,)) is None:
        shard.execute("INSERT INTO account VALUES(?, 0, 0, 0, ?)", (op.account, op.uidvalidity))
        return Result(effects=[["owner", op.account, op.uidvalidity]])
    return Result()


def set_acl(shard: Shard, op: SetAcl) -> Result:
    """Give an identifier rights in a folder (or in all, folder 0); None takes the entry away."""
    if op.folder and not shard.row("SELECT 1 FROM folder WHERE id = ? AND account = ?", (op.folder, op.account)):
        raise Refused("missing", "no such folder")
    key = (op.account, op.folder, op.identifier)
    row = shard.row("SELECT rights FROM acl WHERE account = ? AND folder = ? AND identifier = ?", key)
    before, given = None if row is None else str(row[0]), op.rights
    if op.more or op.less:
        have = set(before if before is not None else given or "")
        given = "".join(right for right in RIGHTS if right in (have | set(op.more)) - set(op.less))
    if given is None:
        shard.execute("DELETE FROM acl WHERE account = ? AND folder = ? AND identifier = ?", key)
    else:
        shard.execute("INSERT OR REPLACE INTO acl VALUES(?, ?, ?, ?)", (*key, given))
    return Result(folder=op.folder, rights=(before, given), effects=[["acl", *key, given]])


def set_metadata(shard: Shard, op: SetMetadata, id: int) -> Result:
    """Set entries of a folder or an account (folder 0), shared (reader 0) or a reader's own; None removes one."""
    if op.folder:
        if not shard.row("SELECT 1 FROM folder WHERE id = ? AND account = ?", (op.folder, op.account)):
            raise Refused("missing", "no such folder")
    else:
        ensure_account(shard, op.account, id)
    for entry, value in op.rows:
        if value is None:
            shard.execute(
                "DELETE FROM metadata WHERE account = ? AND folder = ? AND reader = ? AND entry = ?",
                (op.account, op.folder, op.reader, entry),
            )
        else:
            shard.execute(
                "INSERT OR REPLACE INTO metadata VALUES(?, ?, ?, ?, ?)", (op.account, op.folder, op.reader, entry, value)
            )
    return Result(folder=op.folder, effects=[["metadata", op.account, op.folder, op.reader, op.rows]])


def set_url_key(shard: Shard, op: SetUrlKey) -> Result:
    """Give a reader a key for a folder unless he has one, or take keys away."""
    if op.key is not None:
        shard.execute("INSERT OR IGNORE INTO url_key VALUES(?, ?, ?)", (op.reader, op.folder, op.key))
    elif op.folder:
        shard.execute("DELETE FROM url_key WHERE reader = ? AND folder = ?", (op.reader, op.folder))
    else:
        shard.execute("DELETE FROM url_key WHERE reader = ?", (op.reader,))
    return Result(effects=[["urlkey", op.reader, op.folder, op.key]])


def change_reader_flags(shard: Shard, op: ChangeFlags, account: int) -> Result:
    """``change_flags`` for a reader who is not the owner."""
    try:
        return _change_own(shard, op, FlagChange(shard, account, op.mode, op.system, op.keywords))
    except KeywordLimit as limit:
        raise Refused("keywords", str(limit)) from None


def _change_own(shard: Shard, op: ChangeFlags, change: FlagChange) -> Result:
    where, bindings = uid_condition(op.ranges, "m.uid")
    changed: list[int] = []
    result = Result(folder=op.folder, uids=changed)
    own: dict[int, list[int]] = {}
    base: dict[int, list[int]] = {}
    deleted = 0
    rows = shard.execute(
        f"SELECT m.uid, m.flags, {merged()}, max(m.modseq, coalesce(r.modseq, 0)) FROM message m{own_join(op.reader)} "
        f"WHERE m.folder = ? AND {where} ORDER BY m.uid",
        (op.folder, *bindings),
    )
    for uid, all_flags, seen, modseq in rows:
        if 0 <= op.unchanged_since < modseq:
            result.modified.append(uid)
            continue
        wanted = seen & ~op.mask | change.apply(seen) & op.mask
        if wanted == seen:
            continue
        changed.append(uid)
        if (wanted ^ seen) & ~SHARED_FLAGS:
            own.setdefault(wanted & ~SHARED_FLAGS, []).append(uid)
        if (wanted ^ seen) & SHARED_FLAGS:
            base.setdefault(all_flags & ~SHARED_FLAGS | wanted & SHARED_FLAGS, []).append(uid)
            deleted += bool(wanted & DELETED) - bool(seen & DELETED)
    if not changed:
        return result
    row = shard.row(
        "UPDATE folder SET modseq = modseq + 1, deleted = deleted + ? WHERE id = ? RETURNING modseq", (deleted, op.folder)
    )
    assert row is not None
    result.modseq = int(row[0])
    if own:
        groups = [[to_ranges(uids), flags] for flags, uids in own.items()]
        set_own(shard, op.folder, result.modseq, op.reader, groups)
        result.effects.append(["own", op.folder, result.modseq, op.reader, groups])
    if base:
        groups = [[to_ranges(uids), flags] for flags, uids in base.items()]
        set_base(shard, op.folder, result.modseq, groups)
        result.effects.append(["base", op.folder, result.modseq, groups])
    return result


def change_by_row(shard: Shard, op: ChangeFlags, change: FlagChange) -> Result:
    """``change_flags`` where it is not the same bits for every message: keywords beyond those with a bit of their own."""
    where, bindings = uid_condition(op.ranges)
    result = Result(folder=op.folder, by_row=True)
    after: dict[int, list[int]] = {}
    uids: list[int] = []
    unseen = deleted = 0
    sql = f"SELECT uid, flags, modseq FROM message WHERE folder = ? AND {where} ORDER BY uid"
    rows: list[Any] = shard.execute(sql, (op.folder, *bindings)).fetchall()
    for uid, flags, modseq in rows:
        if 0 <= op.unchanged_since < modseq:
            result.modified.append(uid)
            continue
        wanted = change.apply(flags)
        if wanted != flags:
            uids.append(uid)
            after.setdefault(wanted, []).append(uid)
            unseen += bool(flags & SEEN) - bool(wanted & SEEN)
            deleted += bool(wanted & DELETED) - bool(flags & DELETED)
    result.uids = uids
    if not uids:
        return result
    row = shard.row(
        "UPDATE folder SET modseq = modseq + 1, unseen = unseen + ?, deleted = deleted + ? WHERE id = ? RETURNING modseq",
        (unseen, deleted, op.folder),
    )
    assert row is not None
    result.modseq = int(row[0])
    groups = [[to_ranges(part), flags] for flags, part in after.items()]
    set_base(shard, op.folder, result.modseq, groups)
    result.effects.append(["base", op.folder, result.modseq, groups])
    return result


def set_own(shard: Shard, folder: int, modseq: int, reader: int, groups: Iterable[list[Any]]) -> None:
    """A reader's own flags: ``groups`` are [ranges, flags]. Inside a transaction."""
    touched: list[int] = []
    for ranges, flags in groups:
        uids = from_ranges(ranges)
        touched += uids
        shard.executemany(
            "INSERT OR REPLACE INTO reader_flags VALUES(?, ?, ?, ?, ?)", [(folder, reader, uid, flags, modseq) for uid in uids]
        )
    shard.execute(
        "INSERT OR REPLACE INTO reader_change VALUES(?, ?, ?, ?)", (folder, modseq, reader, pack_uids(sorted(touched)))
    )


def set_base(shard: Shard, folder: int, modseq: int, groups: Iterable[list[Any]]) -> None:
    """Flags of the messages themselves: ``groups`` are [ranges, flags]. Inside a transaction."""
    touched: list[int] = []
    for ranges, flags in groups:
        where, bindings = uid_condition(ranges)
        shard.execute(f"UPDATE message SET flags = ?, modseq = ? WHERE folder = ? AND {where}", (flags, modseq, folder, *bindings))
        touched += from_ranges(ranges)
    record_change(shard, folder, modseq, FLAGS, sorted(touched))


def give_to_reader(shard: Shard, folder: int, uids: list[int], reader: int, modseq: int) -> list[Any]:
    """What a reader brings into another's folder: \\Seen, \\Flagged and keywords stay his. Returns the effects."""
    where, bindings = uid_condition(to_ranges(uids))
    own: dict[int, list[int]] = {}
    base: dict[int, list[int]] = {}
    unseen = 0
    sql = f"SELECT uid, flags FROM message WHERE folder = ? AND {where} ORDER BY uid"
    for uid, flags in shard.execute(sql, (folder, *bindings)):
        if flags & ~SHARED_FLAGS:
            own.setdefault(flags & ~SHARED_FLAGS, []).append(uid)
            base.setdefault(flags & SHARED_FLAGS, []).append(uid)
            unseen += flags & 1
    if not own:
        return []
    shard.execute("UPDATE folder SET unseen = unseen + ? WHERE id = ?", (unseen, folder))
    mine = [[to_ranges(part), flags] for flags, part in own.items()]
    theirs = [[to_ranges(part), flags] for flags, part in base.items()]
    set_own(shard, folder, modseq, reader, mine)
    set_base(shard, folder, modseq, theirs)
    return [["own", folder, modseq, reader, mine], ["base", folder, modseq, theirs]]


def set_unique_ids(shard: Shard, op: SetUniqueIds) -> Result:
    """POP3 unique ids of messages that are there (RFC 1939 section 7, UIDL)."""
    there = {int(row[0]) for row in shard.execute("SELECT uid FROM message WHERE folder = ?", (op.folder,))}
    rows = [(uid, name) for uid, name in op.rows if uid in there]
    shard.executemany("INSERT OR REPLACE INTO uidl VALUES(?, ?, ?)", [(op.folder, uid, name) for uid, name in rows])
    return Result(folder=op.folder, uids=[uid for uid, _ in rows], effects=[["uidl", op.folder, rows]])


def forget_own(shard: Shard, folder: int, where: str, bindings: tuple[Any, ...]) -> None:
    """Readers' own flags and unique ids of messages that go; ``where`` is on uid."""
    for table in ("reader_flags", "uidl"):
        if shard.row(f"SELECT 1 FROM {table} WHERE folder = ? LIMIT 1", (folder,)) is not None:
            shard.execute(f"DELETE FROM {table} WHERE folder = ? AND {where}", (folder, *bindings))


def forget_folders(shard: Shard, where: str, bindings: tuple[Any, ...]) -> None:
    """All that is kept here about folders that go; ``where`` is on the table folder."""
    for table in ("acl", "metadata", "reader_flags", "reader_change", "uidl", "url_key"):
        shard.execute(f"DELETE FROM {table} WHERE folder IN (SELECT id FROM folder WHERE {where})", bindings)

