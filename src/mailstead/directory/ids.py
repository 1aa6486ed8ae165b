"""Global object ids: positive 63-bit numbers that rise with time and are unique over nodes.

Layout: 41 bits of milliseconds since 2024, 10 bits of node, 12 bits of sequence within the millisecond. The node bits
are drawn once per system database. Uniqueness within one database is in the end held by the primary keys.
"""

from __future__ import annotations

import threading
import time

EPOCH_MS = 1_704_067_200_000
_SEQUENCE = 1 << 12


class IdSource:
    """Makes ids for one node; safe to use from several threads."""

    def __init__(self, node: int) -> None:
        self._node = node & 0x3FF
        self._last = 0
        self._sequence = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        """A new id, greater than every one made before by this source, also when the clock steps back."""
        with self._lock:
            now = time.time_ns() // 1_000_000 - EPOCH_MS
            if now > self._last:
                self._last, self._sequence = now, 0
            else:
                self._sequence += 1
                if self._sequence >= _SEQUENCE:
                    self._last, self._sequence = self._last + 1, 0
            return self._last << 22 | self._node << 12 | self._sequence
