"""The metrics of the node over HTTP, on loopback only.

Invariants: one request per connection; nothing but GET /metrics is answered with content; a request has 4 KB and
ten seconds.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from mailstead.observe.log import get_logger
from mailstead.observe.metrics import exposition
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.listener import serve
from mailstead.transport.sockets import bind

log = get_logger("SERVER")

MAX_REQUEST = 4096


class _Scrape(Connection):
    __slots__ = ("_directory", "_request")

    def __init__(self, endpoint: Endpoint, directory: Path) -> None:
        super().__init__(endpoint)
        self._directory = directory
        self._request = b""

    def received(self, data: bytes) -> None:
        self._request += data
        if len(self._request) > MAX_REQUEST:
            self._answer(b"431 Request Header Fields Too Large", b"")
        elif b"\r\n\r\n" in self._request:
            words = self._request.split(b"\r\n", 1)[0].split(b" ")
            if len(words) != 3 or words[0] != b"GET":
                self._answer(b"405 Method Not Allowed", b"")
            elif words[1].split(b"?")[0] != b"/metrics":
                self._answer(b"404 Not Found", b"")
            else:
                self._answer(b"200 OK", exposition(self._directory))

    def _answer(self, status: bytes, body: bytes) -> None:
        self.send(
            b"HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
        )
        self.send(body)
        self.close()


async def start(directory: Path, port: int) -> asyncio.Server | None:
    """Serve the sum of the snapshots in `directory`; None (with a warning) when the port is taken."""
    endpoint = Endpoint("metrics", "127.0.0.1", port, idle_timeout=10.0)
    try:
        sock = bind("127.0.0.1", port)
    except OSError as exc:
        log.warning("no metrics: the port cannot be used", port=port, reason=exc.strerror)
        return None
    return await serve(endpoint, lambda e: _Scrape(e, directory), sock)
