"""What the directory knows, as immutable values. Sizes are octets, counts are plain numbers, 0 = unlimited."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class DirectoryError(Exception):
    """A verb was refused for a reason the caller can name to the user."""


class AlreadyExistsError(DirectoryError):
    """The name is taken."""


class NotFoundError(DirectoryError):
    """The object does not exist."""


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
    """A local domain; `name` is as the administrator wrote it, `key` its A-label form."""

    id: int
    name: str
    key: str
    enabled: bool
    version: int
    created: int


@dataclass(frozen=True, slots=True)
class Account:
    """An account with its effective limits (DOM-09). `enabled` is false too when its domain is disabled.

    `auth_version` rises with every change of password or right; a session or cached credential with a lower number
    is no longer valid.
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
    `folder` the public folder of kind FOLDER."""

    kind: RecipientKind
    address: str
    original: str
    account: Account | None = None
    object_id: int = 0
    detail: str = ""
    folder: str = ""


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
