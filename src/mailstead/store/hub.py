"""Hints between the processes of a node: "folder F is at modseq M now".

Invariants: a hint is never the data; the receiver reads the index and shows nothing that is not durable; a lost hint
costs time only, for a session also looks whenever it speaks.  Sent after the commit it tells of.

A unix datagram socket per process under ``run/``; several hints go in one datagram, coalesced per loop iteration.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

_HINT = struct.Struct("<QQ")
_MAX_DATAGRAM = 32 * 1024


class Hub:
    """``on_hint(folder, modseq)`` is called in the loop for hints of other processes."""

    def __init__(self, run: Path, name: str, loop: asyncio.AbstractEventLoop, on_hint: Callable[[int, int], None]) -> None:
        self._run = run
        self._path = run / f"notify-{name}.sock"
        self._loop = loop
        self._on_hint = on_hint
        self._pending: dict[int, int] = {}
        self._peers: list[str] = []
        self._looked = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        run.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, folder: int, modseq: int) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending[folder] = modseq

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        now = self._loop.time()
        if now - self._looked > 0.5:
            self._looked = now
            own = self._path.name
            self._peers = [str(self._run / name) for name in os.listdir(self._run) if name.startswith("notify-") and name != own]
        if not self._peers:
            return
        hints = b"".join(_HINT.pack(folder, modseq) for folder, modseq in pending.items())
        for start in range(0, len(hints), _MAX_DATAGRAM):
            for peer in self._peers:
                try:
                    self._socket.sendto(hints[start : start + _MAX_DATAGRAM], peer)
                except OSError:
                    continue  # its buffer is full or it has gone: hints may be lost

    def _readable(self) -> None:
        latest: dict[int, int] = {}
        for _ in range(100):
            try:
                data = self._socket.recv(_MAX_DATAGRAM)
            except OSError:
                break
            for folder, modseq in _HINT.iter_unpack(data[: len(data) // _HINT.size * _HINT.size]):
                latest[folder] = modseq
        for folder, modseq in latest.items():
            self._on_hint(folder, modseq)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)
