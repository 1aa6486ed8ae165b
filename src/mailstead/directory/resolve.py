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
from typing import Any, NamedTuple

from mailstead.directory.address import MAX_LOCAL_OCTETS, domain_key, join_address, local_key, split_address
from mailstead.directory.lookup import Lookup, Name
from mailstead.directory.model import Account, Recipient, RecipientKind, Resolution

MAX_EXPANSION = 1_000_000
"""Addresses one expansion may give; a guard against members that are whole domains many times over."""


class Found(NamedTuple):
    """A resolution without the account, so that it can be cached while accounts change."""

    kind: str
    object_id: int
    detail: str
    expires: int
    domain_id: int
    address: str
    folder: str


class Resolver(Lookup):
    """Adds `resolve`, `may_send_to` and `expand` to the look-ups."""

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
        if kind == "catchAllFolder":
            return Resolution(RecipientKind.FOLDER, found.address, address, None, found.object_id, found.detail, found.folder)
        return self._as_resolution(found, address, sender, login)

    def _as_resolution(self, found: Found, original: str, sender: str | None, login: Account | None) -> Resolution:
        recipient = self._recipient(found.object_id)
        if recipient is None:
            return Resolution(RecipientKind.UNKNOWN_USER, found.address, original)
        kind = recipient.kind if recipient.enabled else RecipientKind.DISABLED
        if recipient.enabled and sender is not None and not self.may_send_to(recipient, sender, login):
            kind = RecipientKind.NOT_PERMITTED
        folder = recipient.attributes.get("mboxName", "") if recipient.kind is RecipientKind.FOLDER else ""
        return Resolution(kind, recipient.address, original, None, recipient.id, found.detail, folder)

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
        if len(key.encode("utf-8", "surrogateescape")) > MAX_LOCAL_OCTETS:
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
        """The name itself, then the name before the first delimiter with the detail behind it."""
        yield key, ""
        places = [place for mark in self.settings.peek("smtpIncoming").recipientDelimiter
                  if (place := key.find(mark)) > 0]  # fmt: skip
        if places:
            place = min(places)
            yield key[:place], key[place + 1 :]

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
        final = (account.address if account is not None else who).lower()
        if not final:
            return False
        members = self.members(recipient.id) if rule == "directMembers" else self.expand(recipient.id)
        for member in members:
            if member.lower() == final:
                return True
            if rule == "directMembers" and account is not None:
                known = self.account_by_address(member)
                if known is not None and known.id == account.id:
                    return True
        return False

    def expand(self, object_id: int) -> Iterator[str]:
        """Final addresses of a group or list, nested ones included, each once; read in pages as they are taken.

        Addresses that lead nowhere are given as they are written, so that the sender hears of them.
        """
        visited: set[int] = set()
        given: set[str] = set()
        stack = [object_id]
        while stack:
            current = stack.pop()
            if current in visited:
                continue
            visited.add(current)
            for member in self._addresses_of(current):
                resolved = self.resolve(member)
                if resolved.kind in (RecipientKind.GROUP, RecipientKind.LIST):
                    stack.append(resolved.object_id)
                    continue
                final = resolved.address if resolved.kind is not RecipientKind.UNKNOWN_USER else member
                key = final.lower()
                if key in given:
                    continue
                if len(given) >= MAX_EXPANSION:
                    return
                given.add(key)
                yield final

    def _addresses_of(self, object_id: int) -> Iterator[str]:
        recipient = self.recipient(object_id)
        if recipient is None:
            return
        scope = recipient.attributes.get("distributeEmailTo", "members")
        if recipient.kind is RecipientKind.GROUP and scope == "nobody":
            return
        if recipient.kind is RecipientKind.GROUP and scope in ("domain", "server", "cluster"):
            domain_id = recipient.domain_id if scope == "domain" else 0
            yield from (account.address for account in self.accounts(domain_id) if account.enabled)
            return
        yield from self.members(object_id)


def _found(name: Name, domain_id: int, detail: str, address: str) -> Found:
    values: dict[str, Any] = {"kind": name.kind, "object_id": name.object_id, "detail": detail}
    return Found(**values, expires=name.expires, domain_id=domain_id, address=address, folder="")
