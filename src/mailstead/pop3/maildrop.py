"""The maildrop of one session: INBOX as it was at the login.

Invariants (RFC 1939): message numbers, sizes and unique ids do not change in a session, whatever other clients do;
deletion marks are undone by RSET and take effect at QUIT alone; a unique id never names another message, for it is made
of UIDVALIDITY and UID, unless the message brought one along from another server.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mailstead.mailbox.errors import FolderMissing
from mailstead.mailbox.model import Location

if TYPE_CHECKING:
    from mailstead.mailbox.service import Mailbox
    from mailstead.mailbox.view import FolderView

SLICE = 500
AHEAD = 20


class Gone(Exception):
    """Another client has removed the message meanwhile."""


class Maildrop:
    """Use ``await Maildrop.open``; ``close`` once."""

    def __init__(self, mailbox: Mailbox, view: FolderView) -> None:
        self._mailbox = mailbox
        self._view = view
        self.uids: list[int] = []
        self.sizes: list[int] = []
        self.deleted: set[int] = set()
        self._brought: dict[int, str] = {}
        self._places: dict[int, tuple[Location, int]] = {}

    @classmethod
    async def open(cls, mailbox: Mailbox, account: int) -> Maildrop:
        """Raises MailboxError."""
        folder = await mailbox.folder(account, "INBOX")
        if folder is None:
            raise FolderMissing("there is no INBOX")
        view = await mailbox.open(folder)
        drop = cls(mailbox, view)
        try:
            await view.durable()
            uids = list(view.uids)
            drop._brought = mailbox.unique_ids(folder)
            for start in range(0, len(uids), SLICE):
                for uid, size in mailbox.rows(view, uids[start : start + SLICE], ("size",)):
                    drop.uids.append(uid)
                    drop.sizes.append(size)
                if len(uids) > SLICE:
                    await asyncio.sleep(0)
        except BaseException:
            view.release()
            raise
        return drop

    def close(self) -> None:
        self._view.release()

    def present(self, number: int) -> bool:
        return 1 <= number <= len(self.uids) and number not in self.deleted

    def totals(self) -> tuple[int, int]:
        """Messages and octets that are not marked deleted."""
        if not self.deleted:
            return len(self.uids), sum(self.sizes)
        return len(self.uids) - len(self.deleted), sum(self.sizes) - sum(self.sizes[n - 1] for n in self.deleted)

    def unique_id(self, number: int) -> str:
        uid = self.uids[number - 1]
        return self._brought.get(uid) or f"{self._view.folder.uidvalidity:08x}{uid:08x}"

    def _place(self, number: int) -> tuple[Location, int]:
        place = self._places.get(number)
        if place is None:
            # Clients read message after message: the rows of the next ones come along.
            self._places.clear()
            first = number - 1
            wanted = self.uids[first : first + AHEAD]
            numbers = {uid: first + 1 + i for i, uid in enumerate(wanted)}
            for uid, location, header_size in self._mailbox.rows(self._view, wanted, ("location", "header_size")):
                self._places[numbers[uid]] = (location, header_size)
            place = self._places.get(number)
            if place is None:
                raise Gone
        return place

    def location(self, number: int) -> Location:
        """Where a message lies. Raises Gone."""
        return self._place(number)[0]

    def header_size(self, number: int) -> int:
        return self._place(number)[1]

    async def octets(self, number: int) -> bytes:
        """A whole message. Raises Gone."""
        return await self._mailbox.read_large(self.location(number))

    def small(self, number: int, limit: int) -> bytes | None:
        """The message at once where it is small, else None. Raises Gone."""
        location = self.location(number)
        return self._mailbox.read(location) if location.size <= limit else None

    def stream(self, number: int):  # type: ignore[no-untyped-def]
        return self._mailbox.stream(self.location(number))

    async def update(self) -> int:
        """Remove what is marked (the UPDATE state); returns how many went. Raises MailboxError."""
        uids = sorted(self.uids[number - 1] for number in self.deleted)
        return len(await self._mailbox.remove(self._view, uids))
