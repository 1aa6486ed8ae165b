"""What was removed since a backup label, as a document (JSON) in each folder and one above them (BKP-02).

Invariants: nothing is changed; whoever keeps a chain of incremental copies can tell from one document what is gone, also when the
server has forgotten what was deleted: "present" names everything that is there now.

In a folder: {"format", "since", "uidvalidity", "present": "1:40,42", "complete", "removed": [{"uid", "at", "date", "size"}]}.
Above the folders: {"format", "since", "present": [names], "complete", "removed": [{"name", "at", "messages"}]}. ``complete`` is
false where what was deleted since the label may be forgotten already, or is too much to be told. A message that was moved
elsewhere is neither present nor among the removed ones.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from typing import Any

from mailstead.backup_tree.services import TreeServices
from mailstead.mailbox.model import Folder
from mailstead.store.undelete import MOST, deleted_folders, removed_messages

FORMAT = 1
DAY = 86_400
SLICE = 500
HELD_SECONDS = 5.0
"""So long what an owner removed is taken for known: it is read for all of his folders at once."""
MOST_HELD = 100
Rows = list[tuple[int, int, int, int, int]]


def uid_set(uids: Iterable[int]) -> str:
    """Rising uids as IMAP writes a set of them: 1:40,42."""
    parts: list[str] = []
    first = last = 0
    for uid in uids:
        if uid == last + 1 and first:
            last = uid
            continue
        if first:
            parts.append(f"{first}:{last}" if last > first else str(first))
        first = last = uid
    if first:
        parts.append(f"{first}:{last}" if last > first else str(first))
    return ",".join(parts)


class Removals:
    """Since one moment (unix time)."""

    def __init__(self, services: TreeServices, since: int) -> None:
        self._services = services
        self._since = since
        self._held: dict[int, tuple[float, Rows]] = {}

    async def document(self, owner: int, shard: int, folder: Folder | None) -> bytes:
        """Of a folder, or of all folders of an owner where none is given."""
        table: dict[str, Any] = {"format": FORMAT, "kind": "removed", "since": self._since}
        store = self._services.store
        if folder is None:
            gone = await asyncio.to_thread(deleted_folders, store.data_dir, shard, owner)
            table["present"] = [one.name for one in await self._services.mailbox.folders(owner)]
            table["complete"] = self._remembered()
            table["removed"] = [{"name": one.name, "at": one.at, "messages": one.messages} for one in gone if one.at >= self._since]
            return json.dumps(table, ensure_ascii=False, indent=1, sort_keys=True).encode()
        rows = await self._rows(owner, shard)
        table["uidvalidity"] = folder.uidvalidity
        table["present"] = uid_set([uid async for uid in self._uids(folder)])
        table["complete"] = self._remembered() and len(rows) < MOST
        table["removed"] = [{"uid": row[1], "at": row[2], "date": row[3], "size": row[4]} for row in rows if row[0] == folder.id]
        return json.dumps(table, indent=1, sort_keys=True).encode()

    def _remembered(self) -> bool:
        days = int(self._services.directory.settings.service("server").retentionDays)
        return self._since > time.time() - days * DAY

    async def _rows(self, owner: int, shard: int) -> Rows:
        looked, rows = self._held.get(owner, (0.0, []))
        if not looked or time.monotonic() - looked >= HELD_SECONDS:
            rows = await asyncio.to_thread(removed_messages, self._services.store.data_dir, shard, owner, self._since)
            if len(self._held) >= MOST_HELD:
                self._held.clear()
            self._held[owner] = time.monotonic(), rows
        return rows

    async def _uids(self, folder: Folder) -> Any:
        index = self._services.store.mail_index(folder.shard)
        last = 0
        while found := index.slice(folder.id, last, 1 << 40, SLICE):
            for row in found:
                yield row[0]
            last = found[-1][0]
            await asyncio.sleep(0)
