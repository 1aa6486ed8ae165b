"""What a careful administrator would try with a list: closed lists, loops, other spellings, links followed twice."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.delivery.lists.conftest import DOMAIN, LIST, World, text_of
from tests.smtp.harness import ADMIN

ALICE, BOB, CAROL = f"alice@{DOMAIN}", f"bob@{DOMAIN}", f"carol@{DOMAIN}"
SUBSCRIBE, LEAVE, REQUEST = f"news-subscribe@{DOMAIN}", f"news-unsubscribe@{DOMAIN}", f"news-request@{DOMAIN}"


async def answer(world: World, address: str = CAROL) -> str:
    return text_of((await world.mail(address))[-1])


# -- closed lists -----------------------------------------------------------------------------------------------------


async def test_nobody_subscribes_to_a_closed_list(world: World) -> None:
    news = await world.make([BOB], enabledRcpts="(unsubscribe request)")
    client = await world.face.ready()
    await client.ok(f"MAIL FROM:<{CAROL}>")
    assert (await client.command(f"RCPT TO:<{SUBSCRIBE}>")).startswith("550 5.1.1")
    await world.sent("subscribe", to=REQUEST, sender=CAROL)
    assert "was refused" in await answer(world)
    assert await world.in_list(news, "Requests") == []
    await world.sent("unsubscribe", to=REQUEST, sender=BOB)
    await world.sent("", to=(await world.mail(BOB))[-1]["Reply-To"], sender=BOB)
    assert world.face.directory.member_count(news.id) == 0


async def test_a_list_that_was_closed_takes_no_confirmation_of_before(world: World) -> None:
    news = await world.make()
    await world.sent("", to=SUBSCRIBE, sender=CAROL)
    confirm = (await world.mail(CAROL))[-1]["Reply-To"]
    await world.face.directory.set_recipient_attributes(news.id, actor=ADMIN, enabledRcpts="(unsubscribe request)")
    await world.sent("", to=confirm, sender=CAROL)
    assert "was refused" in await answer(world)
    assert world.face.directory.member_count(news.id) == 0
    assert await world.in_list(news, "Requests") == []


async def test_nobody_posts_where_nobody_may(world: World) -> None:
    await world.make([CAROL], senderAllow="nobody")
    client = await world.face.ready()
    await client.ok(f"MAIL FROM:<{CAROL}>")
    assert (await client.command(f"RCPT TO:<{LIST}>")).startswith("550 5.7.2")


@pytest.mark.parametrize("moderate", ["nobody", "everybody"])
async def test_a_posting_of_a_file_of_its_own_beyond_the_limit(world: World, moderate: str) -> None:
    news = await world.make([CAROL], maxMessageSize="600", moderate=moderate)
    await world.sent("a line of many\n" * 60_000, sender=ALICE)
    assert "larger than 600 KB" in await answer(world, ALICE)
    assert len((await world.face.messages(ALICE))[-1]) < 5000
    assert await world.mail(CAROL) == []
    assert await world.in_list(news, "PendingRequests") == []


# -- moderation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("archive", ["yes", "no"])
async def test_what_was_moderated_is_archived_where_the_rest_is(world: World, archive: str) -> None:
    news = await world.make([CAROL], moderate="everybody", archive=archive)
    await world.sent("words")
    assert await world.in_list(news, "INBOX") == []
    await world.approve_waiting(news)
    assert len(await world.mail(CAROL)) == 1
    assert len(await world.in_list(news, "INBOX")) == (1 if archive == "yes" else 0)
    assert await world.in_list(news, "ConfirmedRequests") == []


async def test_what_waits_for_the_administrator_waits_as_long_as_it_takes(world: World) -> None:
    news = await world.make(adminConfirm="yes", confirmInterval="1")
    await world.sent("", to=SUBSCRIBE, sender=CAROL)
    await world.sent("", to=(await world.mail(CAROL))[-1]["Reply-To"], sender=CAROL)
    index = world.face.store._writers[news.shard]
    index.begin()
    index.execute("UPDATE message SET saved = saved - 720000")
    index.commit()
    await world.lists.upkeep()
    (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
    await world.lists.approve(news.id, waiting.uid, actor=ADMIN)
    await world.idle()
    assert world.face.directory.member_count(news.id) == 1
    assert "now a member" in await answer(world)


# -- loops and addresses ------------------------------------------------------------------------------------------------


async def test_lists_in_a_ring_and_in_themselves(world: World) -> None:
    directory = world.face.directory
    await world.make([LIST, f"second@{DOMAIN}", ALICE])
    await directory.create_list(DOMAIN, "second", [f"third@{DOMAIN}", BOB], actor=ADMIN)
    await directory.create_list(DOMAIN, "third", [LIST, f"third@{DOMAIN}", f"second@{DOMAIN}", CAROL], actor=ADMIN)
    await world.sent(sender="writer@far.test")
    assert [len(await world.mail(address)) for address in (ALICE, BOB, CAROL)] == [1, 1, 1]
    assert world.queued() == []


async def test_owners_who_point_at_each_other(world: World) -> None:
    directory = world.face.directory
    await world.make([CAROL], adminEmail=f"other-owner@{DOMAIN}", moderate="everybody")
    await directory.create_list(DOMAIN, "other", [CAROL], actor=ADMIN, adminEmail=f"news-owner@{DOMAIN}")
    await world.sent("hold this")
    await world.sent("for the owner", to=f"NEWS-Owner@{DOMAIN}")
    assert await world.mail(CAROL) == []


async def test_addresses_of_a_list_in_capitals(world: World) -> None:
    news = await world.make()
    await world.sent("help", to=f"NEWS-Request@{DOMAIN.upper()}", sender=CAROL)
    assert "unsubscribe" in await answer(world)
    await world.sent("", to=f"News-SUBSCRIBE@{DOMAIN}", sender=CAROL)
    await world.sent("", to=str((await world.mail(CAROL))[-1]["Reply-To"]).upper(), sender=CAROL)
    assert world.face.directory.member_count(news.id) == 1


async def test_a_letter_to_the_bounces_address_goes_nowhere(world: World) -> None:
    news = await world.make([CAROL], adminEmail=BOB)
    await world.sent("a letter", to=f"news-bounces@{DOMAIN}", sender=ALICE)
    assert [await world.mail(address) for address in (ALICE, BOB, CAROL)] == [[], [], []]
    assert next(iter(world.face.directory.members(news.id))).score == 0


# -- leaving ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "writer"),
    [
        (CAROL, "Carol@EXAMPLE.Test"),
        (CAROL, f"carol+mobile@{DOMAIN}"),
        (f"carol+news@{DOMAIN}", CAROL),
        (f"CAROL@{DOMAIN}", f"c.arol@{DOMAIN}"),
    ],
)
async def test_a_member_leaves_by_another_spelling_of_the_address(world: World, member: str, writer: str) -> None:
    account = world.face.account(CAROL)
    await world.face.directory.add_account_alias(account.id, "c.arol", actor=ADMIN)
    news = await world.make([member, BOB])
    await world.sent("", to=SUBSCRIBE, sender=writer)
    assert "already" in await answer(world)
    await world.sent("", to=LEAVE, sender=writer)
    await world.sent("", to=(await world.mail(CAROL))[-1]["Reply-To"], sender=writer)
    assert [one.address for one in world.face.directory.members(news.id)] == [BOB]
    assert "no longer a member" in await answer(world)


async def test_of_two_memberships_of_an_account_the_one_that_is_named_ends(world: World) -> None:
    news = await world.make([f"carol+a@{DOMAIN}", CAROL, f"carol+z@{DOMAIN}"])
    for writer in (f"carol+z@{DOMAIN}", CAROL):
        await world.sent("", to=LEAVE, sender=writer)
        await world.sent("", to=(await world.mail(CAROL))[-1]["Reply-To"], sender=writer)
    assert [one.address for one in world.face.directory.members(news.id)] == [f"carol+a@{DOMAIN}"]


async def test_a_foreign_member_leaves_in_capitals(world: World) -> None:
    news = await world.make(["Bob@Far.Test"])
    await world.sent("", to=LEAVE, sender="BOB@far.test")
    (asked,) = world.queued()
    await world.clear_queue()
    await world.sent("", to=asked.message["Reply-To"], sender="BOB@far.test")
    assert world.face.directory.member_count(news.id) == 0


async def link(world: World, members: list[str]) -> str:
    """The token of bob's link."""
    await world.face.directory.settings.set("server", "listUnsubscribeUrl", "https://lists.example.test/leave", ADMIN)
    await world.make(members)
    await world.sent()
    (copy,) = await world.mail(BOB)
    return str(copy["List-Unsubscribe"]).partition(">")[0].rpartition("/")[2]


async def goodbyes(world: World) -> int:
    await world.idle()
    return sum("Goodbye" in str(one["Subject"]) for one in await world.mail(BOB))


async def test_a_link_that_is_followed_twice_says_goodbye_once(world: World) -> None:
    token = await link(world, [BOB, CAROL])
    found = await asyncio.gather(*(world.lists.unsubscribe_with_token(token) for _ in range(4)))
    assert found == [BOB] * 4
    assert await world.lists.unsubscribe_with_token(token) == BOB
    assert await goodbyes(world) == 1


async def test_a_link_of_before_is_good_for_who_came_back(world: World) -> None:
    token = await link(world, [BOB, CAROL])
    news = world.face.directory.resolve(LIST).object_id
    assert await world.lists.unsubscribe_with_token(token) == BOB
    assert await goodbyes(world) == 1
    await world.face.directory.add_members(news, [BOB], actor=ADMIN)
    assert await world.lists.unsubscribe_with_token(token) == BOB
    assert [one.address for one in world.face.directory.members(news)] == [CAROL]
    assert await goodbyes(world) == 2


async def test_the_address_of_a_copy_that_is_written_to_twice(world: World) -> None:
    news = await world.make(["bob@far.test", CAROL])
    await world.sent()
    (copy,) = world.queued()
    await world.clear_queue()
    address = str(copy.message["List-Unsubscribe"]).partition("<mailto:")[2].rstrip(">").replace("%2B", "+")
    for _ in range(3):
        assert (await world.send("", to=address, sender="bob@far.test")).startswith("250")
    await world.idle()
    assert [one.address for one in world.face.directory.members(news.id)] == [CAROL]
    assert len(world.queued()) == 1


# -- digests ------------------------------------------------------------------------------------------------------------


async def test_there_is_no_digest_of_nothing(world: World) -> None:
    news = await world.make([CAROL], digestInterval="1")
    await world.face.directory.update_member(news.id, CAROL, digest=True, actor=ADMIN)
    now = time.time()
    await world.lists.upkeep(now + 2 * 3600)
    await world.idle()
    assert await world.mail(CAROL) == []
    await world.sent("words")
    await world.lists.upkeep(now + 4 * 3600)
    await world.idle()
    assert len(await world.mail(CAROL)) == 1
    for hours in (6, 8, 50):
        await world.lists.upkeep(now + hours * 3600)
    await world.idle()
    assert len(await world.mail(CAROL)) == 1
    assert len(await world.in_list(news, "Digests")) == 1
