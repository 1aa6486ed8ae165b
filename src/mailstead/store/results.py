"""What operations give back and refuse, and what all of them write: conditions on UIDs, rows of the change sequence.

Invariants: a change of a folder has a row here under its modseq and kind, except new messages, which are found by uid; its time is
never earlier than the change (one that is replayed, or folded from the log, has the time of that).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mailstead.store.operations import from_ranges, to_ranges
from mailstead.store.shard import Shard

NEW, FLAGS, GONE = 1, 2, 3
"""Kinds in the change sequence; new messages are found by their uid and need no row."""

_pack = msgspec.msgpack.Encoder().encode
_MANY = 8


class Refused(Exception):
    """The operation cannot be done; ``code`` is one of missing, exists, keywords, quota, invalid."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(text or code)
        self.code = code


@dataclass(slots=True)
class Result:
    """What an operation did: ``uids`` touched (sources of a copy), ``new_uids``, ``modified`` (UNCHANGEDSINCE failed),
    ``bits`` that a change of flags set, added or removed, keywords included; ``by_row``: it did not do the same to all;
    ``rights`` of a list's entry before and after, None without one."""

    folder: int = 0
    modseq: int = 0
    uids: Sequence[int] = ()
    new_uids: Sequence[int] = ()
    modified: list[int] = field(default_factory=list)
    uidvalidity: int = 0
    target: int = 0
    id: int = 0
    bits: int = 0
    by_row: bool = False
    rights: tuple[str | None, str | None] = (None, None)
    effects: list[Any] = field(default_factory=list)


def uid_condition(ranges: list[int], column: str = "uid") -> tuple[str, tuple[Any, ...]]:
    """An SQL condition for a set of UIDs, and its bindings."""
    if len(ranges) == 2:
        return f"{column} BETWEEN ? AND ?", (ranges[0], ranges[1])
    if len(ranges) <= _MANY * 2:
        parts = " OR ".join([f"{column} BETWEEN ? AND ?"] * (len(ranges) // 2))
        return f"({parts})", tuple(ranges)
    return f"{column} IN (SELECT value FROM json_each(?))", (json.dumps(from_ranges(ranges)),)


def pack_uids(uids: Iterable[int]) -> bytes:
    """Rising UIDs as the change sequence holds them: packed ranges."""
    return _pack(to_ranges(uids))


def record_change(shard: Shard, folder: int, modseq: int, kind: int, uids: Iterable[int]) -> None:
    """Note that rising UIDs changed."""
    record_ranges(shard, folder, modseq, kind, to_ranges(uids))


def record_ranges(shard: Shard, folder: int, modseq: int, kind: int, ranges: list[int]) -> None:
    """The same for flat ranges."""
    shard.execute("INSERT OR REPLACE INTO change VALUES(?, ?, ?, ?, ?)", (folder, modseq, kind, _pack(ranges), int(time.time())))
