"""Messages of a source into a folder here, in batches that are whole or absent and noted in the ledger.

Invariants: a message is appended at most once, whatever breaks (see ledger); a message that the store will never take is
told and passed over; at the quota the copy ends, with all before it taken (QTA-06).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from mailstead.mailbox.errors import LimitReached, OverQuota
from mailstead.mailbox.model import Folder, NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.migration.ledger import Key, Ledger, digest
from mailstead.store.keywords import MAX_PER_MESSAGE
from mailstead.store.spool import INLINE_LIMIT, Spool

BATCH_MESSAGES = 200
BATCH_OCTETS = 4 << 20
_keyword = re.compile(r"[!#$&'+-\[^-z|}~]{1,255}", re.ASCII).fullmatch


@dataclass(slots=True)
class Incoming:
    """A message on its way: `body` has CRLF at every line end; `flags` are IMAP names; `date` is unix time, 0 for now."""

    key: Key
    body: bytes | Spool
    flags: tuple[str, ...] = ()
    date: int = 0

    @property
    def size(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.size

    def abandon(self) -> None:
        """It is not taken."""
        if isinstance(self.body, Spool):
            with contextlib.suppress(OSError):  # the maintenance finds the file later
                self.body.abandon()


class Appender:
    """Into one folder. `refused` has the messages that cannot be taken, with the reason."""

    def __init__(self, mailbox: Mailbox, folder: Folder, ledger: Ledger, *, limited: bool = True) -> None:
        self._mailbox = mailbox
        self._folder = folder
        self._ledger = ledger
        self._limited = limited
        self.refused: list[tuple[Key, str]] = []
        self.taken = 0

    async def run(self, batches: AsyncIterator[list[Incoming]]) -> None:
        """Append all batches; the next is fetched while one is written. Raises OverQuota, MailboxError, and what the
        iterator does."""
        waiting: list[Incoming] = []
        running: asyncio.Task[None] | None = None
        try:
            async for waiting in batches:
                if running is not None:
                    await running
                given, waiting = waiting, []
                running = asyncio.create_task(self._append(given))
            if running is not None:
                await running
        except BaseException:
            for message in waiting:
                message.abandon()
            if running is not None and not running.done():
                # What was handed to the store is let through: to break it off would leave it in doubt.
                await asyncio.wait([running])
            raise
        finally:
            if running is not None and running.done() and not running.cancelled():
                running.exception()
            await self._ledger.flush()

    async def _append(self, messages: list[Incoming]) -> None:
        done = 0
        try:
            for large, group in groupby(messages, key=lambda message: isinstance(message.body, Spool)):
                members = list(group)
                # The file of a large one is gone when it is refused, so it is never refused for another's sake.
                for part in [[one] for one in members] if large else [members]:
                    done += len(part)
                    await self._take_as_many(part)
        except BaseException:
            for message in messages[done:]:
                message.abandon()
            raise

    async def _take_as_many(self, messages: list[Incoming]) -> None:
        """All of them, or those before the quota is reached. Raises OverQuota."""
        try:
            await self._take(messages)
        except OverQuota:
            if len(messages) == 1:
                raise
            for message in messages:
                await self._take([message])

    async def _take(self, messages: Sequence[Incoming]) -> None:
        status = await self._mailbox.status(self._folder)
        digests = [digest(m.body) if isinstance(m.body, bytes) else m.body.digest for m in messages]
        flags = [" ".join(message.flags) for message in messages]
        intent = await self._ledger.intend([message.key for message in messages], flags, digests, status.uidnext)
        made = [
            NewMessage(
                message.body if isinstance(message.body, bytes) else b"",
                fitting(message.flags),
                message.date,
                None if isinstance(message.body, bytes) else message.body,
            )
            for message in messages
        ]
        try:
            result = await self._mailbox.append(self._folder, made, limited=self._limited)
        except OverQuota:
            await self._ledger.refused(intent)
            raise
        except LimitReached as error:
            await self._ledger.refused(intent)
            self.refused += [(message.key, str(error)) for message in messages]
            return
        self._ledger.taken(intent, result.uids)
        self.taken += len(messages)


def fitting(flags: Sequence[str]) -> tuple[str, ...]:
    """System flags, and as many keywords as a message may have; what is no flag here is left out."""
    system = [flag for flag in flags if flag.startswith("\\")]
    keywords = [flag for flag in flags if _keyword(flag)]
    return (*system, *keywords[:MAX_PER_MESSAGE])


def batches_of(sizes: Sequence[tuple[Key, int]]) -> list[list[Key]]:
    """Messages with their sizes, cut into batches; a large one goes alone."""
    out: list[list[Key]] = []
    held = 0
    for key, size in sizes:
        if not out or len(out[-1]) >= BATCH_MESSAGES or held + size > BATCH_OCTETS or size > INLINE_LIMIT:
            out.append([])
            held = 0
        out[-1].append(key)
        held += size if size <= INLINE_LIMIT else BATCH_OCTETS
    return out
