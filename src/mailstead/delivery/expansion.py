"""Expanding lists and large groups in the background, chunk by chunk (GRP-01, LST-01; design section 4).

Invariants
- What a chunk gives and how far the expansion has come are one record: after a crash it goes on behind what was given, and
  each member gets one copy.
- One process expands at a time (a lock file says so).
- Memory is a chunk, a page of members and what is known as given of at most ACTIVE expansions, whatever the size of the list.
- Expansions take turns, so a large one does not hold up a small one; one that fails waits longer each time and stops nobody.

How: jobs lie in the queue's index in a state of their own. A job of a group leads to its members; one of a list is the list
service's to decide, which may make a job of copies out of it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import apsw
import msgspec

from mailstead.delivery.jobs import ExpansionJob, JobKind
from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient, Result
from mailstead.delivery.service import Delivery
from mailstead.delivery.stored import StoredMail, load
from mailstead.delivery.targets import Plan
from mailstead.directory.model import RecipientKind, Resolution
from mailstead.directory.resolve import Expanded
from mailstead.observe.log import fault, get_logger
from mailstead.observe.receipt import Delivered, Receipt, encode
from mailstead.queue.entry import Recipient
from mailstead.queue.queue_index import START, QueueIndex
from mailstead.store.apply_folders import DONE
from mailstead.store.operations import QueueOutcome
from mailstead.store.record import DamagedRecord, Target, TargetKind
from mailstead.store.service import QUEUE
from mailstead.store.submission import TargetOutcome, Unavailable

log = get_logger("PROCESSING")

CHUNK = 120
"""Members of one record: so many rows that the index is not held for long."""
ACTIVE = 4
"""Expansions that take turns."""
LOOK_AT = 64
POLL_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0


@dataclass(slots=True)
class Active:
    """An expansion at work: its row, its message, and where it is among the members."""

    row: Recipient
    job: ExpansionJob
    mail: StoredMail
    walk: Iterator[Expanded] | None = None
    message: AcceptedMessage | None = None
    given: int = 0
    state: object = None
    """What the handler of this kind of job keeps between chunks."""

    def stage(self, *words: str) -> Target:
        """The target that says which stage a list's job has come to; a crash behind the record goes on there."""
        self.job = msgspec.structs.replace(self.job, path=words)
        return self.progress(words)

    def progress(self, path: tuple[str, ...] | None) -> Target:
        """The target that says how far it has come; None: to its end."""
        detail = b"" if path is None else msgspec.structs.replace(self.job, path=path).encode()
        mid, number = self.row.key
        return Target(TargetKind.EXPANSION, QUEUE, mid, number, mid=mid, detail=detail)


Step = Callable[[Active], Awaitable[bool]]
"""One chunk of an expansion; True when it has come to its end."""


class NotYet(Exception):
    """A handler's job has to wait until another one has come to its end; it is tried again after a pause."""


@dataclass(slots=True)
class _Pause:
    until: float
    seconds: float


@dataclass(slots=True)
class _Counts:
    chunks: int = 0
    given: int = 0
    finished: int = 0
    paused: dict[tuple[int, int], _Pause] = field(default_factory=dict)


class Expander:
    """The duty. ``handlers``: who does a chunk of other kinds of jobs than groups."""

    def __init__(self, delivery: Delivery, handlers: dict[str, Step] | None = None) -> None:
        self._delivery = delivery
        self._store = delivery.store
        self._directory = delivery.directory
        self._index = QueueIndex(self._store.queue_index)
        self._handlers: dict[str, Step] = {JobKind.GROUP: self._group, **(handlers or {})}
        self._wake = asyncio.Event()
        self._stopping = False
        self._active: dict[tuple[int, int], Active] = {}
        self.counts = _Counts()

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until ``stop`` or cancelled; waits first while another process is at it."""
        lock = await self._lock()
        if lock < 0:
            return
        self._store.listen_to_expansions(self._wake.set)
        try:
            while not self._stopping:
                self._wake.clear()
                wait = POLL_SECONDS
                try:
                    busy = await self._round()
                except (apsw.Error, Unavailable) as error:
                    log.error("expansions cannot be read", reason=str(error))
                    busy, wait = False, 1.0
                if busy:
                    continue
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            self._store.listen_to_expansions(None)
            os.close(lock)

    async def stop(self) -> None:
        """Begin no further chunk."""
        self._stopping = True
        self._wake.set()

    async def _lock(self) -> int:
        path = self._store.data_dir / "run" / "expander.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        while not self._stopping:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                await asyncio.sleep(0.2)
        os.close(lock)
        return -1

    async def _round(self) -> bool:
        """A chunk of each expansion that has its turn; whether there is more to do at once."""
        await self._admit()
        for key, active in list(self._active.items()):
            if self._stopping:
                return False
            try:
                done = await self._handlers[active.job.kind](active)
            except Exception as error:
                del self._active[key]
                self._pause(key, error)
                continue
            self.counts.chunks += 1
            self.counts.paused.pop(key, None)
            if done:
                self.counts.finished += 1
                del self._active[key]
            await asyncio.sleep(0)
        return bool(self._active) or self._wake.is_set()

    def _pause(self, key: tuple[int, int], error: BaseException) -> None:
        known = self.counts.paused.get(key)
        seconds = min(LONGEST_PAUSE, known.seconds * 2) if known else FIRST_PAUSE
        self.counts.paused[key] = _Pause(time.monotonic() + seconds, seconds)
        if isinstance(error, NotYet):
            log.info("expansion waits", message=key[0], seconds=int(seconds), reason=str(error))
        elif isinstance(error, Unavailable | OSError | DamagedRecord | apsw.Error):
            log.error("expansion put off", message=key[0], seconds=int(seconds), reason=str(error))
        else:
            fault(log, "expansion failed by a fault of ours, tried again later", error, message=key[0])

    async def _admit(self) -> None:
        after = START
        while len(self._active) < ACTIVE:
            rows = self._index.expansions(after, LOOK_AT)
            for row in rows:
                after = (row.due, row.mid, row.number)
                pause = self.counts.paused.get(row.key)
                if row.key in self._active or (pause is not None and pause.until > time.monotonic()):
                    continue
                await self._begin(row)
                if len(self._active) >= ACTIVE:
                    return
            if len(rows) < LOOK_AT:
                return

    async def _begin(self, row: Recipient) -> None:
        job, entry = ExpansionJob.decode(row.detail), self._index.entry(row.mid)
        if job is None or entry is None or job.kind not in self._handlers:
            self._pause(row.key, ValueError("a job that cannot be read"))
            return
        try:
            self._active[row.key] = Active(row, job, await load(self._store, entry))
        except (OSError, DamagedRecord) as error:
            self._pause(row.key, error)

    # -- chunks -------------------------------------------------------------------------------------------------

    async def _group(self, active: Active) -> bool:
        """A chunk of a group's members; the sender hears of those who did not get it."""
        if active.walk is None:
            active.walk = self._directory.walk(active.job.object_id, active.job.path)
            active.message = self.message_of(active)
        message = active.message
        assert message is not None
        plan, path, count = Plan(), active.job.path, 0
        async with self._delivery.planner.planning(plan):
            for one in active.walk:
                count += 1
                path = one.path
                await self._delivery.planner.route(plan, message, 0, one.resolution, message.recipients[0])
                if count >= CHUNK:
                    break
        if not count and not active.job.path:
            plan.failed[0] = Result.NO_MEMBERS  # emptied, disabled or deleted since it was accepted
        await self.give(active, plan, None if count < CHUNK else path)
        return count < CHUNK

    async def refuse(self, active: Active) -> None:
        """End a job whose list or group is gone, and tell the sender."""
        active.message = self.message_of(active)
        plan = Plan()
        plan.failed[0] = Result.NO_MEMBERS
        await self.give(active, plan, None)

    def message_of(self, active: Active) -> AcceptedMessage:
        """The message as the planner and the reports see it; its recipient is the list or group."""
        job, mail = active.job, active.mail
        recipient = self._directory.recipient(job.object_id)
        kind = recipient.kind if recipient is not None else RecipientKind.UNKNOWN_USER
        found = Resolution(kind, recipient.address if recipient is not None else job.address, job.address, None, job.object_id)
        return AcceptedMessage(
            f"expansion-{active.row.mid:x}",
            mail.entry.sender,
            [EnvelopeRecipient(job.address, found, job.notify, job.orcpt)],
            b"",
            mail.inline,
            mail.index.size,
            mail.entry.received,
            body_type=job.body,
            utf8=job.utf8,
            envid=job.envid,
            ret=job.ret,
        )

    async def give(self, active: Active, plan: Plan, path: tuple[str, ...] | None) -> list[TargetOutcome]:
        """Deliver a chunk of a group and note how far it has come, then tell the sender what could not be delivered."""
        message = active.message
        assert message is not None
        front = b"Return-Path: <%b>\r\n" % message.sender.encode("utf-8", "replace")
        outcomes = await self.submit(active, plan, path, front)
        if plan.lost or plan.failed or any(outcome.outcome for outcome in outcomes):
            await self._delivery.settle(message, plan, outcomes, late=True)
        return outcomes

    async def submit(self, active: Active, plan: Plan, path: tuple[str, ...] | None, front: bytes = b"") -> list[TargetOutcome]:
        """One record: the targets of a plan, each mailbox's copy with ``front`` before it, and how far the expansion is (None:
        at its end). Gives the outcomes of the plan's targets. Raises Unavailable."""
        progress = active.progress(path)
        if not plan.targets and path is None:
            await finish(self._delivery, active.row)
            return []
        variant = self._store.new_id() if front else 0
        for target in plan.targets:
            if target.kind == TargetKind.FOLDER and not target.overlay and front:
                target.overlay, target.mid = front, variant
        sender = active.mail.entry.sender
        receipt = _receipt(active, plan)
        async with self._delivery.planner.planning(plan):
            outcomes = await self._delivery.store_copies(active.mail, [*plan.targets, progress], sender, receipt)
        active.given += len(plan.targets)
        self.counts.given += len(plan.targets)
        active.job = msgspec.structs.replace(active.job, path=path or ())
        return outcomes[:-1]


def _receipt(active: Active, plan: Plan) -> bytes:
    """What the copies of a chunk say of how they came."""
    by = RecipientKind.GROUP if active.job.kind == JobKind.GROUP else RecipientKind.LIST
    deliveries = [
        Delivered(target.recipient, outcome="delivered" if target.kind == TargetKind.FOLDER else "queued", by=by.value)
        for target in plan.targets
    ]
    entry = active.mail.entry
    expanded = Delivered(active.job.address, outcome="expanded", by=by.value)
    return encode(
        Receipt(f"{active.row.mid:x}", float(entry.received), entry.sender, entry.size, deliveries=[expanded, *deliveries])
    )


async def finish(delivery: Delivery, row: Recipient) -> None:
    """A job is done without anything to deliver. Raises Unavailable."""
    rows = [(row.number, DONE, 0, 0, 0, "", b"")]
    await delivery.store.change([QueueOutcome(QUEUE, row.mid, rows)], shown=False)
