"""What a face overrides, and how a connection is named.

Invariants: every hook is synchronous and returns soon; a hook that raises costs its own connection and no other.
"""

from __future__ import annotations

import asyncio
import os
import secrets

_ids: tuple[int, str, int] = (0, "", 0)


def next_id() -> str:
    """A short id, unique among the processes of a node while it lives: 5 random digits and a counter."""
    global _ids
    pid, prefix, count = _ids
    if pid != os.getpid():  # a fork must not repeat its parent's ids
        pid, prefix, count = os.getpid(), secrets.token_hex(3)[:5], 0
    _ids = (pid, prefix, count + 1)
    return f"{prefix}-{count + 1:x}"


class Hooks(asyncio.Protocol):
    """The hooks of a connection with what they do by default."""

    __slots__ = ()

    def close(self) -> None:
        """Close after everything queued is flushed (Connection does)."""

    def started(self) -> None:
        """The connection is admitted and (implicit) TLS is up: greet."""

    def received(self, data: bytes) -> None:
        """Octets from the client, after decryption. An exception closes the connection and is logged."""

    def ended(self, exc: Exception | None) -> None:
        """The connection is gone; `exc` tells why when it was not an orderly end."""

    def idle_expired(self) -> None:
        """`idle_timeout` seconds passed without a word from the client."""
        self.close()

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting, on a plain-text listener: may `send` one line. It is closed afterwards."""

    def shutting_down(self) -> None:
        """The process stops gracefully: say so (421, BYE) and close when the open transaction ends."""
        self.close()


def host_and_port(name: tuple[str, int]) -> tuple[str, int]:
    host = name[0].partition("%")[0]
    return (host[7:] if host.startswith("::ffff:") and "." in host else host, name[1])
