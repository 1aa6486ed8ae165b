"""A large literal on its way to disk: line ends are put right while it passes through.

Invariants: what comes out has CRLF at every line end, however the octets were cut into pieces, but a literal8 of
binary content (RFC 3516 section 4.4) comes out as it is; no more than the spool's own buffer is held; NUL is noticed.
"""

from __future__ import annotations

from typing import Protocol

from mailstead.message.line_ends import LineEnds


class Spool(Protocol):
    """What the mailbox service's spool offers."""

    def feed(self, data: bytes) -> bool:
        """Take octets; True when `flush` should be awaited."""

    @property
    def held(self) -> int:
        """Octets in memory."""

    async def flush(self) -> None:
        """Write what is held. Raises OSError."""

    async def put_away(self) -> None:
        """Write what is held and give the descriptor back. Raises OSError."""

    def abandon(self) -> None:
        """Forget everything."""


class SpooledLiteral:
    """One literal. `full`: await `flush` before more is fed; `has_nul`: there was a NUL in it; `verbatim`: line ends stay.
    `away`: it is whole, and waits in its file for the rest of the command."""

    __slots__ = ("_ends", "away", "full", "has_nul", "size", "spool", "verbatim")

    def __init__(self, spool: Spool, verbatim: bool = False) -> None:
        self.spool = spool
        self.verbatim = verbatim
        self.full = self.has_nul = self.away = False
        self.size = 0
        self._ends = LineEnds()

    def feed(self, octets: bytes) -> None:
        """Take the next octets."""
        self.size += len(octets)
        if b"\0" in octets:
            self.has_nul = True
        if self.verbatim:
            self.full |= self.spool.feed(octets)
            return
        if (ready := self._ends.feed(octets)) and self.spool.feed(ready):
            self.full = True

    def end(self) -> None:
        """Nothing follows."""
        if rest := self._ends.end():
            self.spool.feed(rest)

    async def flush(self) -> None:
        """Write what is held. Raises OSError."""
        self.full = False
        await (self.spool.put_away() if self.away else self.spool.flush())

    def abandon(self) -> None:
        """Forget everything."""
        self.spool.abandon()
