"""Message records become rows.

Invariants: the rows of one transaction carry the applied mark that covers their records, so after a crash a record
is either in the index or will be replayed, never both; quotas are checked against the exact use inside the
transaction; a target that is refused leaves no row.

One UPDATE per folder gives the UIDs of all its messages in the batch, in record order.
"""

from __future__ import annotations

from typing import Any

from mailstead.message.index import MessageIndex
from mailstead.store.accounts import ensure_account
from mailstead.store.apply_changes import expunge, remove_idle_entry, remove_replaced
from mailstead.store.keywords import KeywordLimit, keyword_flags
from mailstead.store.operations import Expunge
from mailstead.store.record import Target, TargetKind, decode_ranges
from mailstead.store.search_jobs import note_new
from mailstead.store.shard import Shard
from mailstead.store.thread_ids import thread_of

OK, OVER_QUOTA, FOLDER_GONE, KEYWORDS, REPLACED_GONE = 0, 1, 2, 3, 4
EXPANDING = 3
"""State of a queue recipient that is a list or group to be expanded; those of others are in apply_folders.py."""

Room = dict[int, list[int]]
"""Octets and messages of folders with a quota of their own, with what the batch brings."""

_INSERT_MESSAGE = "INSERT INTO message VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_WIDE = "INSERT OR IGNORE INTO wide VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FOLDER = (
    "UPDATE folder SET uidnext = uidnext + ?2, modseq = modseq + 1, messages = messages + ?2, unseen = unseen + ?3, "
    "deleted = deleted + ?4, size = size + ?5 WHERE id = ?1 RETURNING uidnext, modseq, uidvalidity"
)


class Delivery:
    """One target of one message record on its way into an index."""

    __slots__ = ("folder", "index", "mid", "outcome", "record", "size", "target", "uid", "uidvalidity")

    def __init__(self, record: StoredMessage, target: Target) -> None:
        self.record = record
        self.target = target
        self.mid = target.mid or record.id
        self.size = record.size + len(target.overlay)
        self.outcome = OK
        self.folder = 0
        self.uid = 0
        self.uidvalidity = 0


class StoredMessage:
    """A message record that is durable: where its body lies, and its index (of overlay and body)."""

    __slots__ = (
        "external",
        "external_size",
        "file",
        "group",
        "id",
        "index",
        "length",
        "offset",
        "received",
        "sender",
        "seq",
        "size",
    )

    def __init__(
        self,
        seq: int,
        id: int,
        file: int,
        offset: int,
        length: int,
        external: int,
        external_size: int,
        sender: str,
        received: int,
        index: MessageIndex,
        group: int = 0,
    ) -> None:
        self.group = group
        self.seq = seq
        self.id = id
        self.file = file
        self.offset = offset
        self.length = length
        self.external = external
        self.external_size = external_size
        self.size = length + external_size
        self.sender = sender
        self.received = received
        self.index = index

    def with_index(self, index: MessageIndex) -> StoredMessage:
        """The message as a recipient with header lines of its own sees it: ``index`` is of those and the body."""
        return StoredMessage(
            self.seq, self.id, self.file, self.offset, self.length, self.external, self.external_size, self.sender, self.received,
            index,
        )  # fmt: skip


def wide_row(delivery: Delivery) -> tuple[Any, ...]:
    record, index = delivery.record, delivery.record.index
    return (
        delivery.mid,
        record.file,
        record.offset,
        record.length,
        delivery.target.overlay or None,
        record.external,
        record.external_size,
        index.header_size,
        index.sent,
        index.message_id,
        index.subject_base,
        index.sort_from,
        index.sort_to,
        index.sort_cc,
        index.preview,
        index.parts,
        index.body,
        index.bodystructure,
        index.envelope,
        index.fields,
    )


def _admit(
    shard: Shard, delivery: Delivery, use: dict[int, list[int]], replaced: set[tuple[int, int]], room: Room,
    folders: dict[int, list[Delivery]],
) -> bool:  # fmt: skip
    """Resolve the folder and check the quota; sets ``outcome`` and says whether rows are to be written."""
    target = delivery.target
    account = target.account
    inbox = ensure_account(shard, account, delivery.record.id)
    if target.folder and target.folder != inbox:
        if shard.row("SELECT 1 FROM folder WHERE id = ? AND account = ?", (target.folder, account)) is None:
            delivery.outcome = FOLDER_GONE
            return False
        delivery.folder = target.folder
    elif not inbox:  # public folders have none
        delivery.outcome = FOLDER_GONE
        return False
    else:
        delivery.folder = inbox
    freed = _replaced(shard, target, replaced)
    if freed is None:
        delivery.outcome = REPLACED_GONE
        return False
    have = use.get(account)
    if have is None:
        row = shard.row("SELECT size, messages FROM account WHERE id = ?", (account,))
        if row is None:
            shard.inboxes.pop(account, None)
            delivery.folder = ensure_account(shard, account, delivery.record.id)
            row = (0, 0)
        have = use[account] = [int(row[0]), int(row[1]), 0, 0]
    if (target.quota_size and have[0] + have[2] + delivery.size - freed[0] > target.quota_size) or (
        target.quota_messages and have[1] + have[3] + 1 - freed[1] > target.quota_messages
    ):
        delivery.outcome = OVER_QUOTA
        return False
    if (target.folder_size or target.folder_messages) and not _fits(shard, delivery, room, folders, freed):
        delivery.outcome = OVER_QUOTA
        return False
    if room and (held := room.get(delivery.folder)) is not None:
        held[0] += delivery.size
        held[1] += 1
    have[2] += delivery.size
    have[3] += 1
    if target.replaces_uid:
        replaced.add((target.replaces_folder, target.replaces_uid))
    return True


def _fits(
    shard: Shard, delivery: Delivery, room: Room, folders: dict[int, list[Delivery]], freed: tuple[int, int]
) -> bool:
    """Whether the folder's own quota allows the message beside what it holds and what this batch brings (QTA-01)."""
    target, folder = delivery.target, delivery.folder
    held = room.get(folder)
    if held is None:
        row = shard.row("SELECT size, messages FROM folder WHERE id = ?", (folder,)) or (0, 0)
        coming = folders.get(folder, ())
        held = room[folder] = [int(row[0]) + sum(one.size for one in coming), int(row[1]) + len(coming)]
    size, messages = freed if target.replaces_folder == folder else (0, 0)
    return not (
        (target.folder_size and held[0] + delivery.size - size > target.folder_size)
        or (target.folder_messages and held[1] + 1 - messages > target.folder_messages)
    )


def _replaced(shard: Shard, target: Target, replaced: set[tuple[int, int]]) -> tuple[int, int] | None:
    """Octets and messages that the target's account gets back by the replacement; None where the message is gone."""
    if not target.replaces_uid:
        return 0, 0
    row = shard.row(
        "SELECT m.size, f.account FROM message m JOIN folder f ON f.id = m.folder WHERE m.folder = ? AND m.uid = ?",
        (target.replaces_folder, target.replaces_uid),
    )
    if row is None or (target.replaces_folder, target.replaces_uid) in replaced:
        return None
    return (int(row[0]), 1) if row[1] == target.account else (0, 0)


def _refuse_groups(
    deliveries: list[Delivery], folders: dict[int, list[Delivery]], references: dict[int, int], use: dict[int, list[int]]
) -> None:
    """A group of which one member is refused is refused whole."""
    refused = {d.record.group: d.outcome for d in deliveries if d.outcome and d.record.group}
    for delivery in deliveries if refused else ():
        outcome = refused.get(delivery.record.group)
        if outcome and not delivery.outcome:
            delivery.outcome = outcome
            folders[delivery.folder].remove(delivery)
            if not folders[delivery.folder]:
                del folders[delivery.folder]
            references.pop(delivery.mid, None)
            use[delivery.target.account][2] -= delivery.size
            use[delivery.target.account][3] -= 1


def apply_deliveries(shard: Shard, deliveries: list[Delivery]) -> list[Any]:
    """Write the rows of FOLDER targets of one shard, inside its open transaction; returns the effects.

    An effect is ``["new", folder, modseq, first uid, [mid, ...]]``; flags, dates and sizes are in the message records. What
    a message replaces, and what a REMOVAL names, goes with ``["gone", ...]`` behind it.
    """
    use: dict[int, list[int]] = {}
    folders: dict[int, list[Delivery]] = {}
    chosen: dict[int, int] = {}
    references: dict[int, int] = {}
    replaced: set[tuple[int, int]] = set()
    room: Room = {}
    for delivery in deliveries:
        target = delivery.target
        if target.kind != TargetKind.FOLDER or not _admit(shard, delivery, use, replaced, room, folders):
            continue
        bits = target.flags
        if target.keywords:
            try:
                bits |= keyword_flags(shard, target.account, target.keywords)
            except KeywordLimit:
                pass  # a message is worth more than its keyword
        chosen[id(delivery)] = bits
        folders.setdefault(delivery.folder, []).append(delivery)
        references[delivery.mid] = references.get(delivery.mid, 0) + 1
    _refuse_groups(deliveries, folders, references, use)
    effects: list[Any] = []
    small: list[tuple[int, ...]] = []
    wide: list[tuple[Any, ...]] = []
    for folder, group in folders.items():
        flags = [chosen[id(delivery)] for delivery in group]
        unseen = sum(1 for flag in flags if not flag & 1)
        deleted = sum(1 for flag in flags if flag & 8)
        size = sum(delivery.size for delivery in group)
        row = shard.row(_FOLDER, (folder, len(group), unseen, deleted, size))
        assert row is not None
        uidnext, modseq, validity = row
        uid = uidnext - len(group)
        effects.append(["new", folder, modseq, uid, [delivery.mid for delivery in group]])
        for delivery, flag in zip(group, flags, strict=True):
            target, record = delivery.target, delivery.record
            delivery.uid, delivery.uidvalidity = uid, validity
            thread = thread_of(shard, target.account, delivery.mid, record.index)
            small.append(
                (
                    folder,
                    uid,
                    modseq,
                    flag,
                    delivery.mid,
                    delivery.size,
                    target.date or record.received,
                    record.received,
                    thread,
                )
            )
            uid += 1
    seen: set[int] = set()
    for group in folders.values():
        for delivery in group:
            if delivery.mid not in seen:
                seen.add(delivery.mid)
                wide.append(wide_row(delivery))
    shard.executemany(_INSERT_MESSAGE, small)
    shard.executemany(_INSERT_WIDE, wide)
    note_new(shard, {(delivery.target.account, delivery.mid): None for group in folders.values() for delivery in group})
    shared = [(mid, count) for mid, count in references.items() if count > 1]
    if shared:
        shard.executemany(
            "INSERT INTO copies VALUES(?, ?) "
            "ON CONFLICT DO UPDATE SET references_left = references_left + excluded.references_left",
            shared,
        )
    shard.executemany(
        "UPDATE account SET size = size + ?, messages = messages + ? WHERE id = ?",
        [(have[2], have[3], account) for account, have in use.items() if have[3]],
    )
    for delivery in deliveries if replaced else ():
        if delivery.target.replaces_uid and delivery.outcome == OK:
            effects += remove_replaced(shard, delivery.target, delivery.record.received)
    for delivery in deliveries:
        if delivery.target.kind == TargetKind.REMOVAL:
            effects += _removed(shard, delivery)
    return effects


def _removed(shard: Shard, delivery: Delivery) -> list[Any]:
    """The messages that a REMOVAL names go; they stay restorable. Where none is left the outcome says so."""
    target = delivery.target
    if shard.row("SELECT 1 FROM folder WHERE id = ? AND account = ?", (target.folder, target.account)) is None:
        delivery.outcome = FOLDER_GONE
        return []
    found = expunge(shard, Expunge(target.shard, target.folder, decode_ranges(target.detail), True, target.date))
    if not found.uids:
        delivery.outcome = REPLACED_GONE
    return found.effects


def apply_queue(shard: Shard, deliveries: list[Delivery]) -> list[Any]:
    """Write the rows of QUEUE targets: an entry per message, a recipient per target, due at once.

    ``recipient`` of the target is the address; ``detail`` holds what the queue keeps of it (opaque here). An expansion lies
    there too, in a state of its own; its progress is written with the targets it gave, so that each is given once.
    """
    entries: list[tuple[Any, ...]] = []
    rows: list[tuple[Any, ...]] = []
    numbers: dict[int, int] = {}
    progress: list[Target] = []
    for delivery in deliveries:
        record, target = delivery.record, delivery.target
        if target.kind == TargetKind.EXPANSION and target.account:
            progress.append(target)
            continue
        number = numbers.get(delivery.mid, -1) + 1
        numbers[delivery.mid] = number
        if number == 0:
            entries.append(
                (
                    delivery.mid,
                    record.file,
                    record.offset,
                    record.length,
                    target.overlay or None,
                    record.external,
                    record.external_size,
                    record.sender,
                    record.received,
                    delivery.size,
                    b"",
                )
            )
        route = target.recipient.rpartition("@")[2].lower()
        state = EXPANDING if target.kind == TargetKind.EXPANSION else 0
        rows.append((delivery.mid, number, target.recipient, route, target.date, 0, state, 0, 0, 0, "", target.detail))
    shard.executemany("INSERT OR IGNORE INTO entry VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", entries)
    shard.executemany("INSERT OR IGNORE INTO recipient VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    for target in progress:
        _progress(shard, target)
    return [
        *(["queued", mid, count + 1] for mid, count in numbers.items()),
        *(["expanded", target.account, target.folder] for target in progress),
    ]


def _progress(shard: Shard, target: Target) -> None:
    """An expansion has come further, or to its end."""
    key = (target.account, target.folder)
    if target.detail:
        shard.execute("UPDATE recipient SET detail = ?, attempts = 0 WHERE mid = ? AND number = ?", (target.detail, *key))
        return
    shard.execute("DELETE FROM recipient WHERE mid = ? AND number = ?", key)
    remove_idle_entry(shard, target.account)
