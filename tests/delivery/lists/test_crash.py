"""A process killed behind each durable step of a list's duties: everybody hears once, nothing is lost, a digest goes out once."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailstead.delivery.lists.bounces import PROBE_AFTER
from mailstead.directory.model import Recipient, RecipientEdit
from mailstead.mailbox.model import NewMessage
from mailstead.settings.database import Transaction
from mailstead.settings.declarations import LIST_QUOTAS
from mailstead.settings.service import store_value
from tests.delivery.lists.conftest import DOMAIN, LIST, World, parsed, text_of, world_at
from tests.delivery.lists.test_bounces_and_digests import bounce, report
from tests.smtp.harness import ADMIN, Face, running

ALICE, BOB, CAROL = f"alice@{DOMAIN}", f"bob@{DOMAIN}", f"carol@{DOMAIN}"
MOST_STEPS = 25

Check = Callable[[Face], Awaitable[None]]


@dataclass
class Runner:
    """See killed_process.py."""

    process: subprocess.Popen[str]

    async def run(self, path: Path, at: int = 0, words: tuple[str, ...] = ()) -> int:
        """Steps of a process that came to its end; -1 where it was killed."""
        return await asyncio.to_thread(self._run, path, at, words)

    def _run(self, path: Path, at: int, words: tuple[str, ...]) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([str(path), at, words]), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, "the process failed"
        return int(answer)

    async def at_each_step(self, furnished: Path, check: Check, *words: str, again: tuple[str, ...] = ()) -> int:
        """Kill behind each step in a copy of the directory, let another process go on (``again``: its words), and check. Gives
        the number of steps."""
        for at in range(1, MOST_STEPS):
            path = copy_of(furnished, at)
            steps = await self.run(path, at, words)
            if steps < 0:
                assert await self.run(path, 0, again) >= 0
            async with running(path) as face:
                try:
                    await check(face)
                except AssertionError as error:
                    raise AssertionError(f"killed behind step {at}: {error}") from error
            shutil.rmtree(path)
            if steps >= 0:
                assert at > 1, "nothing was killed"
                return steps
        raise AssertionError("it never came to its end")


def copy_of(furnished: Path, number: int) -> Path:
    path = furnished.with_name(f"{furnished.name}-{number}")
    shutil.copytree(furnished, path, ignore=lambda _, names: [name for name in names if name.endswith(".sock")])
    return path


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.delivery.lists.killed_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Runner(process)
    finally:
        process.communicate(timeout=300)


async def subjects(face: Face, address: str) -> Counter[str]:
    return Counter(str(parsed(octets)["Subject"]) for octets in await face.messages(address))


async def digested(face: Face, address: str) -> Counter[str]:
    """Subjects of the postings in the digests that an address got."""
    parts = [part for octets in await face.messages(address) for part in parsed(octets).walk()]
    return Counter(str(part.get_content()["Subject"]) for part in parts if part.get_content_type() == "message/rfc822")


def list_id(face: Face) -> int:
    return face.directory.resolve(LIST).object_id


async def in_list(face: Face, folder: str) -> int:
    found = await face.mailbox.folder(list_id(face), folder)
    return (await face.mailbox.status(found)).messages if found is not None else 0


def members(face: Face) -> list[str]:
    return [member.address for member in face.directory.members(list_id(face))]


async def waiting_job(path: Path, prepare: Callable[[World], Awaitable[tuple[str, str]]], text: str = "words") -> None:
    """A directory in which a mail has been accepted for an address of the list (prepare: from whom, to what)."""
    async with world_at(path) as world:
        sender, to = await prepare(world)
        await world.idle()
        await world.expander.stop()
        await asyncio.sleep(0)
        assert (await world.send(text, to=to, sender=sender, subject="the subject")).startswith("250")


async def full(world: World, news: Recipient) -> None:
    def limit(transaction: Transaction) -> None:
        setting = LIST_QUOTAS.setting("totalMessageSize")
        store_value(transaction, "test", "recipient", news.id, "listQuotas.totalMessageSize", setting, "1")

    await world.face.directory.database.write(limit)


async def asked(world: World, to: str = f"news-subscribe@{DOMAIN}") -> str:
    """The address that confirms a request of carol's."""
    await world.sent("", to=to, sender=CAROL)
    return str((await world.mail(CAROL))[-1]["Reply-To"])


async def test_a_held_posting(tmp_path: Path, runner: Runner) -> None:
    async def prepare(world: World) -> tuple[str, str]:
        await world.make(moderate="everybody", adminEmail=BOB)
        return ALICE, LIST

    async def check(face: Face) -> None:
        assert await in_list(face, "PendingRequests") == 1
        assert sum((await subjects(face, ALICE)).values()) == 1
        assert await subjects(face, BOB) == {"news: a message waits": 1}
        assert "\n  approve 1\n" in text_of(parsed((await face.messages(BOB))[0]))

    await waiting_job(tmp_path / "a", prepare)
    await runner.at_each_step(tmp_path / "a", check)


async def test_a_posting_that_cannot_be_held(tmp_path: Path, runner: Runner) -> None:
    async def prepare(world: World) -> tuple[str, str]:
        news = await world.make(moderate="everybody", adminEmail=BOB)
        contents = {"autoRejectResponse": "Subject: refused\n\n$REASON\n"}
        await world.face.directory.edit_recipient(news.id, RecipientEdit(contents=contents), actor=ADMIN)
        folder = await world.lists._office.folder(news, "INBOX")
        await world.face.mailbox.append(folder, [NewMessage(b"Subject: x\r\n\r\n" + b"x" * 900)])
        await full(world, news)
        return ALICE, LIST

    async def check(face: Face) -> None:
        assert await in_list(face, "PendingRequests") == 0
        assert await subjects(face, ALICE) == {"refused": 1}
        assert await subjects(face, BOB) == {"news: the list's mailbox is full": 1}

    await waiting_job(tmp_path / "a", prepare)
    await runner.at_each_step(tmp_path / "a", check)


async def test_a_request_is_answered_once(tmp_path: Path, runner: Runner) -> None:
    async def prepare(world: World) -> tuple[str, str]:
        await world.make()
        return CAROL, f"news-subscribe@{DOMAIN}"

    async def check(face: Face) -> None:
        assert sum((await subjects(face, CAROL)).values()) == 1
        assert await in_list(face, "Requests") == 1

    await waiting_job(tmp_path / "a", prepare)
    await runner.at_each_step(tmp_path / "a", check)


async def test_a_confirmed_subscription(tmp_path: Path, runner: Runner) -> None:
    async def prepare(world: World) -> tuple[str, str]:
        await world.make()
        return CAROL, await asked(world)

    async def check(face: Face) -> None:
        assert members(face) == [CAROL]
        assert (await subjects(face, CAROL))["Welcome to news"] == 1
        assert sum((await subjects(face, CAROL)).values()) == 2
        assert await in_list(face, "Requests") == 0

    await waiting_job(tmp_path / "a", prepare)
    await runner.at_each_step(tmp_path / "a", check)


async def test_a_confirmed_subscription_that_waits_for_the_administrator(tmp_path: Path, runner: Runner) -> None:
    async def prepare(world: World) -> tuple[str, str]:
        await world.make(adminConfirm="yes", adminEmail=BOB)
        return CAROL, await asked(world)

    async def check(face: Face) -> None:
        assert (await in_list(face, "Requests"), await in_list(face, "PendingRequests")) == (0, 1)
        texts = [text_of(parsed(octets)) for octets in await face.messages(CAROL)]
        assert sum("waits for the administrator" in text for text in texts) == 1
        assert len(texts) == 2
        assert await subjects(face, BOB) == {f"news: {CAROL} wants to subscribe": 1}
        assert "\n  approve 1\n" in text_of(parsed((await face.messages(BOB))[0]))

    await waiting_job(tmp_path / "a", prepare)
    await runner.at_each_step(tmp_path / "a", check)


async def test_a_subscription_that_was_let_through(tmp_path: Path, runner: Runner) -> None:
    async def check(face: Face) -> None:
        assert members(face) == [CAROL]
        assert (await subjects(face, CAROL))["Welcome to news"] == 1
        assert await in_list(face, "ConfirmedRequests") == 0

    async with world_at(tmp_path / "a") as world:
        news = await world.make(adminConfirm="yes")
        await world.sent("", to=await asked(world), sender=CAROL)
        (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
        await world.lists.approve(news.id, waiting.uid, actor=ADMIN)
    await runner.at_each_step(tmp_path / "a", check)


COMMANDS = f"""
password open-sesame
set digest on
add far@remote.test Far F
remove {BOB}
remove {BOB}
set digest off
set mail off {CAROL}
set mail on {CAROL}
approve 1
reject 2 not this one
reject 2
approve 9
add nobody
subscribe
unsubscribe
pending
"""


async def test_the_answer_to_many_commands_is_what_it_would_have_been(tmp_path: Path, runner: Runner) -> None:
    async def prepare(world: World) -> tuple[str, str]:
        news = await world.make([BOB, CAROL], moderate="everybody", adminEmail=CAROL)
        await world.face.directory.set_list_password(news.id, "open-sesame", actor=ADMIN)
        for number in (1, 2, 3):
            await world.sent(f"text {number}", subject=f"posting {number}")
        return BOB, f"news-request@{DOMAIN}"

    await waiting_job(tmp_path / "a", prepare, COMMANDS)
    path = copy_of(tmp_path / "a", 0)
    assert await runner.run(path) > 0
    async with running(path) as face:
        (octets,) = await face.messages(BOB)
    answer = text_of(parsed(octets))
    for words in (
        f"{BOB} gets digests", "far@remote.test is a member", f"{BOB} is no member any more", f"{BOB} was no member",
        f"{CAROL} gets the list's mail",
        "approved: post", "rejected: post", '"reject 2": what waited under the number 2 was dealt with already',
        '"approve 9": nothing waits', "asked to subscribe", "3  post",
    ):  # fmt: skip
        assert words in answer

    async def check(face: Face) -> None:
        (told,) = await face.messages(BOB)
        assert text_of(parsed(told)) == answer
        assert members(face) == [CAROL, "far@remote.test"]
        assert (await in_list(face, "Requests"), await in_list(face, "PendingRequests")) == (1, 1)
        assert await in_list(face, "ConfirmedRequests") == 0
        assert (await subjects(face, CAROL))["posting 1"] == 1
        refusals = [one for one in await face.messages(ALICE) if "not this one" in text_of(parsed(one))]
        assert len(refusals) == 1

    await runner.at_each_step(tmp_path / "a", check)


async def test_a_refusal(tmp_path: Path, runner: Runner) -> None:
    async with world_at(tmp_path / "a") as world:
        news = await world.make(moderate="everybody")
        await world.sent("words")
        (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
        before = len(await world.mail(ALICE))

    async def check(face: Face) -> None:
        left, told = await in_list(face, "PendingRequests"), len(await face.messages(ALICE)) - before
        assert (left, told) == (0, 1)

    await runner.at_each_step(tmp_path / "a", check, "reject", str(news.id), str(waiting.uid))


async def test_leaving_by_the_address_of_a_copy(tmp_path: Path, runner: Runner) -> None:
    async def prepare(world: World) -> tuple[str, str]:
        await world.make([CAROL, "far@remote.test"])
        await world.face.directory.settings.set("server", "listUnsubscribeUrl", "https://lists.test/u", ADMIN)
        await world.sent()
        (copy,) = await world.mail(CAROL)
        await world.clear_queue()
        return CAROL, _mailto(copy)

    async def check(face: Face) -> None:
        assert members(face) == ["far@remote.test"]
        assert len(await face.messages(CAROL)) == 2

    await waiting_job(tmp_path / "a", prepare)
    await runner.at_each_step(tmp_path / "a", check)


def _mailto(copy: EmailMessage) -> str:
    return str(copy["List-Unsubscribe"]).partition("<mailto:")[2].partition(">")[0].replace("%2B", "+")


async def test_leaving_by_a_link(tmp_path: Path, runner: Runner) -> None:
    async with world_at(tmp_path / "a") as world:
        news = await world.make([CAROL])
        await world.face.directory.settings.set("server", "listUnsubscribeUrl", "https://lists.test/u", ADMIN)
        member = world.face.directory.member(news.id, CAROL)
        assert member is not None
        token = world.lists._copies.link(news.id, member).rpartition("/")[2]

    async def check(face: Face) -> None:
        assert members(face) == []
        assert len(await face.messages(CAROL)) == 1

    await runner.at_each_step(tmp_path / "a", check, "unsubscribe", token)


@pytest.mark.parametrize("archived", [True, False])
async def test_a_digest(tmp_path: Path, runner: Runner, archived: bool) -> None:
    """Whether or not the list keeps a copy of it."""
    async with world_at(tmp_path / "a") as world:
        news = await world.make([CAROL], digestMessages="1")
        await world.face.directory.update_member(news.id, CAROL, digest=True, actor=ADMIN)
        await world.sent("one")
        if not archived:
            await full(world, news)

    async def check(face: Face) -> None:
        assert sum((await subjects(face, CAROL)).values()) == 1
        assert await in_list(face, "Digest") == 0

    later = ("later", str(time.time() % 1 + 25 * 3600))
    await runner.at_each_step(tmp_path / "a", check, *later, again=later)


@pytest.mark.parametrize("by", [CAROL, ALICE])
async def test_a_member_who_wants_no_more_digests_gets_what_waits_once(tmp_path: Path, runner: Runner, by: str) -> None:
    """In two digests, as they do not all fit one, whether he or the administrator says so; the others get theirs later."""

    async def prepare(world: World) -> tuple[str, str]:
        news = await world.make([BOB, CAROL])
        await world.face.directory.set_list_password(news.id, "a third secret", actor=ADMIN)
        for address in (BOB, CAROL):
            await world.face.directory.update_member(news.id, address, digest=True, actor=ADMIN)
        for number in range(3):
            await world.sent("x" * (3 << 20), subject=f"posting {number}")
        return by, f"news-request@{DOMAIN}"

    async def check(face: Face) -> None:
        assert await digested(face, CAROL) == {f"posting {number}": 1 for number in range(3)}
        assert (await subjects(face, by))["news: set"] == 1
        assert len(await face.messages(CAROL)) == (3 if by == CAROL else 2)
        assert await digested(face, BOB) == {f"posting {number}": 1 for number in range(3)}
        assert await in_list(face, "Digest") == 0

    command = "set digest off" if by == CAROL else f"password a third secret\nset digest off {CAROL}"
    await waiting_job(tmp_path / "a", prepare, command)
    later = ("later", str(25 * 3600))
    await runner.at_each_step(tmp_path / "a", check, *later, again=later)


@pytest.mark.parametrize("probed", [False, True])
async def test_the_owner_hears_of_a_member_whose_mail_comes_back(tmp_path: Path, runner: Runner, probed: bool) -> None:
    far = "far@remote.test"
    async with world_at(tmp_path / "a") as world:
        news = await world.make([far], bounceThreshold="1", adminEmail=BOB)
        await world.sent("words", sender=ALICE)
        (copy,) = world.queued()
        await world.clear_queue()
        to = copy.sender
        if probed:
            await bounce(world, to, report())
            await world.lists.upkeep(time.time() + PROBE_AFTER + 100)
            to = world.queued()[0].sender
            await world.clear_queue()
        await world.expander.stop()
        client = await world.face.ready()
        assert (await client.send(report().encode(), to, sender="")).startswith("250")

    async def check(face: Face) -> None:
        member = face.directory.member(news.id, far)
        told = await subjects(face, BOB)
        assert told[f"news: mail to {far} comes back"] == 1
        if probed:
            assert member is None
            assert told[f"news: {far} was removed"] == 1
        else:
            assert member is not None and member.state == "disabled"

    await runner.at_each_step(tmp_path / "a", check)
