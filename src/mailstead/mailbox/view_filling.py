"""The arrays of a large folder, filled from the newest message down while others change the folder.

Invariants
- What is filled is the folder as it was when it was opened: the number of messages and their positions never change
  while this goes on.  Messages that went meanwhile stand there as ghosts, so that positions are right; those that came
  are left out.  The view's first refresh afterwards brings both in, and all changes of flags.
- Positions from ``low`` on are filled; below they are 0, which is lower than any UID, so the array can be searched.
- Each step is one read transaction: the rows below ``floor``, and what went since the step before.

A message costs 20 octets; a step takes a few milliseconds at most.
"""

from __future__ import annotations

import logging
from array import array
from itertools import chain

import msgspec

from mailstead.mailbox.errors import FolderMissing
from mailstead.store.engine import MailIndex, SmallRow
from mailstead.store.operations import uids_in

#: Rows read in one step.
LOAD_SLICE = 4_000
logger = logging.getLogger("mailstead.mailbox")
_decode_ranges = msgspec.msgpack.Decoder(list[int]).decode


class Filling:
    """One folder's arrays, its messages with UIDs below ``uidnext`` as they were at ``modseq``. The owner makes room in the
    columns and sets ``low`` to the number of messages before the first step."""

    def __init__(self, index: MailIndex, folder: int, uidnext: int, modseq: int) -> None:
        self.uids: array[int] = array("I")
        self.flags: array[int] = array("Q")
        self.modseqs: array[int] = array("Q")
        self.low = 0
        self.commit = 0
        self.done = False
        self._index = index
        self._folder = folder
        self._floor = uidnext
        self._opened = self._since = modseq
        self._ghosts: set[int] = set()

    def step(self, limit: int) -> None:
        """Fill some more, ``limit`` messages or so. Raises FolderMissing."""
        older = self._index.older(self._folder, self._floor, limit, self._since)
        if older is None:
            raise FolderMissing("the folder is gone")
        self.commit, self._since = older.commit, older.modseq
        for packed in older.gone:
            self._ghosts.update(uid for uid in uids_in(_decode_ranges(packed)) if uid < self._floor)
        rows = older.rows
        self.done = len(rows) < limit
        bottom = 0 if self.done else rows[-1][0]
        if self._ghosts:
            rows = self._with_ghosts(rows, bottom)
        if len(rows) > self.low:
            logger.error("folder %d has more messages than it counts; fsck repairs it", self._folder)
            rows = rows[: self.low]
        if rows:
            uids, flags, modseqs = zip(*reversed(rows), strict=True)
            start, self.low = self.low - len(rows), self.low - len(rows)
            end = start + len(rows)
            self.uids[start:end] = array("I", uids)
            self.flags[start:end] = array("Q", flags)
            self.modseqs[start:end] = array("Q", modseqs)
        self._floor = bottom

    def _with_ghosts(self, rows: list[SmallRow], bottom: int) -> list[SmallRow]:
        here = [uid for uid in self._ghosts if uid > bottom]
        self._ghosts.difference_update(here)
        return sorted(chain(rows, ((uid, 0, self._opened) for uid in here)), reverse=True)
