"""From an address to where its mail goes, and from a group to its members.

Invariants:
- The exact name wins over a subaddress, a subaddress over the catch-all.
- `postmaster` of every local domain, and bare `postmaster`, leads somewhere whenever the server has any account
  (RFC 5321 section 4.5.1).
- Expansion ends whatever members point at whom, and gives each address once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from mailstead.directory.address import MAX_LOCAL_OCTETS, address_key, domain_key, join_address, local_key, split_address
from mailstead.directory.list_names import role_of
from mailstead.directory.lookup import Name
from mailstead.directory.memberships import Memberships
from mailstead.directory.model import Account, Member, Recipient, RecipientKind, Resolution

MAX_EXPANSION = 1_000_000
"""Addresses one expansion may give; a guard against members that are whole domains many times over."""


_TOKEN_ROLES = ("-bounces", "-confirm")
"""Ends of names behind which, after a plus sign, a list's own tokens stand, whatever the delimiter of subaddresses is."""


class Found(NamedTuple):
    """A resolution without the account, so that it can be cached while accounts change."""

    kind: str
    object_id: int
    detail: str
    expires: int
    domain_id: int
    address: str
    folder: str
    role: str = ""


class Expanded(NamedTuple):
    """One of those an expansion leads to. `path` says where in the expansion it stands, for going on behind it; `member` is
    its entry where it is a direct member itself."""

    path: tuple[str, ...]
    address: str
    resolution: Resolution
    member: Member | None


class Resolver(Memberships):
    """Adds `resolve`, `may_send_to`, `walk` and `expand` to the look-ups."""

    def resolve(self, address: str, *, sender: str | None = None, login: Account | None = None) -> Resolution:
        """Where mail for `address` goes (RCPT TO, expansion).

        With `sender` (the envelope sender, empty for bounces) and `login` (the authenticated account) the rules of
        groups and lists are checked too, and kind NOT_PERMITTED returned when they refuse.
        """
        self.database.poll()
        found: Found | None = self._found.get(address)
        if found is None or (found.expires and found.expires <= time.time()):
            with self.database.lock:
                found = self._resolve(address)
                self._found.put(address, found)
        kind = found.kind
        if kind == "account":
            account = self._account(found.object_id)
            if account is None:
                return Resolution(RecipientKind.UNKNOWN_USER, found.address, address)
            state = RecipientKind.LOCAL if account.enabled else RecipientKind.DISABLED
            return Resolution(state, account.address, address, account, 0, found.detail)
        if kind == "remote":
            return Resolution(RecipientKind.REMOTE, found.address, address)
        if kind == "unknown":
            return Resolution(RecipientKind.UNKNOWN_USER, found.address, address)
        if kind == "disabled":
            return Resolution(RecipientKind.DISABLED, found.address, address)
        if found.role == "owner":
            return self._owner(found, address)
        if kind == "catchAllFolder":
            return Resolution(RecipientKind.FOLDER, found.address, address, None, found.object_id, found.detail, found.folder)
        return self._as_resolution(found, address, sender, login)

    def _as_resolution(self, found: Found, original: str, sender: str | None, login: Account | None) -> Resolution:
        recipient = self._recipient(found.object_id)
        if recipient is None:
            return Resolution(RecipientKind.UNKNOWN_USER, found.address, original)
        kind = recipient.kind if recipient.enabled else RecipientKind.DISABLED
        if recipient.enabled and sender is not None and not found.role and not self.may_send_to(recipient, sender, login):
            kind = RecipientKind.NOT_PERMITTED
        folder = recipient.attributes.get("mboxName", "") if recipient.kind is RecipientKind.FOLDER else ""
        address = found.address if found.role else recipient.address
        return Resolution(kind, address, original, None, recipient.id, found.detail, folder, found.role)

    def _owner(self, found: Found, original: str) -> Resolution:
        """`<list>-owner` is whoever looks after the list, else the domain's postmaster."""
        recipient = self._recipient(found.object_id)
        admin = recipient.attributes.get("adminEmail", "") if recipient is not None else ""
        key = address_key(admin) if admin else None
        if recipient is not None and key is not None:
            there = self._resolve(admin)
            # Lists whose owners are each other, or a list that owns itself, have nobody.
            if there.role != "owner" and there.object_id != recipient.id and there.kind != "unknown":
                return self.resolve(admin)
        domain = self._domain(found.domain_id)
        return self.resolve(f"postmaster@{domain.name}" if domain is not None else "postmaster")

    def _resolve(self, address: str) -> Found:
        parts = split_address(address)
        if parts is None:
            if local_key(address) == "postmaster":
                return self._postmaster(self._bare_domain_id())
            return Found("unknown", 0, "", 0, 0, address, "")
        local, domain = parts
        entry = self._domain_entry(domain)
        if entry is None:
            return Found("remote", 0, "", 0, 0, f"{local}@{domain_key(domain) or domain.lower()}", "")
        domain_id = entry[0]
        row = self._domain(domain_id)
        if row is None:
            return Found("unknown", 0, "", 0, domain_id, address, "")
        key = local_key(local)
        plain = join_address(key, row.name)
        if len(key.encode("utf-8", "surrogateescape")) > MAX_LOCAL_OCTETS and not key.partition("+")[0].endswith(_TOKEN_ROLES):
            return Found("unknown", 0, "", 0, domain_id, plain, "")
        if not row.enabled:
            return Found("disabled", 0, "", 0, domain_id, plain, "")
        return self._resolve_local(domain_id, key, plain)

    def _resolve_local(self, domain_id: int, key: str, plain: str) -> Found:
        now = time.time()
        for local, detail in self._candidates(key):
            if local == "postmaster":
                return self._postmaster(domain_id)._replace(detail=detail)
            name = self._name(domain_id, local)
            if name is not None and not (name.expires and name.expires <= now):
                return _found(name, domain_id, detail, plain)
        return self._catch_all(domain_id, plain)

    def _candidates(self, key: str) -> Iterator[tuple[str, str]]:
        """The name itself, a list's name with a token behind it, then the name before the first delimiter with the detail."""
        yield key, ""
        head, plus, token = key.partition("+")
        if plus and head.endswith(_TOKEN_ROLES):
            yield head, token
        parts = self._subaddress(key)
        if parts is not None:
            yield parts

    def _catch_all(self, domain_id: int, plain: str) -> Found:
        config = self._domain_config(domain_id)
        if config.catchAllType == "account":
            name = self._name(domain_id, local_key(config.catchAllAccountName))
            if name is not None and name.kind == "account":
                return Found("account", name.object_id, "", 0, domain_id, plain, "")
        elif config.catchAllType == "folder" and config.catchAllFolderName:
            return Found("catchAllFolder", domain_id, "", 0, domain_id, plain, config.catchAllFolderName)
        return Found("unknown", 0, "", 0, domain_id, plain, "")

    # -- postmaster -----------------------------------------------------------------------------------------

    def _bare_domain_id(self) -> int:
        entry = self._domain_entry(self._bare_domain())
        return entry[0] if entry else 0

    def _postmaster(self, domain_id: int) -> Found:
        """The domain's postmasterAccount, its name `postmaster`, the primary domain's, else the oldest account."""
        for candidate in dict.fromkeys((domain_id, self._bare_domain_id())):
            domain = self._domain(candidate) if candidate else None
            if domain is None:
                continue
            for local in (self._domain_config(candidate).postmasterAccount, "postmaster"):
                name = self._name(candidate, local_key(local)) if local else None
                if name is not None:
                    return _found(name, domain_id, "", f"postmaster@{domain.name}")
        row = self.database.query_row(
            "SELECT id FROM account ORDER BY CASE WHEN domain_id = ? THEN 0 ELSE 1 END, id LIMIT 1", (domain_id,)
        )
        if row is None:
            return Found("unknown", 0, "", 0, domain_id, "postmaster", "")
        return Found("account", row[0], "", 0, domain_id, "postmaster", "")

    # -- groups and lists -----------------------------------------------------------------------------------

    def may_send_to(self, recipient: Recipient, sender: str, login: Account | None) -> bool:
        """GRP-01 receiveEmailFrom, LST-01 senderAllow. `sender` is the envelope sender, empty for bounces.

        Addresses are believed as the envelope gives them; a login, where there is one, is believed first.
        """
        rule = recipient.attributes.get("receiveEmailFrom" if recipient.kind is RecipientKind.GROUP else "senderAllow")
        if rule is None or rule == "anybody":
            return True
        if rule == "nobody":
            return False
        who = login.address if login is not None else sender
        resolved = self.resolve(who) if who else None
        account = resolved.account if resolved is not None else None
        if rule == "server":
            return account is not None
        if rule == "domain":
            return account is not None and account.domain_id == recipient.domain_id
        final = account.address if account is not None else who
        return bool(final) and self.is_member(recipient, final, direct=rule == "directMembers")

    def walk(self, object_id: int, after: tuple[str, ...] = ()) -> Iterator[Expanded]:
        """Whom a group or list leads to, groups within it followed, each once; behind `after` where that is given.

        Read in pages as they are taken. Lists within it are given as themselves, for mail to them is a posting there;
        addresses that lead nowhere are given too, so that somebody can be told. The order is the same every time, so an
        expansion that broke off goes on behind the last path: those before it are passed over, known as given.
        """
        visited = {object_id}
        given: set[str | int] = set()
        stack: list[tuple[tuple[str, ...], Iterator[tuple[str, str, Member | None]]]] = [((), self._entries(object_id))]
        while stack:
            prefix, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                continue
            key, address, member = entry
            path: tuple[str, ...] = (*prefix, key)
            resolved = self.resolve(address)
            if resolved.kind is RecipientKind.GROUP:
                if resolved.object_id not in visited:
                    visited.add(resolved.object_id)
                    stack.append((path, self._entries(resolved.object_id)))
                continue
            final = _final(resolved, address)
            identity = resolved.account.id if resolved.account is not None else final.lower()
            if identity in given:
                continue
            if len(given) >= MAX_EXPANSION:
                return
            given.add(identity)
            if path > after:
                yield Expanded(path, final, resolved, member if len(path) == 1 else None)

    def walk_member(self, object_id: int, member: Member | None) -> Iterator[Expanded]:
        """One direct member alone as `walk` gives him; nothing where he has left, or is a group."""
        recipient = self.recipient(object_id)
        if recipient is None or not recipient.enabled or member is None:
            return
        resolved = self.resolve(member.address)
        if resolved.kind is not RecipientKind.GROUP:
            yield Expanded((), _final(resolved, member.address), resolved, member)

    def expand(self, object_id: int) -> Iterator[str]:
        """The addresses of `walk`."""
        for one in self.walk(object_id):
            yield one.address

    def _entries(self, object_id: int) -> Iterator[tuple[str, str, Member | None]]:
        """(key, address, member) of what stands in a group or list, by key."""
        recipient = self.recipient(object_id)
        if recipient is None or not recipient.enabled:
            return
        scope = recipient.attributes.get("distributeEmailTo", "members")
        if recipient.kind is RecipientKind.GROUP and scope == "nobody":
            return
        if recipient.kind is RecipientKind.GROUP and scope in ("domain", "server", "cluster"):
            domain_id = recipient.domain_id if scope == "domain" else 0
            for account in self.accounts(domain_id):
                if account.enabled:
                    yield f"{account.id:020d}", account.address, None
            return
        for member in self.members(object_id):
            yield address_key(member.address) or member.address, member.address, member


def _final(resolved: Resolution, address: str) -> str:
    return resolved.address if resolved.kind is not RecipientKind.UNKNOWN_USER else address


def _found(name: Name, domain_id: int, detail: str, address: str) -> Found:
    role = role_of(name.kind)
    kind = "list" if role else name.kind
    return Found(kind, name.object_id, detail, name.expires, domain_id, address, "", role)
