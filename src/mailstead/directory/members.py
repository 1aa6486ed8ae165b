"""Members of groups and mailing lists: look-ups, verbs, and what lists keep of them (GRP-01, LST-01).

Invariants: a member is any address; one of a list is checked for its form only, one that is given to a group leads somewhere
(see `named`); an address is a member of an object once, however it is
spelled; what is counted of bounces is bookkeeping and has no history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mailstead.directory.address import address_key, domain_key, split_address
from mailstead.directory.lookup import PAGE
from mailstead.directory.member_history import KEPT, difference, rows_of
from mailstead.directory.memberships import MEMBER_SQL, as_member
from mailstead.directory.model import AlreadyExistsError, InvalidNameError, Member, NotFoundError, Recipient, RecipientKind
from mailstead.directory.named import NamedObjects
from mailstead.directory.recipient_kinds import FAMILIES
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction

MAX_MEMBERS_PER_CALL = KEPT
"""A call changes no more than can be taken back."""
MAX_NAME = 255
_OPTIONS = ("digest", "nomail")


class MemberVerbs(NamedObjects):
    """Verbs on members; the object is named by its id."""

    def _need_recipient(self, object_id: int) -> Recipient:
        found = self.recipient(object_id)
        if found is None:
            raise NotFoundError(f"recipient {object_id} does not exist")
        return found

    # -- looking ------------------------------------------------------------------------------------------------

    def member_page(self, object_id: int, after: str = "", limit: int = 100) -> list[Member]:
        """Direct members behind the address ``after``, in the order of their addresses' compared form."""
        rows = self.database.query(
            f"{MEMBER_SQL} WHERE recipient_id = ? AND key > ? ORDER BY key LIMIT ?",
            (object_id, address_key(after) or after, max(0, min(limit, PAGE * 10))),
        )
        return [as_member(row) for row in rows]

    def member_count(self, object_id: int) -> int:
        """How many direct members there are."""
        return int(self.database.query("SELECT count(*) FROM member WHERE recipient_id = ?", (object_id,))[0][0])

    def member(self, object_id: int, address: str) -> Member | None:
        """A direct member by its address in any spelling."""
        row = self.database.query_row(f"{MEMBER_SQL} WHERE recipient_id = ? AND key = ?", (object_id, address_key(address)))
        return None if row is None else as_member(row)

    def member_by_id(self, object_id: int, member_id: int) -> Member | None:
        """A direct member by its number."""
        row = self.database.query_row(f"{MEMBER_SQL} WHERE id = ? AND recipient_id = ?", (member_id, object_id))
        return None if row is None else as_member(row)

    def wants_digest(self, object_id: int) -> bool:
        """Whether any member wants digests."""
        return bool(self.database.query("SELECT 1 FROM member WHERE recipient_id = ? AND digest = 1 LIMIT 1", (object_id,)))

    def members_in_state(self, state: str) -> Iterator[tuple[int, Member]]:
        """(list, member) of all lists' members in a state other than ""."""
        for row in self.database.query(
            "SELECT recipient_id, id, address, name, digest, nomail, score, bounced, state FROM member WHERE state = ? "
            "AND state <> '' ORDER BY id LIMIT 10000",
            (state,),
        ):
            yield int(row[0]), as_member(row[1:])

    # -- changing -----------------------------------------------------------------------------------------------

    async def add_members(self, object_id: int, members: Iterable[str] | Mapping[str, str], *, actor: Actor) -> None:
        """Add addresses (with names, where it is a mapping) to a group or list; those already there stay. Raises
        InvalidNameError, NotFoundError."""
        found = self._need_recipient(object_id)
        actor.require(FAMILIES[found.kind].members, found.domain_id)
        added = await asyncio.to_thread(checked_members, members)
        if found.kind is RecipientKind.GROUP:
            await self.need_members(added)

        def operation(transaction: Transaction) -> None:
            keys = [address_key(address) or address for address in added]
            before = rows_of(transaction, object_id, keys)
            insert_members(transaction, object_id, added)
            done = difference(before, rows_of(transaction, object_id, keys))
            transaction.record(actor.name, "recipient", object_id, "add members", None, done.new)
            done.keep(transaction)

        await self._change(operation)

    async def remove_members(self, object_id: int, members: Iterable[str], *, actor: Actor) -> int:
        """Remove addresses; those not there are passed over. Returns how many were removed."""
        found = self._need_recipient(object_id)
        actor.require(FAMILIES[found.kind].members, found.domain_id)
        keys = await asyncio.to_thread(checked_keys, members)

        def operation(transaction: Transaction) -> int:
            before = rows_of(transaction, object_id, keys)
            delete_members(transaction, object_id, keys)
            done = difference(before, {})
            transaction.record(actor.name, "recipient", object_id, "remove members", done.old)
            done.keep(transaction)
            return len(before)

        return await self._change(operation)

    async def update_member(
        self, object_id: int, address: str, *, actor: Actor, new_address: str | None = None, name: str | None = None,
        digest: bool | None = None, nomail: bool | None = None,
    ) -> None:  # fmt: skip
        """Change one member. Raises NotFoundError, AlreadyExistsError, InvalidNameError."""
        found = self._need_recipient(object_id)
        actor.require(FAMILIES[found.kind].members, found.domain_id)
        if new_address is not None and found.kind is RecipientKind.GROUP:
            await self.need_members(checked_members([new_address]))
        options = {key: value for key, value in (("digest", digest), ("nomail", nomail)) if value is not None}

        def operation(transaction: Transaction) -> None:
            now = address
            before = rows_of(transaction, object_id, [address_key(address) or address])
            if new_address is not None or name is not None:
                row = transaction.row(
                    "SELECT address, name FROM member WHERE recipient_id = ? AND key = ?", (object_id, address_key(address))
                )
                if row is None:
                    raise NotFoundError(f"{address[:80]} is not a member")
                now = new_address if new_address is not None else row[0]
                rename_member(transaction, object_id, address, now, row[1] if name is None else name)
            if options:
                set_options(transaction, object_id, now, options)
            done = difference(before, rows_of(transaction, object_id, [address_key(now) or now]))
            transaction.record(actor.name, "recipient", object_id, "update member", done.old, done.new)

        await self._change(operation)

    async def note_bounce(self, object_id: int, member_id: int, points: float, now: int, *, forget: int) -> Member | None:
        """Count a bounce (once a day: the worst of it), forgetting old ones after ``forget`` seconds. None: no such member."""

        def operation(transaction: Transaction) -> None:
            row = transaction.row("SELECT score, bounced FROM member WHERE id = ? AND recipient_id = ?", (member_id, object_id))
            if row is None:
                return
            score, last = float(row[0]), int(row[1])
            if now - last > forget:
                score = 0.0
            # Of several bounces of a day the worst counts: a burst of mail is one trouble.
            fresh = now - last >= 86_400 or not last
            whole = score + points if fresh else max(score, points)
            transaction.execute("UPDATE member SET score = ?, bounced = ? WHERE id = ?", (whole, now if fresh else last, member_id))

        await self.database.write(operation)
        return self.member_by_id(object_id, member_id)

    async def set_member_state(
        self, object_id: int, member_id: int, state: str, *, score: float | None = None, at: int | None = None
    ) -> None:
        """Note that a member was disabled, probed (``at`` that time), or is well again ("")."""

        def operation(transaction: Transaction) -> None:
            transaction.execute(
                "UPDATE member SET state = ?, score = coalesce(?, score), bounced = coalesce(?, bounced) "
                "WHERE id = ? AND recipient_id = ?",
                (state, score, at, member_id, object_id),
            )
            transaction.record("system", "recipient", object_id, "member state", None, {"member": member_id, "state": state})

        await self._change(operation)


def checked_members(members: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    """Name by address, the domain in its compared form. Raises InvalidNameError."""
    names = members if isinstance(members, Mapping) else {}
    result: dict[str, str] = {}
    for member in members:
        result[checked_member(member)] = checked_name(names.get(member, ""))
        if len(result) > MAX_MEMBERS_PER_CALL:
            raise InvalidNameError(f"at most {MAX_MEMBERS_PER_CALL} members in one call")
    return result


def checked_member(member: str) -> str:
    """A member's address with its domain in compared form. Raises InvalidNameError."""
    text = member.strip()
    parts = split_address(text)
    key = domain_key(parts[1]) if parts is not None else None
    if parts is None or key is None or any(sign <= " " or sign in "\x7f<>" for sign in text):
        raise InvalidNameError(f"{member[:80]!r} is not an address")
    return f"{parts[0]}@{key}"


def checked_name(name: str) -> str:
    """A member's name on one line."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())[:MAX_NAME]


def checked_keys(members: Iterable[str]) -> list[str]:
    """Compared forms of addresses. Raises InvalidNameError."""
    keys: dict[str, None] = {}
    for member in members:
        keys[address_key(checked_member(member)) or ""] = None
        if len(keys) > MAX_MEMBERS_PER_CALL:
            raise InvalidNameError(f"at most {MAX_MEMBERS_PER_CALL} members in one call")
    return list(keys)


def insert_members(transaction: Transaction, object_id: int, members: Mapping[str, str]) -> None:
    """Add members; those there stay as they are."""
    transaction.executemany(
        "INSERT INTO member (recipient_id, address, key, name) VALUES (?, ?, ?, ?) ON CONFLICT (recipient_id, key) DO NOTHING",
        ((object_id, address, address_key(address), name) for address, name in members.items()),
    )


def delete_members(transaction: Transaction, object_id: int, keys: Sequence[str]) -> None:
    """Remove members by their compared forms."""
    transaction.executemany("DELETE FROM member WHERE recipient_id = ? AND key = ?", ((object_id, key) for key in keys))


def rename_member(transaction: Transaction, object_id: int, address: str, new: str, name: str) -> None:
    """Give a member another address and name. Raises NotFoundError, AlreadyExistsError, InvalidNameError."""
    new = checked_member(new)
    old_key, new_key = address_key(address), address_key(new)
    if old_key != new_key and transaction.row("SELECT 1 FROM member WHERE recipient_id = ? AND key = ?", (object_id, new_key)):
        raise AlreadyExistsError(f"{new} is a member already")
    transaction.execute(
        "UPDATE member SET address = ?, key = ?, name = ? WHERE recipient_id = ? AND key = ?",
        (new, new_key, checked_name(name), object_id, old_key),
    )
    if not transaction.changed():
        raise NotFoundError(f"{address[:80]} is not a member")


def set_options(transaction: Transaction, object_id: int, address: str, options: Mapping[str, bool]) -> None:
    """Set a member's wishes. Raises NotFoundError, InvalidNameError."""
    for name, value in options.items():
        if name not in _OPTIONS:
            raise InvalidNameError(f"members have no option {name!r}")
        values: tuple[Any, ...] = (int(value), object_id, address_key(address))
        transaction.execute(f"UPDATE member SET {name} = ? WHERE recipient_id = ? AND key = ?", values)
        if not transaction.changed():
            raise NotFoundError(f"{address[:80]} is not a member")
