"""A whole server with the duties of mailing lists running, on uvloop."""

from __future__ import annotations

import asyncio
import email
import email.policy
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailstead.delivery.expansion import Expander
from mailstead.delivery.lists.service import Lists
from mailstead.directory.model import Recipient
from mailstead.queue.detail import QueueDetail
from mailstead.queue.queue_index import START
from mailstead.store.apply_folders import DONE
from mailstead.store.operations import QueueOutcome
from mailstead.store.service import QUEUE
from tests.smtp.harness import ADMIN, Face, running

DOMAIN = "example.test"
LIST = f"news@{DOMAIN}"


@dataclass
class Queued:
    """A message in the queue: envelope, and the message as the remote would get it."""

    sender: str
    recipient: str
    message: EmailMessage
    octets: bytes
    mid: int


@dataclass
class World:
    """The face, and the lists of its process."""

    face: Face
    lists: Lists
    expander: Expander

    async def make(self, members: list[str] | None = None, **attributes: str) -> Recipient:
        """The list news@example.test."""
        return await self.face.directory.create_list(DOMAIN, "news", members or [], actor=ADMIN, **attributes)

    async def send(
        self, text: str, to: str = LIST, sender: str = f"alice@{DOMAIN}", subject: str = "hello", headers: str = "", from_: str = ""
    ) -> str:
        client = await self.face.ready()
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
        message = f"From: {from_ or sender}\r\nTo: {to}\r\nSubject: {subject}\r\n{headers}\r\n{text}\r\n".encode()
        return await client.send(message, to, sender=sender, parameters=" BODY=8BITMIME")

    async def sent(self, text: str = "words", **more: str) -> None:
        """Send, and wait until the lists have nothing left to do."""
        reply = await self.send(text, **more)
        assert reply.startswith("250"), reply
        await self.idle()

    async def idle(self) -> None:
        """Until no job is left or at work, and nothing that was let through."""
        await until(self._quiet)
        await self.lists._confirmed.watch()
        await self.lists._confirmed.work()
        await until(self._quiet)

    async def approve_waiting(self, recipient: Recipient) -> None:
        """Approve the one posting that waits, and wait until all that comes of it, upkeep included, is done."""
        (waiting,) = await self.lists.pending_posts(recipient.id, actor=ADMIN)
        await self.lists.approve(recipient.id, waiting.uid, actor=ADMIN)
        await self.idle()
        await self.lists.upkeep()
        await self.idle()

    def _quiet(self) -> bool:
        return not self.face.store.queue_index.expansions(START, 10) and not self.expander._active

    async def mail(self, address: str = f"alice@{DOMAIN}", folder: str = "INBOX") -> list[EmailMessage]:
        return [parsed(octets) for octets in await self.face.messages(address, folder)]

    async def in_list(self, recipient: Recipient, folder: str) -> list[bytes]:
        """Octets of a folder of the list's mailbox."""
        found = await self.face.mailbox.folder(recipient.id, folder)
        if found is None:
            return []
        view = await self.face.mailbox.open(found)
        try:
            rows = self.face.mailbox.rows(view, list(view.uids), ("location",))
            return [await self.face.mailbox.read_large(location) for _, location in rows]
        finally:
            view.release()

    def queued(self) -> list[Queued]:
        rows = list(
            self.face.store.reader(QUEUE).execute(
                "SELECT e.sender, r.address, r.detail, e.mid, e.overlay, e.file, e.offset, e.length, e.external, e.external_size "
                "FROM recipient r JOIN entry e ON e.mid = r.mid WHERE r.state = 0 ORDER BY r.address, r.mid"
            )
        )
        found = []
        for sender, address, detail, mid, overlay, *place in rows:
            octets = (overlay or b"") + self.face.store.read_message(*place)
            found.append(Queued(QueueDetail.decode(detail).sender or sender, address, parsed(octets), octets, mid))
        return found

    async def clear_queue(self) -> None:
        """Let everything in the queue be delivered, as far as the queue is concerned."""
        for mid in {one.mid for one in self.queued()}:
            rows = [(r[1], DONE, 0, 0, 0, "", b"") for r in self.face.store.queue_index.recipients(mid, 1000)]
            await self.face.store.change([QueueOutcome(QUEUE, mid, rows)])


def parsed(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)  # type: ignore[return-value]


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


async def until(ready: Callable[[], object] | Callable[[], Awaitable[object]], seconds: float = 60.0) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while True:
        found = ready()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < end, "it did not come to pass in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def world_at(path: Path, certificate: Path | None = None) -> AsyncIterator[World]:
    async with running(path, certificate) as face:
        lists = Lists(face.delivery)
        expander = lists.expander()
        tasks = [asyncio.create_task(expander.run())]
        try:
            yield World(face, lists, expander)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path) as found:
        yield found
