"""The dispatcher: takes due recipients from the queue's index and has them tried (SMO-06, SMO-07, SMO-11).

Invariants
- One dispatcher at a time works on a queue (a lock file says so, and a killed one lets go of it), so what is in its
  memory needs no durable claim.
- A recipient is in memory from its admission until its outcome is recorded, and is not looked at again meanwhile; after
  a crash it is simply due again. Only between the remote's acceptance and the record can that mean a second copy.
- Memory is bounded by the window, whatever the queue holds; a destination with very many recipients cannot keep
  the others from their turn.
- At most ``maxConnections`` transactions run, at most ``maxConnectionsPerDomain`` of a destination.

How: a scan walks the due index from its head, passing what is in memory already. When the window or a destination's
share is full the rest stays in the index: the destination fetches more by its route when it runs low, and scans go on
round-robin over the routes. A destination no host of which can be used is left alone for a while, and what becomes due
for it meanwhile is deferred with the same words; the first success brings forward all that waits for it (SMO-07).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections import OrderedDict
from typing import Any

import apsw

from mailstead.observe.log import fault, get_logger
from mailstead.observe.metrics import faults, queue_entries
from mailstead.queue.entry import Recipient
from mailstead.queue.outcome import Kind, Outcome
from mailstead.queue.queue_index import START, QueueIndex
from mailstead.queue.routing import Lookups, OwnAddress, Transport, no_transport
from mailstead.queue.sender import Sender
from mailstead.queue.transaction import Probe, Submit, Transactions
from mailstead.queue.window import Destination, Window
from mailstead.store.engine import Key
from mailstead.store.service import Store

log = get_logger("SMTP-OUT")

BATCH = 256
SCAN_ROWS = 16_384
"""Rows a scan looks at from the head before it turns to the routes."""
HEAD_SCAN_SECONDS = 2.0
"""Pause after a scan that found more rows than that."""
ROUTE_STEPS = 2000
POLL_SECONDS = 5.0
"""Between two looks at least: a hint of another process may be lost."""
HOUSEKEEPING_SECONDS = 1.0
METRICS_SECONDS = 15.0
DOWN_SECONDS = 60
STOP_SECONDS = 15.0
MAX_SETTLED = 100_000
MAX_REACHED = 10_000
FOREVER = 1 << 62


class Dispatcher:
    """``submit`` takes a notice of the server and says whether it is durably accepted. ``hostname`` is the name in EHLO
    (unless the setting has one) and in reports; ``is_own`` tells addresses this server listens on."""

    def __init__(
        self,
        store: Store,
        settings: Any,
        resolver: Lookups,
        submit: Submit,
        hostname: str,
        *,
        is_own: OwnAddress = lambda _address, _port: False,
        transport: Transport = no_transport,
        window: Window | None = None,
        probe: Probe = lambda _point: None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._index = QueueIndex(store.queue_index)

        def ca_bundle() -> str:
            return str(settings.file(settings.service("server").caBundlePath))

        self._sender = Sender(store, resolver, hostname, is_own, ca_bundle, transport)
        self._transactions = Transactions(store, self._index, self._sender, submit, hostname, settings, probe)
        self._transport = transport
        self._window = window or Window()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._head_scan_at = 0.0
        self._scanned = 0
        self._wake = asyncio.Event()
        self._stopping = False
        self._more_routes = False
        self._route = ""
        self._reached: OrderedDict[str, None] = OrderedDict()
        self._stopped = asyncio.Event()
        self._stopped.set()

    # -- life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until ``stop``. Waits first while another process is the dispatcher."""
        self._stopped.clear()
        lock = await self._lock()
        if lock < 0:
            self._stopped.set()
            return
        housekeeping = asyncio.create_task(self._keep_house(), name="queue housekeeping")
        self._store.queue_listener = self._wake.set
        try:
            while not self._stopping:
                self._wake.clear()
                begin = time.monotonic()
                try:
                    await self._scan()
                    wait = self._until_next()
                except apsw.Error as error:
                    log.error("the queue cannot be read", reason=str(error))
                    wait = 1.0
                self._pump()
                # News come with every record; looking takes at most a fifth of the time.
                await asyncio.sleep(min(1.0, 4 * (time.monotonic() - begin)))
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    pass  # something has become due
        finally:
            self._store.queue_listener = None
            housekeeping.cancel()
            await asyncio.gather(housekeeping, return_exceptions=True)
            try:
                await self._finish()
            finally:
                os.close(lock)
                self._stopped.set()

    async def stop(self) -> None:
        """Start nothing new, let running transactions end (at most STOP_SECONDS), and let go."""
        self._stopping = True
        self._wake.set()
        await self._stopped.wait()

    async def _lock(self) -> int:
        """Descriptor of the lock file, locked; -1 when stopped before that."""
        path = self._store.data_dir / "run" / "dispatcher-0.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        waiting = False
        while not self._stopping:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                if not waiting:
                    log.info("another process is the dispatcher; waiting")
                    waiting = True
                await asyncio.sleep(0.2)
        os.close(lock)
        return -1

    async def _finish(self) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await self._sender.pool.close()

    def holds(self, key: tuple[int, int]) -> bool:
        """True while a recipient is being tried, or is about to be."""
        return key in self._window.keys

    async def untouched(self, key: tuple[int, int], seconds: float) -> None:
        """Wait until nothing is done about a recipient, at most ``seconds``."""
        released = self._window.released(key)
        if released is not None and seconds > 0:
            await asyncio.wait((released,), timeout=seconds)

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    # -- finding work ------------------------------------------------------------------------------------------

    def _name(self, recipient: Recipient, outgoing: Any) -> str:
        return self._destination_of(recipient.route, outgoing)

    def _destination_of(self, route: str, outgoing: Any) -> str:
        """The smart host, but for routes that have a host of their own."""
        return str(outgoing.smartHost) if outgoing.smartHost and self._transport(route) is None else route

    async def _scan(self) -> None:
        """Admit what is due, as far as there is room."""
        now = self._scanned = int(time.time())
        outgoing = self._settings.service("smtpOutgoing")
        if time.monotonic() < self._head_scan_at:
            await self._scan_routes(now, outgoing)
            return
        after: Key = START
        seen = 0
        while not self._window.full and not self._stopping:
            rows = self._index.due(now, after, BATCH)
            for recipient in rows:
                self._window.admit(recipient, self._window.destination(self._name(recipient, outgoing)))
            if len(rows) < BATCH:
                self._more_routes = False
                return
            last = rows[-1]
            after = (last.due, last.mid, last.number)
            seen += len(rows)
            if seen >= SCAN_ROWS:
                self._more_routes = True
                self._head_scan_at = time.monotonic() + HEAD_SCAN_SECONDS
                await self._scan_routes(now, outgoing)
                return
            self._pump()
            await asyncio.sleep(0)
        self._more_routes = True

    async def _scan_routes(self, now: int, outgoing: Any) -> None:
        """Give each route its turn, from where the last round ended."""
        for step in range(ROUTE_STEPS):
            route = self._index.next_route(self._route)
            self._route = route or ""
            if route is None or self._window.full or self._stopping:
                return
            destination = self._window.destination(self._destination_of(route, outgoing))
            if self._window.room(destination):
                self._fetch(destination, route, now)
            if step % 20 == 19:
                self._pump()
                await asyncio.sleep(0)

    def _fetch(self, destination: Destination, route: str, now: int) -> None:
        """More recipients of one route; ``destination.more`` afterwards says whether there are still others."""
        destination.more = False
        after: Key = START
        while True:
            rows = self._index.due_of_route(route, now, after, BATCH)
            for recipient in rows:
                self._window.admit(recipient, destination)
            if len(rows) < BATCH or destination.more or self._window.full:
                destination.more = destination.more or len(rows) == BATCH
                return
            after = (rows[-1].due, rows[-1].mid, rows[-1].number)

    def _refill(self, destination: Destination, outgoing: Any) -> None:
        """After a transaction: fetch what had to stay in the index."""
        if destination.size > self._window.route_size // 4:
            return
        if destination.recovering:
            self._bring_forward(destination, outgoing)
        elif destination.more:
            if outgoing.smartHost and self._transport(destination.name) is None:
                destination.more = False
                self._wake.set()
            else:
                self._fetch(destination, destination.name, int(time.time()))
        if self._more_routes and len(self._window.keys) < self._window.size // 2:
            self._more_routes = False
            self._wake.set()

    def _until_next(self) -> float:
        """Seconds to sleep at most."""
        if self._more_routes and not self._window.full:
            return 0.1
        # Counted from what the scan took for now: what became due since then is due at once.
        due = self._index.next_due(self._scanned)
        return POLL_SECONDS if due is None else min(POLL_SECONDS, max(0.01, due - time.time()))

    # -- working -----------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Start transactions as the limits allow, one destination after the other."""
        if self._stopping:
            return
        outgoing = self._settings.service("smtpOutgoing")
        ready = self._window.ready
        while ready and self._running < outgoing.maxConnections:
            destination = ready.popleft()
            destination.queued = False
            if not destination.pending or destination.running >= outgoing.maxConnectionsPerDomain:
                continue  # offered again when one of its transactions ends
            recipients = self._window.take(destination, outgoing.maxRecipientsPerTransaction)
            destination.running += 1
            self._running += 1
            task = asyncio.create_task(self._work(destination, recipients))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._window.offer(destination)

    async def _work(self, destination: Destination, recipients: list[Recipient]) -> None:
        outgoing = self._settings.service("smtpOutgoing")
        if any(self._name(recipient, outgoing) != destination.name for recipient in recipients):
            # The smart host has been changed since they came in: they belong elsewhere now, as do those behind them.
            destination.running -= 1
            self._running -= 1
            self._forgive([*recipients, *self._window.empty(destination)])
            self._window.leave(destination)
            return
        # A recipient that an administrator wants tried now (due 0) is tried, down or not.
        down = destination.down_until > time.time() and all(recipient.due for recipient in recipients)
        known = destination.last_error if down else None
        try:
            pairs = await self._transactions.run(recipients[0].mid, recipients, destination.name, known)
        except Exception as error:  # a fault of ours must not stop the queue, nor be repeated in a tight loop
            faults.labels("queue").inc()
            fault(log, "attempt failed by a fault of ours", error, message=recipients[0].mid)
            asyncio.get_running_loop().call_later(DOWN_SECONDS, self._forgive, recipients)
        else:
            self._release(destination, recipients, pairs, known is not None)
        finally:
            destination.running -= 1
            self._running -= 1
            if not self._stopping:
                self._refill(destination, self._settings.service("smtpOutgoing"))
                self._window.offer(destination)
                self._window.leave(destination)
                self._pump()

    def _forgive(self, recipients: list[Recipient]) -> None:
        """Let recipients of a failed transaction be looked at again."""
        for recipient in recipients:
            self._window.done(recipient)
        self._wake.set()

    def _release(
        self, destination: Destination, recipients: list[Recipient], pairs: list[tuple[Recipient, Outcome]], known: bool
    ) -> None:
        """The outcomes are recorded: let the recipients go, and see what they say of the destination."""
        again = {recipient.key for recipient, outcome in pairs if outcome.kind is Kind.AGAIN}
        for recipient in recipients:
            if recipient.key in again:
                self._window.again(recipient, destination)
            else:
                self._window.done(recipient)
        if destination.recovering:
            destination.settled.update(recipient.key for recipient, o in pairs if o.kind is Kind.DEFERRED)
        if pairs and not known:
            self._judge(destination, [outcome for _, outcome in pairs], self._settings.service("smtpOutgoing"))

    def _judge(self, destination: Destination, outcomes: list[Outcome], outgoing: Any) -> None:
        """Is the destination down, or up again?"""
        if all(outcome.unreached for outcome in outcomes):
            first = int(self._settings.service("processing").schedInterval)
            destination.down_until = time.time() + min(DOWN_SECONDS, first / 2)
            destination.last_error = outcomes[0]
            destination.end_recovery()
            self._reached.pop(destination.name, None)
            return
        if not any(outcome.kind is Kind.DELIVERED for outcome in outcomes):
            return
        was_down = destination.last_error is not None
        destination.last_error, destination.down_until = None, 0.0
        name = destination.name
        if not was_down and name not in self._reached and not outgoing.smartHost:
            was_down = self._index.waits_unreached(name, int(time.time()))
        self._reached[name] = None
        if len(self._reached) > MAX_REACHED:
            self._reached.popitem(last=False)
        if was_down and not destination.recovering:
            log.info("destination is back", destination=name)
            destination.recovering = True
            destination.cursor = (int(time.time()), 1 << 62, 0)

    def _bring_forward(self, destination: Destination, outgoing: Any) -> None:
        """Admit what waits for a destination that is back, due or not; each recipient once (SMO-07)."""
        smart = bool(outgoing.smartHost) and self._transport(destination.name) is None
        for _ in range(8):
            if not self._window.room(destination):
                return
            if smart:
                rows = self._index.due(FOREVER, destination.cursor, BATCH)
            else:
                rows = self._index.due_of_route(destination.name, FOREVER, destination.cursor, BATCH)
            for recipient in rows:
                if recipient.key not in destination.settled and self._name(recipient, outgoing) == destination.name:
                    if not self._window.room(destination):
                        return
                    self._window.admit(recipient, destination)
                destination.cursor = (recipient.due, recipient.mid, recipient.number)
            if len(rows) < BATCH or len(destination.settled) > MAX_SETTLED:
                destination.end_recovery()
                return
        if not destination.pending and not destination.running:
            destination.end_recovery()  # all that was looked at has been tried since

    # -- housekeeping ------------------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        """Close idle connections; count the queue."""
        counted = 0.0
        reads = self._store.queue_index_apart()
        index = QueueIndex(reads)
        count: asyncio.Future[tuple[int, int, int]] | None = None
        try:
            while True:
                self._sender.pool.expire()
                if time.monotonic() - counted >= METRICS_SECONDS:
                    counted = time.monotonic()
                    count = asyncio.ensure_future(asyncio.to_thread(index.counts, int(time.time())))
                    try:
                        messages, due, deferred = await asyncio.shield(count)
                    except apsw.Error as error:
                        log.warning("the queue cannot be counted", reason=str(error))
                    else:
                        queue_entries.labels("messages").set(messages)
                        queue_entries.labels("due").set(due)
                        queue_entries.labels("deferred").set(deferred)
                await asyncio.sleep(HOUSEKEEPING_SECONDS)
        finally:
            if count is not None:
                await asyncio.wait((count,))  # the thread must be out of the handle
            reads.close()
