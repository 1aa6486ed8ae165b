"""Octets of the message, or piece of one, that an IMAP URL names, for CATENATE (RFC 4469) and URLFETCH (RFC 4467).

Invariants: only what the reader may read is given, with his rights as they are now; fetching through a URL sets no flag;
nothing is given of what is not durable.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailstead.imap import body
from mailstead.imap.body import Stored
from mailstead.imap.fetch_items import Body
from mailstead.imap.url import BadUrl, MessageUrl
from mailstead.mailbox.errors import FolderMissing, MailboxError
from mailstead.mailbox.model import Folder
from mailstead.mailbox.service import Mailbox
from mailstead.store.record import DamagedRecord

COLUMNS = ("location", "header_size", "parts")


@dataclass(slots=True)
class Piece:
    """What a URL names: [start, end) of the stored message, or octets that had to be made."""

    stored: Stored
    start: int = 0
    end: int = 0
    octets: bytes | None = None

    @property
    def size(self) -> int:
        """In octets."""
        return self.end - self.start if self.octets is None else len(self.octets)


async def find(mailbox: Mailbox, folder: Folder, url: MessageUrl) -> Stored:
    """The message. Raises BadUrl where it is not there or may not be read."""
    if url.uidvalidity and url.uidvalidity != folder.uidvalidity:
        raise BadUrl("the mailbox is another one by now")
    try:
        view = await mailbox.open(folder)
    except FolderMissing:
        raise BadUrl("no such mailbox") from None
    except MailboxError as error:
        raise BadUrl(str(error)) from None
    try:
        await view.refresh()
        while not view.is_durable:
            await view.durable()
        rows = mailbox.rows(view, [url.uid], COLUMNS) if view.index(url.uid) >= 0 else []
    finally:
        view.release()
    if not rows:
        raise BadUrl("no such message")
    return Stored(rows[0][1], rows[0][2], rows[0][3])


async def piece(mailbox: Mailbox, stored: Stored, item: Body) -> Piece:
    """The part of the message that `item` names. Raises BadUrl, Refusal UNKNOWN-CTE."""
    if body.extent(stored, item) is None:
        raise BadUrl("no such section")
    try:
        span = body.plain_extent(stored, item)
        if span is not None:
            return Piece(stored, *span)
        return Piece(stored, octets=await body.octets_of(mailbox, stored, item))
    except (OSError, DamagedRecord, ValueError):
        raise BadUrl("the message cannot be read") from None


async def octets(mailbox: Mailbox, found: Piece) -> bytes:
    """All of a piece. Raises BadUrl."""
    if found.octets is not None:
        return found.octets
    try:
        if found.end == found.start:
            return b""
        return await mailbox.read_large(found.stored.location, found.start, found.end - found.start)
    except (OSError, DamagedRecord):
        raise BadUrl("the message cannot be read") from None
