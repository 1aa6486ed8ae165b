"""POP3 unique ids that messages bring along from another server, so that clients need not fetch all again (POP-01).

Invariants: an id has 1 to 70 printable characters (RFC 1939 section 7) and names one message of its folder only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.metadata import MetadataVerbs
from mailstead.mailbox.model import Folder
from mailstead.store.operations import SetUniqueIds

_valid = re.compile(r"[!-~]{1,70}").fullmatch


class UniqueIdRefused(MailboxError):
    """An id that is no id, or that another message has."""


class UniqueIdVerbs(MetadataVerbs):
    """Of a folder, by uid."""

    def unique_ids(self, folder: Folder) -> dict[int, str]:
        """The ids that were brought along; most messages have none."""
        return dict(self._store.mail_index(folder.shard).unique_ids(folder.id))

    async def set_unique_ids(self, folder: Folder, ids: Mapping[int, str]) -> int:
        """Give messages ids; returns how many of them are there. Raises UniqueIdRefused."""
        wrong = next((name for name in ids.values() if not _valid(name)), None)
        if wrong is not None:
            raise UniqueIdRefused(f"{wrong[:80]!r} is not a unique id")
        taken = {name for uid, name in self.unique_ids(folder).items() if uid not in ids}
        names = set(ids.values())
        if len(names) < len(ids) or names & taken:
            raise UniqueIdRefused("two messages would have the same unique id")
        (result,) = await self._done(self._store.change([SetUniqueIds(folder.shard, folder.id, sorted(ids.items()))]))
        return len(result.uids)
