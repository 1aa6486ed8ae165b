"""One transaction of the dispatcher from its start to its records: attempt, outcome, reports.

Invariants: between the remote's acceptance and the submission of its record nothing is awaited; a record that the
store cannot take is offered until it can, and the recipient is not tried again meanwhile; a recipient whose report
is owed is never attempted.

``probe`` is called with the name of each point a crash test may want to cut at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from mailstead.message.dsn import Action
from mailstead.observe.log import get_logger
from mailstead.observe.metrics import bounces, queue_attempt_seconds, queue_attempts, queue_delivery_seconds
from mailstead.queue.body import MessageBody
from mailstead.queue.entry import GIVE_UP, REPORT_OWED, Entry, Recipient
from mailstead.queue.outcome import Kind, Outcome
from mailstead.queue.queue_index import QueueIndex
from mailstead.queue.report import Fate, SystemMessage, compose, wanted
from mailstead.queue.sender import Sender
from mailstead.queue.settle import Row, after_report, row_of, settle, split_words, told_of_delay
from mailstead.store.apply_changes import Refused
from mailstead.store.apply_folders import BOUNCED, DONE
from mailstead.store.operations import QueueOutcome
from mailstead.store.record import DamagedRecord
from mailstead.store.service import QUEUE, Store
from mailstead.store.submission import Unavailable

log = get_logger("SMTP-OUT")
Submit = Callable[[SystemMessage], Awaitable[bool]]
Probe = Callable[[str], None]
RECORD_RETRY = 1.0

_RESULTS = {kind: queue_attempts.labels(kind.value) for kind in Kind}


class Transactions:
    """What a dispatcher does with the recipients it has taken; shared by all its tasks."""

    def __init__(
        self, store: Store, index: QueueIndex, sender: Sender, submit: Submit, hostname: str, settings: Any, probe: Probe
    ) -> None:
        self._store = store
        self._index = index
        self._sender = sender
        self._submit = submit
        self._hostname = hostname
        self._settings = settings
        self._probe = probe

    async def run(
        self, mid: int, recipients: list[Recipient], destination: str, known: Outcome | None
    ) -> list[tuple[Recipient, Outcome]]:
        """Try ``recipients`` of a message and record what became of them; ``known``: the outcome for all, without
        a try (the destination is down). Gives the outcomes; those that are AGAIN have no record."""
        entry = self._index.entry(mid)
        if entry is None:
            await self._orphans(mid)
            return []
        if recipients[0].wishes.sender:
            entry = replace(entry, sender=recipients[0].wishes.sender)
        outgoing = self._settings.service("smtpOutgoing")
        owed = [recipient for recipient in recipients if recipient.notified & REPORT_OWED]
        given_up = [recipient for recipient in recipients if recipient.notified & GIVE_UP and recipient not in owed]
        tried = [recipient for recipient in recipients if not recipient.notified & (REPORT_OWED | GIVE_UP)]
        pairs: list[tuple[Recipient, Outcome]] = []
        if tried:
            pairs = await self._attempt(entry, tried, destination, known, outgoing)
        await self._finish(entry, [pair for pair in pairs if pair[1].kind is not Kind.AGAIN], outgoing)
        if given_up:
            await self._give_up(entry, [Fate(each, *split_words(each.status)) for each in given_up], outgoing)
        if owed:
            await self._relayed(entry, [Fate(each, *split_words(each.status)) for each in owed], outgoing)
        return pairs

    async def _orphans(self, mid: int) -> None:
        """A message that is gone: removed by an administrator with its recipients, else its recipients are damage."""
        left = self._index.recipients(mid)
        if left:
            addresses = [recipient.address for recipient in left]
            log.error("queued recipients without a message removed", message=mid, recipients=addresses[:100])
            await self._record(mid, [row_of(recipient, BOUNCED, status="5.3.0 the message is lost") for recipient in left])

    async def _attempt(
        self, entry: Entry, tried: list[Recipient], destination: str, known: Outcome | None, outgoing: Any
    ) -> list[tuple[Recipient, Outcome]]:
        if known is not None:
            outcomes = [known] * len(tried)
            log.info("deferred without an attempt", message=entry.mid, destination=destination, recipients=len(tried))
        else:
            self._probe("before attempt")
            begin = time.monotonic()
            outcomes = await self._sender.deliver(entry, tried, destination, outgoing)
            self._probe("after attempt")
            self._log(entry, tried, outcomes, destination, time.monotonic() - begin)
        return list(zip(tried, outcomes, strict=True))

    @staticmethod
    def _log(entry: Entry, tried: list[Recipient], outcomes: list[Outcome], destination: str, seconds: float) -> None:
        queue_attempt_seconds.observe(seconds)
        age = max(0, int(time.time()) - entry.received)
        for recipient, outcome in zip(tried, outcomes, strict=True):
            _RESULTS[outcome.kind].inc()
            if outcome.kind is Kind.DELIVERED:
                queue_delivery_seconds.observe(age)
            log.info(
                "attempt",
                message=entry.mid,
                recipient=recipient.address,
                destination=destination,
                result=outcome.kind.value,
                attempt=recipient.attempts + 1,
                host=outcome.host,
                address=outcome.address,
                status=outcome.status,
                reply=outcome.text,
                tls=outcome.tls,
                ms=round(seconds * 1000, 1),
                age=age,
            )

    # -- afterwards --------------------------------------------------------------------------------------------

    async def _finish(self, entry: Entry, pairs: list[tuple[Recipient, Outcome]], outgoing: Any) -> None:
        if not pairs:
            return
        now = int(time.time())
        result = settle(entry, pairs, now, self._index, self._settings.service("processing"), outgoing)
        if result.rows:
            await self._record(entry.mid, result.rows)
        if result.failed:
            await self._give_up(entry, result.failed, outgoing)
        if result.relayed:
            await self._relayed(entry, result.relayed, outgoing)
        if result.delayed and await self._report("delayed", entry, result.delayed, outgoing):
            await self._record(entry.mid, told_of_delay(result.rows, result.delayed))

    async def _give_up(self, entry: Entry, fates: list[Fate], outgoing: Any) -> None:
        """Report a failure for good, then let the recipients go."""
        told = [fate for fate in fates if outgoing.sendNdr and wanted(entry, fate.recipient, "FAILURE")]
        untold = [fate for fate in fates if fate not in told]
        if untold:
            rows = [row_of(fate.recipient, BOUNCED, status=f"{fate.status} {fate.text}"[:500]) for fate in untold]
            await self._record(entry.mid, rows)
        if told:
            accepted = await self._report("failed", entry, told, outgoing)
            await self._record(entry.mid, after_report(told, accepted, BOUNCED, GIVE_UP, int(time.time())))
        for fate in fates:
            log.info(
                "recipient given up",
                message=entry.mid,
                recipient=fate.recipient.address,
                status=fate.status,
                reason=fate.text,
                reported=fate in told,
            )

    async def _relayed(self, entry: Entry, fates: list[Fate], outgoing: Any) -> None:
        accepted = await self._report("relayed", entry, fates, outgoing)
        await self._record(entry.mid, after_report(fates, accepted, DONE, REPORT_OWED, int(time.time())))

    async def _report(self, kind: Action, entry: Entry, fates: list[Fate], outgoing: Any) -> bool:
        """Hand a notice over; False where that has to be done again."""
        body = MessageBody(self._store, entry)
        try:
            message = compose(kind, entry, fates, body, int(time.time()), self._hostname, outgoing)
        except (OSError, DamagedRecord) as error:
            # The sender must hear of it even if the message cannot be shown any more.
            log.error("queued message cannot be read for its report", message=entry.mid, reason=str(error))
            message = compose(kind, entry, fates, Unreadable(), int(time.time()), self._hostname, outgoing)
        self._probe("before report")
        accepted = await self._submit(message)
        if accepted:
            bounces.labels(kind).inc()
        else:
            log.warning("report not accepted yet", message=entry.mid, kind=kind)
        return accepted

    async def _record(self, mid: int, rows: list[Row]) -> None:
        """Make rows durable, however long the store takes."""
        self._probe("before outcome")
        while True:
            try:
                await self._store.change([QueueOutcome(QUEUE, mid, rows)], shown=False)
                break
            except Unavailable as error:
                log.error("outcome cannot be recorded yet", message=mid, reason=str(error))
                await asyncio.sleep(RECORD_RETRY)
            except Refused as error:
                log.error("outcome refused by the store", message=mid, reason=str(error))
                break
        self._probe("after outcome")


class Unreadable(MessageBody):
    """Stands for a message whose octets are lost."""

    def __init__(self) -> None:
        self.size = 0

    def head(self, limit: int = 0) -> bytes:
        """Nothing."""
        return b""

    def read(self, limit: int) -> bytes:
        """Nothing."""
        return b""
