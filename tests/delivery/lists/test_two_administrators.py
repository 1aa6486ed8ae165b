"""Several administrators who decide about the same thing at once: one acts, the others hear that it was dealt with."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from mailstead.mailbox.errors import MessageMissing
from tests.delivery.lists.conftest import DOMAIN, World, text_of
from tests.smtp.harness import ADMIN

ALICE, BOB, CAROL = f"alice@{DOMAIN}", f"bob@{DOMAIN}", f"carol@{DOMAIN}"
POSTINGS = 12


async def outcome(deciding: asyncio.Task[object]) -> str:
    try:
        await deciding
    except MessageMissing as missing:
        return str(missing)
    return "done"


@pytest.mark.parametrize("verbs", [("reject", "reject"), ("approve", "reject"), ("reject", "approve"), ("approve", "approve")])
async def test_of_two_decisions_about_a_posting_one_is_carried_out(world: World, verbs: tuple[str, str]) -> None:
    news = await world.make([CAROL], moderate="everybody")
    await world.sent("words", subject="the subject")
    (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
    before = len(await world.mail(ALICE))
    tasks = [asyncio.ensure_future(getattr(world.lists, verb)(news.id, waiting.uid, actor=ADMIN)) for verb in verbs]
    told = [await outcome(task) for task in tasks]
    assert sorted(told) == ["done", f"what waited under the number {waiting.uid} was dealt with already"]
    await world.idle()
    approved = verbs[told.index("done")] == "approve"
    assert len(await world.mail(CAROL)) == int(approved)
    assert len(await world.mail(ALICE)) - before == int(not approved)
    assert await world.in_list(news, "PendingRequests") == await world.in_list(news, "ConfirmedRequests") == []


@pytest.mark.parametrize("verbs", [("reject", "reject"), ("approve", "reject"), ("approve", "approve")])
async def test_of_two_decisions_about_a_subscription_one_is_carried_out(world: World, verbs: tuple[str, str]) -> None:
    news = await world.make(adminConfirm="yes")
    await world.sent("", to=f"news-subscribe@{DOMAIN}", sender=CAROL)
    await world.sent("", to=(await world.mail(CAROL))[-1]["Reply-To"], sender=CAROL)
    (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
    before = len(await world.mail(CAROL))
    tasks = [asyncio.ensure_future(getattr(world.lists, verb)(news.id, waiting.uid, actor=ADMIN)) for verb in verbs]
    told = [await outcome(task) for task in tasks]
    assert told.count("done") == 1
    await world.idle()
    approved = verbs[told.index("done")] == "approve"
    assert world.face.directory.member_count(news.id) == int(approved)
    assert len(await world.mail(CAROL)) - before == 1


async def test_the_second_of_two_mails_is_told(world: World) -> None:
    news = await world.make([CAROL], moderate="everybody", answersPerDay="50")
    await world.face.directory.set_list_password(news.id, "open-sesame", actor=ADMIN)
    await world.sent("words")
    for sender, command in ((BOB, "approve 1"), (CAROL, "reject 1")):
        await world.sent(f"password open-sesame\n{command}", to=f"news-request@{DOMAIN}", sender=sender)
    assert "approved: post" in text_of((await world.mail(BOB))[-1])
    assert "dealt with already" in text_of((await world.mail(CAROL))[-1])


@pytest.mark.parametrize("verbs", [("approve", "reject"), ("reject", "reject")])
async def test_of_two_processes_the_first_to_commit_wins(world: World, verbs: tuple[str, str]) -> None:
    news = await world.make([CAROL], moderate="everybody", answersPerDay="1000")
    for number in range(POSTINGS):
        await world.send(f"text {number}", subject=f"posting {number}")
    await world.idle()
    uids = [one.uid for one in await world.lists.pending_posts(news.id, actor=ADMIN)]
    assert len(uids) == POSTINGS
    before = len(await world.mail(ALICE))
    path = str(world.face.store.data_dir)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.delivery.lists.deciding_process", path, f"w{number}", str(news.id), verb],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number, verb in enumerate(verbs, 1)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "begun\n"
    lines = "".join(f"{uid}\n" for uid in uids)
    told = await asyncio.gather(*(asyncio.to_thread(process.communicate, lines, 60) for process in processes))
    first, second = (answers.splitlines() for answers, _ in told)
    for uid, pair in zip(uids, zip(first, second, strict=True), strict=True):
        assert sorted(pair) == ["done", f"what waited under the number {uid} was dealt with already"]
    await world.lists.upkeep()
    await world.idle()
    approved = first.count("done") if verbs[0] == "approve" else 0
    assert len(await world.mail(CAROL)) == approved
    assert len(await world.mail(ALICE)) - before == POSTINGS - approved
    assert await world.in_list(news, "PendingRequests") == await world.in_list(news, "ConfirmedRequests") == []
