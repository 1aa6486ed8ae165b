"""What a session says: collected, compressed where COMPRESS is active, and written at the end of a batch of commands.

Invariants: octets leave in the order in which they were queued; nothing follows BYE; no more than `FLUSH_AT` octets and one
piece are queued while a command that paces itself is in progress.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mailstead.imap.responses import one_line

if TYPE_CHECKING:
    from mailstead.imap.compress import Deflate
    from mailstead.imap.link import Link

FLUSH_AT = 65536


class Output:
    """The outgoing half of a session."""

    __slots__ = ("_deflate", "_out", "link", "logged_out", "queued")

    def __init__(self, link: Link) -> None:
        self.link = link
        #: BYE has been said, or the connection is gone.
        self.logged_out = False
        self._out: list[bytes] = []
        #: Octets queued for the client and not handed to the connection.
        self.queued = 0
        self._deflate: Deflate | None = None

    def emit(self, data: bytes) -> None:
        """Queue octets for the client."""
        self._out.append(data)
        self.queued += len(data)

    def untagged(self, text: bytes) -> None:
        """Queue one untagged response."""
        self.emit(b"* %b\r\n" % text)

    def flush(self) -> None:
        """Hand what is queued to the connection."""
        if not self._out:
            return
        out, self._out, self.queued = self._out, [], 0
        if self._deflate is not None:
            out = [self._deflate.deflate(b"".join(out))]
        self.link.send_many(out)

    async def pace(self) -> None:
        """Write out when much is queued, and wait until the client has taken it. Raises ConnectionResetError."""
        if self.queued >= FLUSH_AT:
            self.flush()
            if self.link.write_blocked:
                await self.link.drained()

    async def breathe(self) -> None:
        """`pace`, and let others have their turn."""
        await self.pace()
        await asyncio.sleep(0)

    @property
    def compressed(self) -> bool:
        """Whether COMPRESS is active."""
        return self._deflate is not None

    def bye(self, text: str) -> None:
        """Say BYE and close after what was queued."""
        if not self.logged_out:
            self.logged_out = True
            self.untagged(b"BYE " + one_line(text))
        self.flush()
        self.link.close()
