"""Removing messages of a folder by age and size: what PURGE does, and what empties Trash and Spam by itself (QTA-03).

Invariants: a purged message can be brought back within the retention time, like any that was deleted; the event loop is
given its turn
between slices; a condition that says nothing is refused by who asks, never taken for "everything" by accident.

The grammar: `older than <n> days`, or terms `age>n[h|d]`, `size>n[K|M]` (also with `<`), all of which must hold; empty for
everything.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass

from mailstead.mailbox.model import Folder
from mailstead.mailbox.service import Mailbox

SLICE = 500
MAX_TEXT = 512
_OLDER = re.compile(r"older\s+than\s+(\d{1,6})\s+days?", re.IGNORECASE)
_TERM = re.compile(r"(age|size)\s*([<>])\s*(\d{1,15})\s*([a-z]?)", re.IGNORECASE)
_UNITS = {"age": {"": 1, "h": 3600, "d": 86_400}, "size": {"": 1, "k": 1024, "m": 1 << 20}}


@dataclass(frozen=True, slots=True)
class PurgeCondition:
    """Bounds that a message must be within: age in seconds since it came into the folder, size in octets; None for no bound."""

    min_age: int | None = None
    max_age: int | None = None
    min_size: int | None = None
    max_size: int | None = None

    def holds(self, saved: int, size: int, now: int) -> bool:
        """Whether a message that came at `saved` (unix time) is to go."""
        age = now - saved
        return (
            (self.min_age is None or age > self.min_age)
            and (self.max_age is None or age < self.max_age)
            and (self.min_size is None or size > self.min_size)
            and (self.max_size is None or size < self.max_size)
        )


def parse_condition(text: str) -> PurgeCondition:
    """Raises ValueError with what was not understood."""
    rest = text.strip()
    if len(rest) > MAX_TEXT:
        raise ValueError(f"a condition has at most {MAX_TEXT} characters")
    if not rest:
        return PurgeCondition()
    older = _OLDER.fullmatch(rest)
    if older is not None:
        return PurgeCondition(min_age=int(older[1]) * 86_400)
    bounds: dict[str, int] = {}
    place = 0
    while place < len(rest):
        term = _TERM.match(rest, place)
        unit = _UNITS[term[1].lower()].get(term[4].lower()) if term is not None else None
        if term is None or unit is None:
            raise ValueError(f"{rest[place : place + 40]!r} is no condition; write: older than <n> days, age>n[h|d], size>n[K|M]")
        bounds[("min_" if term[2] == ">" else "max_") + term[1].lower()] = int(term[3]) * unit
        place = term.end()
        while place < len(rest) and rest[place] in " \t,":
            place += 1
    return PurgeCondition(**bounds)


async def purge(mailbox: Mailbox, folder: Folder, condition: PurgeCondition) -> int:
    """Remove the folder's messages for which the condition holds; how many went. Raises FolderMissing, RightMissing."""
    now = int(time.time())
    view = await mailbox.open(folder)
    removed = 0
    try:
        uids = list(view.uids)
        for start in range(0, len(uids), SLICE):
            rows = mailbox.rows(view, uids[start : start + SLICE], ("saved", "size"))
            going = [uid for uid, saved, size in rows if condition.holds(saved, size, now)]
            removed += len(await mailbox.remove(view, going))
            await asyncio.sleep(0)
    finally:
        view.release()
    return removed
