"""Where the numbering of an index's commits begins anew.

Invariants: a commit number is given to one transaction only, of all that the log tells of.  After a power cut the index
may have lost commits of which the log holds the effects already (nobody was shown them: rows are durable before
they are shown); so after an unclean end the numbers jump, and every writer says so in its log: effects of commits between
``after`` and ``start`` never happened, and what replay applied since stands in the order of the records' ids up to ``id``.

A command or a mount that goes on beside the node while that starts anew has not ended at all: its log is no reason to jump, is not
replayed, and what it commits before and after a jump is numbered below ``after`` and above ``start``, because the jump is a
transaction like every other. Its effects, which follow later, are valid therefore.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from mailstead.store.files import Files
from mailstead.store.operations import QUEUE_SHARDS
from mailstead.store.recovery import writers_of
from mailstead.store.segment import is_sealed, segment_numbers, segment_path
from mailstead.store.shard import Shard

JUMP = 1_000_000


@dataclass(frozen=True, slots=True)
class Epoch:
    """Commits after ``after`` and before ``start`` are void; replay then applied records below ``id``."""

    after: int
    start: int
    id: int


def latest_epoch(shard: Shard) -> Epoch | None:
    if shard.is_queue:
        return None
    row = shard.row("SELECT after, start, id FROM epoch ORDER BY start DESC LIMIT 1")
    return Epoch(int(row[0]), int(row[1]), int(row[2])) if row else None


def ended_in_order(log: Path, files: Files, besides: Container[str] = ()) -> bool:
    """Whether every writer sealed its last segment, but those that are still at work."""
    for name in writers_of(log, files):
        if name in besides:
            continue
        numbers = segment_numbers(files, log / name)
        if numbers and not is_sealed(files, segment_path(log, name, numbers[-1])):
            return False
    return True


def begin_epoch(shards: dict[int, Shard], log: Path, files: Files, besides: Container[str] = ()) -> bool:
    """Jump, before replay, where the node did not end in order; ``besides`` are writers that are still at work."""
    if ended_in_order(log, files, besides):
        return False
    for number, shard in shards.items():
        if number >= QUEUE_SHARDS:
            continue
        shard.begin()
        after = shard.commit_seq()
        shard.execute("UPDATE state SET commit_seq = commit_seq + ?", (JUMP,))
        shard.execute("INSERT INTO epoch VALUES(?, ?, 0)", (after + JUMP, after))
        shard.commit()
    return True


def end_epoch(shards: dict[int, Shard], id: int) -> None:
    """Note, after replay, below which id it applied what there was."""
    for number, shard in shards.items():
        if number >= QUEUE_SHARDS:
            continue
        shard.begin()
        shard.execute("UPDATE epoch SET id = ? WHERE start = (SELECT max(start) FROM epoch)", (id,))
        shard.commit()
