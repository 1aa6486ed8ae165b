"""Members who want no digests any more: they miss nothing, whatever is going on meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from email.message import EmailMessage
from typing import Any

import pytest

from mailstead.directory.model import Recipient
from mailstead.store.submission import Unavailable
from tests.delivery.lists.conftest import DOMAIN, World, text_of, until
from tests.smtp.harness import ADMIN

ALICE, BOB, CAROL = f"alice@{DOMAIN}", f"bob@{DOMAIN}", f"carol@{DOMAIN}"
FAR = "far@remote.test"
REQUEST = f"news-request@{DOMAIN}"
POSTINGS = {f"posting {number}": 1 for number in range(3)}


def digested(messages: list[EmailMessage]) -> Counter[str]:
    """Subjects of the postings in the digests among messages."""
    parts = [part for message in messages for part in message.walk()]
    return Counter(str(part.get_content()["Subject"]) for part in parts if part.get_content_type() == "message/rfc822")


async def waiting(world: World, members: list[str], **attributes: str) -> Recipient:
    """A list whose members want digests, and three postings that wait for the next one."""
    news = await world.make(members, **attributes)
    for address in members:
        await world.face.directory.update_member(news.id, address, digest=True, actor=ADMIN)
    for number in range(3):
        await world.sent(f"text {number}", sender=ALICE, subject=f"posting {number}")
    return news


async def later(world: World) -> None:
    await world.lists.upkeep(time.time() + 25 * 3600)


async def test_what_waits_comes_to_whoever_wants_no_more_digests_and_to_the_others_later(world: World) -> None:
    news = await waiting(world, [BOB, CAROL, FAR])
    await world.sent("set digest off", to=REQUEST, sender=CAROL)
    mail = await world.mail(CAROL)
    assert digested(mail) == POSTINGS
    (answer,) = [one for one in mail if one["Subject"] == "news: set"]
    assert text_of(answer) == f"{CAROL} gets single messages.\nWhat waited for the next digest is sent as well.\n"
    (own,) = [one for one in mail if one is not answer]
    assert own["List-Id"] == "<news.example.test>"
    assert own["List-Unsubscribe"]
    assert (await world.mail(BOB), world.queued()) == ([], [])
    assert len(await world.in_list(news, "Digest")) == 3
    await world.sent("text", subject="single")
    await later(world)
    await world.idle()
    assert digested(await world.mail(BOB)) == {**POSTINGS, "single": 1}
    assert digested([one.message for one in world.queued()]) == {**POSTINGS, "single": 1}
    assert [one["Subject"] for one in await world.mail(CAROL)][-1] == "single"
    assert digested(await world.mail(CAROL)) == POSTINGS


async def test_it_comes_once_however_often_he_says_so(world: World) -> None:
    await waiting(world, [BOB, CAROL])
    await world.sent("set digest off\nset digest off", to=REQUEST, sender=CAROL)
    await world.sent("set digest off", to=REQUEST, sender=CAROL)
    mail = await world.mail(CAROL)
    assert digested(mail) == POSTINGS
    assert text_of(mail[-1]) == f"{CAROL} gets single messages.\n"


@pytest.mark.parametrize("wishes", [["off", "on", "off"], ["on", "off"], ["off", "off", "on", "on", "off"]])
async def test_of_several_wishes_in_a_mail_the_last_one_holds_and_what_waits_comes_once(world: World, wishes: list[str]) -> None:
    news = await waiting(world, [BOB, CAROL])
    await world.sent("\n".join(f"set digest {wish}" for wish in wishes), to=REQUEST, sender=CAROL)
    mail = await world.mail(CAROL)
    assert digested(mail) == POSTINGS
    told = f"{CAROL} gets single messages.\nWhat waited for the next digest is sent as well.\n"
    assert [text_of(one) for one in mail if one["Subject"] == "news: set"] == [told]
    member = world.face.directory.member(news.id, CAROL)
    assert member is not None and not member.digest


async def test_who_wants_digests_after_all_gets_what_waits_with_the_next_one_alone(world: World) -> None:
    news = await waiting(world, [BOB, CAROL])
    await world.sent("set digest off\ninfo\nset mail off\nset mail on\nset digest on", to=REQUEST, sender=CAROL)
    (answer,) = [text_of(one) for one in await world.mail(CAROL)]
    assert "single" not in answer.replace("instead of single", "")
    assert "no mail" not in answer
    assert f"{CAROL} gets digests instead of single messages.\n" in answer
    member = world.face.directory.member(news.id, CAROL)
    assert member is not None and member.digest and not member.nomail
    await later(world)
    await world.idle()
    assert digested(await world.mail(CAROL)) == POSTINGS


async def test_digests_of_one_who_wants_no_mail_wait_until_he_does_and_he_is_told(world: World) -> None:
    await world.make([CAROL])
    await world.sent("set mail off\nset digest on", to=REQUEST, sender=CAROL)
    (answer,) = [text_of(one) for one in await world.mail(CAROL)]
    assert answer.count("no mail until it is switched on again") == 2
    await world.sent("set mail on", to=REQUEST, sender=CAROL)
    assert text_of((await world.mail(CAROL))[-1]) == f"{CAROL} gets the list's mail, in digests.\n"


async def test_a_member_elsewhere_has_his_own_envelope_sender_for_it(world: World) -> None:
    """So that a bounce says whose it is."""
    await waiting(world, [BOB, FAR])
    await world.sent("set digest off", to=REQUEST, sender=FAR)
    (own,) = [one for one in world.queued() if digested([one.message])]
    assert own.recipient == FAR
    assert own.sender.startswith("news-bounces+")


async def test_nothing_comes_where_nothing_waits_or_no_mail_is_wanted(world: World) -> None:
    news = await world.make([BOB, CAROL, FAR])
    await world.face.directory.update_member(news.id, BOB, digest=True, actor=ADMIN)
    await world.sent("set digest off", to=REQUEST, sender=BOB)
    assert [one["Subject"] for one in await world.mail(BOB)] == ["news: set"]
    await world.face.directory.update_member(news.id, BOB, digest=True, actor=ADMIN)
    await world.face.directory.update_member(news.id, FAR, digest=True, nomail=True, actor=ADMIN)
    await world.sent("words", sender=ALICE, subject="words")
    await world.sent("set digest off", to=REQUEST, sender=CAROL)
    assert digested(await world.mail(CAROL)) == {}
    await world.sent("set digest off", to=REQUEST, sender=FAR)
    assert digested([one.message for one in world.queued()]) == {}
    assert len(await world.in_list(news, "Digest")) == 1


async def test_postings_that_do_not_fit_one_digest_come_in_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await waiting(world, [BOB, CAROL])
    monkeypatch.setattr("mailstead.delivery.lists.digest.MAX_OCTETS", 100)
    await world.sent("set digest off", to=REQUEST, sender=CAROL)
    mail = await world.mail(CAROL)
    assert digested(mail) == POSTINGS
    assert len(mail) == 4


async def test_a_digest_that_is_being_handed_out_still_comes_to_him(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailstead.delivery.lists.copies.CHUNK", 1)
    monkeypatch.setattr("mailstead.directory.memberships.PAGE", 1)
    monkeypatch.setattr("mailstead.delivery.expansion.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("mailstead.delivery.expansion.POLL_SECONDS", 0.05)
    others = [f"a{number}@remote.test" for number in range(5)]
    await waiting(world, [*others, CAROL])
    real = world.lists._copies.step

    async def first_chunk(active: Any) -> bool:
        """One member has his copy, and then there is the wish of another."""
        done = await real(active)
        if not active.job.token and not wished:
            wished.append(await world.send("set digest off", to=REQUEST, sender=CAROL))
        return done

    wished: list[str] = []
    monkeypatch.setitem(world.expander._handlers, "digest", first_chunk)
    await later(world)
    await until(lambda: wished)
    await world.idle()
    mail = await world.mail(CAROL)
    assert digested(mail) == POSTINGS
    assert [one["Subject"] for one in mail][-1] == "news: set"


@pytest.mark.parametrize("wish", ["on", "off"])
async def test_a_posting_being_handed_out_comes_to_him_once(world: World, monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    """Whichever way he changes his wish while others have their copies already, and he has not."""
    monkeypatch.setattr("mailstead.delivery.lists.copies.CHUNK", 1)
    monkeypatch.setattr("mailstead.directory.memberships.PAGE", 1)
    monkeypatch.setattr("mailstead.delivery.expansion.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("mailstead.delivery.expansion.POLL_SECONDS", 0.05)
    news = await world.make([*(f"a{number}@remote.test" for number in range(5)), CAROL])
    await world.face.directory.update_member(news.id, CAROL, digest=wish == "off", actor=ADMIN)
    real = world.lists._copies.step
    wished: list[str] = []

    async def first_chunk(active: Any) -> bool:
        done = await real(active)
        if not wished:
            wished.append(await world.send(f"set digest {wish}", to=REQUEST, sender=CAROL))
        return done

    monkeypatch.setitem(world.expander._handlers, "copies", first_chunk)
    await world.send("words", sender=ALICE, subject="single")
    await until(lambda: wished)
    await world.idle()
    await later(world)
    await world.idle()
    mail = await world.mail(CAROL)
    assert [one["Subject"] for one in mail].count("single") + digested(mail)["single"] == 1


async def test_no_digest_goes_out_between_his_wish_and_what_he_gets(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailstead.delivery.expansion.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("mailstead.delivery.expansion.POLL_SECONDS", 0.05)
    news = await waiting(world, [BOB, CAROL])
    real, full = world.lists._digests.give_rest, True

    async def give_rest(*arguments: Any) -> int:
        if full:
            raise Unavailable("the disk is full")
        return await real(*arguments)

    def single() -> bool:
        member = world.face.directory.member(news.id, CAROL)
        return member is not None and not member.digest

    monkeypatch.setattr(world.lists._digests, "give_rest", give_rest)
    await world.send("set digest off", to=REQUEST, sender=CAROL)
    await until(single)
    await later(world)
    full = False
    await world.idle()
    assert digested(await world.mail(CAROL)) == POSTINGS
    assert await world.mail(BOB) == []
    await later(world)
    await world.idle()
    assert digested(await world.mail(BOB)) == POSTINGS
    assert digested(await world.mail(CAROL)) == POSTINGS
