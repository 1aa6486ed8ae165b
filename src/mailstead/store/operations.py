"""The operations a change record carries, besides messages: what is logged, synced, and then applied to an index.

Invariants: an operation names everything it needs, so applying it again after a crash gives the same rows; UIDs and
modseqs are not in it, they are given when it is applied and told by an effects record.  Sets of UIDs are flat lists
of inclusive ranges ``[lo, hi, lo, hi, ...]``, rising.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

SEEN, DELETED = 1, 8
"""Bits of the flags of a message that the store counts by."""
RIGHTS = "lrswipkxtea"
"""RFC 4314 section 2.1, in the order they are kept in."""

QUEUE_SHARDS = 1000
"""Shard numbers from here on are queue indexes: 1000 + k."""


class CreateFolder(msgspec.Struct, tag="create", array_like=True):
    """``limit``: folders that the account may have with it, 0 for no limit."""

    shard: int
    id: int
    account: int
    name: str
    special_use: str | None
    kind: str
    uidvalidity: int
    limit: int = 0


class RenameFolder(msgspec.Struct, tag="rename", array_like=True):
    """Moves the folder and everything below it; renaming INBOX moves its messages to a new folder ``new_id``
    (RFC 3501 6.3.5)."""

    shard: int
    account: int
    old: str
    new: str
    new_id: int
    uidvalidity: int


class DeleteFolder(msgspec.Struct, tag="delete", array_like=True):
    shard: int
    account: int
    name: str
    at: int


class Subscribe(msgspec.Struct, tag="subscribe", array_like=True):
    shard: int
    account: int
    name: str
    on: bool


class ChangeFlags(msgspec.Struct, tag="flags", array_like=True):
    """``mode``: set, add or remove; ``system``: flag bits; ``unchanged_since``: -1 for none (RFC 7162); ``reader``: who
    changes them, 0 for the owner; ``mask``: the bits that he may change."""

    shard: int
    folder: int
    ranges: list[int]
    mode: str
    system: int
    keywords: list[str]
    unchanged_since: int
    reader: int = 0
    mask: int = -1


class Expunge(msgspec.Struct, tag="expunge", array_like=True):
    """Removes the \\Deleted ones of ``ranges`` (all of them with ``any_flags``); ``at`` is unix time."""

    shard: int
    folder: int
    ranges: list[int]
    any_flags: bool
    at: int


class CopyMessages(msgspec.Struct, tag="copy", array_like=True):
    """Within one shard; with ``move`` the source rows go. The quota is the target account's, ``folder_size`` and
    ``folder_messages`` the target folder's, 0 for none; ``reader`` and
    ``target_reader``: who copies, where he is not the owner of the source or the target; ``target_mask``: the flags that he may
    set there."""

    shard: int
    source: int
    target: int
    ranges: list[int]
    move: bool
    saved: int
    quota_size: int = 0
    quota_messages: int = 0
    reader: int = 0
    target_reader: int = 0
    target_mask: int = -1
    folder_size: int = 0
    folder_messages: int = 0


class InsertCopies(msgspec.Struct, tag="insert", array_like=True):
    """Rows from another shard: each is (flags, keywords, date, size, wide row)."""

    shard: int
    target: int
    rows: list[tuple[int, list[str], int, int, list[Any]]]
    saved: int
    quota_size: int = 0
    quota_messages: int = 0
    target_reader: int = 0
    target_mask: int = -1
    folder_size: int = 0
    folder_messages: int = 0


class RemoveMoved(msgspec.Struct, tag="moved", array_like=True):
    """The source side of a move to another shard."""

    shard: int
    folder: int
    ranges: list[int]


class RemoveAccount(msgspec.Struct, tag="account", array_like=True):
    shard: int
    account: int
    at: int


class CreateOwner(msgspec.Struct, tag="owner", array_like=True):
    """An account without folders of its own: a domain's public folders."""

    shard: int
    account: int
    uidvalidity: int


class SetAcl(msgspec.Struct, tag="acl", array_like=True):
    """``folder`` 0: all of the account's; ``rights`` None takes the entry away. With ``more`` or ``less`` these are added to or
    taken from the entry as it is by then, ``rights`` where there is none."""

    shard: int
    account: int
    folder: int
    identifier: str
    rights: str | None
    more: str = ""
    less: str = ""


class SetMetadata(msgspec.Struct, tag="metadata", array_like=True):
    """``folder`` 0: of the account; ``reader`` 0: shared; rows of (entry, value), None removes (RFC 5464)."""

    shard: int
    account: int
    folder: int
    reader: int
    rows: list[tuple[str, bytes | None]]


class SetUniqueIds(msgspec.Struct, tag="uidl", array_like=True):
    """POP3 unique ids that messages brought along from another server."""

    shard: int
    folder: int
    rows: list[tuple[int, str]]


class SetUrlKey(msgspec.Struct, tag="urlkey", array_like=True):
    """The secret by which a reader's URLs of a folder are signed (RFC 4467): ``key`` where he has none yet; None takes his
    key away, of all folders for ``folder`` 0."""

    shard: int
    reader: int
    folder: int
    key: bytes | None


class ChangeScripts(msgspec.Struct, tag="script", array_like=True):
    """Sieve scripts of an account (RFC 5804): ``verb`` is put, delete, rename or activate; ``value`` the content of a put, the
    new name of a rename; activating "" leaves none active."""

    shard: int
    account: int
    verb: str
    name: str
    value: str = ""


class RestoreMessages(msgspec.Struct, tag="undelete", array_like=True):
    """Deleted messages of an account come back to a folder of it; ``keys`` are (when deleted, folder, uid)."""

    shard: int
    account: int
    target: int
    keys: list[tuple[int, int, int]]
    saved: int
    quota_size: int = 0
    quota_messages: int = 0
    folder_size: int = 0
    folder_messages: int = 0


class RestoreFolder(msgspec.Struct, tag="undeleteFolder", array_like=True):
    """A deleted folder comes back as folder ``id`` under ``name``, with the messages that went with it."""

    shard: int
    account: int
    deleted: int
    id: int
    name: str
    saved: int
    quota_size: int = 0
    quota_messages: int = 0
    folder_size: int = 0
    folder_messages: int = 0


class QueueOutcome(msgspec.Struct, tag="outcome", array_like=True):
    """Result of an attempt for recipients of one queue entry: rows of (number, state, due, attempts, notified, status,
    detail)."""

    shard: int
    mid: int
    rows: list[tuple[int, int, int, int, int, str, bytes]]


Operation = (
    CreateFolder
    | RenameFolder
    | DeleteFolder
    | Subscribe
    | ChangeFlags
    | Expunge
    | CopyMessages
    | InsertCopies
    | RemoveMoved
    | RemoveAccount
    | QueueOutcome
    | CreateOwner
    | SetAcl
    | SetMetadata
    | SetUrlKey
    | SetUniqueIds
    | ChangeScripts
    | RestoreMessages
    | RestoreFolder
)
encode_operation = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Operation] = msgspec.msgpack.Decoder(Operation)


def decode_operation(data: bytes) -> Operation:
    return _decoder.decode(data)


def to_ranges(uids: Iterable[int]) -> list[int]:
    """Rising UIDs as flat inclusive ranges."""
    if isinstance(uids, list | range | array) and uids and uids[-1] - uids[0] == len(uids) - 1:
        return [uids[0], uids[-1]]
    ranges: list[int] = []
    low = high = -2
    for uid in uids:
        if uid == high + 1:
            high = uid
            continue
        if high >= 0:
            ranges += (low, high)
        low = high = uid
    if high >= 0:
        ranges += (low, high)
    return ranges


def from_ranges(ranges: Sequence[int]) -> list[int]:
    uids: list[int] = []
    for i in range(0, len(ranges), 2):
        uids.extend(range(ranges[i], ranges[i + 1] + 1))
    return uids


def uids_in(ranges: Sequence[int]) -> Sequence[int]:
    """The UIDs in flat inclusive ranges; a single range takes no room."""
    return range(ranges[0], ranges[1] + 1) if len(ranges) == 2 else from_ranges(ranges)


def count_ranges(ranges: Sequence[int]) -> int:
    return sum(ranges[1::2]) - sum(ranges[::2]) + len(ranges) // 2
