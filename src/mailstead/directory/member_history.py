"""What the history tells of members of groups and lists, and the edit that takes it back (GRP-01, LST-01).

Invariants: told is what a change did, not what was asked for (who was a member already was not added); an entry names at most
MOST members, and has their number where there were more; what is counted of bounces is not in it. What an entry leaves out is in
rows of its own, of at most KEPT members before and as many after: of a greater change there are none, and it is not taken back.
Nor is one whose rows are too many with those of newer changes (`settings.history.purge_history`).

An entry has the members that went or were other before in its old value, those that came or are other now in its new one. The
same number on both sides is one member who was changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.directory.address import address_key
from mailstead.directory.model import RecipientEdit
from mailstead.settings.database import Query, Transaction
from mailstead.settings.history import HistoryEntry

MOST = 100
"""Members that an entry names at most."""
KEPT = 10_000
"""Members before, and as many after, of a change that can be taken back."""
MEMBERS = "members"
COUNT = "members in all"
"""How many there were, where an entry does not name them all."""
CUT = "more"
"""What entries of earlier releases had in its place."""
_SQL = "SELECT id, address, name, digest, nomail FROM member WHERE recipient_id = ?"
_KEPT_SQL = "SELECT member_id, address, name, digest, nomail FROM history_member WHERE seq = ? AND side = ? ORDER BY member_id"
_AT_ONCE = 500
_BEFORE, _AFTER = 0, 1

Row = tuple[int, str, str, bool, bool]
"""Number, address, name, whether it wants digests, whether it wants no mail."""
Told = dict[str, Any]


def rows_of(transaction: Transaction, object_id: int, keys: Iterable[str] | None) -> dict[int, Row]:
    """The members with these compared forms, by number; with None as many as show that all are too many to be kept."""
    if keys is None:
        return _by_number(transaction.execute(f"{_SQL} ORDER BY id LIMIT ?", (object_id, KEPT + 1)))
    found: dict[int, Row] = {}
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(part))
        found |= _by_number(transaction.execute(f"{_SQL} AND key IN ({marks})", (object_id, *part)))
    return found


def _by_number(rows: Iterable[Sequence[Any]]) -> dict[int, Row]:
    return {row[0]: _row(row) for row in rows}


def _row(row: Sequence[Any]) -> Row:
    return row[0], row[1], row[2], bool(row[3]), bool(row[4])


def keys_in(edit: RecipientEdit) -> list[str] | None:
    """Compared forms of all members that an edit may concern; None for every member."""
    if edit.clear_members:
        return None
    renamed = [address for old, (new, _) in edit.members_renamed.items() for address in (old, new)]
    concerned = (*edit.members_added, *edit.members_removed, *renamed, *edit.members_options)
    return [address_key(address) or address for address in concerned]


@dataclass(frozen=True, slots=True)
class Difference:
    """What a change did to members: those that went, or were other before, and those that came, or are other now; and how many
    of either there were, if not all are here."""

    went: Sequence[Row]
    came: Sequence[Row]
    went_count: int
    came_count: int

    @property
    def old(self) -> Told:
        """What the old value of an entry has of members."""
        return _cut(self.went, self.went_count)

    @property
    def new(self) -> Told:
        """What the new value of an entry has of members."""
        return _cut(self.came, self.came_count)

    def keep(self, transaction: Transaction) -> None:
        """Write what the newest entry leaves out, as far as it is kept."""
        if max(self.went_count, self.came_count) <= MOST or max(self.went_count, self.came_count) > KEPT:
            return
        seq = transaction.value("SELECT max(seq) FROM history")
        transaction.executemany(
            "INSERT INTO history_member (seq, side, member_id, address, name, digest, nomail) VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((seq, side, *row) for side, rows in ((_BEFORE, self.went), (_AFTER, self.came)) for row in rows),
        )


def difference(before: Mapping[int, Row], after: Mapping[int, Row], *, all_before: int = 0) -> Difference:
    """What was done to members; ``all_before``: how many there were, where that is more than ``before`` has."""
    went = [row for number, row in before.items() if after.get(number) != row]
    came = [row for number, row in after.items() if before.get(number) != row]
    return Difference(went, came, len(went) + max(0, all_before - len(before)), len(came))


def _told(row: Row) -> Told:
    number, address, name, digest, nomail = row
    told: Told = {"id": number, "address": address}
    if name:
        told["name"] = name
    if digest:
        told["digest"] = True
    if nomail:
        told["nomail"] = True
    return told


def _cut(rows: Sequence[Row], count: int) -> Told:
    if not count:
        return {}
    return {MEMBERS: [_told(row) for row in rows[:MOST]], **({COUNT: count} if count > MOST else {})}


# -- back --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Members:
    """All members that an entry is about, before and after."""

    before: Sequence[Told]
    after: Sequence[Told]

    @property
    def keys(self) -> set[str]:
        """Their compared forms."""
        addresses = {str(one["address"]) for one in (*self.before, *self.after)}
        return {address_key(address) or address for address in addresses}


def members_of(query: Query, entry: HistoryEntry) -> Members | None:
    """All members that an entry is about, with what is to be known of them; None where they are not known."""
    old, new = entry.old or {}, entry.new or {}
    if old.get(CUT) or new.get(CUT) or how_many(entry) > KEPT:
        return None
    sides = (old.get(MEMBERS, ()), new.get(MEMBERS, ()))
    if COUNT in old or COUNT in new:
        before, after = ([_told(_row(row)) for row in query(_KEPT_SQL, (entry.seq, side))] for side in (_BEFORE, _AFTER))
        whole = (len(before), len(after)) == (old.get(COUNT, len(sides[0])), new.get(COUNT, len(sides[1])))
        return Members(before, after) if whole else None
    if not all(isinstance(one, dict) and "id" in one for side in sides for one in side):
        return None  # of an earlier release
    return Members(*sides)


def how_many(entry: HistoryEntry) -> int:
    """The members before or after, whichever are more, where an entry has their number; else 0."""
    return max(int((told or {}).get(COUNT, 0)) for told in (entry.old, entry.new))


def opposite(members: Members) -> RecipientEdit:
    """The edit that takes back what was done to members."""
    before = {one["id"]: one for one in members.before}
    after = {one["id"]: one for one in members.after}
    renamed: dict[str, tuple[str, str]] = {}
    options: dict[str, dict[str, bool]] = {}
    for number, one in before.items():
        now = after.get(number)
        if now is None:
            wishes = {name: True for name in ("digest", "nomail") if one.get(name)}
        else:
            wishes = {name: bool(one.get(name)) for name in ("digest", "nomail") if one.get(name) != now.get(name)}
            if (one["address"], one.get("name")) != (now["address"], now.get("name")):
                renamed[now["address"]] = (one["address"], one.get("name", ""))
        if wishes:
            options[one["address"]] = wishes
    return RecipientEdit(
        members_added={one["address"]: one.get("name", "") for number, one in before.items() if number not in after},
        members_removed=[one["address"] for number, one in after.items() if number not in before],
        members_renamed=renamed,
        members_options=options,
    )
