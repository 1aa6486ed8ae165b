"""Effects become rows: an index is the fold of what its commits did.

Invariants: effects applied in the order of their commits give the rows, uids, modseqs, flags and UIDVALIDITY that the
live index had; a message whose octets are nowhere keeps its number, so that nothing else is given it, and is named in
``missing``; counters and references are counted at the end (``finish``), from the rows.

Effects: ``["account", "create", account, uidvalidity]``, ``["account", "remove", account, at]``, ``["keyword",
account, number, name]``, ``["keywords", account, set, members]``, ``["folder", "create", id, account, name,
uidvalidity, use, kind, created]``, ``["folder", "rename", id, account, old, new]``, ``["folder", "delete", id,
account, name, at]``, ``["subscribe", account, name, on]``, ``["new", folder, modseq, first uid, mids]`` with
``[source, ranges, saved], [], account`` behind it for a copy within the index, or ``[], [[flags, date, size, saved],
...], account`` for one from elsewhere, ``["flags", folder, modseq, ranges, mode, system, keywords]``, ``["gone",
folder, modseq, ranges, at]``, ``["moved", folder, modseq, ranges]``; of sharing ``["owner", account, uidvalidity]``,
``["acl", account, folder, identifier, rights]``, ``["metadata", account, folder, reader, rows]``, ``["own", folder,
modseq, reader, [[ranges, flags], ...]]``, ``["base", folder, modseq, [[ranges, flags], ...]]``, ``["uidl", folder,
[[uid, name], ...]]``, ``["urlkey", reader, folder, key]``, ``["script", account, verb, name, value]``, ``["restored", deleted
folder or 0, [[when deleted, folder, uid], ...]]``.
"""

from __future__ import annotations

from typing import Any, Protocol

from mailstead.message.index import index_message
from mailstead.store.accounts import create_account, default_folder_id, ensure_account
from mailstead.store.apply_changes import FLAGS, GONE, Refused, record_change, uid_condition
from mailstead.store.apply_delivery import Delivery, StoredMessage, wide_row
from mailstead.store.apply_folders import delete_folder, remove_account, rename_folder, subscribe
from mailstead.store.apply_scripts import change_scripts
from mailstead.store.apply_sharing import (
    create_owner,
    forget_own,
    set_acl,
    set_base,
    set_metadata,
    set_own,
    set_unique_ids,
    set_url_key,
)
from mailstead.store.apply_undelete import forget_deleted
from mailstead.store.counters import leave_no_leaks, recount
from mailstead.store.ids import id_time
from mailstead.store.keywords import FlagChange, KeywordLimit, keyword_flags
from mailstead.store.operations import (
    ChangeScripts,
    CreateOwner,
    DeleteFolder,
    RemoveAccount,
    RenameFolder,
    SetAcl,
    SetMetadata,
    SetUniqueIds,
    SetUrlKey,
    Subscribe,
    from_ranges,
)
from mailstead.store.record import Record, Target
from mailstead.store.segment import external_file_id
from mailstead.store.shard import Shard
from mailstead.store.thread_ids import thread_of, thread_of_copy


class Bodies(Protocol):
    """Where a fold finds messages by their id."""

    def message(self, mid: int) -> tuple[Record, int, list[Target], bytes] | None:
        """The record that holds ``mid``, its file id, its targets of this index, and its octets without overlays."""

    def exists(self, file: int) -> bool:
        """Whether a log file is there."""

    def copied(self, mid: int) -> list[Any] | None:
        """The wide row that a copy from another index brought."""


def _stored(record: Record, file: int, octets: bytes) -> StoredMessage:
    head = record.head
    return StoredMessage(
        record.seq, record.id, file, record.body_offset, record.body_size, head.external, head.external_size,
        head.sender, head.received, index_message(octets),
    )  # fmt: skip


class Fold:
    """``apply`` inside an open transaction of ``shard``."""

    def __init__(self, shard: Shard, bodies: Bodies) -> None:
        self._shard = shard
        self._bodies = bodies
        self._used: dict[int, list[int]] = {}
        self.missing: set[int] = set()

    def apply(self, effects: list[Any]) -> None:
        for effect in effects:
            match effect[0]:
                case "new":
                    self._new(*effect[1:])
                case "flags":
                    self._flags(*effect[1:])
                case "gone":
                    self._remove(effect[1], effect[2], effect[3], effect[4])
                case "moved":
                    self._remove(effect[1], effect[2], effect[3], None)
                case "keywords":
                    self._shard.execute("INSERT OR IGNORE INTO keyword_set VALUES(?, ?, ?)", tuple(effect[1:4]))
                case "keyword":
                    self._shard.execute("INSERT OR IGNORE INTO keyword VALUES(?, ?, ?)", tuple(effect[1:4]))
                case "account" | "folder" | "subscribe" | "owner" | "acl" | "metadata" | "urlkey" | "script":
                    self._structure(effect)
                case "restored":
                    forget_deleted(self._shard, effect[1], effect[2])
                case "uidl":
                    set_unique_ids(self._shard, SetUniqueIds(self._shard.number, effect[1], effect[2]))
                case "own":
                    set_own(self._shard, *effect[1:])
                    self._raise(effect[1], effect[2])
                case "base":
                    set_base(self._shard, *effect[1:])
                    self._raise(effect[1], effect[2])
                case _:
                    pass  # of the queue, or an epoch: the caller sees to it

    def finish(self) -> dict[int, list[tuple[int, int]]]:
        """Count everything; messages without octets go. Returns those: mid to [(folder, uid)]."""
        shard = self._shard
        lost: dict[int, list[tuple[int, int]]] = {}
        shard.execute("DELETE FROM expunged WHERE mid NOT IN (SELECT mid FROM wide)")
        self._forget_purged()
        for folder, uid, mid in list(shard.execute("SELECT folder, uid, mid FROM message WHERE mid NOT IN (SELECT mid FROM wide)")):
            lost.setdefault(mid, []).append((folder, uid))
            shard.execute("DELETE FROM message WHERE folder = ? AND uid = ?", (folder, uid))
        leave_no_leaks(shard)
        recount(shard)
        return lost

    def _forget_purged(self) -> None:
        """Deleted messages that were forgotten since, and whose files compaction has removed."""
        rows = list(
            self._shard.execute(
                "SELECT DISTINCT e.mid, w.file, w.external FROM expunged e JOIN wide w ON w.mid = e.mid "
                "WHERE e.mid NOT IN (SELECT mid FROM message)"
            )
        )
        files = {int(row[1]) for row in rows} | {external_file_id(int(row[2])) for row in rows if row[2]}
        there = {file for file in files if self._bodies.exists(file)}
        for mid, file, external in rows:
            if file not in there or (external and external_file_id(external) not in there):
                self._shard.execute("DELETE FROM expunged WHERE mid = ?", (mid,))

    def _structure(self, effect: list[Any]) -> None:
        shard = self._shard
        try:
            match effect:
                case ["account", "create", account, validity]:
                    if shard.row("SELECT 1 FROM account WHERE id = ?", (account,)) is None:
                        create_account(shard, account, validity)
                case ["account", "remove", account, at]:
                    remove_account(shard, RemoveAccount(shard.number, account, at))
                case ["folder", "create", id, account, name, validity, use, kind, created]:
                    shard.execute(
                        "INSERT OR IGNORE INTO folder VALUES(?, ?, ?, ?, 0, ?, ?, 1, 1, 0, 0, 0, 0, ?)",
                        (id, account, name, use, kind, validity, created),
                    )
                    shard.execute("UPDATE account SET uidvalidity = max(uidvalidity, ?) WHERE id = ?", (validity, account))
                case ["folder", "rename", _, account, old, new]:
                    rename_folder(shard, RenameFolder(shard.number, account, old, new, 0, 0))
                case ["folder", "delete", _, account, name, at]:
                    delete_folder(shard, DeleteFolder(shard.number, account, name, at))
                case ["subscribe", account, name, on]:
                    subscribe(shard, Subscribe(shard.number, account, name, on), 0)
                case ["script", account, verb, name, value]:
                    change_scripts(shard, ChangeScripts(shard.number, account, verb, name, value), 0)
                case ["owner", account, validity]:
                    create_owner(shard, CreateOwner(shard.number, account, validity))
                case ["acl", account, folder, identifier, rights]:
                    set_acl(shard, SetAcl(shard.number, account, folder, identifier, rights))
                case ["metadata", account, folder, reader, rows]:
                    set_metadata(shard, SetMetadata(shard.number, account, folder, reader, rows), 0)
                case ["urlkey", reader, folder, key]:
                    set_url_key(shard, SetUrlKey(shard.number, reader, folder, key))
        except Refused:
            pass  # the effects that made what this one needs are lost with a part of the log

    def _account_of(self, folder: int) -> int:
        row = self._shard.row("SELECT account FROM folder WHERE id = ?", (folder,))
        return int(row[0]) if row else 0

    def _home(self, folder: int, account: int, id: int) -> None:
        """A folder whose making is lost with a part of the log."""
        shard = self._shard
        ensure_account(shard, account, id)
        if folder not in {default_folder_id(account, 0), shard.inboxes.get(account)}:
            validity = int(id_time(id))
            shard.execute(
                "INSERT OR IGNORE INTO folder VALUES(?, ?, ?, NULL, 1, 'mail', ?, 1, 1, 0, 0, 0, 0, ?)",
                (folder, account, f"Recovered {folder:x}", validity, validity),
            )

    def _new(
        self,
        folder: int,
        modseq: int,
        first: int,
        mids: list[int],
        source: list[Any] | None = None,
        values: list[Any] | None = None,
        account: int = 0,
    ) -> None:
        shard = self._shard
        if account and not self._account_of(folder):
            self._home(folder, account, mids[0])
        if values:
            rows = [self._brought(account, mid, *value) for mid, value in zip(mids, values, strict=True)]
        elif source:
            rows = self._copied(folder, mids, *source)
        else:
            rows = [self._delivered(folder, mid) for mid in mids]
        shard.executemany(
            "INSERT OR REPLACE INTO message VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(folder, uid, modseq, *row) for uid, row in enumerate(rows, first)],
        )
        self._raise(folder, modseq, first + len(mids))

    def _raise(self, folder: int, modseq: int, uidnext: int = 0) -> None:
        self._shard.execute(
            "UPDATE folder SET uidnext = max(uidnext, ?), modseq = max(modseq, ?) WHERE id = ?", (uidnext, modseq, folder)
        )

    def _delivered(self, folder: int, mid: int) -> tuple[int, ...]:
        """Flags, mid, size, date, saved and thread of a delivered message."""
        shard = self._shard
        found = self._bodies.message(mid)
        if found is None:
            self.missing.add(mid)
            return 0, mid, 0, 0, 0, mid
        source, file, targets, octets = found
        account = self._account_of(folder)
        target = self._target(folder, account, mid, targets)
        if not account:
            self._home(folder, target.account, source.id)
            account = target.account
        record = _stored(source, file, target.overlay + octets)
        bits = target.flags
        if target.keywords:
            try:
                bits |= keyword_flags(shard, account, target.keywords)
            except KeywordLimit:
                pass  # as when it was delivered
        delivery = Delivery(record, target)
        delivery.mid = mid
        self._widen(wide_row(delivery))
        thread = thread_of(shard, account, mid, record.index)
        return bits, mid, delivery.size, target.date or record.received, record.received, thread

    def _target(self, folder: int, account: int, mid: int, targets: list[Target]) -> Target:
        """The target that brought ``mid`` to ``folder``: by folder, else the next one of that account."""
        used = self._used.setdefault(mid, [])
        left = [(number, target) for number, target in enumerate(targets) if number not in used] or list(enumerate(targets))
        for fits in (
            lambda target: target.account == account and target.folder == folder,
            lambda target: target.account == account,
            lambda target: True,
        ):
            for number, target in left:
                if fits(target):
                    used.append(number)
                    return target
        raise AssertionError("a message without targets")

    def _copied(self, folder: int, mids: list[int], source: int, ranges: list[int], saved: int) -> list[tuple[int, ...]]:
        """The same for a copy within the index."""
        where, bindings = uid_condition(ranges)
        found = {
            int(row[0]): row[1:]
            for row in self._shard.execute(
                f"SELECT uid, flags, mid, size, date, ?, thread FROM message WHERE folder = ? AND {where}",
                (saved, source, *bindings),
            )
        }
        rows: list[tuple[int, ...]] = []
        for uid, mid in zip(from_ranges(ranges), mids, strict=True):
            row = found.get(uid)
            rows.append(row if row is not None else self._delivered(folder, mid))
        return rows

    def _brought(self, account: int, mid: int, bits: int, date: int, size: int, saved: int) -> tuple[int, ...]:
        """The same for a copy from another index or account."""
        wide = self._bodies.copied(mid)
        if wide is not None:
            self._widen(tuple(wide))
        elif self._shard.row("SELECT 1 FROM wide WHERE mid = ?", (mid,)) is None:
            found = self._bodies.message(mid)
            if found is None:
                self.missing.add(mid)
            else:
                source, file, targets, octets = found
                delivery = Delivery(_stored(source, file, targets[0].overlay + octets), targets[0])
                delivery.mid = mid
                self._widen(wide_row(delivery))
        row = self._shard.row("SELECT message_id FROM wide WHERE mid = ?", (mid,))
        thread = thread_of_copy(self._shard, account, mid, str(row[0])) if row else mid
        return bits, mid, size, date, saved, thread

    def _widen(self, row: tuple[Any, ...]) -> None:
        self._shard.execute(f"INSERT OR IGNORE INTO wide VALUES({', '.join('?' * 20)})", row)

    def _flags(self, folder: int, modseq: int, ranges: list[int], mode: str, system: int, keywords: list[str]) -> None:
        shard = self._shard
        try:
            bits = FlagChange(shard, self._account_of(folder), mode, system, keywords).bits
        except KeywordLimit:
            bits = system
        value = {"add": "flags | ?", "remove": "flags & ~?"}.get(mode, "?")
        where, bindings = uid_condition(ranges)
        shard.execute(
            f"UPDATE message SET flags = {value}, modseq = ? WHERE folder = ? AND {where}", (bits, modseq, folder, *bindings)
        )
        record_change(shard, folder, modseq, FLAGS, from_ranges(ranges))
        self._raise(folder, modseq)

    def _remove(self, folder: int, modseq: int, ranges: list[int], at: int | None) -> None:
        shard = self._shard
        where, bindings = uid_condition(ranges)
        if at is not None:
            shard.execute(
                "INSERT OR IGNORE INTO expunged SELECT ?, folder, uid, ?, flags, mid, size, date, thread FROM message "
                f"WHERE folder = ? AND {where}",
                (at, self._account_of(folder), folder, *bindings),
            )
        shard.execute(f"DELETE FROM message WHERE folder = ? AND {where}", (folder, *bindings))
        forget_own(shard, folder, where, bindings)
        record_change(shard, folder, modseq, GONE, from_ranges(ranges))
        self._raise(folder, modseq)
