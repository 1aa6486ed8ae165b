"""What the history tells of members of groups and lists, and the edit that takes it back (GRP-01, LST-01).

Invariants: told is what a change did, not what was asked for (who was a member already was not added); an entry names at most
MOST members, and says so where there were more; what is counted of bounces is not in it.

An entry has the members that went or were other before in its old value, those that came or are other now in its new one. The
same number on both sides is one member who was changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mailstead.directory.address import address_key
from mailstead.directory.model import RecipientEdit
from mailstead.settings.database import Transaction

MOST = 100
"""Members that an entry names at most."""
MEMBERS = "members"
MORE = "more"
_SQL = "SELECT id, address, name, digest, nomail FROM member WHERE recipient_id = ?"
_AT_ONCE = 500

Row = tuple[int, str, str, bool, bool]
"""Number, address, name, whether it wants digests, whether it wants no mail."""
Told = dict[str, Any]


def rows_of(transaction: Transaction, object_id: int, keys: Iterable[str] | None) -> dict[int, Row]:
    """The members with these compared forms, by number; with None as many as show that all are too many to be named."""
    if keys is None:
        return _by_number(transaction.execute(f"{_SQL} ORDER BY id LIMIT ?", (object_id, MOST + 1)))
    found: dict[int, Row] = {}
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(part))
        found |= _by_number(transaction.execute(f"{_SQL} AND key IN ({marks})", (object_id, *part)))
    return found


def _by_number(rows: Iterable[Sequence[Any]]) -> dict[int, Row]:
    return {row[0]: (row[0], row[1], row[2], bool(row[3]), bool(row[4])) for row in rows}


def keys_in(edit: RecipientEdit) -> list[str] | None:
    """Compared forms of all members that an edit may concern; None for every member."""
    if edit.clear_members:
        return None
    renamed = [address for old, (new, _) in edit.members_renamed.items() for address in (old, new)]
    concerned = (*edit.members_added, *edit.members_removed, *renamed, *edit.members_options)
    return [address_key(address) or address for address in concerned]


def difference(before: Mapping[int, Row], after: Mapping[int, Row]) -> tuple[Told, Told]:
    """What the old and the new value of an entry have of members."""
    went = [_told(row) for number, row in before.items() if after.get(number) != row]
    came = [_told(row) for number, row in after.items() if before.get(number) != row]
    return _cut(went), _cut(came)


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


def _cut(told: list[Told]) -> Told:
    if not told:
        return {}
    return {MEMBERS: told[:MOST], **({MORE: True} if len(told) > MOST else {})}


# -- back --------------------------------------------------------------------------------------------------------


def is_whole(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether an entry names all members that it is about, with what is to be known of them."""
    named = [*old.get(MEMBERS, ()), *new.get(MEMBERS, ())]
    return not old.get(MORE) and not new.get(MORE) and all(isinstance(one, dict) and "id" in one for one in named)


def keys_told(told: Mapping[str, Any]) -> set[str]:
    """Compared forms of the members that the old or the new value of an entry names."""
    addresses = (str(one.get("address", "")) if isinstance(one, dict) else str(one) for one in told.get(MEMBERS, ()))
    return {address_key(address) or address for address in addresses}


def opposite(old: Mapping[str, Any], new: Mapping[str, Any]) -> RecipientEdit:
    """The edit that takes back what an entry tells of members; see `is_whole`."""
    before = {one["id"]: one for one in old.get(MEMBERS, ())}
    after = {one["id"]: one for one in new.get(MEMBERS, ())}
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
