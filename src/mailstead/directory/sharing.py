"""Who is who where folders are shared (features SHR-01, PUB-01): identifiers, owners, membership in groups.

Invariants: sharing ends at the border of a domain; a disabled owner, one without ``enableSharing`` or a domain without
``groupwareSupport`` shares nothing; what is cached here is forgotten at any change of accounts, groups or settings.

Identifiers: ``u<account id>``, ``g<group id>``, ``d<domain id>`` for everybody in a domain; in words an account's address,
``group=<name>``, ``anyone``; ``-`` in front of either takes rights away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.directory.account_rules import MBOX_QUOTA_SQL, FolderQuotas, folder_quotas
from mailstead.directory.address import local_key
from mailstead.directory.base import DirectoryBase
from mailstead.directory.bounds import PUBLIC_OWNER, bounded
from mailstead.directory.cache import BoundedCache
from mailstead.directory.ids import IdSource
from mailstead.directory.model import RecipientKind
from mailstead.settings.database import Change, SystemDatabase, Transaction
from mailstead.settings.declarations import DOMAIN_CONTEXTS
from mailstead.settings.edits import place_of, read_values
from mailstead.settings.history import RIGHTS_KIND, RIGHTS_VERB
from mailstead.settings.service import Settings

PUBLIC_FOLDER_QUOTAS = DOMAIN_CONTEXTS["publicFolderQuotas"]
ANYONE = "anyone"
GROUP = "group="


@dataclass(frozen=True, slots=True)
class FolderOwner:
    """Who has folders that others may see; ``id`` is an account's, or the domain's for its public folders. ``name`` is the
    level that readers see below "Other Users"."""

    id: int
    name: str
    domain_id: int
    shard: int
    quota_bytes: int
    quota_messages: int
    public: bool
    shares: bool
    folder_limit: int = 0
    folders: FolderQuotas | None = None


@dataclass(frozen=True, slots=True)
class RightsChange:
    """What an identifier may do in a public folder, before and after; None: it has no entry there. ``folder`` is the folder's id,
    0 for all of the domain's, ``name`` its name."""

    folder: int
    name: str
    identifier: str
    before: str | None
    after: str | None


class SharingLookups(DirectoryBase):
    """Look-ups, and what the history has of rights; see `mailbox.base.People`."""

    def __init__(self, database: SystemDatabase, settings: Settings, ids: IdSource) -> None:
        super().__init__(database, settings, ids)
        self._identifiers: BoundedCache[int, tuple[str, ...]] = BoundedCache(50_000)
        self._owners: BoundedCache[int, FolderOwner] = BoundedCache(50_000)
        database.subscribe(self._sharing_changed)

    def identifiers(self, account: int) -> tuple[str, ...]:
        """All that stands for an account in lists of rights; () for one that does not exist."""
        self.database.poll()
        found = self._identifiers.get(account)
        if found is None:
            found = self._find_identifiers(account)
            self._identifiers.put(account, found)
        return found

    def _find_identifiers(self, account: int) -> tuple[str, ...]:
        row = self.database.query_row("SELECT domain_id FROM account WHERE id = ?", (account,))
        if row is None:
            return ()
        domain_id = int(row[0])
        groups = self._containing(self._keys_of_objects(domain_id, [account]), direct=False, lists=False, domain_id=domain_id)
        return (f"u{account}", f"d{domain_id}", *(f"g{group}" for group in sorted(groups)))

    def owner(self, owner: int) -> FolderOwner | None:
        """Whoever has folders under that id."""
        self.database.poll()
        found = self._owners.get(owner)
        if found is None:
            found = self._find_owner(owner)
            if found is not None:
                self._owners.put(owner, found)
        return found

    def _find_owner(self, owner: int) -> FolderOwner | None:
        account = self.account(owner)
        if account is not None:
            config = self.domain_settings(account.domain_id)
            shares = account.enabled and bool(config.groupwareSupport) and bool(self.account_setting(owner, "enableSharing"))
            # "/" would be read as a level of its own.
            name = account.name.replace("/", "\uff0f")
            return FolderOwner(
                owner, name, account.domain_id, account.shard, account.quota_bytes, account.quota_messages, False, shares,
                account.folder_limit, account.rules.folders if account.rules is not None else None,
            )
        row = self.database.query_row("SELECT shard FROM domain WHERE id = ?", (owner,))
        domain = self.domain(owner)
        if row is None or domain is None:
            return None
        shares = domain.enabled and bool(self.domain_settings(owner).groupwareSupport)
        limits = self._public_limits(owner)
        size, count = limits["totalMessageSize"] * 1024, limits["totalMessageCount"]
        rows = self.database.query(MBOX_QUOTA_SQL, ("domainConfig", owner))
        own = folder_quotas(limits["messageSize"], limits["messageCount"], rows)
        return FolderOwner(owner, "", owner, int(row[0]), size, count, True, shares, limits["mboxCount"], own)

    def _public_limits(self, domain_id: int) -> dict[str, Any]:
        """The quotas of a domain's public folders (PUB-01)."""
        place = place_of(PUBLIC_FOLDER_QUOTAS, domain_id)
        explicit = read_values(self.database, place, PUBLIC_FOLDER_QUOTAS)
        limits = self.domain_settings(domain_id)
        return {
            one.name: one.parse(explicit[one.name])
            if one.name in explicit
            else bounded(limits, PUBLIC_OWNER, one.name, one.default)
            for one in PUBLIC_FOLDER_QUOTAS.settings
        }

    def owner_by_name(self, reader: int, name: str) -> FolderOwner | None:
        """The owner whom a reader knows by that name: an account of the reader's domain."""
        account = self.account(reader)
        if account is None:
            return None
        found = self._name(account.domain_id, local_key(name.replace("\uff0f", "/")))
        return self.owner(found.object_id) if found is not None and found.kind == "account" else None

    def public_owner(self, reader: int) -> FolderOwner | None:
        """The owner of the public folders of a reader's domain; None where there are none."""
        account = self.account(reader)
        owner = self.owner(account.domain_id) if account is not None else None
        return owner if owner is not None and owner.shares else None

    def is_postmaster(self, account: int) -> bool:
        """Whether the account gets its domain's postmaster mail, and so manages its public folders (PUB-01)."""
        found = self.account(account)
        if found is None:
            return False
        chosen = str(self.domain_settings(found.domain_id).postmasterAccount)
        for name in (chosen, "postmaster"):
            entry = self._name(found.domain_id, local_key(name)) if name else None
            if entry is not None:
                return entry.kind == "account" and entry.object_id == account
        return False

    def identifier(self, owner: int, text: str) -> str | None:
        """The identifier that words mean in an owner's lists; None for nobody in his domain."""
        found = self.owner(owner)
        if found is None:
            return None
        sign = "-" if text.startswith("-") else ""
        text = text.removeprefix("-")
        if text.lower() == ANYONE:
            return f"{sign}d{found.domain_id}"
        kind, letter = ("group", "g") if text.lower().startswith(GROUP) else ("account", "u")
        local, at, domain = (text[len(GROUP) :] if kind == "group" else text).rpartition("@")
        if not at:
            local, domain = domain, ""
        if domain:
            other = self.domain_by_name(domain)
            if other is None or other.id != found.domain_id:
                return None
        entry = self._name(found.domain_id, local_key(local.replace("\uff0f", "/")))
        if entry is None or entry.kind != kind:
            return None
        return f"{sign}{letter}{entry.object_id}"

    def identifier_text(self, owner: int, identifier: str) -> str | None:
        """The words for an identifier; None for one who is gone."""
        sign = "-" if identifier.startswith("-") else ""
        letter, number = identifier.removeprefix("-")[:1], identifier.removeprefix("-")[1:]
        if letter == "d":
            return sign + ANYONE
        if letter == "u":
            account = self.account(int(number))
            return sign + account.address if account is not None else None
        group = self.recipient(int(number))
        return f"{sign}{GROUP}{group.name}" if group is not None and group.kind is RecipientKind.GROUP else None

    async def record_rights(self, domain_id: int, changes: Sequence[RightsChange], author: str) -> None:
        """Note in the history what has been done to rights in a domain's public folders. Raises SystemDatabaseError."""
        # Looked up here, in the thread that owns the look-ups, not in the writer's.
        done = [
            (one, self.identifier_text(domain_id, one.identifier) or one.identifier)
            for one in changes
            if one.before != one.after
        ]

        def operation(transaction: Transaction) -> None:
            for one, words in done:
                told = {"folder": one.name, "folderId": one.folder, "identifier": one.identifier, "who": words}
                old, new = {**told, "rights": one.before}, {**told, "rights": one.after}
                transaction.record(author, RIGHTS_KIND, domain_id, RIGHTS_VERB, old, new)

        if done:
            await self._change(operation)

    def _sharing_changed(self, _changes: Sequence[Change] | None) -> None:
        self._identifiers.clear()
        self._owners.clear()
