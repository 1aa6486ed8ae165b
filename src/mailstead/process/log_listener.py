"""The UDP listeners of the LOG service: lines of other servers (LOG-03).

Invariants: nothing a stranger sends costs more than a look at one datagram; a datagram that is no line, comes from whom the rules
deny, or is one too many of its peer in a second, is dropped and counted; the counts are said, not each of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Any

from mailstead.observe.log import get_logger
from mailstead.observe.log_writer import LogWriter
from mailstead.observe.syslog_line import parse
from mailstead.settings import Settings, SettingsChange

log = get_logger("LOG")

LINES_PER_SECOND = 1000.0
BURST = 4000.0
MAX_PEERS = 4096
REPORT_SECONDS = 30.0
RULE_SECONDS = 1.0


class Receiver(asyncio.DatagramProtocol):
    """One listener."""

    def __init__(self, writer: LogWriter, settings: Settings, listener: int) -> None:
        self._writer = writer
        self._settings = settings
        self._listener = listener
        self._peers: OrderedDict[str, list[float]] = OrderedDict()
        self.dropped = {"malformed": 0, "denied": 0, "too many": 0}
        self.taken = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """One line."""
        peer = str(addr[0])
        refused = self._refuses(peer)
        if refused:
            self.dropped[refused] += 1
            return
        line = parse(data)
        if line is None:
            self.dropped["malformed"] += 1
            return
        self.taken += 1
        self._writer.put_remote(line, peer)

    def _refuses(self, peer: str) -> str:
        """Why a peer's datagram is dropped; "" where it is not. Each peer has a bucket: lines left, when it was filled, whether
        the rules deny it, and when they were asked."""
        now = time.monotonic()
        bucket = self._peers.get(peer)
        if bucket is None:
            if len(self._peers) >= MAX_PEERS:
                self._peers.popitem(last=False)
            bucket = self._peers[peer] = [BURST, now, 0.0, -1e9]
        if now - bucket[3] > RULE_SECONDS:
            rule = self._settings.access("log", self._listener, peer)
            bucket[2], bucket[3] = float(rule is not None and rule.action == "deny"), now
        if bucket[2]:
            return "denied"
        bucket[0] = min(BURST, bucket[0] + (now - bucket[1]) * LINES_PER_SECOND)
        bucket[1] = now
        if bucket[0] < 1:
            return "too many"
        bucket[0] -= 1
        return ""

    def report(self) -> None:
        """Say what was dropped."""
        if any(self.dropped.values()):
            counts = {name.replace(" ", "_"): count for name, count in self.dropped.items()}
            log.warning("log lines of other servers dropped", **counts)
            self.dropped = dict.fromkeys(self.dropped, 0)


class LogListeners:
    """The listeners of the background process, as the settings say."""

    def __init__(self, settings: Settings, writer: LogWriter) -> None:
        self._settings = settings
        self._writer = writer
        self._bound: dict[tuple[int, str, int], tuple[asyncio.DatagramTransport, Receiver]] = {}
        self._refused: set[tuple[int, str, int]] = set()
        self._changed = asyncio.Event()
        settings.subscribe(self._notice)

    def _notice(self, change: SettingsChange) -> None:
        if change.context in ("*", "listeners", "server", "log"):
            self._changed.set()

    async def run(self) -> None:
        """Bind and let go, until cancelled."""
        try:
            while True:
                self._changed.clear()
                await self._bind()
                try:
                    async with asyncio.timeout(REPORT_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    self._refused.clear()
                for _transport, receiver in self._bound.values():
                    receiver.report()
        finally:
            for transport, receiver in self._bound.values():
                receiver.report()
                transport.close()

    async def _bind(self) -> None:
        running = "log" in self._settings.service("server").services
        wanted = {(one.id, one.host, one.port) for one in self._settings.listeners("log") if one.enable and running}
        for key in set(self._bound) - wanted:
            self._bound.pop(key)[0].close()
        for key in wanted - set(self._bound) - self._refused:
            identifier, host, port = key
            try:
                transport, receiver = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda number=identifier: Receiver(self._writer, self._settings, number), local_addr=(host, port)  # type: ignore[misc]
                )
            except OSError as error:
                self._refused.add(key)  # tried again now and then
                log.error("the log cannot listen", address=f"{host}:{port}", reason=str(error))
                continue
            self._bound[key] = (transport, receiver)
            log.info("the log listens for other servers", address=f"{host}:{port}")
