"""Sending: the dispatcher of the queue with what it needs of the node.

Invariants: the dispatcher runs exactly while the service smtpOutgoing does; a changed resolver setting is used by the
next look-up; a stop lets the transactions in hand end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import astuple
from functools import partial
from typing import Any

from mailstead.delivery.host import host_name
from mailstead.delivery.model import Result
from mailstead.delivery.service import Delivery
from mailstead.dns.resolver import Resolver
from mailstead.migration.domains import MigratingDomains
from mailstead.observe.log import get_logger
from mailstead.process.background import BackgroundRefusedError, BackgroundVerbs
from mailstead.process.own_listeners import OwnListeners
from mailstead.queue.dispatcher import Dispatcher
from mailstead.queue.report import SystemMessage
from mailstead.queue.service import QueueService
from mailstead.settings import Settings
from mailstead.settings.declarations import OBJECT_KINDS
from mailstead.store.service import Store

log = get_logger("SMTP-OUT")

WATCH_SECONDS = 0.5


class Outbound:
    """Starts and stops the dispatcher as the settings say."""

    def __init__(self, store: Store, settings: Settings, delivery: Delivery) -> None:
        self._store = store
        self._settings = settings
        self._delivery = delivery
        self._resolver = Resolver()
        self._dispatcher: Dispatcher | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopping = False
        self._own = OwnListeners(settings)
        self._domains = MigratingDomains(delivery.directory)
        self.configure()

    def configure(self) -> None:
        """Take the resolver's settings; wrong ones are logged, and the former stay."""
        try:
            servers = self._settings.objects.all(OBJECT_KINDS["nameserver"], "service")
            self._resolver.configure(self._settings.service("dnr"), servers)
        except ValueError as exc:
            log.error("name servers cannot be used", reason=str(exc))

    def offer(self, verbs: BackgroundVerbs) -> None:
        """The administrator's verbs on the queue and the resolver."""

        def queue() -> QueueService:
            if self._dispatcher is None or self._running is None:
                raise BackgroundRefusedError("sending is switched off")
            return QueueService(self._store, self._dispatcher)

        async def retry(arguments: Mapping[str, Any]) -> list[int]:
            return list(astuple(await queue().retry(int(arguments["id"]))))

        async def bounce(arguments: Mapping[str, Any]) -> list[int]:
            return list(astuple(await queue().bounce(int(arguments["id"]))))

        async def remove(arguments: Mapping[str, Any]) -> list[int]:
            return list(astuple(await queue().remove(int(arguments["id"]))))

        async def retry_all(arguments: Mapping[str, Any]) -> list[int]:
            return list(astuple(await queue().retry_all()))

        async def empty_cache(arguments: Mapping[str, Any]) -> None:
            self._resolver.empty_cache()

        async def query(arguments: Mapping[str, Any]) -> dict[str, Any]:
            name, wanted = str(arguments["name"]), str(arguments["type"])
            try:
                answer = await (self._resolver.ptr(name) if wanted == "PTR" else self._resolver.query(name, wanted))
            except ValueError as error:
                raise BackgroundRefusedError(f"{name}: {error}") from error
            shown = [_shown(record) for record in answer.records]
            return {"status": answer.status.value, "reason": answer.reason, "records": shown}

        for name, verb in (
            ("queue.retry", retry), ("queue.bounce", bounce), ("queue.remove", remove), ("queue.retryAll", retry_all),
            ("dns.emptyCache", empty_cache), ("dns.query", query),
        ):  # fmt: skip
            verbs.add(name, verb)

    async def run(self) -> None:
        """Until cancelled. Raises what the dispatcher fails with."""
        while not self._stopping:
            wanted = "smtpOutgoing" in self._settings.service("server").services
            if self._running is not None and self._running.done():
                self._running.result()
                self._running = None
            if wanted and self._running is None:
                self._dispatcher = Dispatcher(
                    self._store, self._settings, self._resolver, self._submit,
                    host_name(self._settings, "smtpOutgoing"), is_own=partial(self._own.has, "smtpIncoming"),
                    transport=self._domains.smtp_host,
                )  # fmt: skip
                self._running = asyncio.create_task(self._dispatcher.run(), name="dispatcher")
            elif not wanted and self._running is not None:
                log.info("sending is switched off")
                await self._halt()
            await asyncio.sleep(WATCH_SECONDS)

    async def stop(self) -> None:
        """For good: let running transactions end, start none."""
        self._stopping = True
        await self._halt()

    async def _halt(self) -> None:
        running, self._running = self._running, None
        if running is not None and self._dispatcher is not None:
            await self._dispatcher.stop()
            await asyncio.gather(running, return_exceptions=True)

    async def close(self) -> None:
        """End the look-ups."""
        await self._resolver.close()

    async def _submit(self, message: SystemMessage) -> bool:
        outcome = await self._delivery.send_system_mail(message.recipient, message.octets, sender=message.sender)
        # A report that leads nowhere is done with: to keep it would be to try for ever.
        return outcome is None or outcome.result is Result.STORED


def _shown(record: Any) -> str:
    """A record in words: the fields of an MX or TLSA one, else its text."""
    fields = getattr(record, "__dataclass_fields__", None)
    return " ".join(str(getattr(record, name)) for name in fields) if fields else str(record)
