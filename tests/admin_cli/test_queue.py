"""The queue over the protocol, on messages that really wait (SMO-13), and the grammar of its filters."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.admin_cli.contexts.queue import QueueContext
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.queue_filter import Waiting, parse_filter
from mailstead.delivery.service import Delivery
from mailstead.queue.entry import Recipient
from tests.admin_cli.conftest import Client, Face
from tests.transport.turns import counted_turns

MESSAGE = b"From: alice@example.test\r\nTo: x@remote.test\r\nSubject: waits\r\n\r\nbody\r\n"


async def _waiting(face: Face, recipient: str) -> None:
    delivery = Delivery(face.services.store, face.directory, face.mailbox)
    await delivery.send_system_mail(recipient, MESSAGE, sender="alice@example.test")
    await delivery.close()


@pytest.fixture
async def client(face: Face) -> Client:
    # Nobody listens on port 1: every attempt is put off.
    for name, value in (("smartHost", "127.0.0.1"), ("smartHostPort", "1")):
        await face.directory.settings.set("smtpOutgoing", name, value, "test")
    await _waiting(face, "one@remote.test")
    await _waiting(face, "two@remote.test")
    client = await face.client()
    await client.ok("ENTER QUEUE")
    assert client.prompt == "<queue#> "
    return client


async def _ids(client: Client, line: str) -> list[str]:
    return [row.split(" | ")[0].strip() for row in await client.rows(line)]


async def test_messages_are_listed_filtered_shown_and_removed(client: Client) -> None:
    everything = await _ids(client, "LIST")
    assert len(everything) == 2
    (one,) = await _ids(client, "LIST FILTER recipient=one@ size<10K sender!=nobody")
    body = await client.ok(f"LIST ID {one}")
    assert any("one@remote.test" in line for line in body)
    assert await _ids(client, 'LIST FILTER next_schedule<"2 Jan 2007 17:34" age>3h') == []
    assert await _ids(client, "LIST FILTER recipient=one@remote.test") == [one]
    await client.ok("DELETE lastFilter")
    assert await _ids(client, "LIST") == [number for number in everything if number != one]
    assert "does not exist" in await client.err(f"RETRY {one}")


async def test_a_message_is_tried_again_and_returned(client: Client) -> None:
    for _ in range(1200):
        if await _ids(client, "LIST FILTER retries>0 status=scheduled") != []:
            break
        await asyncio.sleep(0.05)
    (one,) = await _ids(client, "LIST FILTER recipient=one@")
    await client.ok(f"RETRY {one}", "FORCE QUEUE", f"NDR {one}")
    for _ in range(1200):
        if one not in (left := await _ids(client, "LIST")):
            break
        await asyncio.sleep(0.05)
    assert one not in left and len(left) == 1


async def test_wrong_filters_and_ids_are_named(client: Client) -> None:
    assert "'colour'" in await client.err("LIST FILTER colour=red")
    assert "age" in await client.err("LIST FILTER age>3w")
    unknown = "status: no message is ever 'bogus'; there are queued, scheduled and due"
    assert await client.err("LIST FILTER status=bogus") == unknown
    assert "no LIST FILTER yet" in await client.err("NDR lastFilter")
    assert "no id" in await client.err("LIST ID x1")
    await client.ok("ENTER QUARANTINE")
    assert await client.rows("LIST") == []
    assert await client.err("LIST FILTER status=bogus") == unknown


WAITING = Waiting("a@b.test", "c@d.test", 3000, 1000, 5000, 2, "scheduled", "4.4.1 no route")


@pytest.mark.parametrize(
    ("terms", "holds"),
    [
        (["size>2K"], True), (["size<2K"], False), (["age=1000"], True), (["age>1h"], False), (["retries=2"], True),
        (["status=sched"], True), (["sender=B.TEST"], True), (["sender!=b.test"], False), (["message=route", "size=3000"], True),
        (["message!=route"], False), (["next_schedule>2 Jan 1960 00:00"], True),
    ],
)  # fmt: skip
def test_terms(terms: list[str], holds: bool) -> None:
    assert parse_filter(terms)(WAITING, 2000.0) is holds


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_is_a_filter_or_refused(terms: list[str]) -> None:
    with contextlib.suppress(CommandError):
        parse_filter(terms)(WAITING, 0.0)


async def test_a_long_queue_is_listed_without_holding_the_loop(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = {
        number: [(Recipient(number, 0, f"user{number}@remote.test", "", 1_700_000_000, 1, 0, "4.4.1 no", b""), "a@b.test", 900, 1)]
        for number in range(40_000)
    }

    async def rows(self: QueueContext, test: object) -> object:
        return waiting

    monkeypatch.setattr(QueueContext, "rows", rows)
    client = await face.client()
    await client.ok("ENTER QUEUE")
    with counted_turns() as turns:
        client.writer.write(b"LIST\r\n")
        await client.reader.readline()
    assert turns.longest < 10_000
