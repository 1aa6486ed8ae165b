"""Notes on folders and on the account (RFC 5464): entries that programs keep for themselves or for all readers.

Invariants: names of entries are lower case, begin with ``/private/`` (each reader's own) or ``/shared/`` (everybody's);
a value has at most ``MAX_VALUE`` octets, a folder at most ``MAX_ENTRIES`` of a kind, an account and its folders together
``MAX_ACCOUNT`` octets of a kind.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailstead.mailbox.errors import FolderMissing, LimitReached, MailboxError, RightMissing
from mailstead.mailbox.model import Folder
from mailstead.mailbox.sharing import SharingVerbs
from mailstead.store.operations import Operation, SetMetadata

MAX_VALUE = 65_536
MAX_ENTRIES = 100
MAX_ACCOUNT = 4 << 20
MAX_NAME = 1_000
_READ = set("rswip")


class TooManyEntries(LimitReached):
    """No further entry fits (RFC 5464 METADATA TOOMANY)."""


class ValueTooLarge(MailboxError):
    """A value is larger than ``MAX_VALUE`` (RFC 5464 METADATA MAXSIZE)."""


class MetadataVerbs(SharingVerbs):
    """``folder`` None stands for the account itself (the empty name in RFC 5464)."""

    def _annotated(self, account: int, folder: Folder | None) -> tuple[int, int, int]:
        """Owner, folder id, and the reader under whom private entries are kept."""
        if folder is None:
            return account, 0, account
        if folder.reader and ("l" not in folder.rights or not _READ & set(folder.rights)):
            raise RightMissing("you have no right to the notes on this folder")
        return folder.account, folder.id, folder.reader or folder.account

    async def metadata(self, account: int, folder: Folder | None) -> dict[str, bytes]:
        """All entries that a reader sees. Raises RightMissing."""
        owner, id, reader = self._annotated(account, folder)
        shard = await self._ensure(owner)
        reads = self._store.sharing(shard)
        found = dict(reads.metadata(owner, id, reader))
        if folder is not None:
            found.update(reads.metadata(owner, id, 0))
        waiting = self._store.durable(shard, reads.commit_seq())
        if waiting is not None:
            await self._done(waiting)
        return found

    async def set_metadata(self, account: int, folder: Folder | None, entries: Mapping[str, bytes | None]) -> None:
        """Set entries, all or none; None removes one. Raises RightMissing, TooManyEntries, ValueTooLarge, FolderMissing."""
        owner, id, reader = self._annotated(account, folder)
        shard = await self._ensure(owner)
        reads = self._store.sharing(shard)
        operations: list[Operation] = []
        for whose, start in ((reader, "/private/"), (0, "/shared/")):
            rows = [(name, value) for name, value in entries.items() if name.startswith(start)]
            if not rows:
                continue
            if not whose:
                if folder is None:
                    raise RightMissing("notes for everybody on the server are its administrator's")
                self._need(folder, "w")
            if any(value is not None and len(value) > MAX_VALUE for _, value in rows):
                raise ValueTooLarge(f"a value has at most {MAX_VALUE} octets")
            after = {name for name, _ in reads.metadata(owner, id, whose)}
            after |= {name for name, value in rows if value is not None}
            after -= {name for name, value in rows if value is None}
            if len(after) > MAX_ENTRIES:
                raise TooManyEntries(f"no more than {MAX_ENTRIES} entries")
            more = sum(len(name) + len(value) for name, value in rows if value is not None)
            if more and reads.metadata_size(owner, whose) + more > MAX_ACCOUNT:
                raise TooManyEntries(f"no more than {MAX_ACCOUNT} octets on all folders")
            operations.append(SetMetadata(shard, owner, id, whose, rows))
        if operations:
            await self._done(self._store.change(operations))
        elif folder is not None and self._store.mail_index(shard).head(id) is None:
            raise FolderMissing("no such folder")
