"""Bodies of more than 256 KB, written to a file of their own while they arrive.

Invariants: at most ``BUFFER`` octets of a body wait in memory; the file and its name are durable before ``finish``
returns, so before any record names it; an abandoned spool leaves no file (one left by a crash is removed by the
maintenance when no record names it).

The file holds the octets only.  Its name is its id; the record that names it carries size and hash.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailstead.message.index import MessageIndex, index_message
from mailstead.store.segment import external_path

if TYPE_CHECKING:
    from mailstead.store.service import Store

INLINE_LIMIT = 256 * 1024
BUFFER = 512 * 1024


class Spool:
    """Collects the octets of one message. ``write`` is awaited so that a sender is never faster than the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pieces: list[bytes] = []
        self._held = 0
        self._fd = -1
        self._away = False
        self._written = 0
        self._hash = hashlib.sha256()
        self.size = 0
        self.external = 0

    def feed(self, data: bytes) -> bool:
        """Take octets; True when ``flush`` should be awaited before more are taken."""
        self._pieces.append(data)
        self._held += len(data)
        self.size += len(data)
        return self._held >= BUFFER

    async def flush(self) -> None:
        """Write what is held to the file. Raises OSError."""
        pieces, self._pieces, self._held = self._pieces, [], 0
        if pieces:
            await asyncio.to_thread(self._write, pieces)

    async def write(self, data: bytes) -> None:
        if self.feed(data):
            await self.flush()

    @property
    def held(self) -> int:
        """Octets in memory."""
        return self._held

    async def put_away(self) -> None:
        """Hold neither octets nor a descriptor until they are asked for: one of many messages of a command. Raises OSError."""
        await self.flush()
        if self._fd >= 0:
            self._store.files.close(self._fd)
            self._fd, self._away = -1, True

    def _write(self, pieces: list[bytes]) -> None:
        files = self._store.files
        if self._fd < 0 and not self._away:
            self.external = self._store.new_id()
            self._fd = files.create(external_path(self._store.log_path, self.external))
        for piece in pieces:
            self._hash.update(piece)
        with self._file() as fd:
            self._written += files.writev(fd, pieces, self._written)

    @contextlib.contextmanager
    def _file(self) -> Iterator[int]:
        """The file's descriptor, for a moment where the spool is put away."""
        if not self._away:
            yield self._fd
            return
        fd = self._store.files.open(external_path(self._store.log_path, self.external), write=True)
        try:
            yield fd
        finally:
            self._store.files.close(fd)

    async def finish(self, prefix: bytes) -> tuple[bytes, MessageIndex | None]:
        """``(body, index)``: a small message whole behind ``prefix`` (index still to be made), or the prefix alone, the
        rest durable in its file (``external``). Raises OSError."""
        if self._fd < 0 and not self._away and self.size <= INLINE_LIMIT:
            return prefix + b"".join(self._pieces), None
        await self.flush()
        index = await asyncio.to_thread(self._sync, prefix)
        return prefix, index

    def _sync(self, prefix: bytes) -> MessageIndex:
        files = self._store.files
        # In pieces into one buffer, which `getvalue` hands out as it is: a single copy of a large message in memory.
        octets = io.BytesIO()
        octets.write(prefix)
        with self._file() as fd:
            files.sync(fd)
            files.sync_directory(external_path(self._store.log_path, self.external).parent)
            while piece := files.read(fd, BUFFER, octets.tell() - len(prefix)):
                octets.write(piece)
        return index_message(octets.getvalue())

    def octets(self) -> bytes:
        """All octets; for small messages, else the file is read. Blocking for large ones."""
        if self._fd < 0 and not self._away:
            return b"".join(self._pieces)
        with self._file() as fd:
            return self._store.files.read(fd, self._written, 0) + b"".join(self._pieces)

    def read(self, start: int, length: int) -> bytes:
        """Octets of the file, after ``flush``. Blocking."""
        with self._file() as fd:
            return self._store.files.read(fd, length, start)

    def head(self, length: int) -> bytes:
        """The first octets."""
        if self._fd < 0 and not self._away:
            return b"".join(self._pieces)[:length]
        with self._file() as fd:
            return self._store.files.read(fd, length, 0)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()[:16]

    def close(self) -> None:
        """Give the descriptor back; the file stays, whatever is abandoned later."""
        self._away = False
        if self._fd >= 0:
            self._store.files.close(self._fd)
            self._fd = -1

    def abandon(self) -> None:
        """Forget everything; the file goes."""
        self._pieces, self._held = [], 0
        if self._fd >= 0 or self._away:
            self.close()
            self._store.files.unlink(external_path(self._store.log_path, self.external))
