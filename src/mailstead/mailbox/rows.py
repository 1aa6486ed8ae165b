"""Rows of messages for FETCH and its like.

Invariants: rows come by rising UID; those that are gone are left out; what FETCH sends often is stored rendered and
comes as it is.  A contiguous range of UIDs is one range scan; a scattered set one statement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from mailstead.store.shard import Shard

_SMALL = {"size": "m.size", "date": "m.date", "flags": "m.flags", "modseq": "m.modseq", "saved": "m.saved", "mid": "m.mid",
          "thread": "m.thread"}  # fmt: skip
_WIDE = {
    name: f"w.{name}"
    for name in (
        "envelope", "body", "bodystructure", "fields", "parts", "preview", "header_size", "message_id", "subject_base", "sent",
        "sort_from", "sort_to", "sort_cc",
    )
}  # fmt: skip
_LOCATION = "w.file, w.offset, w.length, w.overlay, w.external, w.external_size"


@lru_cache(maxsize=256)
def _statement(columns: tuple[str, ...], contiguous: bool) -> tuple[str, int]:
    """SQL and the position of the location's columns in its result (-1: none). Raises KeyError for an unknown column."""
    names, wide, place = ["m.uid"], False, -1
    for column in columns:
        if column in _SMALL:
            names.append(_SMALL[column])
        elif column == "location":
            place, wide = len(names), True
            names.append(_LOCATION)
        else:
            names.append(_WIDE[column])
            wide = True
    join = " JOIN wide w ON w.mid = m.mid" if wide else ""
    where = "m.uid BETWEEN ? AND ?" if contiguous else "m.uid IN (SELECT value FROM json_each(?))"
    return f"SELECT {', '.join(names)} FROM message m{join} WHERE m.folder = ? AND {where} ORDER BY m.uid", place


def fetch_rows(
    shard: Shard, folder: int, uids: Sequence[int], columns: tuple[str, ...], location: Callable[..., Any]
) -> list[tuple[Any, ...]]:
    """``(uid, *columns)`` of the messages of ``uids`` (rising) that exist."""
    if not uids:
        return []
    contiguous = uids[-1] - uids[0] == len(uids) - 1
    sql, place = _statement(columns, contiguous)
    bindings = (folder, uids[0], uids[-1]) if contiguous else (folder, json.dumps(list(uids)))
    rows = shard.execute(sql, bindings).fetchall()
    if place < 0:
        return rows
    return [(*row[:place], location(*row[place : place + 6]), *row[place + 6 :]) for row in rows]
