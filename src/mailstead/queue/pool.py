"""Connections kept for the next message to the same host (RFC 5321 has no limit; ours are the settings').

Invariants: a connection is lent to one transaction at a time; none is kept longer than its idle time, nor over its
number of messages; at most MAX_IDLE are kept.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any

from mailstead.queue.smtp_client import SmtpConnection

MAX_IDLE = 64
Key = tuple[str, str, int]
"""What sets connections apart besides address and port: who has logged in, or which name was verified."""


class ConnectionPool:
    """Times are those of the event loop, in seconds."""

    def __init__(self) -> None:
        self._idle: OrderedDict[SmtpConnection, Key] = OrderedDict()
        self._by_key: dict[Key, list[SmtpConnection]] = {}
        self._expiry: dict[SmtpConnection, float] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def take(self, key: Key) -> SmtpConnection | None:
        """A connection that was usable when last heard of."""
        kept = self._by_key.get(key)
        while kept:
            connection = kept[-1]
            self._forget(connection)
            if connection.usable:
                return connection
            self.discard(connection)
        return None

    def put(self, key: Key, connection: SmtpConnection, seconds: float, messages: int) -> None:
        """Keep it for ``seconds``, unless it is of no more use or has carried ``messages`` already."""
        if not connection.usable or seconds <= 0 or connection.session.messages >= messages:
            self.discard(connection)
            return
        now = asyncio.get_running_loop().time()
        connection.idle_since = now
        self._idle[connection] = key
        self._by_key.setdefault(key, []).append(connection)
        self._expiry[connection] = now + seconds
        while len(self._idle) > MAX_IDLE:
            oldest = next(iter(self._idle))
            self._forget(oldest)
            self.discard(oldest)

    def _forget(self, connection: SmtpConnection) -> None:
        key = self._idle.pop(connection)
        self._expiry.pop(connection)
        kept = self._by_key[key]
        kept.remove(connection)
        if not kept:
            del self._by_key[key]

    def expire(self) -> None:
        """Close what has been idle for its time or was closed by the other side."""
        now = asyncio.get_running_loop().time()
        for connection, until in list(self._expiry.items()):
            if until <= now or not connection.usable:
                self._forget(connection)
                self.discard(connection)

    def discard(self, connection: SmtpConnection) -> None:
        """Say QUIT and close, beside whatever goes on."""
        self._beside(connection.quit())

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def __len__(self) -> int:
        return len(self._idle)

    async def close(self) -> None:
        """Close everything."""
        for connection in list(self._idle):
            self._forget(connection)
            self.discard(connection)
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
