"""A store with a queue, settings with test values, a name server, and a dispatcher over them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mailstead.dns.resolver import Resolver
from mailstead.message.index import index_message
from mailstead.queue.detail import QueueDetail
from mailstead.queue.dispatcher import Dispatcher
from mailstead.queue.report import SystemMessage
from mailstead.settings.declarations import SERVICE_CONTEXTS
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.service import QUEUE, Store
from tests.dns.server import NameServerForTests

MESSAGE = b"From: a@here.test\r\nTo: b@there.test\r\nSubject: hello\r\n\r\nline one\r\n.dotted\r\n..twice\r\nend\r\n"
SEGMENT = 4 * 1024 * 1024


class FakeSettings:
    """Declared defaults with overrides: ``FakeSettings(smtpOutgoing={"remotePort": 2525})``."""

    def __init__(self, **overrides: dict[str, Any]) -> None:
        self._values: dict[str, SimpleNamespace] = {}
        for name in ("smtpOutgoing", "processing", "server", "dnr"):
            values = dict(SERVICE_CONTEXTS[name].defaults())
            unknown = overrides.get(name, {}).keys() - values.keys()
            assert not unknown, unknown
            values.update(overrides.get(name, {}))
            self._values[name] = SimpleNamespace(**values)

    def service(self, name: str) -> Any:
        return self._values[name]

    def file(self, value: object) -> str:
        return str(value)

    def listeners(self, _service: str) -> list[Any]:
        return []


async def enqueue(
    store: Store,
    recipients: Sequence[str],
    *,
    sender: str = "a@here.test",
    body: bytes = MESSAGE,
    detail: QueueDetail | Sequence[QueueDetail] | None = None,
    due: int = 0,
    overlay: bytes = b"",
    spooled: bool = False,
) -> int:
    """Accept a message for remote recipients; its id."""
    now = int(time.time())
    details = [detail or QueueDetail()] * len(recipients) if detail is None or isinstance(detail, QueueDetail) else list(detail)
    targets = [
        Target(TargetKind.QUEUE, QUEUE, date=due or now, recipient=address, detail=each.encode(), overlay=overlay)
        for address, each in zip(recipients, details, strict=True)
    ]
    head = MessageHead(sender, now, targets)
    if spooled:
        spool = store.spool()
        for start in range(0, len(body), 100_000):
            await spool.write(body[start : start + 100_000])
        prefix, index = await spool.finish(b"Received: here\r\n")
        head.external, head.external_size, head.external_hash = spool.external, spool.size, spool.digest
        spool.close()
        outcomes = await store.submit_message(head, prefix, index=index)
    else:
        outcomes = await store.submit_message(head, body, index=index_message(body))
    return outcomes[0].mid


def waiting(store: Store) -> list[tuple[Any, ...]]:
    """Rows of the recipients left: (address, due, attempts, notified, status)."""
    return list(store.reader(QUEUE).execute("SELECT address, due, attempts, notified, status FROM recipient ORDER BY mid, number"))


async def until(condition: Any, seconds: float = 60) -> None:
    """Until ``condition()`` holds; fails after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - rows of another process's making send no event here
            await asyncio.sleep(0.01)


class Outbox:
    """What the dispatcher hands in: takes notices, or refuses them while ``accepting`` is off."""

    def __init__(self) -> None:
        self.messages: list[SystemMessage] = []
        self.accepting = True
        self.offered = 0

    async def submit(self, message: SystemMessage) -> bool:
        self.offered += 1
        if self.accepting:
            self.messages.append(message)
        return self.accepting


class World:
    """One sending server: ``store``, ``outbox``, ``dispatcher``; ``zone`` is the DNS it sees."""

    def __init__(self, store: Store, settings: FakeSettings, dns: NameServerForTests, options: dict[str, Any]) -> None:
        self.store = store
        self.settings = settings
        self.dns = dns
        self.zone = dns.zone
        self.outbox = Outbox()
        self.resolver = Resolver([dns.entry], timeout=60, retries=0)
        self._options = options
        self.start()

    def start(self) -> None:
        self.dispatcher = Dispatcher(self.store, self.settings, self.resolver, self.outbox.submit, "out.here.test", **self._options)
        self.running = asyncio.create_task(self.dispatcher.run())

    async def stop(self) -> None:
        await self.dispatcher.stop()
        await self.running

    async def send(self, *recipients: str, **options: Any) -> int:
        return await enqueue(self.store, recipients, **options)

    @property
    def waiting(self) -> list[tuple[Any, ...]]:
        return waiting(self.store)

    async def empty(self, seconds: float = 60) -> None:
        """Until the queue is empty."""
        await until(lambda: not self.waiting, seconds)


def zone_for(*domains: str, address: str = "127.0.0.1") -> dict[tuple[str, str], Any]:
    """Each domain has one MX of its own at ``address``."""
    zone: dict[tuple[str, str], Any] = {}
    for domain in domains:
        zone[(domain, "MX")] = [f"10 mx.{domain}."]
        zone[(f"mx.{domain}", "AAAA" if ":" in address else "A")] = [address]
    return zone


@asynccontextmanager
async def world(
    path: Path,
    port: int = 25,
    zone: dict[tuple[str, str], Any] | None = None,
    *,
    outgoing: dict[str, Any] | None = None,
    processing: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    settings = FakeSettings(
        smtpOutgoing={"remotePort": port, "connectTimeout": 60, "commandTimeout": 60, "dataTimeout": 60, **(outgoing or {})},
        processing={"schedInterval": 600, **(processing or {})},
    )
    async with NameServerForTests(zone if zone is not None else zone_for("there.test")) as dns:
        store = await Store.open(path, "d0", segment_size=SEGMENT)
        made = World(store, settings, dns, options)
        try:
            yield made
        finally:
            await made.stop()
            await made.resolver.close()
            await store.close()
