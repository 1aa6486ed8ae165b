"""Hints between the processes of a node: "folder F is at modseq M now".

Invariants: a hint is never the data; the receiver reads the index and shows nothing that is not durable; a lost hint
costs time only, for a session also looks whenever it speaks.  Sent after the commit it tells of.

A unix datagram socket per process under ``run/``; several hints go in one datagram, coalesced per loop iteration.
Beside it lies a mapped bit set of what the process wants to hear of (a folder's id modulo 65 536), so that nobody is
woken for a folder it does not show: a bit is set before the folder is read for the first time.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

_HINT = struct.Struct("<QQ")
_MAX_DATAGRAM = 32 * 1024
_BITS = 65_536


class Interest:
    """Which folders a process wants to hear of; written by that process only."""

    def __init__(self, path: Path, *, own: bool) -> None:
        self._counts: dict[int, int] = {}
        fd = os.open(path, (os.O_RDWR | os.O_CREAT if own else os.O_RDONLY) | os.O_CLOEXEC, 0o640)
        try:
            if own:
                os.truncate(fd, 0)
                os.truncate(fd, _BITS // 8)
            self._map = mmap.mmap(fd, _BITS // 8, access=mmap.ACCESS_WRITE if own else mmap.ACCESS_READ)
        finally:
            os.close(fd)

    def add(self, folder: int) -> None:
        bit = folder % _BITS
        self._counts[bit] = self._counts.get(bit, 0) + 1
        self._map[bit >> 3] |= 1 << (bit & 7)

    def remove(self, folder: int) -> None:
        bit = folder % _BITS
        left = self._counts.get(bit, 0) - 1
        if left > 0:
            self._counts[bit] = left
        else:
            self._counts.pop(bit, None)
            self._map[bit >> 3] &= ~(1 << (bit & 7))

    def has(self, folder: int) -> bool:
        bit = folder % _BITS
        return bool(self._map[bit >> 3] >> (bit & 7) & 1)

    def close(self) -> None:
        self._map.close()


def socket_path(run: Path, name: str) -> Path:
    """Where the writer of that name takes hints."""
    return run / f"notify-{name}.sock"


class Hub:
    """``on_hint(folder, modseq)`` is called in the loop for hints of other processes."""

    def __init__(self, run: Path, name: str, loop: asyncio.AbstractEventLoop, on_hint: Callable[[int, int], None]) -> None:
        self._run = run
        self._path = socket_path(run, name)
        self._loop = loop
        self._on_hint = on_hint
        self._pending: dict[int, int] = {}
        self._peers: dict[str, Interest] = {}
        self._looked = -1.0
        run.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._interest_path = run / f"watch-{name}.map"
        self.interest = Interest(self._interest_path, own=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, folder: int, modseq: int) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending[folder] = modseq

    def _look(self) -> None:
        """Find the other processes; they come and go seldom."""
        names = [name for name in os.listdir(self._run) if name.startswith("notify-") and name != self._path.name]
        found: dict[str, Interest] = {}
        for name in names:
            try:
                found[str(self._run / name)] = Interest(self._run / f"watch-{name[7:-5]}.map", own=False)
            except (OSError, ValueError):
                continue  # it is just starting: its first look at the index comes later
        for interest in self._peers.values():
            interest.close()
        self._peers = found

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        now = self._loop.time()
        if now - self._looked > 0.5:
            self._looked = now
            self._look()
        for peer, interest in self._peers.items():
            hints = b"".join(_HINT.pack(folder, modseq) for folder, modseq in pending.items() if interest.has(folder))
            for start in range(0, len(hints), _MAX_DATAGRAM):
                try:
                    self._socket.sendto(hints[start : start + _MAX_DATAGRAM], peer)
                except OSError:
                    break  # its buffer is full or it has gone: hints may be lost

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
        self._interest_path.unlink(missing_ok=True)
        self.interest.close()
        for interest in self._peers.values():
            interest.close()
