"""The values that the mailbox service hands to its callers.

Invariants: a ``FolderView``'s ``uids`` rises strictly; within one generation it only grows at its end, so a
session may keep the array and its own count as its map of sequence numbers; an expunge makes a new array and
a new generation and leaves the old one as it was.  ``flags`` and ``modseqs`` run parallel to ``uids``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from mailstead.store.operations import RIGHTS

if TYPE_CHECKING:
    from mailstead.store.spool import Spool

SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = 1, 2, 4, 8, 16
SYSTEM_FLAGS: dict[str, int] = {
    "\\Seen": SEEN,
    "\\Answered": ANSWERED,
    "\\Flagged": FLAGGED,
    "\\Deleted": DELETED,
    "\\Draft": DRAFT,
}
SEPARATOR = "/"


#: RFC 4314 section 2.1: lookup, read, keep \\Seen, write flags, insert, post, create below, delete the folder, set
#: \\Deleted, expunge, administer.
ALL_RIGHTS = RIGHTS


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder as a reader sees it. ``name`` is the whole path with "/" between levels ("INBOX", "Archive/2024",
    "Other Users/bob/Projects"), in Unicode; ``account`` is the owner's, ``rights`` are the reader's (RFC 4314) and
    ``reader`` is the reader's account, 0 where that is the owner."""

    id: int
    account: int
    shard: int
    name: str
    uidvalidity: int
    special_use: str | None
    subscribed: bool
    kind: str = "mail"
    rights: str = ALL_RIGHTS
    reader: int = 0


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """Counters of a folder, kept exact in the transactions that change it. Sizes in octets."""

    messages: int
    unseen: int
    deleted: int
    size: int
    uidnext: int
    uidvalidity: int
    highest_modseq: int


@dataclass(frozen=True, slots=True)
class Quota:
    """Use and limit of an account: octets and messages; a limit of 0 means none."""

    size: int
    size_limit: int
    messages: int
    messages_limit: int


@dataclass(slots=True)
class NewMessage:
    """A message to append. ``octets`` has CRLF line ends, or ``spool`` (from ``Mailbox.spool``) holds them; ``flags`` are
    IMAP flag names; ``date`` is unix time (INTERNALDATE), 0 for now."""

    octets: bytes = b""
    flags: tuple[str, ...] = ()
    date: int = 0
    spool: Spool | None = None


@dataclass(frozen=True, slots=True)
class AppendResult:
    uidvalidity: int
    uids: Sequence[int]


@dataclass(frozen=True, slots=True)
class CopyResult:
    """RFC 4315 COPYUID: ``source_uids[i]`` became ``target_uids[i]``."""

    uidvalidity: int
    source_uids: Sequence[int]
    target_uids: Sequence[int]


@dataclass(frozen=True, slots=True)
class StoreResult:
    """``changed``: UIDs whose flags were set (also where they had the value already); ``modified``: those that
    failed UNCHANGEDSINCE (RFC 7162 MODIFIED); ``modseq``: that of the change, 0 where nothing changed."""

    changed: Sequence[int]
    modified: Sequence[int]
    modseq: int


class EventKind(IntEnum):
    EXISTS = 1
    FLAGS = 2
    EXPUNGE = 3


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a view: ``uids`` rise. ``origin`` is the object that its author passed to the verb, else None."""

    kind: EventKind
    uids: Sequence[int]
    modseq: int
    origin: object | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where a message's octets lie: ``overlay`` (headers of this recipient) followed by the pieces of the log.

    ``pieces`` are (file id, offset, length) in octets; ``size`` counts overlay and pieces.
    """

    size: int
    overlay: bytes
    pieces: tuple[tuple[int, int, int], ...]
