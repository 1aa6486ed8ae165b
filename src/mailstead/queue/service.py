"""What an administrator does with the queue (SMO-13).

Invariants: a verb never changes a recipient while an attempt works on it: it waits a little for the attempt to end, and
says so where it did not; what a verb has returned from is durable; a listing never holds the index for long.

The verbs run in the dispatcher's process, because the dispatcher's memory says who is being tried. Between reading
a row and submitting its change nothing is awaited, so a later outcome of an attempt always comes later in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from mailstead.queue.dispatcher import Dispatcher
from mailstead.queue.entry import GIVE_UP, REPORT_OWED, Recipient
from mailstead.queue.queue_index import QueueIndex
from mailstead.queue.settle import Row, row_of
from mailstead.store.apply_folders import BOUNCED, DEFERRED
from mailstead.store.operations import QueueOutcome
from mailstead.store.service import QUEUE, Store

WAIT_SECONDS = 5.0
LOOK_AT = 2000
"""Rows that one call of ``list`` looks at."""
BATCH = 256
RowMaker = Callable[[Recipient], Row]
ADMINISTRATOR = "5.7.1 returned by the administrator"


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold. ``sender`` and ``recipient`` are parts of addresses, in any case; ``domain`` is the
    recipient's; ``deferred``: True for those that wait, False for those that are due."""

    sender: str = ""
    recipient: str = ""
    domain: str = ""
    deferred: bool | None = None


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A recipient in the queue. Times are unix seconds, size octets; ``status`` are the last words about it."""

    id: int
    number: int
    sender: str
    recipient: str
    size: int
    received: int
    due: int
    attempts: int
    status: str


@dataclass(frozen=True, slots=True)
class Page:
    """``after`` is what to ask for next; None at the end."""

    items: list[QueueItem]
    after: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Counters:
    """Messages and recipients in the queue."""

    messages: int
    due: int
    deferred: int


@dataclass(frozen=True, slots=True)
class Done:
    """How many recipients a verb changed, and how many it could not because an attempt was at work on them."""

    changed: int
    busy: int


class QueueService:
    """The verbs. Permissions are the faces' to check."""

    def __init__(self, store: Store, dispatcher: Dispatcher) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._index = QueueIndex(store.queue_index)

    def list(self, filter: Filter = Filter(), after: tuple[int, int] = (-1, -1), limit: int = 100) -> Page:
        """Recipients behind ``after``, in the order of arrival. A page may be short, or empty, before the end."""
        now = int(time.time())
        rows = self._index.walk(after, LOOK_AT)
        items: list[QueueItem] = []
        for recipient, sender, size, received in rows:
            if _matches(filter, recipient, sender, now):
                items.append(
                    QueueItem(
                        recipient.mid,
                        recipient.number,
                        sender,
                        recipient.address,
                        size,
                        received,
                        recipient.due,
                        recipient.attempts,
                        recipient.status,
                    )
                )
                if len(items) >= limit:
                    return Page(items, recipient.key)
        return Page(items, rows[-1][0].key if len(rows) == LOOK_AT else None)

    def counters(self) -> Counters:
        """Blocking in proportion to the queue (about 50 ms for a million): for reports, not for every page."""
        return Counters(*self._index.counts(int(time.time())))

    async def retry(self, id: int) -> Done:
        """Try a message's recipients now; one that is being tried counts as changed. Raises Unavailable."""
        now = int(time.time())
        done = await self._each(
            id,
            lambda recipient: row_of(recipient, DEFERRED, due=0, status=recipient.status),
            # One that is not due any more has had its attempt, and is only not let go yet.
            wait_for=lambda recipient: recipient.due > now,
        )
        return Done(done.changed + done.busy, 0)

    async def retry_all(self, filter: Filter = Filter()) -> Done:
        """Try everything that matches now. Raises Unavailable."""
        after: tuple[int, int] | None = (-1, -1)
        changed = 0
        while after is not None:
            page = self.list(filter, after, BATCH)
            done = await asyncio.gather(*(self.retry(id) for id in dict.fromkeys(item.id for item in page.items)))
            changed += sum(each.changed for each in done)
            after = page.after
        return Done(changed, 0)

    async def bounce(self, id: int, reason: str = ADMINISTRATOR) -> Done:
        """Return a message to its sender. ``reason`` begins with an enhanced status code. Raises Unavailable."""
        return await self._each(
            id,
            lambda recipient: row_of(
                recipient,
                DEFERRED,
                due=0,
                notified=recipient.notified | (0 if recipient.notified & REPORT_OWED else GIVE_UP),
                status=reason[:500],
            ),
        )

    async def remove(self, id: int) -> Done:
        """Remove a message from the queue without a word to anybody. Raises Unavailable."""
        return await self._each(id, lambda recipient: row_of(recipient, BOUNCED, status="removed by the administrator"))

    async def _each(self, id: int, row: RowMaker, wait_for: Callable[[Recipient], bool] = lambda _: True) -> Done:
        """Change all recipients of a message that nothing is done about, in one record; of those who something is done about,
        these are waited for."""
        deadline = time.monotonic() + WAIT_SECONDS
        for recipient in filter(wait_for, self._index.recipients(id)):
            await self._dispatcher.untouched(recipient.key, deadline - time.monotonic())
        waiting = self._index.recipients(id)
        rows = [row(recipient) for recipient in waiting if not self._dispatcher.holds(recipient.key)]
        if rows:
            await self._store.change([QueueOutcome(QUEUE, id, rows)], shown=False)
            self._dispatcher.wake()
        return Done(len(rows), len(waiting) - len(rows))


def _matches(filter: Filter, recipient: Recipient, sender: str, now: int) -> bool:
    return (
        filter.sender.lower() in sender.lower()
        and filter.recipient.lower() in recipient.address.lower()
        and (not filter.domain or filter.domain.lower() == recipient.route)
        and (filter.deferred is None or filter.deferred == (recipient.due > now))
    )
