"""What is handed to the commit pipeline, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.message.index import MessageIndex
from mailstead.store.apply_changes import Result
from mailstead.store.operations import Operation
from mailstead.store.record import MessageHead, RelocatedHead


class Unavailable(Exception):
    """Nothing was kept: the disk is full or a sync failed. The client may try again later."""


@dataclass(frozen=True, slots=True)
class TargetOutcome:
    """Per target of a message: 0 stored, 1 over quota, 2 folder gone; then where it lies."""

    outcome: int
    account: int
    folder: int
    uid: int
    uidvalidity: int
    mid: int


class MessageSubmission:
    """``body``: what follows the head in the log; ``index``: of the whole message, else it is made during the sync."""

    __slots__ = (
        "body",
        "committed",
        "future",
        "head",
        "id",
        "index",
        "offset",
        "origin",
        "outcomes",
        "pending",
        "seq",
        "shown",
        "size",
        "start",
    )

    def __init__(
        self,
        head: MessageHead,
        body: bytes,
        index: MessageIndex | None,
        shown: bool,
        origin: object | None,
        future: asyncio.Future[list[TargetOutcome]],
    ) -> None:
        self.head = head
        self.body = body
        self.index = index
        self.shown = shown
        self.origin = origin
        self.future = future
        self.seq = 0
        self.id = 0
        self.offset = 0
        self.start = 0
        self.size = 0
        self.pending = 0
        self.committed = False
        self.outcomes: list[Any] = []


class RelocationSubmission:
    """A body that compaction brings to the log again; ``future`` gives its new file id and offset."""

    __slots__ = ("body", "future", "head", "size", "start")

    def __init__(self, head: RelocatedHead, body: bytes, future: asyncio.Future[tuple[int, int]]) -> None:
        self.head = head
        self.body = body
        self.future = future
        self.size = 0
        self.start = 0


class ChangeSubmission:
    """Operations to be applied in order; refused as a whole where the first shard refuses one."""

    __slots__ = ("committed", "future", "id", "operations", "origin", "pending", "refusal", "results", "seq", "shown", "size")

    def __init__(
        self, operations: Sequence[Operation], shown: bool, origin: object | None, future: asyncio.Future[list[Result]]
    ) -> None:
        self.operations = operations
        self.shown = shown
        self.origin = origin
        self.future = future
        self.seq = 0
        self.id = 0
        self.size = 0
        self.pending = 0
        self.committed = False
        self.results: list[Result] = []
        self.refusal: Exception | None = None
