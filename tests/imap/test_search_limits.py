"""Commands about very many messages: their limit (RFC 9738), and word of their progress (RFC 9585)."""

from __future__ import annotations

import asyncio
import re
from array import array
from collections.abc import Sequence
from typing import Any, cast

import pytest

from mailstead.imap import progress, searching
from mailstead.mailbox.search import And, Flags, Modseq, Not, Or, Scope, evaluate
from tests.imap.conftest import Client, Face, message


@pytest.fixture
async def client(face: Face, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A mailbox of five messages, of which a command handles three."""
    made = await face.client()
    for number in range(5):
        await made.append("INBOX", message(f"message {number}"))
    await made.ok("SELECT INBOX")
    monkeypatch.setattr(progress, "MESSAGE_LIMIT", 3)
    return made


async def test_a_search_looks_at_the_newest_and_says_so(client: Client) -> None:
    for words, wanted in (
        ("SEARCH ALL", [b"* SEARCH 3 4 5"]),
        ("UID SEARCH SUBJECT message", [b"* SEARCH 3 4 5"]),
        ("SORT (REVERSE ARRIVAL SUBJECT) UTF-8 NOT 4", [b"* SORT 3 5"]),
        ("THREAD ORDEREDSUBJECT UTF-8 ALL", [b"* THREAD (3)(4)(5)"]),
    ):
        untagged, reply = await client.command(words)
        if "REVERSE" in words:
            assert sorted(untagged[0].split()[2:]) == sorted(wanted[0].split()[2:])
        else:
            assert untagged == wanted
        assert reply.startswith(b"OK [MESSAGELIMIT 3 3] "), reply


async def test_fetch_and_store_handle_the_newest_and_say_so(client: Client) -> None:
    untagged, reply = await client.command("FETCH 1:5 UID")
    assert untagged == [b"* 3 FETCH (UID 3)", b"* 4 FETCH (UID 4)", b"* 5 FETCH (UID 5)"]
    assert reply == b"OK [MESSAGELIMIT 3 3] FETCH completed"
    _, reply = await client.command("UID STORE 1,2,4,5 +FLAGS.SILENT (\\Deleted)")
    assert reply == b"OK [MESSAGELIMIT 3 2] STORE completed"
    assert await client.ok("UID SEARCH 3:5 DELETED") == [b"* SEARCH 4 5"]
    untagged, reply = await client.command("UID EXPUNGE 1:5")
    assert reply == b"OK [MESSAGELIMIT 3 3] EXPUNGE completed"
    assert sorted(untagged) == [b"* 4 EXPUNGE", b"* 5 EXPUNGE"]
    untagged, reply = await client.command("UID FETCH 1:3 FLAGS")
    assert reply == b"OK FETCH completed"
    assert b"\\Deleted" in untagged[1]


async def test_copies_are_whole_or_refused(client: Client) -> None:
    await client.ok("CREATE Box")
    for command in ("COPY 1:4 Box", "UID MOVE 1:5 Box"):
        _, reply = await client.command(command)
        assert reply.startswith(b"NO [MESSAGELIMIT 3] "), reply
    _, reply = await client.command("COPY 1:3 Box")
    assert reply.startswith(b"OK [COPYUID")
    assert await client.ok("STATUS Box (MESSAGES)") == [b"* STATUS Box (MESSAGES 3)"]


async def test_a_long_search_says_that_it_is_at_work(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await face.client()
    await client.append("INBOX", message("one"))
    await client.ok("SELECT INBOX")
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(progress, "NEXT_SECONDS", 0.001)
    told = asyncio.Event()
    original = progress.Progress._tell

    def tell(self: progress.Progress) -> None:
        original(self)
        told.set()

    async def slow(*arguments: Any) -> Sequence[int]:
        await told.wait()
        return await evaluate(*arguments)

    monkeypatch.setattr(progress.Progress, "_tell", tell)
    monkeypatch.setattr(searching, "evaluate", slow)
    untagged, reply = await client.command("SEARCH SUBJECT one")
    assert reply == b"OK SEARCH completed"
    assert untagged[-1] == b"* SEARCH 1"
    assert len(untagged) > 1
    for line in untagged[:-1]:
        assert re.fullmatch(rb'\* OK \[INPROGRESS \("a\d+" NIL NIL\)\] .+', line), line
    # Afterwards nothing comes by itself.
    assert await client.ok("NOOP") == []


async def test_a_long_sort_says_how_far_it_has_come(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await face.client()
    for number in range(3):
        await client.append("INBOX", message(f"message {number}"))
    await client.ok("SELECT INBOX")
    monkeypatch.setattr(progress, "FIRST_SECONDS", 3600.0)
    noted = progress.Progress.note

    def note(self: progress.Progress, done: int, goal: int) -> None:
        noted(self, done, goal)
        self._tell()

    monkeypatch.setattr(progress.Progress, "note", note)
    for command in ("SORT (SUBJECT) UTF-8 ALL", "THREAD REFS UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL"):
        untagged = await client.ok(command)
        assert untagged[0].startswith(b'* OK [INPROGRESS ("a%d" 0 3)] ' % client._tags), untagged
        assert len(untagged) == 2


async def test_tests_of_very_many_messages_let_others_have_their_turn() -> None:
    count = 400_000
    uids, flags = array("I", range(1, count + 1)), array("Q", [number % 8 for number in range(count)])
    scope = Scope(cast(Any, None), None, uids, flags, uids, count)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    bits = [Flags(1, 1), Flags(2, 2), Flags(4, 0)]
    key = And((Or((bits[0], Not(bits[1]))), bits[2], Modseq(5)))
    found = await evaluate(scope, key)
    task.cancel()
    assert found == [at for at in range(4, count) if at % 8 in (0, 1, 3)]
    assert turns >= 10
