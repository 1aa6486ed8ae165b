"""Emptying Trash and Spam of what has lain there long enough (QTA-03).

Invariants: what goes can be brought back within the retention time, like anything that was deleted; at most `limit` messages go
in one call, the oldest first, so that a mailbox of any size takes a bounded time, and the rest goes the next time; looking at a
folder in which nothing is old costs one slice.

Messages come into a folder in the order of their UIDs, so the first that is young ends the search.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.model import Folder
from mailstead.mailbox.names import canonical
from mailstead.mailbox.purging import SLICE, PurgeCondition
from mailstead.mailbox.service import Mailbox

DAY = 86_400
LIMIT = 5_000
_USES = {"trash": "\\Trash", "spam": "\\Junk", "junk": "\\Junk", "sent": "\\Sent", "drafts": "\\Drafts", "archive": "\\Archive"}


def _named(folders: Iterable[Folder], names: Iterable[str]) -> list[Folder]:
    """Folders of these names, in any case, or of the use that a name stands for (users may have renamed theirs)."""
    wanted = {canonical(name).lower() for name in names}
    uses = {_USES[name] for name in wanted if name in _USES}
    return [one for one in folders if one.name.lower() in wanted or (one.special_use or "") in uses]


async def autopurge(mailbox: Mailbox, account: int, names: Iterable[str], days: int, *, limit: int = LIMIT) -> int:
    """Remove what has lain for more than `days` in the account's folders of these names; how many went. Raises
    MailboxError."""
    removed = 0
    for folder in _named(await mailbox.folders(account), names):
        if removed < limit and (await mailbox.status(folder)).messages:
            removed += await _purge(mailbox, folder, PurgeCondition(min_age=days * DAY), limit - removed)
    return removed


async def _purge(mailbox: Mailbox, folder: Folder, condition: PurgeCondition, limit: int) -> int:
    now, removed = int(time.time()), 0
    try:
        view = await mailbox.open(folder)
    except MailboxError:
        return 0  # deleted meanwhile
    try:
        uids = list(view.uids)
        for start in range(0, len(uids), SLICE):
            rows = mailbox.rows(view, uids[start : start + SLICE], ("saved", "size"))
            going = [uid for uid, saved, size in rows if condition.holds(saved, size, now)][: limit - removed]
            removed += len(await mailbox.remove(view, going))
            if len(going) < len(rows) or removed >= limit:
                break
            await asyncio.sleep(0)
    finally:
        view.release()
    return removed
