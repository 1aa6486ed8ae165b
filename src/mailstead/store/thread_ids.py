"""Which thread a message belongs to in an account (RFC 5256 REFERENCES in one step: by any id it shares).

Invariants: a thread's id is that of the first message that was seen of it; a message's thread never changes; whoever
folds the log asks in the order of the commits and gets the same answers.
"""

from __future__ import annotations

from hashlib import blake2b

from mailstead.message.index import MessageIndex
from mailstead.store.shard import Shard


def message_hash(message_id: str) -> int:
    """A 63-bit key of a Message-ID, the same in every process."""
    # Python's hash of a str is keyed per process, so a digest it is.
    return int.from_bytes(blake2b(message_id.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little") >> 1


def thread_of(shard: Shard, account: int, mid: int, index: MessageIndex) -> int:
    """The thread of a message that is delivered to an account."""
    own = index.message_id
    if not own and not index.references:
        return mid
    hashes = [message_hash(name) for name in index.references[-20:]]
    if own:
        hashes.append(message_hash(own))
    thread = mid
    if len(hashes) == 1:
        row = shard.row("SELECT thread FROM thread WHERE account = ? AND hash = ?", (account, hashes[0]))
        if row:
            return int(row[0])
    else:
        marks = ",".join("?" * len(hashes))
        row = shard.row(f"SELECT min(thread) FROM thread WHERE account = ? AND hash IN ({marks})", (account, *hashes))
        if row and row[0] is not None:
            thread = int(row[0])
    shard.executemany("INSERT OR IGNORE INTO thread VALUES(?, ?, ?)", [(account, key, thread) for key in hashes])
    return thread


def thread_of_copy(shard: Shard, account: int, mid: int, message_id: str) -> int:
    """The thread of a message that comes from another account or index: that of the message there already is."""
    if not message_id:
        return mid
    key = message_hash(message_id)
    row = shard.row("SELECT thread FROM thread WHERE account = ? AND hash = ?", (account, key))
    if row:
        return int(row[0])
    shard.execute("INSERT INTO thread VALUES(?, ?, ?)", (account, key, mid))
    return mid
