"""Line ends of stored messages: CRLF, whatever a message came with.

Invariants: what comes out has CRLF at every line end and no other CR or LF, however the octets were cut into pieces.
"""

from __future__ import annotations

import re

_bare_lf = re.compile(rb"(?<!\r)\n").sub
_bare_cr = re.compile(rb"\r(?!\n)").sub


def canonical(octets: bytes) -> bytes:
    """`octets` with CRLF at every line end."""
    pairs = octets.count(b"\r\n")
    if pairs != octets.count(b"\n"):
        octets = _bare_lf(b"\r\n", octets)
    if octets.count(b"\r") != octets.count(b"\n"):
        octets = _bare_cr(b"\r\n", octets)
    return octets


class LineEnds:
    """`canonical` of octets that come in pieces."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, octets: bytes) -> bytes:
        """The next piece; what could be half a line end is kept back."""
        if self._kept:
            octets, self._kept = self._kept + octets, b""
        if octets.endswith(b"\r"):  # what follows decides
            octets, self._kept = octets[:-1], b"\r"
        return canonical(octets)

    def end(self) -> bytes:
        """Nothing follows."""
        kept, self._kept = self._kept, b""
        return b"\r\n" if kept else b""
