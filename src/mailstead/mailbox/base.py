"""What all verbs of the mailbox service stand on: the store, who there is, and whose folder a name means.

Invariants: a name is resolved here and nowhere else; a reader learns nothing of folders in which he has no right at all,
not even that they exist.

A reader sees the folders of others below ``Other Users/<owner>`` and those of his domain below ``Public Folders``
(RFC 2342, features IMP-09, SHR-01, PUB-01).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mailstead.directory.sharing import RightsChange
from mailstead.mailbox import rights
from mailstead.mailbox.errors import (
    FolderExists,
    FolderMissing,
    LimitReached,
    MailboxError,
    OverQuota,
    RightMissing,
    StoreUnavailable,
)
from mailstead.mailbox.model import ALL_RIGHTS, Folder
from mailstead.store.engine import MailIndex
from mailstead.store.operations import CreateOwner, Subscribe
from mailstead.store.results import Refused
from mailstead.store.service import Store
from mailstead.store.submission import Unavailable

OTHER_USERS = "Other Users"
PUBLIC_FOLDERS = "Public Folders"
#: What the users of a domain may do with its public folders until somebody says otherwise.
PUBLIC_RIGHTS = "lrswip"
_T = TypeVar("_T")


class AccountLimits(Protocol):
    """What the mailbox needs to know of an account; the directory's ``Account`` has it."""

    @property
    def shard(self) -> int: ...
    @property
    def quota_bytes(self) -> int: ...
    @property
    def quota_messages(self) -> int: ...


def folder_limits(limits: AccountLimits, name: str) -> tuple[int, int]:
    """Octets and messages that a folder (by its owner's name) may hold by a quota of its own (QTA-01); 0 for no limit."""
    rules = getattr(limits, "rules", None)
    folders = getattr(limits, "folders", None) if rules is None else rules.folders
    return folders.of(name) if folders is not None else (0, 0)


class Accounts(Protocol):
    """Who has a mailbox."""

    def account(self, account_id: int) -> AccountLimits | None: ...


class Owner(AccountLimits, Protocol):
    """Who may have folders that others see: an account, or a domain for its public folders (its id is the domain's)."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def domain_id(self) -> int: ...
    @property
    def public(self) -> bool: ...
    @property
    def shares(self) -> bool: ...


class People(Protocol):
    """Who is who where folders are shared; the directory has it. Identifiers are those of the store's ``acl``."""

    def identifiers(self, account: int) -> tuple[str, ...]: ...
    def owner(self, owner: int) -> Owner | None: ...
    def owner_by_name(self, reader: int, name: str) -> Owner | None: ...
    def public_owner(self, reader: int) -> Owner | None: ...
    def is_postmaster(self, account: int) -> bool: ...
    def identifier(self, owner: int, text: str) -> str | None: ...
    def identifier_text(self, owner: int, identifier: str) -> str | None: ...
    async def record_rights(self, domain_id: int, changes: Sequence[RightsChange], author: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Whose folder a name means: ``account`` is the owner, ``name`` the owner's name of it, ``prefix`` what a reader who is
    not the owner has in front of it, ``reader`` his account or 0."""

    account: int
    name: str
    prefix: str = ""
    reader: int = 0
    public: bool = False


class MailboxBase:
    """One per process; without ``people`` nothing is shared."""

    def __init__(self, store: Store, accounts: Accounts, people: People | None = None) -> None:
        self._store = store
        self._accounts = accounts
        self._people = people

    def _limits(self, account: int) -> AccountLimits:
        found = self._accounts.account(account)
        if found is None and self._people is not None:
            found = self._people.owner(account)
        if found is None:
            raise FolderMissing("no such account")
        return found

    async def _done(self, future: Awaitable[_T]) -> _T:
        """Wait for the store and put its refusals in this service's words."""
        try:
            return await future
        except Refused as refused:
            raise _REFUSALS.get(refused.code, MailboxError)(str(refused)) from None
        except (Unavailable, OSError) as error:
            raise StoreUnavailable("the message store cannot do this now") from error

    async def _ensure(self, account: int) -> int:
        """The account's shard, its folders made."""
        limits = self._limits(account)
        shard = limits.shard
        if not self._store.mail_index(shard).has_account(account):
            if getattr(limits, "public", False):
                await self._done(self._store.change([CreateOwner(shard, account, int(time.time()))]))
            else:
                # Subscribing to INBOX is the smallest durable operation that makes an account's rows.
                await self._done(self._store.change([Subscribe(shard, account, "INBOX", True)]))
        return shard

    # -- whose, and what may he -----------------------------------------------------------------------------------

    def place(self, reader: int, name: str) -> Place | None:
        """Whose folder a (canonical) name means; None where it can be nobody's."""
        if self._people is None or not name.startswith((OTHER_USERS, PUBLIC_FOLDERS)):
            return Place(reader, name)
        top, _, rest = name.partition("/")
        if top == PUBLIC_FOLDERS:
            owner = self._people.public_owner(reader)
            return Place(owner.id, rest, PUBLIC_FOLDERS + "/", reader, True) if owner is not None else None
        if top == OTHER_USERS:
            shown, _, own = rest.partition("/")
            owner = self._people.owner_by_name(reader, shown) if shown else None
            if owner is None or owner.id == reader or not owner.shares:
                return None
            top_own, slash, below = own.partition("/")
            own = f"INBOX{slash}{below}" if top_own.upper() == "INBOX" else own
            return Place(owner.id, own, f"{OTHER_USERS}/{owner.name}/", reader)
        return Place(reader, name)

    def _entries(self, owner: AccountLimits, account: int) -> rights.Entries:
        entries: dict[str, dict[str, str]] = {}
        for name, identifier, given in self._store.sharing(owner.shard).acl(account):
            entries.setdefault(name, {})[identifier] = given
        if getattr(owner, "public", False) and "" not in entries:
            entries[""] = {f"d{account}": PUBLIC_RIGHTS}
        return entries

    def _rights(self, reader: int, account: int, name: str) -> str:
        """What ``reader`` may do with the folder ``name`` of ``account`` ("" for the account as a whole)."""
        if reader in (0, account):
            return ALL_RIGHTS
        assert self._people is not None
        owner = self._people.owner(account)
        if owner is None or not owner.shares:
            return ""
        return self._rights_of(reader, owner, self._entries(owner, account), name)

    def _rights_of(self, reader: int, owner: Owner, entries: rights.Entries, name: str) -> str:
        assert self._people is not None
        if owner.public and self._people.is_postmaster(reader):
            return ALL_RIGHTS
        return rights.effective(entries, name, self._people.identifiers(reader))

    def _own_name(self, folder: Folder) -> str:
        """The owner's name of a folder."""
        if not folder.reader:
            return folder.name
        return self._store.sharing(folder.shard).folder_name(folder.id) or ""

    def _folder_limits(self, limits: AccountLimits, folder: Folder) -> tuple[int, int]:
        """The quota of a folder of its own."""
        if getattr(limits, "rules", None) is None and getattr(limits, "folders", None) is None:
            return 0, 0
        return folder_limits(limits, self._own_name(folder))

    def _reads(self, folder: Folder) -> MailIndex:
        """Reads of a folder's shard as the folder's reader sees it."""
        if folder.reader:
            return self._store.reader_index(folder.shard, folder.reader)
        return self._store.mail_index(folder.shard)

    def _now(self, folder: Folder) -> str:
        """The rights of a folder's reader as they are now."""
        if not folder.reader:
            return ALL_RIGHTS
        name = self._store.sharing(folder.shard).folder_name(folder.id)
        return self._rights(folder.reader, folder.account, name) if name is not None else ""

    def readable(self, folder: Folder) -> bool:
        """Whether a folder's reader still has the right to read it."""
        return "r" in self._now(folder)

    def _need(self, folder: Folder, wanted: Iterable[str]) -> None:
        """Raises RightMissing where the reader lacks one of the rights as they are now."""
        if folder.reader and set(wanted) - set(self._now(folder)):
            raise RightMissing("you have no right to do this in this folder")


_REFUSALS: dict[str, type[MailboxError]] = {
    "missing": FolderMissing,
    "exists": FolderExists,
    "keywords": LimitReached,
    "quota": OverQuota,
}
