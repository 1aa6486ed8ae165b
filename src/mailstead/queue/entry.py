"""Rows of the queue index as values."""

from __future__ import annotations

from dataclasses import dataclass

from mailstead.queue.detail import QueueDetail

DELAY_NOTIFIED = 1
"""``notified`` bit: the sender has been told of the delay."""
GIVE_UP = 2
"""``notified`` bit: no further attempt, report and remove; ``status`` says why."""
REPORT_OWED = 4
"""``notified`` bit: delivered; the report of success is still to be written. Never attempted again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in the queue: where its octets lie, and its envelope; ``received`` is unix time."""

    mid: int
    file: int
    offset: int
    length: int
    overlay: bytes
    external: int
    external_size: int
    sender: str
    received: int
    size: int


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient that waits. ``due`` is unix time; ``attempts`` counts the tries that failed; ``status`` is an enhanced
    status code and the words of the last try; ``detail`` are octets of a QueueDetail."""

    mid: int
    number: int
    address: str
    route: str
    due: int
    attempts: int
    notified: int
    status: str
    detail: bytes

    @property
    def key(self) -> tuple[int, int]:
        return self.mid, self.number

    @property
    def wishes(self) -> QueueDetail:
        return QueueDetail.decode(self.detail)
