"""Message data on its way in: end of data, dot stuffing, bare newlines, size, and where the octets are kept.

Invariants
- The end of data is CRLF.CRLF and nothing else (RFC 5321 section 4.1.1.4 and 2.3.8): `\\n.\\n`, `\\r\\n.\\n`, `\\r.\\r`
  and the like are content. What comes out does not depend on how the octets were cut into pieces.
- At most `INLINE` octets and one piece more are in memory; larger messages go to a spool.
- After a fault (too large, bare newline) octets are looked at for the end only, and not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mailstead.message.headers import header_end
from mailstead.observe.log import get_logger
from mailstead.store.spool import INLINE_LIMIT

if TYPE_CHECKING:
    from mailstead.store.spool import Spool

INLINE = INLINE_LIMIT
_END = b"\r\n.\r\n"
_DOT = b"\r\n."


class DataScanner:
    """Finds the end of DATA and takes the stuffing out: the first dot of a line (RFC 5321 section 4.5.2). One for each
    DATA command."""

    __slots__ = ("_begun", "_carry")

    def __init__(self) -> None:
        # Data begins at the start of a line: as if after a CRLF, which is not part of it.
        self._carry = b"\r\n"
        self._begun = False

    def feed(self, data: bytes, start: int = 0) -> tuple[bytes, int]:
        """``(content, offset after the end)``; the offset is -1 while the end has not come.

        Content is complete up to at most four octets, which are kept until more tell what they are.
        """
        carry = self._carry
        skip = 0 if self._begun else 2
        if carry:
            buffer = b"%b%b" % (carry, data[start:] if start else data)
        else:
            buffer = data[start:] if start else data
        # Most pieces have no line that begins with a dot: then one search tells all.
        dot = buffer.find(_DOT)
        if dot >= 0:
            end = dot if buffer.startswith(_END, dot) else buffer.find(_END, dot)
            if end >= 0:
                content = buffer[: end + 2]
                if dot != end:
                    content = content.replace(_DOT, b"\r\n")
                return content[skip:], start + end + 5 - len(carry)
        cut = buffer.find(b"\r", max(len(buffer) - 4, 0))
        if cut < 0:
            cut = len(buffer)
        if skip and cut < 2:
            # Still within the line end before the data, or too little to tell.
            self._carry = buffer
            return b"", -1
        self._carry = buffer[cut:]
        self._begun = True
        content = buffer[:cut]
        if dot >= 0:
            content = content.replace(_DOT, b"\r\n")
        return content[skip:], -1


class Incoming:
    """The octets of one message while they arrive."""

    __slots__ = (
        "_make_spool", "_pieces", "_tail", "bare", "broken", "head", "limit", "size", "spool",
        "strict", "too_large",
    )  # fmt: skip

    def __init__(self, limit: int, strict: bool, make_spool: Callable[[], Spool]) -> None:
        """``limit`` octets, 0 for none; ``strict``: look for bare newlines."""
        self.limit = limit
        self.strict = strict
        self.size = 0
        self.too_large = False
        self.bare = False
        #: The spool could not be written.
        self.broken = False
        self.spool: Spool | None = None
        #: The header, once the message is spooled; a few octets of the body where it has none.
        self.head = b""
        self._make_spool = make_spool
        self._pieces: list[bytes] = []
        self._tail = False

    @property
    def failed(self) -> bool:
        """Whether the message is refused already."""
        return self.too_large or self.bare or self.broken

    def add(self, piece: bytes) -> bool:
        """Take octets; True when the spool wants `flush` before more come."""
        self.size += len(piece)
        if self.failed or not piece:
            return False
        if self.limit and self.size > self.limit:
            self.too_large = True
            self._drop()
            return False
        if self.strict and self._has_bare(piece):
            self.bare = True
            self._drop()
            return False
        if self.spool is not None:
            return self.spool.feed(piece)
        self._pieces.append(piece)
        if self.size <= INLINE:
            return False
        self.spool = spool = self._make_spool()
        octets = b"".join(self._pieces)
        self._pieces = []
        self.head = octets[: header_end(octets, 0, INLINE) or 4]
        return spool.feed(octets)

    def _has_bare(self, piece: bytes) -> bool:
        pairs = piece.count(b"\r\n")
        breaks, returns = piece.count(b"\n"), piece.count(b"\r")
        if self._tail:
            # The last piece ended with a CR, counted then as if its LF were sure to come.
            if piece[0] != 10:
                return True
            breaks -= 1
        self._tail = piece[-1] == 13
        if self._tail:
            returns -= 1
        return breaks != pairs or returns != pairs

    async def flush(self) -> None:
        """Write what the spool holds; a failure makes the message `broken`."""
        if self.spool is None:
            return
        try:
            await self.spool.flush()
        except OSError as error:
            get_logger("SMTP-IN").error("message not spooled", reason=str(error))
            self.broken = True

    def finish(self) -> None:
        """No more octets come: a CR at the very end stands alone."""
        if self._tail and not self.failed:
            self.bare = True
            self._drop()

    def octets(self) -> bytes:
        """The message, where it is not spooled."""
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _drop(self) -> None:
        self._pieces = []

    def take_spool(self) -> Spool | None:
        """Hand the spool over; it is the caller's from here on."""
        spool, self.spool = self.spool, None
        return spool
