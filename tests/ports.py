"""Ports of loopback that no other test, of whatever process on this machine, is given at the same time.

Invariants: a port that was handed out is kept for its process until that ends, by the name of a socket that leaves no file; none
lies where the system takes ports for outgoing connections from (32768 to 60999 where nobody changed it), so that none is taken
between being handed out and being listened at.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

LOWEST, HIGHEST = 61_000, 65_500
DEMONSTRATION = (2525, 2587, 2465, 2143, 2993, 2110, 2995, 4190, 7000, 7001, 2144, 7143)
"""Ports of a demonstration whose offset is 0; the last two are those of listeners that tests add."""
_KEPT = 6
"""Offsets that a process has before it uses one of its own again: a test stops one demonstration and starts another."""

_held: dict[str, socket.socket] = {}
_offsets: list[int] = []


def free_port() -> int:
    """A port for TCP and UDP that this process has from now on. Raises AssertionError where none is left."""
    count = HIGHEST - LOWEST
    start = os.getpid() * 37
    for number in range(count):
        port = LOWEST + (start + number) % count
        if f"port {port}" not in _held and _is_free(port) and _reserve(f"port {port}"):
            return port
    raise AssertionError("no free port")


def free_offset() -> int:
    """An offset of a demonstration whose ports are free. Raises AssertionError where none is left."""
    if len(_offsets) >= _KEPT:
        for offset in list(_offsets):
            if all(_is_free(port + offset) for port in DEMONSTRATION):
                _offsets.remove(offset)
                _offsets.append(offset)
                return offset
    for offset in _apart():
        name = f"offset {offset}"
        if name not in _held and all(_is_free(port + offset) for port in DEMONSTRATION) and _reserve(name):
            _offsets.append(offset)
            return offset
    raise AssertionError("no free ports for a demonstration")


def _apart() -> Iterable[int]:
    """Offsets no two of which have a port in common, all of them below the ports of outgoing connections."""
    used: set[int] = set()
    for offset in range(8_000, 25_000, 11):
        ports = {port + offset for port in DEMONSTRATION}
        if used.isdisjoint(ports):
            used |= ports
            yield offset


def _is_free(port: int) -> bool:
    """Whether nobody listens there; what is left of connections that are over does not count, for servers do not mind it."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                with socket.socket(family, kind) as probe:
                    if kind == socket.SOCK_STREAM:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # a machine without IPv6
                    return False
    return True


def _reserve(name: str) -> bool:
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0mailstead tests: {name}")
    except OSError:
        mark.close()
        return False
    _held[name] = mark
    return True
