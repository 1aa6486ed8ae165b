"""A mailbox that is still being read in: what is answered at once, what waits, and what is told afterwards."""

from __future__ import annotations

import asyncio

import pytest

from mailstead.mailbox import view_filling
from mailstead.mailbox.view import FolderView
from mailstead.mailbox.view_filling import Filling
from tests.imap.conftest import ACCOUNT, Face


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """No more than the four newest messages are read in until it is set."""
    event = asyncio.Event()
    fill = FolderView._fill

    async def held(view: FolderView, filling: Filling) -> None:
        await event.wait()
        await fill(view, filling)

    monkeypatch.setattr(view_filling, "LOAD_SLICE", 4)
    monkeypatch.setattr(FolderView, "_fill", held)
    return event


async def _fill_inbox(face: Face, count: int) -> None:
    client = await face.client()
    for number in range(count):
        await client.ok(b"APPEND INBOX {1+}\r\n%d" % (number % 10))


async def test_the_newest_messages_are_there_before_the_others(face: Face, gate: asyncio.Event) -> None:
    await _fill_inbox(face, 12)
    client = await face.client()
    untagged = await client.ok("SELECT INBOX")
    assert b"* 12 EXISTS" in untagged
    assert await client.ok("FETCH 11:* (UID)") == [b"* 11 FETCH (UID 11)", b"* 12 FETCH (UID 12)"]
    assert await client.ok("UID FETCH 12:* (FLAGS)") == [b"* 12 FETCH (UID 12 FLAGS ())"]
    assert await client.ok("FETCH 9 (BODY.PEEK[])") == [b"* 9 FETCH (BODY[] {1}\r\n8)"]
    await client.ok("NOOP")
    assert not gate.is_set()
    for text in (b"FETCH 8 (UID)", b"UID FETCH 1:2 (UID)", b"FETCH 9 (BODY[])", b"SEARCH UID 1:2", b"STORE 9 +FLAGS (\\Flagged)"):
        client.write(b"a " + text + b"\r\n")
    await client.writer.drain()
    other = await face.client()
    await other.ok("NOOP")  # all that the first client sent was received before
    gate.set()
    seen = [await client.line() for _ in range(10)]
    assert seen == [
        b"* 8 FETCH (UID 8)", b"a OK FETCH completed", b"* 1 FETCH (UID 1)", b"* 2 FETCH (UID 2)", b"a OK FETCH completed",
        b"* 9 FETCH (FLAGS (\\Seen) BODY[] {1}\r\n8)", b"a OK FETCH completed", b"* SEARCH 1 2", b"a OK SEARCH completed",
        b"* 9 FETCH (FLAGS (\\Seen \\Flagged))",
    ]  # fmt: skip


async def test_what_happened_meanwhile_is_told_when_it_is_complete(face: Face, gate: asyncio.Event) -> None:
    await _fill_inbox(face, 10)
    folder = await face.mailbox.folder(ACCOUNT, "INBOX")
    assert folder is not None
    client = await face.client()
    assert b"* 10 EXISTS" in await client.ok("SELECT INBOX")
    gate.set()
    elsewhere = FolderView(face.store, folder, lambda _: None)  # as another process has it
    await elsewhere.load()
    gate.clear()
    await client.ok("CLOSE")
    face.mailbox._drop(face.mailbox._views[folder.id, 0])
    assert b"* 10 EXISTS" in await client.ok("SELECT INBOX")
    await face.mailbox.remove(elsewhere, [2, 9])
    await face.mailbox.store_flags(elsewhere, [3, 10], "add", ["\\Flagged"])
    assert await client.ok("NOOP") == []
    assert await client.ok("FETCH 9:10 (UID)") == [b"* 9 FETCH (UID 9)", b"* 10 FETCH (UID 10)"]
    await client.ok("APPEND INBOX {1+}\r\nx")
    client.write(b"i IDLE\r\n")
    assert await client.line() == b"+ idling"
    gate.set()
    told = [await client.line() for _ in range(5)]
    assert told[:3] == [b"* 9 EXPUNGE", b"* 2 EXPUNGE", b"* 9 EXISTS"]
    assert sorted(told[3:]) == [b"* 2 FETCH (FLAGS (\\Flagged))", b"* 8 FETCH (FLAGS (\\Flagged))"]
    client.write(b"DONE\r\n")
    assert await client.line() == b"i OK IDLE completed"
    assert await client.ok("FETCH 1:2 (UID)") == [b"* 1 FETCH (UID 1)", b"* 2 FETCH (UID 3)"]
    elsewhere.close()
