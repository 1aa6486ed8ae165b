"""Answers of a session that leave together.

Invariant: what is queued leaves in the order it was queued, in one write for each flush.
"""

from __future__ import annotations

from typing import Any


class OutputQueue:
    """Base of sessions whose answers are collected; ``link`` is the connection (transport.connection.Connection)."""

    def __init__(self, link: Any) -> None:
        self.link = link
        self._out: list[bytes] = []
        self._out_size = 0

    def emit(self, data: bytes) -> None:
        """Queue octets for the client."""
        self._out.append(data)
        self._out_size += len(data)

    def flush(self) -> None:
        """Hand what is queued to the connection."""
        if self._out:
            out, self._out, self._out_size = self._out, [], 0
            self.link.send_many(out)
