"""What an administrator does with the queue (SMO-13)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailstead.queue import service as queue_service
from mailstead.queue.service import Filter, QueueService
from tests.queue.fake_mx import FakeMx
from tests.queue.harness import until, world, zone_for


async def test_list_pages_filters_and_counts(tmp_path: Path) -> None:
    zone = zone_for("one.test", "two.test")
    async with FakeMx(replies={"RCPT": "451 4.2.1 later"}) as mx, world(tmp_path, mx.port, zone) as here:
        queue = QueueService(here.store, here.dispatcher)
        for number in range(5):
            await here.send(f"u{number}@one.test", sender=f"s{number}@here.test")
        await here.send("Other@two.test")
        await until(lambda: all(row[2] == 1 for row in here.waiting))
        first = queue.list(limit=4)
        assert first.after is not None
        second = queue.list(after=first.after)
        assert [item.recipient for item in first.items + second.items] == [f"u{n}@one.test" for n in range(5)] + ["Other@two.test"]
        assert second.after is None and "later" in first.items[0].status and first.items[0].attempts == 1
        assert [item.recipient for item in queue.list(Filter(domain="TWO.test")).items] == ["Other@two.test"]
        assert [item.recipient for item in queue.list(Filter(sender="S3@")).items] == ["u3@one.test"]
        assert [item.recipient for item in queue.list(Filter(recipient="other")).items] == ["Other@two.test"]
        assert not queue.list(Filter(deferred=False)).items
        counters = queue.counters()
        assert (counters.messages, counters.due, counters.deferred) == (6, 0, 6)


async def test_retry_one_and_all(tmp_path: Path) -> None:
    async with FakeMx(replies={"RCPT": "451 later"}) as mx, world(tmp_path, mx.port) as here:
        queue = QueueService(here.store, here.dispatcher)
        ids = [await here.send(f"u{number}@there.test") for number in range(3)]
        await until(lambda: all(row[2] == 1 for row in here.waiting))
        mx.replies.clear()
        assert (await queue.retry(ids[1])).changed == 1
        assert (await mx.wait(1))[0].recipients == ["u1@there.test"]
        await queue.retry_all()
        await mx.wait(3)
        await here.empty()


async def test_retry_reaches_a_destination_that_counts_as_down(tmp_path: Path) -> None:
    async with FakeMx(replies={"greeting": "421 busy"}) as mx, world(tmp_path, mx.port) as here:
        mid = await here.send("b@there.test")
        await until(lambda: here.waiting[0][2] == 1)
        mx.replies.clear()
        await QueueService(here.store, here.dispatcher).retry(mid)
        await mx.wait()
        await here.empty()


async def test_retry_right_after_an_attempt_was_noted_is_no_part_of_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeMx(replies={"RCPT": "451 later"}) as mx, world(tmp_path, mx.port) as here:
        let_go = asyncio.Event()
        attempt = here.dispatcher._transactions.run

        async def held(*arguments: Any) -> Any:
            pairs = await attempt(*arguments)
            await let_go.wait()
            return pairs

        monkeypatch.setattr(here.dispatcher._transactions, "run", held)
        mid = await here.send("b@there.test")
        await until(lambda: here.waiting[0][2] == 1)
        mx.replies.clear()
        retried = asyncio.create_task(QueueService(here.store, here.dispatcher).retry(mid))
        await asyncio.sleep(0)
        let_go.set()
        assert (await retried).changed == 1
        await mx.wait()
        await here.empty()


async def test_bounce_returns_the_message_without_another_attempt(tmp_path: Path) -> None:
    async with FakeMx(replies={"RCPT": "451 later"}) as mx, world(tmp_path, mx.port) as here:
        mid = await here.send("b@there.test", "c@there.test")
        await until(lambda: here.waiting and all(row[2] == 1 for row in here.waiting))
        assert (await QueueService(here.store, here.dispatcher).bounce(mid)).changed == 2
        await here.empty()
        (notice,) = here.outbox.messages
        assert b"returned by the administrator" in notice.octets and b"Status: 5.7.1" in notice.octets
        assert len([command for command in mx.commands if command.startswith("RCPT")]) == 2


async def test_remove_says_nothing_to_anybody(tmp_path: Path) -> None:
    async with FakeMx(replies={"RCPT": "451 later"}) as mx, world(tmp_path, mx.port) as here:
        mid = await here.send("b@there.test")
        await until(lambda: here.waiting[0][2] == 1)
        assert (await QueueService(here.store, here.dispatcher).remove(mid)).changed == 1
        assert not here.waiting and not here.outbox.messages
        assert here.store.reader(1000).row("SELECT count(*) FROM entry") == (0,)


async def test_verb_keeps_off_a_recipient_that_is_being_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_service, "WAIT_SECONDS", 0.2)
    async with FakeMx(stall="data") as mx, world(tmp_path, mx.port, outgoing={"dataTimeout": 1}) as here:
        mid = await here.send("b@there.test")
        await mx.at_stage.wait()
        done = await QueueService(here.store, here.dispatcher).remove(mid)
        assert (done.changed, done.busy) == (0, 1) and len(here.waiting) == 1
