"""The smallest face: greets and repeats."""

from __future__ import annotations

import asyncio

from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint


class Echo(Connection):
    """Greets and repeats; remembers what it saw."""

    seen: list[Echo] = []

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self.got = b""
        self.events: list[str] = []
        Echo.seen.append(self)

    def started(self) -> None:
        self.events.append("started")
        self.send(b"hello %s\r\n" % self.peer[0].encode())

    def received(self, data: bytes) -> None:
        self.got += data
        if self.got.endswith(b"STARTTLS\r\n"):
            self.send(b"go\r\n")
            self.task = asyncio.ensure_future(self._tls())
            return
        self.send(data)

    async def _tls(self) -> None:
        ok = await self.start_tls()
        self.events.append(f"tls {ok}")

    def over_limit(self, reason: str) -> None:
        self.events.append("over")
        self.send(b"421 " + reason.encode() + b"\r\n")

    def shutting_down(self) -> None:
        self.send(b"bye\r\n")
        self.close()

    def ended(self, exc: Exception | None) -> None:
        self.events.append("ended")
