"""Mail that comes back, and digests."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.delivery.lists import digest
from mailstead.delivery.lists.bounces import HARD, PROBE_AFTER, PROBE_WAIT, SOFT, points_of
from mailstead.delivery.lists.tokens import Signer
from mailstead.directory.model import Member, Recipient
from mailstead.mailbox.model import NewMessage
from mailstead.message.bounce import read_report
from mailstead.message.dsn import DsnRecipient, build_dsn
from mailstead.process.outbound import Outbound
from tests.delivery.lists.conftest import DOMAIN, World, text_of, until
from tests.queue.fake_mx import FakeMx
from tests.smtp.harness import ADMIN

BOB = f"bob@{DOMAIN}"
FAR = "far@remote.test"


def report(status: str = "5.1.1", action: str = "failed", final: str = FAR) -> str:
    octets = build_dsn(
        kind=action,  # type: ignore[arg-type]
        reporting_mta="mx.remote.test", to="x@example.test",
        recipients=[DsnRecipient(final, action, status, diagnostic=f"550 {status} said the host")],  # type: ignore[arg-type]
        original=b"Subject: x\r\n\r\n", arrival=None, date=time.time(),
    )  # fmt: skip
    return octets.decode()


async def bounce(world: World, to: str, octets: str, sender: str = "") -> None:
    client = await world.face.ready()
    reply = await client.send(octets.encode(), to, sender=sender)
    assert reply.startswith("250"), reply
    await world.idle()


def member(world: World, news: Recipient) -> Member:
    found = world.face.directory.member(news.id, FAR)
    assert found is not None
    return found


async def verp(world: World) -> str:
    await world.sent("words", sender=BOB)
    (one,) = world.queued()
    await world.clear_queue()
    return one.sender


async def test_a_member_whose_mail_comes_back_is_disabled_asked_and_removed(world: World) -> None:
    news = await world.make([FAR], bounceThreshold="1", adminEmail=BOB)
    sender = await verp(world)
    await bounce(world, sender, report())
    assert (member(world, news).score, member(world, news).state) == (1.0, "disabled")
    assert "comes back" in (await world.mail(BOB))[-1]["Subject"]
    assert "said the host" in text_of((await world.mail(BOB))[-1])
    await world.sent("more", sender=BOB)
    assert world.queued() == []
    now = time.time()
    await world.lists.upkeep(now + PROBE_AFTER - 100)
    assert world.queued() == []
    await world.lists.upkeep(now + PROBE_AFTER + 100)
    (probe,) = world.queued()
    assert probe.recipient == FAR
    assert member(world, news).state == "probed"
    await bounce(world, sender, report())
    assert member(world, news).state == "probed"
    await bounce(world, probe.sender, report())
    assert world.face.directory.member(news.id, FAR) is None
    assert "was removed" in (await world.mail(BOB))[-1]["Subject"]


async def test_a_member_who_got_the_probe_is_a_member_again(world: World) -> None:
    news = await world.make([FAR], bounceThreshold="1", adminEmail=BOB)
    await bounce(world, await verp(world), report())
    now = time.time() + PROBE_AFTER + 100
    await world.lists.upkeep(now)
    await world.clear_queue()
    await world.lists.upkeep(now + PROBE_WAIT - 100)
    assert member(world, news).state == "probed"
    await world.lists.upkeep(now + PROBE_WAIT + 100)
    assert (member(world, news).state, member(world, news).score) == ("", 0.0)
    await world.sent("again", sender=BOB)
    assert len(world.queued()) == 1


async def test_what_counts_and_what_does_not(world: World) -> None:
    news = await world.make([FAR])
    sender = await verp(world)
    for text in (report(action="delayed", status="4.4.1"), report(action="delivered", status="2.0.0")):
        await bounce(world, sender, text)
    vacation = "From: far@remote.test\r\nSubject: away\r\nAuto-Submitted: auto-replied\r\n\r\nI am away\r\n"
    await bounce(world, sender, vacation, sender="far@remote.test")
    await bounce(world, sender, vacation)
    await bounce(world, f"news-bounces+aaaabbbbccccddddeeee@{DOMAIN}", report())
    await bounce(world, f"news-bounces@{DOMAIN}", report())
    assert member(world, news).score == 0
    await bounce(world, sender, report(status="5.2.2"))
    assert member(world, news).score == 0.5
    for _ in range(5):  # a day counts once, the worst of it
        await bounce(world, sender, report())
    assert member(world, news).score == 1.0
    await bounce(world, sender, "From: x\r\nSubject: Undeliverable\r\n\r\nSorry\r\n")
    assert member(world, news).score == 1.0


async def test_a_full_mailbox_here_counts_too(world: World) -> None:
    news = await world.make([f"alice@{DOMAIN}", f"gone@{DOMAIN}"])
    await world.face.directory.set_account_setting(world.face.account(f"alice@{DOMAIN}").id, "totalMessageSize", "1", actor=ADMIN)
    await world.sent("x" * 3000, sender=BOB)

    def scores() -> dict[str, float]:
        return {one.address: one.score for one in world.face.directory.members(news.id)}

    await until(lambda: all(scores().values()))
    assert scores() == {f"alice@{DOMAIN}": SOFT, f"gone@{DOMAIN}": HARD}


async def test_digests_of_so_many_or_of_a_day(world: World) -> None:
    news = await world.make([f"alice@{DOMAIN}", f"carol@{DOMAIN}", FAR], digestMessages="3", description="Daily words")
    for address in (f"carol@{DOMAIN}", FAR):
        await world.face.directory.update_member(news.id, address, digest=True, actor=ADMIN)
    for number in range(4):
        await world.sent(f"text {number}", sender=BOB, subject=f"Größe {number}")
    assert await world.mail(f"carol@{DOMAIN}") == []
    await world.lists.upkeep()
    await world.idle()
    (sent,) = await world.mail(f"carol@{DOMAIN}")
    assert len(world.queued()) == 1
    assert sent["List-Id"] == "Daily words <news.example.test>"
    assert "Größe 3" in text_of(sent)
    inner = [part for part in sent.walk() if part.get_content_type() == "message/rfc822"]
    assert len(inner) == 4
    assert "text 2" in inner[2].get_content().get_content()
    assert len(await world.in_list(news, "Digests")) == 1
    assert await world.in_list(news, "Digest") == []
    await world.sent("late", sender=BOB)
    await world.lists.upkeep()
    await world.idle()
    assert len(await world.mail(f"carol@{DOMAIN}")) == 1
    await world.lists.upkeep(time.time() + 25 * 3600)
    await world.idle()
    assert len(await world.mail(f"carol@{DOMAIN}")) == 2
    assert len(await world.mail()) == 5


async def test_each_posting_is_in_one_digest_where_they_do_not_all_fit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    news = await world.make([f"carol@{DOMAIN}"], digestMessages="100", digestInterval="24")
    await world.face.directory.update_member(news.id, f"carol@{DOMAIN}", digest=True, actor=ADMIN)
    folder = await world.lists._office.folder(news, "Digest")
    postings = [NewMessage(f"Subject: n{number:03}\r\n\r\n{'x' * 600}\r\n".encode()) for number in range(100)]
    await world.face.mailbox.append(folder, [*postings, NewMessage(b"Subject: n100\r\n\r\nx\r\n")])
    monkeypatch.setattr("mailstead.delivery.lists.digest.MAX_OCTETS", 60_500)
    await world.lists.upkeep(time.time() + 25 * 3600)
    await world.idle()
    found = [
        str(part.get_content()["Subject"])
        for sent in await world.mail(f"carol@{DOMAIN}")
        for part in sent.walk()
        if part.get_content_type() == "message/rfc822"
    ]
    assert found == [f"n{number:03}" for number in range(101)]


async def test_a_large_digest_holds_up_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    news = await world.make([f"carol@{DOMAIN}"], digestMessages="1")
    await world.face.directory.update_member(news.id, f"carol@{DOMAIN}", digest=True, actor=ADMIN)
    await world.sent("x" * 40_000, sender=BOB)
    threads: set[int] = set()
    for name in ("compose", "prepare"):
        real = getattr(digest, name)

        def noted(*arguments: object, real: Callable[..., bytes] = real) -> bytes:
            threads.add(threading.get_ident())
            return real(*arguments)

        monkeypatch.setattr(digest, name, noted)
    await world.lists.upkeep()
    await world.idle()
    assert len(await world.mail(f"carol@{DOMAIN}")) == 1
    assert threads and threading.get_ident() not in threads


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from([b"Content-Type: multipart/report; boundary=b\r\n", b"\r\n", b"--b\r\n",
                             b"Action: failed\r\n", b"\xff",
                             b"Content-Type: message/delivery-status\r\n", b"Status: 5.1.1\r\n",
                             b"Final-Recipient: rfc822; a@b\r\n",
                             b"Diagnostic-Code: smtp; 550 no\r\n", b"--b--\r\n", b"Action: delayed\r\n"]),
            max_size=20,
        ).map(b"".join),
    )
)  # fmt: skip
def test_no_octets_break_the_reading_of_reports(octets: bytes) -> None:
    assert 0 <= points_of(read_report(octets)) <= HARD


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["5.1.1", "5.2.2", "4.4.1", "5.7.1", "5.0.0"]), st.sampled_from(["failed", "delayed", "relayed"]),
    st.emails(),
)  # fmt: skip
def test_reports_as_this_server_writes_them_are_read(status: str, action: str, final: str) -> None:
    (found,) = read_report(report(status, action, final).encode())
    assert (found.action, found.status, found.final) == (action, status, final)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**62), st.text(max_size=60), st.dictionaries(st.text(max_size=10), st.text(max_size=40), max_size=3))
def test_tokens_are_their_lists_and_nobody_elses(number: int, text: str, values: dict[str, str]) -> None:
    signer = Signer(b"secret")
    token = signer.number("bounce", 7, number)
    assert signer.read_number("bounce", 7, token.upper()) == number
    assert signer.read_number("bounce", 8, token) is None
    assert signer.read_number("probe", 7, token) is None
    assert Signer(b"other").read_number("bounce", 7, token) is None
    assert signer.read_number("bounce", 7, text) is None
    assert signer.read_text("link", text) is None
    long = signer.text("link", 7, values)
    if len(long) <= 2048 and all(sign < "\ud800" or sign > "\udfff" for value in [*values, *values.values()] for sign in value):
        assert signer.read_text("link", long) == (7, values)
    assert signer.read_text("link", long[:-3] + "AAA") in (None, (7, values))


async def test_a_refusal_of_another_server_comes_back_and_counts(world: World) -> None:
    """The whole way: VERP, the queue, the remote's words, the queue's report, the list."""
    news = await world.make([FAR, "fine@remote.test"], bounceThreshold="1", adminEmail=BOB)

    def answer(line: str) -> str:
        return "550 5.1.1 nobody here" if FAR in line else "250 2.1.5 ok"

    async with FakeMx(replies={"RCPT": answer}) as mx:
        settings = world.face.directory.settings
        await settings.set("smtpOutgoing", "smartHost", "[127.0.0.1]", ADMIN)
        await settings.set("smtpOutgoing", "smartHostPort", str(mx.port), ADMIN)
        outbound = Outbound(world.face.store, settings, world.face.delivery)
        task = asyncio.create_task(outbound.run())
        try:
            await world.sent("words", sender=BOB)
            await until(lambda: (found := world.face.directory.member(news.id, FAR)) is not None and found.state == "disabled")
        finally:
            await outbound.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await outbound.close()
        (taken,) = mx.messages
        assert taken.recipients == ["fine@remote.test"]
        assert taken.sender.startswith("news-bounces+")
        assert b"List-Unsubscribe: <mailto:news-confirm+" in taken.octets
    fine = world.face.directory.member(news.id, "fine@remote.test")
    assert fine is not None
    assert fine.score == 0
    assert "nobody here" in text_of((await world.mail(BOB))[-1])
