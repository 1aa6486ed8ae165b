"""COMPRESS=DEFLATE (RFC 4978): both directions of a compressed connection.

Invariants: a small input never makes a large output at once: `inflate` gives at most `MAX_STEP` octets a call and
keeps the rest compressed, so that a bomb is read at the pace at which commands are handled.
"""

from __future__ import annotations

import zlib

MAX_STEP = 65536


class BadStream(Exception):
    """What came in is not raw DEFLATE."""


class Deflate:
    """The two streams of one connection."""

    __slots__ = ("_full", "_in", "_out", "_rest")

    def __init__(self) -> None:
        # A window of 12 bits and memLevel 5 keep an idle connection at some 30 KB instead of 300 KB.
        self._out = zlib.compressobj(3, zlib.DEFLATED, -12, 5)
        self._in = zlib.decompressobj(-15)
        self._rest = b""
        self._full = False

    @property
    def pending(self) -> bool:
        """Whether `inflate(b"")` may give more."""
        return self._full or bool(self._rest)

    @property
    def waiting(self) -> int:
        """Compressed octets not yet inflated."""
        return len(self._rest)

    def inflate(self, data: bytes) -> bytes:
        """Take compressed octets and give at most MAX_STEP plain ones. Raises BadStream."""
        try:
            plain = self._in.decompress(self._rest + data if self._rest else data, MAX_STEP)
        except zlib.error as error:
            raise BadStream(str(error)) from error
        self._rest = self._in.unconsumed_tail
        self._full = len(plain) >= MAX_STEP
        if self._in.eof:
            raise BadStream("the client ended its stream")
        return plain

    def deflate(self, data: bytes) -> bytes:
        """Compress octets, without making the client wait for a later call to see them."""
        return self._out.compress(data) + self._out.flush(zlib.Z_SYNC_FLUSH)
