"""Binding a listener's sockets, with words for the operator when it fails.

Invariants: a port that any other program listens on is refused, even one that would share it; either all sockets
of a listener are bound or none.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from mailstead.process.application import ListenerSpec, StartError
from mailstead.transport.sockets import bind

TAKEN = "another program is using the port"


class ListenError(StartError):
    """An address cannot be listened on: ``address`` with its port, and why, in words for the operator."""

    def __init__(self, spec: ListenerSpec, reason: str) -> None:
        self.address = f"[{spec.host}]:{spec.port}" if ":" in spec.host else f"{spec.host}:{spec.port}"
        self.reason = reason
        super().__init__(f"cannot listen on {self.address} for {spec.service}: {reason}")


def bind_or_explain(spec: ListenerSpec, count: int = 1) -> list[socket.socket]:
    """`count` listening sockets on one address. Raises ListenError."""
    sockets: list[socket.socket] = []
    try:
        # Probe without SO_REUSEPORT: with it a foreign server of the same user would share the port unnoticed.
        first = bind(spec.host, spec.port)
        port = first.getsockname()[1]
        if count == 1:
            return [first]
        first.close()
        for _ in range(count):
            sockets.append(bind(spec.host, port, reuse_port=True))
    except (OSError, ValueError) as exc:
        for sock in sockets:
            sock.close()
        raise ListenError(spec, _explain(exc)) from exc
    return sockets


def refusals(specs: Iterable[ListenerSpec]) -> list[ListenError]:
    """Which addresses cannot be listened on now, and why; each is bound and let go again."""
    told = []
    for spec in specs:
        try:
            for sock in bind_or_explain(spec):
                sock.close()
        except ListenError as exc:
            told.append(exc)
    return told


def _explain(exc: Exception) -> str:
    if isinstance(exc, PermissionError):
        return "no right to use a port below 1024 (start as root or give CAP_NET_BIND_SERVICE)"
    if isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE:
        return TAKEN
    if isinstance(exc, OSError) and exc.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have the address"
    return exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
