"""The octets of a queued message on their way out, in pieces.

Invariants: memory for a delivery is a piece or two, whatever the size of the message; what is sent by DATA has CRLF
line ends only (a bare LF or CR could be taken for the end of the message by the next host: SMTP smuggling) and
cannot contain the final dot (RFC 5321 4.5.2); BDAT sends the octets as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from mailstead.queue.entry import Entry
from mailstead.store.segment import external_file_id

PIECE = 256 * 1024
HEADER_LIMIT = 256 * 1024
_BARE = re.compile(rb"\r\n|\r|\n")
_LONG = re.compile(rb"[^\n]{1000}").search


class LogSource(Protocol):
    """What is needed of the store."""

    def read_log(self, file: int, offset: int, length: int) -> bytes:
        """Octets of a log file. Raises OSError, DamagedRecord."""


class MessageBody:
    """The whole message of a queue entry: overlay, inline part, and its file of its own where it has one."""

    def __init__(self, source: LogSource, entry: Entry) -> None:
        self._source = source
        self._entry = entry
        self.size = len(entry.overlay) + entry.length + entry.external_size

    def pieces(self) -> Iterator[bytes]:
        """Raises OSError, DamagedRecord where the log cannot be read."""
        entry = self._entry
        places = [(entry.file, entry.offset, entry.length)]
        if entry.external:
            places.append((external_file_id(entry.external), 0, entry.external_size))
        if entry.overlay:
            yield entry.overlay
        for file, start, length in places:
            for offset in range(0, length, PIECE):
                yield self._source.read_log(file, start + offset, min(PIECE, length - offset))

    def head(self, limit: int = HEADER_LIMIT) -> bytes:
        """The first octets: the header, if it is not larger than ``limit``."""
        taken: list[bytes] = []
        size = 0
        for piece in self.pieces():
            taken.append(piece)
            size += len(piece)
            if size >= limit or b"\r\n\r\n" in piece or b"\n\n" in piece:
                break
        octets = b"".join(taken)
        ends = [end for end in (octets.find(b"\r\n\r\n"), octets.find(b"\n\n")) if end >= 0]
        return octets[: min(ends) + 2] if ends else octets[:limit]

    def read(self, limit: int) -> bytes:
        """At most ``limit`` octets."""
        taken: list[bytes] = []
        size = 0
        for piece in self.pieces():
            taken.append(piece)
            size += len(piece)
            if size >= limit:
                break
        return b"".join(taken)[:limit]


def has_long_line(piece: bytes) -> bool:
    """True where a line has more than 998 octets (a piece's edges are not looked across)."""
    return _LONG(piece) is not None


def dot_stuffed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """``pieces`` as DATA carries them, the final dot included."""
    line_start = True
    held = b""
    for given in pieces:
        if not given:
            continue
        piece = held + given
        held = b""
        if piece[-1:] == b"\r":
            piece, held = piece[:-1], b"\r"
            if not piece:
                continue
        lines = piece.count(b"\n")
        if piece.count(b"\r") != lines or piece.count(b"\r\n") != lines:
            piece = _BARE.sub(b"\r\n", piece)
        if b"\n." in piece:
            piece = piece.replace(b"\n.", b"\n..")
        if line_start and piece[:1] == b".":
            piece = b"." + piece
        line_start = piece[-1:] == b"\n"
        yield piece
    if held:
        yield b"\r\n"
        line_start = True
    yield b".\r\n" if line_start else b"\r\n.\r\n"
