"""Binding a listener's sockets, with words for the operator when it fails.

Invariants: a port that any other program listens on is refused, even one that would share it; either all sockets
of a listener are bound or none.
"""

from __future__ import annotations

import errno
import socket

from mailstead.process.application import ListenerSpec, StartError
from mailstead.settings.ip_set import split_host_port
from mailstead.transport.sockets import bind


def bind_or_explain(spec: ListenerSpec, count: int = 1) -> list[socket.socket]:
    """`count` listening sockets on one address. Raises StartError with words for the operator."""
    where = f"[{spec.host}]" if ":" in spec.host else spec.host
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
        raise StartError(f"cannot listen on {where}:{spec.port} for {spec.service}: {_explain(exc)}") from exc
    return sockets


def in_use(address: str) -> bool:
    """Whether another program listens on ``host:port`` now."""
    host, port = split_host_port(address)
    try:
        bind(host, port).close()
    except OSError as exc:
        return exc.errno == errno.EADDRINUSE
    return False


def _explain(exc: Exception) -> str:
    if isinstance(exc, PermissionError):
        return "no right to use a port below 1024 (start as root or give CAP_NET_BIND_SERVICE)"
    if isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE:
        return "another program is using the port"
    if isinstance(exc, OSError) and exc.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have the address"
    return exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
