"""Messages between the supervisor and its processes.

Invariants: a message is one packet, so it arrives whole or not at all; a file descriptor travels with the message
that explains it; end of file means the other side is dead.

How: a SOCK_SEQPACKET pair of unix sockets carrying JSON, with at most one descriptor each.
"""

from __future__ import annotations

import socket
from typing import Any

import msgspec

MAX_MESSAGE = 128 * 1024

Message = dict[str, Any]

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends: the supervisor's (non-blocking) and the child's (inheritable)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.set_inheritable(True)
    return ours, theirs


def send(sock: socket.socket, message: Message, fd: int | None = None) -> bool:
    """Send one message; False when the peer is gone or does not read."""
    data = msgspec.json.encode(message)
    try:
        if fd is None:
            sock.send(data)
        else:
            socket.send_fds(sock, [data], [fd])
    except OSError:
        return False
    return True


def receive(sock: socket.socket) -> tuple[Message, int | None] | None:
    """One message and its descriptor; None at end of file. Raises BlockingIOError when there is none yet."""
    try:
        data, fds, _flags, _address = socket.recv_fds(sock, MAX_MESSAGE, 1)
    except ConnectionResetError:
        return None
    if not data:
        return None
    return _decode(data), (fds[0] if fds else None)
