"""Who belongs to which group and list, found from the member up (GRP-01, LST-01, SMI-13).

Invariants: a question about one address costs what its own memberships cost, not what the group's size is; groups within
groups are followed so far as `MAX_NESTING`; disabled groups lead nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mailstead.directory.address import address_key, local_key, split_address
from mailstead.directory.lookup import PAGE, Lookup
from mailstead.directory.model import Account, Member, Recipient, RecipientKind

MAX_NESTING = 10
"""Groups within groups are followed so far."""
_AT_ONCE = 500
MEMBER_SQL = "SELECT id, address, name, digest, nomail, score, bounced, state FROM member"
_WIDE = ("domain", "server", "cluster")


class Memberships(Lookup):
    """Look-ups; base of `Resolver`."""

    def memberships(
        self, address: str, *, no_groups: bool = False, no_lists: bool = False, same_domain: bool = False, direct: bool = False
    ) -> list[Recipient]:
        """Groups and lists that an address is a member of, itself or by a group or list within them, by address.

        `address` may be an account's (any of its names counts), a group's, list's or folder recipient's, or a foreign one.
        """
        self.database.poll()
        found = self._containing(self.keys_of(address), direct=direct, lists=True)
        domain = self._own_domain(address) if same_domain else 0
        result = []
        for object_id in found:
            recipient = self._recipient(object_id)
            if recipient is None or (same_domain and recipient.domain_id != domain):
                continue
            if (recipient.kind is RecipientKind.GROUP and no_groups) or (recipient.kind is RecipientKind.LIST and no_lists):
                continue
            result.append(recipient)
        return sorted(result, key=lambda one: (one.name.lower(), one.id))

    def is_member(self, recipient: Recipient, address: str, *, direct: bool = False) -> bool:
        """Whether an address (an account's under any of its names) is a member, unless `direct` also by nested groups."""
        self.database.poll()
        keys = self.keys_of(address)
        if not keys:
            return False
        scope = recipient.attributes.get("distributeEmailTo", "members") if recipient.kind is RecipientKind.GROUP else "members"
        if not direct and scope != "members":
            account = self.account_by_address(address)
            return account is not None and scope in _WIDE and (scope != "domain" or account.domain_id == recipient.domain_id)
        return recipient.id in self._containing(keys, direct=direct, lists=True, wide=not direct)

    def member_of(self, object_id: int, address: str) -> str | None:
        """The spelling by which an address is a direct member of a list or group, its own before others of whoever has it; None
        where it is not."""
        own = address_key(address)
        row = self.database.query_row("SELECT address FROM member WHERE recipient_id = ? AND key = ?", (object_id, own))
        if row is not None:
            return str(row[0])
        keys = self.keys_of(address)
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(part))
            row = self.database.query_row(
                f"SELECT address FROM member WHERE recipient_id = ? AND key IN ({marks})", (object_id, *part)
            )
            if row is not None:
                return str(row[0])
        return None

    def may_send_as(self, account: Account, address: str) -> bool:
        """SMI-13: whether an account may use the address of a group (membersSendMailAsGroup) or of a folder recipient
        (domainSendMailAs) as its sender."""
        self.database.poll()
        parts = split_address(address)
        entry = self._domain_entry(parts[1]) if parts is not None else None
        if parts is None or entry is None:
            return False
        name = self._name(entry[0], local_key(parts[0]))
        if name is None or name.kind not in ("group", "folder"):
            return False
        recipient = self._recipient(name.object_id)
        if recipient is None or not recipient.enabled:
            return False
        if recipient.kind is RecipientKind.FOLDER:
            return recipient.attributes.get("domainSendMailAs") == "yes" and account.domain_id == recipient.domain_id
        return recipient.attributes.get("membersSendMailAsGroup") == "yes" and (
            self._listed(recipient, account) or self.is_member(recipient, account.address)
        )

    def _listed(self, recipient: Recipient, account: Account) -> bool:
        """A member named in a group whose mail goes elsewhere (distributeEmailTo) is a member all the same."""
        return recipient.id in self._containing(self._account_keys(account), direct=False, lists=False)

    def members(self, object_id: int, after: str = "") -> Iterator[Member]:
        """Direct members of a group or list, in the order of their compared form, behind it where one is given; read in
        pages."""
        while True:
            rows = self.database.query(
                f"{MEMBER_SQL} WHERE recipient_id = ? AND key > ? ORDER BY key LIMIT ?", (object_id, after, PAGE)
            )
            for row in rows:
                yield as_member(row)
            if len(rows) < PAGE:
                return
            after = address_key(rows[-1][1]) or rows[-1][1]

    # -- keys ---------------------------------------------------------------------------------------------------

    def _own_domain(self, address: str) -> int:
        parts = split_address(address)
        entry = self._domain_entry(parts[1]) if parts is not None else None
        return entry[0] if entry is not None else 0

    def keys_of(self, address: str) -> list[str]:
        """Every compared form by which whoever has this address may be a member."""
        parts = split_address(address)
        if parts is None:
            return []
        entry = self._domain_entry(parts[1])
        key = address_key(address)
        plain = [key] if key is not None else []
        if entry is None:
            return plain
        account = self.account_by_address(address)
        if account is not None:
            return self._account_keys(account)
        name = self._name(entry[0], local_key(parts[0]))
        detailed = self._subaddress(local_key(parts[0])) if name is None else None
        if detailed is not None:
            account = self.account_by_address(f"{detailed[0]}@{parts[1]}")
            if account is not None:
                return self._account_keys(account)
        # A name that leads nowhere (any more) may still stand in a list.
        return self._keys_of_objects(entry[0], [name.object_id]) if name is not None else plain

    def _account_keys(self, account: Account) -> list[str]:
        keys = self._keys_of_objects(account.domain_id, [account.id])
        # Members with a subaddress ("bob+lists@") are the account, too.
        marks = str(self.settings.peek("smtpIncoming").recipientDelimiter)
        more: list[str] = []
        for key in keys if marks else ():
            local, _, domain = key.rpartition("@")
            for mark in marks:
                rows = self.database.query(
                    "SELECT DISTINCT key FROM member WHERE key >= ? AND key < ? LIMIT 1000",
                    (f"{local}{mark}", f"{local}{chr(ord(mark) + 1)}"),
                )
                more += [row[0] for row in rows if row[0].rpartition("@")[2] == domain]
        return keys + more

    def _keys_of_objects(self, domain_id: int, objects: Sequence[int]) -> list[str]:
        """Compared forms of all names of objects of a domain, under all names of the domain."""
        domains = [row[0] for row in self.database.query("SELECT key FROM domain_name WHERE domain_id = ?", (domain_id,))]
        marks = ", ".join("?" * len(objects))
        rows = self.database.query(
            f"SELECT local FROM address WHERE object_id IN ({marks}) AND kind NOT LIKE 'list-%'", tuple(objects)
        )
        return [f"{row[0]}@{domain}" for row in rows for domain in domains]

    # -- upwards ------------------------------------------------------------------------------------------------

    def _containing(self, keys: Sequence[str], *, direct: bool, lists: bool, wide: bool = False, domain_id: int = 0) -> set[int]:
        """Ids of enabled groups (and lists) that have one of these as a member; of `domain_id` alone where it is given."""
        found = self._parents(keys, lists, domain_id)
        if direct:
            return found
        if wide:
            found |= self._wide_groups(keys)
        level = set(found)
        for _ in range(MAX_NESTING):
            if not level:
                break
            above: set[int] = set()
            for start in range(0, len(level), _AT_ONCE):
                objects = sorted(level)[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(objects))
                rows = self.database.query(
                    "SELECT a.local, n.key FROM address a JOIN domain_name n ON n.domain_id = a.domain_id "
                    f"WHERE a.object_id IN ({marks}) AND a.kind IN ('group', 'list')",
                    tuple(objects),
                )
                above |= self._parents([f"{local}@{key}" for local, key in rows], lists, domain_id)
            level = above - found
            found |= level
        return found

    def _parents(self, keys: Sequence[str], lists: bool, domain_id: int) -> set[int]:
        found: set[int] = set()
        kinds = "('group', 'list')" if lists else "('group')"
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(part))
            rows = self.database.query(
                f"SELECT r.id, r.domain_id FROM member m JOIN recipient r ON r.id = m.recipient_id WHERE m.key IN ({marks}) "
                f"AND r.enabled = 1 AND r.kind IN {kinds}",
                tuple(part),
            )
            found.update(int(row[0]) for row in rows if not domain_id or row[1] == domain_id)
        return found

    def _wide_groups(self, keys: Iterable[str]) -> set[int]:
        """Groups whose mail goes to a whole domain or the server, where the keys are those of an account there."""
        account = next((one for one in map(self.account_by_address, keys) if one is not None), None)
        if account is None:
            return set()
        rows = self.database.query(
            "SELECT id FROM recipient WHERE kind = 'group' AND enabled = 1 AND attributes LIKE '%distributeEmailTo%'"
        )
        found: set[int] = set()
        for (object_id,) in rows:
            recipient = self._recipient(object_id)
            scope = recipient.attributes.get("distributeEmailTo") if recipient is not None else None
            if recipient is not None and (scope in _WIDE[1:] or (scope == "domain" and recipient.domain_id == account.domain_id)):
                found.add(recipient.id)
        return found


def as_member(row: Sequence[Any]) -> Member:
    """A row of MEMBER_SQL as a value."""
    member_id, address, name, digest, nomail, score, bounced, state = row
    return Member(member_id, address, name, bool(digest), bool(nomail), score, bounced, state)
