"""Retries: their times (SMO-06), destinations that are down and come back (SMO-07), and large queues."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.queue import dispatcher
from mailstead.queue.queue_index import START, QueueIndex
from mailstead.queue.schedule import exhausted, last_try, retry_delay
from mailstead.queue.window import Window
from mailstead.store.service import QUEUE
from tests.queue.fake_mx import FakeMx
from tests.queue.harness import enqueue, until, world, zone_for


def test_delays_double_up_to_the_longest() -> None:
    assert [retry_delay(n, 300, 28_800) for n in range(1, 10)] == [300, 600, 1200, 2400, 4800, 9600, 19_200, 28_800, 28_800]


def test_defaults_give_more_than_four_days() -> None:
    assert sum(retry_delay(n, 300, 28_800) for n in range(1, 21)) > 4 * 86_400
    assert not exhausted(20, 20) and exhausted(21, 20)


@given(st.integers(1, 1000), st.integers(1, 86_400), st.integers(5, 604_800), st.integers(1, 1000))
def test_last_try_is_the_sum_of_the_delays(attempts: int, first: int, longest: int, retries: int) -> None:
    expected = sum(retry_delay(n, first, longest) for n in range(attempts, retries + 1))
    assert last_try(1000, attempts, first, longest, retries) == 1000 + expected


async def test_attempts_and_due_times_are_kept(tmp_path: Path) -> None:
    async with FakeMx(replies={"RCPT": "451 no"}) as mx, world(tmp_path, mx.port) as here:
        before = int(time.time())
        await here.send("b@there.test")
        await until(lambda: here.waiting and here.waiting[0][2] == 1)
        assert before + 600 <= here.waiting[0][1] <= time.time() + 600
        await here.stop()
        here.start()
        await here.send("c@there.test")
        await until(lambda: all(row[2] == 1 for row in here.waiting))
        tries = [command for command in mx.commands if command.startswith("RCPT")]
        assert len(tries) == 2


async def test_message_that_becomes_due_later_is_sent_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.2)
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", due=int(time.time()) + 3600)
        await here.send("c@there.test")
        assert (await mx.wait(1))[0].recipients == ["c@there.test"]
        await until(lambda: len(here.waiting) == 1)
        later = SimpleNamespace(time=lambda: time.time() + 3600, monotonic=time.monotonic)
        monkeypatch.setattr(dispatcher, "time", later)  # an hour passes
        assert (await mx.wait(2))[1].recipients == ["b@there.test"]
        await here.empty()


async def test_destination_that_is_down_is_left_alone(tmp_path: Path) -> None:
    async with FakeMx(replies={"greeting": "421 busy"}) as mx, world(tmp_path, mx.port) as here:
        await here.send("first@there.test")
        await until(lambda: here.waiting[0][2] == 1)
        for number in range(20):
            await here.send(f"u{number}@there.test")
        await until(lambda: all(row[2] == 1 for row in here.waiting))
        assert mx.connections == 1
        assert all("421 busy" in row[4] for row in here.waiting)


@pytest.mark.parametrize("restart", [False, True])
async def test_everything_for_a_domain_goes_out_when_it_is_back(tmp_path: Path, restart: bool) -> None:
    async with FakeMx(replies={"greeting": "421 busy"}) as mx, world(tmp_path, mx.port) as here:
        for number in range(30):
            await here.send(f"u{number}@there.test")
        await until(lambda: len(here.waiting) == 30 and all(row[2] == 1 for row in here.waiting))
        mx.replies = {"RCPT u7@there.test": "451 greylisted"}
        if restart:
            await here.stop()
            here.start()
        from mailstead.queue.service import QueueService

        await QueueService(here.store, here.dispatcher).retry(here.store.reader(QUEUE).row("SELECT min(mid) FROM entry")[0])  # type: ignore[index]
        await mx.wait(29)
        await until(lambda: len(here.waiting) == 1 and here.waiting[0][2] == 2)
        tries = [command for command in mx.commands if command.startswith("RCPT TO:<u7@")]
        assert len(tries) == 1


async def test_slow_destination_does_not_hold_up_others(tmp_path: Path) -> None:
    """The head of the queue belongs to a host that never answers; the window is smaller than its share."""
    zone = {**zone_for("slow.test", address="127.0.0.9"), **zone_for("fast.test")}
    async with FakeMx() as fast, FakeMx(address="127.0.0.9", port=fast.port, stall="MAIL") as slow:
        window = Window(size=64, route_size=16)
        async with world(tmp_path, fast.port, zone, window=window, outgoing={"commandTimeout": 3600}) as here:
            for _ in range(40):
                await here.send("b@slow.test")
            for number in range(40):
                await here.send(f"u{number}@fast.test")
            await fast.wait(40)
            assert not slow.messages and len(window.keys) <= 64
            for task in slow._tasks:
                task.cancel()


async def test_changed_smart_host_is_used_by_what_waits_already(tmp_path: Path) -> None:
    zone = {**zone_for("one.test"), **zone_for("two.test")}
    async with FakeMx(stall="MAIL") as old, FakeMx() as new:
        outgoing = {"maxConnectionsPerDomain": 1, "smartHost": "[127.0.0.1]", "smartHostPort": old.port}
        async with world(tmp_path, new.port, zone, outgoing=outgoing) as here:
            await here.send("first@one.test")
            await old.at_stage.wait()
            await here.send("b@one.test", "c@two.test")
            await here.send("d@two.test")
            here.settings.service("smtpOutgoing").smartHost = ""
            for task in list(old._tasks):
                task.cancel()  # the host that says nothing goes
            taken = await new.wait(4)
            sent = sorted(tuple(each.recipients) for each in taken)
            assert sent == [("b@one.test",), ("c@two.test",), ("d@two.test",), ("first@one.test",)]


async def test_recipients_without_a_message_do_not_keep_the_queue_busy(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.stop()
        mid = await here.send("b@there.test")
        shard = here.store._writers[QUEUE]
        shard.begin()
        shard.execute("DELETE FROM entry WHERE mid = ?", (mid,))
        shard.commit()
        here.start()
        await here.send("c@there.test")
        await mx.wait()
        await here.empty()


@pytest.mark.timeout(900)  # a busy machine
async def test_large_queue_is_walked_in_small_steps(tmp_path: Path) -> None:
    """50 000 recipients at once: all are delivered through a window of 500, each once."""
    async with FakeMx() as mx:
        domains = [f"d{number}.test" for number in range(50)]
        window = Window(size=500, route_size=200)
        outgoing = {"maxRecipientsPerTransaction": 1000}
        async with world(tmp_path, mx.port, zone_for(*domains), window=window, outgoing=outgoing) as here:
            await here.stop()
            for domain in domains:
                await enqueue(here.store, [f"u{number}@{domain}" for number in range(1000)])
            here._options["window"] = window
            here.start()
            await here.empty(600)
            addresses = [address for taken in mx.messages for address in taken.recipients]
            assert len(addresses) == len(set(addresses)) == 50_000


async def test_head_of_the_index_costs_the_same_in_a_queue_of_a_hundred_thousand(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.stop()
        shard = here.store._writers[QUEUE]
        shard.begin()
        shard.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
            "INSERT INTO recipient SELECT i, 0, 'u' || i || '@d' || (i % 1000) || '.test', 'd' || (i % 1000) || '.test', "
            "1000 + i, 0, 0, 0, 0, 0, '', x'' FROM n"
        )
        shard.commit()
        index = QueueIndex(here.store.queue_index)
        for sql, bindings in (
            ("SELECT 1 FROM recipient INDEXED BY recipient_due WHERE state = 0 AND due <= ? AND (due, mid, number) > (?, ?, ?) "
             "ORDER BY due, mid, number LIMIT 256", (10**9, 50_000, 1, 1)),
            ("SELECT 1 FROM recipient INDEXED BY recipient_route WHERE route = ? AND state = 0 AND due <= ? "
             "AND (due, mid, number) > (?, ?, ?) ORDER BY due, mid, number LIMIT 256", ("d5.test", 10**9, 50_000, 1, 1)),
        ):  # fmt: skip
            plan = " ".join(row[3] for row in here.store.reader(QUEUE).execute(f"EXPLAIN QUERY PLAN {sql}", bindings))
            assert "TEMP B-TREE" not in plan and "(due,mid,number)>(?,?,?)" in plan, plan
        assert [recipient.mid for recipient in index.due(10**9, (1000 + 50_000, 50_000, 0), 3)] == [50_001, 50_002, 50_003]
        assert [recipient.mid for recipient in index.due_of_route("d5.test", 10**9, START, 2)] == [5, 1005]
        assert index.next_route("d5.test") == "d50.test" and index.next_route("d999.test") is None
        assert index.next_due(50_000) == 50_001
        assert index.counts(51_000) == (0, 50_000, 50_000)
        here.start()
