"""A dictionary that forgets its oldest entries; hostile look-ups cannot make it grow."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(dict[K, V]):
    """At most `limit` entries; a full cache drops its oldest eighth. Reading costs what a dict's reading costs."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def put(self, key: K, value: V) -> None:
        """Insert or replace."""
        if len(self) >= self._limit and key not in self:
            for old in list(self)[: max(1, self._limit // 8)]:
                del self[old]
        self[key] = value
