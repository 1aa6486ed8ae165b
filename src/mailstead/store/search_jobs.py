"""Rows of the table ``job``: what the search index has yet to take in.

Invariants: a row is written in the transaction that gives an account a message it did not have; only the indexer deletes
rows.  A row that is lost costs speed, no answer: what no segment holds is read.

Kinds: "index" (account, mid), and "reindex" (account, 1 to do all anew, 0 to add what is missing).
"""

from __future__ import annotations

from collections.abc import Iterable

from mailstead.store.shard import Shard


def note_new(shard: Shard, messages: Iterable[tuple[int, int]]) -> None:
    """Messages (account, mid) that are new to their account; inside the open transaction."""
    shard.executemany("INSERT INTO job(kind, account, mid) VALUES('index', ?, ?)", messages)


def ask_for_all(shard: Shard, accounts: Iterable[int], anew: bool) -> None:
    """Have accounts looked through as a whole; in transactions of its own. Raises apsw.BusyError."""
    waiting = [(account, int(anew)) for account in accounts]
    for start in range(0, len(waiting), 400):
        shard.begin()
        try:
            shard.executemany("INSERT INTO job(kind, account, mid) VALUES('reindex', ?, ?)", waiting[start : start + 400])
            shard.commit()
        except BaseException:
            shard.rollback()
            raise


def pending(shard: Shard, most: int) -> int:
    """How many jobs wait, counted up to `most`."""
    row = shard.row("SELECT count(*) FROM (SELECT 1 FROM job LIMIT ?)", (most,))
    return int(row[0]) if row else 0


def is_asked_for(shard: Shard) -> bool:
    """Whether somebody asked for accounts, and so waits; where few jobs wait, for it looks at them all."""
    return shard.row("SELECT 1 FROM job WHERE kind = 'reindex' LIMIT 1") is not None
