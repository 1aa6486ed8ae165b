"""Large lists and groups: accepted at once, expanded in the background, each member once whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from mailstead.delivery.expansion import CHUNK
from mailstead.delivery.lists.service import Lists
from mailstead.directory import NewAccount
from mailstead.queue.queue_index import START
from mailstead.store.service import QUEUE
from tests.delivery.lists.conftest import DOMAIN, LIST, World, until, world_at
from tests.smtp.harness import ADMIN, MESSAGE, Face, running

LOCAL, REMOTE = 900, 700


async def furnish(face: Face, kind: str) -> None:
    names = [f"u{number:04}" for number in range(LOCAL)]
    await face.directory.import_accounts([NewAccount(f"{name}@{DOMAIN}", hash="{PLAIN}x") for name in names], actor=ADMIN)
    members = [*(f"{name}@{DOMAIN}" for name in names), *(f"m{number:04}@far.test" for number in range(REMOTE))]
    # Twice over by another way: aliases, a nested group.
    await face.directory.create_group(DOMAIN, "nested", members[:100], actor=ADMIN)
    create = face.directory.create_list if kind == "list" else face.directory.create_group
    await create(DOMAIN, "news", [*members, f"nested@{DOMAIN}", f"U0007+x@{DOMAIN}"], actor=ADMIN)


def copies(face: Face) -> Counter[str]:
    """How many copies everybody has."""
    found: Counter[str] = Counter()
    reader = face.store.reader(0)
    accounts = {account.id: account.address for account in face.directory.accounts()}
    for account, count in reader.execute("SELECT id, messages FROM account"):
        if account in accounts and count:
            found[accounts[account]] = count
    for (address,) in face.store.reader(QUEUE).execute("SELECT address FROM recipient WHERE state = 0"):
        found[address] += 1
    return found


@pytest.mark.parametrize("kind", ["list", "group"])
async def test_killed_in_the_middle_each_member_gets_one_copy(tmp_path: Path, kind: str) -> None:
    async with running(tmp_path) as face:
        await furnish(face, kind)
        client = await face.ready()
        assert (await client.send(MESSAGE, LIST)).startswith("250")
        assert not copies(face)
    generator = random.Random(os.environ.get("PYTEST_XDIST_WORKER", kind))
    kills = 0
    for attempt in range(60):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.delivery.lists.expanding_process", str(tmp_path), *(["held"] if attempt < 2 else []),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"begun\n"
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if attempt < 12 and line == b"given\n":
            # The first two stand still with most of it before them, the others are killed anywhere.
            await asyncio.sleep(generator.uniform(0, 0.2) if attempt >= 2 else 0)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        rest = line + await asyncio.wait_for(process.stdout.read(), 60)
        await process.wait()
        if rest.endswith(b"done\n"):
            break
        kills += 1
    assert kills >= 2
    async with running(tmp_path) as face:
        assert not face.store.queue_index.expansions(START, 1)
        found = copies(face)
        assert set(found.values()) == {1}
        assert len(found) == LOCAL + REMOTE
        assert not list(face.store.reader(QUEUE).execute("SELECT 1 FROM entry WHERE mid NOT IN (SELECT mid FROM recipient)"))


async def test_a_lost_index_of_the_queue_knows_how_far_it_was(tmp_path: Path) -> None:
    async with running(tmp_path) as face:
        await furnish(face, "list")
        client = await face.ready()
        assert (await client.send(MESSAGE, LIST)).startswith("250")
        expander = Lists(face.delivery).expander()
        task = asyncio.create_task(expander.run())
        await until(lambda: expander.counts.given > 3 * CHUNK)
        await expander.stop()
        await task
        assert face.store.queue_index.expansions(START, 1)
    for path in (tmp_path / "index").glob("queue-0.db*"):
        path.unlink()
    async with world_at(tmp_path) as world:
        await world.idle()
        found = copies(world.face)
        assert set(found.values()) == {1}
        assert len(found) == LOCAL + REMOTE


async def test_a_small_list_does_not_wait_for_a_large_one(world: World) -> None:
    members = [f"m{number:05}@far.test" for number in range(CHUNK * 30)]
    await world.face.directory.create_list(DOMAIN, "large", members, actor=ADMIN)
    await world.make([f"alice@{DOMAIN}"])
    await world.send("first", to=f"large@{DOMAIN}")
    await world.send("second")

    async def arrived() -> bool:
        return bool(await world.mail())

    await until(arrived)
    assert world.face.store.queue_index.expansions(START, 10), "the large one was through before the small one began"
    await world.idle()
    assert len(world.queued()) == len(members)


async def test_the_sender_hears_of_members_of_a_large_group_who_are_gone(world: World) -> None:
    names = [f"m{number:05}@far.test" for number in range(600)]
    gone = await world.face.directory.create_account(DOMAIN, "gone", actor=ADMIN)
    await world.face.directory.create_group(DOMAIN, "large", [*names, f"gone@{DOMAIN}"], actor=ADMIN)
    await world.face.directory.delete_account(gone.id, actor=ADMIN)
    await world.sent(to=f"large@{DOMAIN}")
    (report,) = await world.mail()
    assert b"Final-Recipient: rfc822; gone@example.test" in report.as_bytes()
    assert len(world.queued()) == 600


async def test_a_large_message_to_a_large_group_is_written_once(world: World) -> None:
    names = [f"m{number:05}@far.test" for number in range(600)]
    await world.face.directory.create_group(DOMAIN, "large", [*names, f"carol@{DOMAIN}"], actor=ADMIN)
    body = "\r\n".join(f"line {number}" for number in range(60_000))
    await world.sent(body, to=f"large@{DOMAIN}")
    (copy,) = await world.mail(f"carol@{DOMAIN}")
    assert str(copy.get_content()).rstrip().replace("\r\n", "\n") == body.replace("\r\n", "\n")
    assert len(list((world.face.store.log_path / "w0" / "x").glob("*.mext"))) == 1
    assert world.face.store.reader(QUEUE).row("SELECT count(*) FROM recipient WHERE state = 0") == (600,)


@pytest.mark.parametrize("kind", ["list", "group"])
async def test_the_sender_hears_when_all_is_gone_before_its_turn(tmp_path: Path, kind: str) -> None:
    async with running(tmp_path) as face:
        create = face.directory.create_list if kind == "list" else face.directory.create_group
        made = await create(DOMAIN, "news", [f"m{number:04}@far.test" for number in range(600)], actor=ADMIN)
        client = await face.ready()
        assert (await client.send(MESSAGE, LIST, sender=f"alice@{DOMAIN}")).startswith("250")
        await face.directory.delete_recipient(made.id, actor=ADMIN)
    async with world_at(tmp_path) as world:
        await world.idle()

        async def told() -> bool:
            return bool(await world.mail())

        await until(told)
        (report,) = await world.mail()
        assert b"Final-Recipient: rfc822; news@example.test" in report.as_bytes()
        assert not world.queued()


async def test_a_job_that_cannot_be_read_stops_nobody(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        await world.make([f"alice@{DOMAIN}"])
        from mailstead.store.record import MessageHead, Target, TargetKind

        target = Target(TargetKind.EXPANSION, QUEUE, date=1, recipient=LIST, detail=b"\xc1 damaged")
        await world.face.store.submit_message(MessageHead("a@b.test", 1, [target]), b"Subject: x\r\n\r\n")
        await world.send("words")

        async def arrived() -> bool:
            return bool(await world.mail())

        await until(arrived)
        assert len(world.face.store.queue_index.expansions(START, 10)) == 1
