"""A message of the queue's index as a message to be delivered again, without joining its octets.

Invariants: of a large message only the inline part and the index are in memory; a copy names the same file, it is never
written a second time.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from mailstead.message.headers import MAX_HEADER, header_end
from mailstead.message.index import MessageIndex, index_message
from mailstead.queue.entry import Entry
from mailstead.store.segment import external_file_id
from mailstead.store.service import Store

PIECE = 256 * 1024
SMALL = 64 * 1024
"""Octets that are indexed in the event loop."""


@dataclass(slots=True)
class StoredMail:
    """``inline``: the octets in the log, all of them unless ``external`` names a file with the rest; ``head``: the header
    with its blank line; ``index``: of the whole message."""

    entry: Entry
    inline: bytes
    head: bytes
    index: MessageIndex
    digest: bytes = b""

    @property
    def external(self) -> int:
        """The file's id, 0 for none."""
        return self.entry.external


async def load(store: Store, entry: Entry) -> StoredMail:
    """Read and index a message. Raises OSError, DamagedRecord."""
    inline = entry.overlay + store.read_log(entry.file, entry.offset, entry.length)
    octets = await _whole(store, entry, inline)
    if len(octets) <= SMALL:
        return _indexed(entry, inline, octets)
    return await asyncio.to_thread(_indexed, entry, inline, octets)


async def octets_of(store: Store, mail: StoredMail) -> bytes:
    """All octets. Raises OSError, DamagedRecord."""
    return await _whole(store, mail.entry, mail.inline)


async def _whole(store: Store, entry: Entry, inline: bytes) -> bytes:
    """Read in the event loop, in pieces: the reader of the log is no thread's but the loop's."""
    if not entry.external:
        return inline
    pieces = [inline]
    file = external_file_id(entry.external)
    for start in range(0, entry.external_size, PIECE):
        pieces.append(store.read_log(file, start, min(PIECE, entry.external_size - start)))
        await asyncio.sleep(0)
    return b"".join(pieces)


def _indexed(entry: Entry, inline: bytes, octets: bytes) -> StoredMail:
    digest = hashlib.sha256(memoryview(octets)[len(inline) :]).digest()[:16] if entry.external else b""
    end = header_end(octets, 0, min(len(octets), MAX_HEADER))
    return StoredMail(entry, inline, octets[:end], index_message(octets), digest)
