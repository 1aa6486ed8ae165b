"""What the directory knows, as immutable values. Sizes are octets, counts are plain numbers, 0 = unlimited."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailstead.directory.account_rules import AccountRules


class DirectoryError(Exception):
    """A verb was refused for a reason the caller can name to the user."""


class AlreadyExistsError(DirectoryError):
    """The name is taken."""


class NotFoundError(DirectoryError):
    """The object does not exist."""


class UnknownPermissionError(NotFoundError):
    """No permission has the name."""


class InvalidNameError(DirectoryError):
    """A name or address cannot be used."""


class LimitReachedError(DirectoryError):
    """A limit of the domain is used up (ADM-02)."""


class PasswordRefusedError(DirectoryError):
    """The password does not obey the policy (PWD-01)."""


class RecipientKind(enum.Enum):
    """What an address leads to."""

    LOCAL = "local"
    GROUP = "group"
    LIST = "list"
    FOLDER = "folder"
    REMOTE = "remote"
    UNKNOWN_USER = "unknown user"
    DISABLED = "disabled"
    NOT_PERMITTED = "not permitted"


@dataclass(frozen=True, slots=True)
class Domain:
    """A local domain; `name` is as the administrator wrote it, `key` its A-label form. `enabled` is false too when a domain
    above it is disabled (DOM-03); `switched_on` is what its administrator chose.
    """

    id: int
    name: str
    key: str
    enabled: bool
    version: int
    created: int
    switched_on: bool

    @property
    def state(self) -> str:
        """In a word; `inactive` is a subdomain that is enabled while its parent is not active (DOM-03)."""
        if not self.switched_on:
            return "disabled"
        return "enabled" if self.enabled else "inactive"


@dataclass(frozen=True, slots=True)
class Account:
    """An account with its effective limits (DOM-09). `enabled` is false too when its domain is.

    `auth_version` rises with every change of password or right; a session or cached credential with a lower number
    is no longer valid. `password_changed` is in microseconds since 1970; `rules` is None where nothing restricts the account
    beyond its quota.
    """

    id: int
    domain_id: int
    shard: int
    name: str
    domain: str
    address: str
    enabled: bool
    services: frozenset[str]
    class_id: int
    quota_bytes: int
    quota_messages: int
    folder_limit: int
    imap_connections: int
    pop3_connections: int
    full_name: str
    auth_version: int
    localized_folders: bool = False
    must_change: bool = False
    password_changed: int = 0
    rules: AccountRules | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Secrets of an account or administrator; never log, never keep."""

    password: str
    scram: str
    recoverable: str
    must_change: bool
    password_changed: int

    def __repr__(self) -> str:
        return "Credentials(...)"


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where mail for `original` goes. `address` is the final normalised address, `detail` what stood behind the
    delimiter, `object_id` the group, list, folder recipient (or, for a catch-all folder, domain) concerned;
    `folder` the public folder of kind FOLDER; `role` which address of a list it is (`list_names`), "" for its own."""

    kind: RecipientKind
    address: str
    original: str
    account: Account | None = None
    object_id: int = 0
    detail: str = ""
    folder: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A group, mailing list or folder recipient (`kind`), with the attributes the CLI shows."""

    id: int
    kind: RecipientKind
    domain_id: int
    name: str
    address: str
    enabled: bool
    attributes: Mapping[str, str]
    shard: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """A direct member of a group or list. For lists: `digest` and `nomail` are its wishes, `score` counts bounces, the last
    at `bounced` (unix seconds), `state` is "", "disabled" (too many bounces) or "probed"."""

    id: int
    address: str
    name: str = ""
    digest: bool = False
    nomail: bool = False
    score: float = 0.0
    bounced: int = 0
    state: str = ""


@dataclass(frozen=True, slots=True)
class RecipientEdit:
    """Everything that one change of a group, list or folder recipient may hold; it is made whole or not at all.

    `attributes` and `contents`: text by name, None for the default; `members_added`: name by address; `members_renamed`: the
    new address and name by present address; `members_options`: any of `digest` and `nomail` by address. `clear_members`: all
    go before some are added. None elsewhere means: as it is.
    """

    name: str | None = None
    enabled: bool | None = None
    password: str | None = None
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    contents: Mapping[str, str | None] = field(default_factory=dict)
    members_added: Mapping[str, str] = field(default_factory=dict)
    members_removed: Sequence[str] = ()
    members_renamed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    members_options: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    clear_members: bool = False

    def __repr__(self) -> str:
        return f"RecipientEdit(name={self.name!r}, ...)"


@dataclass(frozen=True, slots=True)
class AccountClass:
    """A named set of limits (ACC-02)."""

    id: int
    domain_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Login:
    """Last login by a service; time in microseconds since 1970."""

    service: str
    time: int
    peer: str


@dataclass(frozen=True, slots=True)
class NewAccount:
    """One account to import: `address` as name@domain, and a clear `password` or a ready `hash`."""

    address: str
    password: str = ""
    hash: str = ""
    full_name: str = ""

    def __repr__(self) -> str:
        return f"NewAccount({self.address!r})"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Outcome of an import: accounts created, and (index in the list, reason) of the refused ones."""

    created: int
    refused: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Admin:
    """An administrator (ADM-01)."""

    id: int
    name: str
    description: str
    enabled: bool
    everything: bool
    auth_version: int
