"""The administrator of a list at work: the password, other people's wishes, notices of what waits, postings of his own."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from mailstead.delivery.lists.commands import parse_commands
from tests.delivery.lists.conftest import DOMAIN, LIST, World, text_of, world_at
from tests.delivery.lists.test_digest_off import POSTINGS, digested, waiting
from tests.smtp.harness import ADMIN, PASSWORD, client_context, make_certificate

ALICE, BOB, CAROL = f"alice@{DOMAIN}", f"bob@{DOMAIN}", f"carol@{DOMAIN}"
REQUEST = f"news-request@{DOMAIN}"
THIRD = "a third secret"


async def say(world: World, text: str, sender: str = BOB) -> str:
    """Mail commands, and the answer."""
    before = len(await world.mail(sender))
    await world.sent(text, to=REQUEST, sender=sender)
    return text_of((await world.mail(sender))[before])


async def password(world: World, list_id: int, secret: str = THIRD) -> None:
    await world.face.directory.set_list_password(list_id, secret, actor=ADMIN)


# -- the password -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "line"),
    [
        (THIRD, "password a third secret"),
        (THIRD, "  Password:   a third secret  "),
        (THIRD, 'password "a third secret"'),
        (THIRD, "password 'a third secret'"),
        (THIRD, "password \u201ca third secret\u201d"),
        ("two  blanks", "password two  blanks"),
        ('"in quotes"', 'password "in quotes"'),
        ('say "a" \\ b', 'password "say \\"a\\" \\\\ b"'),
        ("it's mine", "password it's mine"),
    ],
)
async def test_a_password_is_the_rest_of_its_line(world: World, secret: str, line: str) -> None:
    news = await world.make([CAROL])
    await password(world, news.id, secret)
    told = await say(world, f"{line}\nwho\n")
    assert CAROL in told
    assert secret not in told


async def test_a_command_behind_the_password_is_part_of_it_and_the_answer_says_so(world: World) -> None:
    news = await world.make([CAROL])
    await password(world, news.id)
    told = await say(world, "password a third secret who\nwho\n")
    assert CAROL not in told
    assert "not accepted" in told
    assert "the rest of its line" in told
    assert "third" not in told


def test_a_wrong_form_of_the_password_is_not_repeated() -> None:
    (command,) = parse_commands("", "password " + "long secret " * 30)
    assert (command.name, command.line) == ("password", "password ...")
    (command,) = parse_commands("", "password")
    assert (command.name, command.reason) == ("invalid", "too few words")


# -- wishes of members ------------------------------------------------------------------------------------------------


async def test_the_administrator_changes_a_members_wishes(world: World) -> None:
    news = await world.make([CAROL])
    await password(world, news.id)
    told = await say(world, f"password {THIRD}\nset digest on {CAROL}\nset mail off {CAROL}\nset mail on {ALICE}\n")
    assert f"{CAROL} gets digests instead of single messages." in told
    assert f"{CAROL} gets no mail until it is switched on again." in told
    assert f"{ALICE} is not a member" in told
    member = world.face.directory.member(news.id, CAROL)
    assert member is not None and member.digest and member.nomail
    await say(world, f"password {THIRD}\nset mail on {CAROL.upper()}\n")
    member = world.face.directory.member(news.id, CAROL)
    assert member is not None and member.digest and not member.nomail


@pytest.mark.parametrize("front", ["", "password wrong\n"])
async def test_nobody_else_changes_them(world: World, front: str) -> None:
    news = await world.make([BOB, CAROL])
    await password(world, news.id)
    told = await say(world, f"{front}set digest on {CAROL}\nset digest on {ALICE}\n")
    assert "password" in told
    member = world.face.directory.member(news.id, CAROL)
    assert member is not None and not member.digest


@pytest.mark.parametrize("own", [ALICE, ALICE.upper(), f"info@{DOMAIN}"])
async def test_a_member_who_names_his_own_address_needs_no_password(world: World, own: str) -> None:
    """Whichever of his spellings he names."""
    news = await world.make([ALICE])
    assert "gets digests" in await say(world, f"set digest on {own}\n", ALICE)
    member = world.face.directory.member(news.id, ALICE)
    assert member is not None and member.digest


@pytest.mark.parametrize("line", ["set digest perhaps carol@example.test", "set carol@example.test digest on", "set digest on a b"])
async def test_what_is_no_wish_is_not_understood(world: World, line: str) -> None:
    news = await world.make([CAROL])
    await password(world, news.id)
    assert "was not understood" in await say(world, f"password {THIRD}\n{line}\n")


async def test_a_member_whose_digests_the_administrator_switches_off_gets_what_waits(world: World) -> None:
    news = await waiting(world, [ALICE, CAROL], answersPerDay="100")
    await password(world, news.id)
    told = await say(world, f"password {THIRD}\nset digest off {CAROL}\nset digest off {CAROL}\n")
    assert told.count(f"{CAROL} gets single messages.\n") == 1
    assert told.count("What waited for the next digest is sent as well.\n") == 1
    assert digested(await world.mail(CAROL)) == POSTINGS
    assert digested(await world.mail(BOB)) == digested(await world.mail(ALICE)) == {}
    assert len(await world.in_list(news, "Digest")) == 3


async def test_of_several_wishes_the_administrator_gives_a_member_the_last_one_holds(world: World) -> None:
    """In whatever spelling; somebody else's are not touched, and who is made a member between them begins anew."""
    news = await waiting(world, [ALICE, CAROL], answersPerDay="100")
    await password(world, news.id)
    wishes = f"set digest off {CAROL}\nset digest off {ALICE}\nset digest on {CAROL.upper()}\n"
    told = await say(world, f"password {THIRD}\n{wishes}set mail off {CAROL}\nset mail on {CAROL}\n")
    assert f"{CAROL} gets digests instead of single messages.\n" in told
    assert f"{CAROL} gets single" not in told
    assert f"{ALICE} gets single messages.\n" in told
    assert f"{CAROL} gets no mail" not in told
    assert digested(await world.mail(CAROL)) == {}
    assert digested(await world.mail(ALICE)) == POSTINGS
    lines = f"add {BOB} Bob\nset digest on {BOB}\nset digest off {BOB}\nset digest on {BOB}\nset digest off {BOB}\n"
    told = await say(world, f"password {THIRD}\n{lines}")
    assert told.count("gets") == 1
    assert f"{BOB} gets single messages.\n" in told
    assert digested(await world.mail(BOB)) == {}
    told = await say(world, f"password {THIRD}\nset digest on {BOB}\nremove {BOB}\nadd {BOB}\nset mail on {BOB}\n")
    member = world.face.directory.member(news.id, BOB)
    assert member is not None and not member.digest


async def test_a_wish_behind_which_the_reading_ends_holds(world: World) -> None:
    news = await world.make([BOB, CAROL])
    await password(world, news.id)
    told = await say(world, f"set digest on\nset digest on {CAROL}\nset digest off\n")
    assert f"{BOB} gets digests" in told and "needs the list's password" in told
    told = await say(world, f"password {THIRD}\nset mail off {CAROL}\npassword wrong\nset mail on {CAROL}\n")
    assert f"{CAROL} gets no mail" in told and "not accepted" in told
    members = [world.face.directory.member(news.id, address) for address in (BOB, CAROL)]
    assert [(one.digest, one.nomail) for one in members if one is not None] == [(True, False), (False, True)]


# -- notices ----------------------------------------------------------------------------------------------------------


async def test_the_notice_of_a_posting_that_waits_says_how_to_decide(world: World) -> None:
    news = await world.make([CAROL], moderate="nonmembers", adminEmail=BOB)
    await password(world, news.id)
    await world.sent("one", sender=ALICE, subject="first")
    await world.sent("two", sender=ALICE, subject="second", from_="Alice A <alice@example.test>")
    first, second = [text_of(one) for one in await world.mail(BOB)]
    assert f"A message from {ALICE} to {LIST} waits, because its writer is not a member." in first
    assert f"A message from Alice A <{ALICE}> to {LIST} waits" in second
    assert f"send these two lines to {REQUEST}:\n\n  password <the list's password>\n  approve 1\n" in first
    assert "\n  approve 2\n" in second
    assert '"reject 2 why"' in second
    lines = [line.strip() for line in second.splitlines()]
    given = [line for line in lines if line.startswith(("password", "approve"))]
    await world.sent("\n".join(given).replace("<the list's password>", THIRD), to=REQUEST, sender=BOB)
    await world.idle()
    assert [one["Subject"] for one in await world.mail(CAROL)] == ["second"]


async def test_the_notice_of_a_subscription_has_its_number_too(world: World) -> None:
    await world.make(adminConfirm="yes", adminEmail=BOB)
    await world.sent("", to=f"news-subscribe@{DOMAIN}", sender=CAROL)
    await world.sent("", to=(await world.mail(CAROL))[-1]["Reply-To"], sender=CAROL)
    (told,) = [text_of(one) for one in await world.mail(BOB)]
    assert told.startswith(f"{CAROL} confirmed the wish to become a member of {LIST}.\n")
    assert "\n  approve 1\n" in told


async def test_the_notice_leaves_out_an_address_that_is_not_in_use(world: World) -> None:
    await world.make(moderate="everybody", adminEmail=BOB, enabledRcpts="(subscribe unsubscribe)")
    await world.sent("one", sender=ALICE)
    (told,) = [text_of(one) for one in await world.mail(BOB)]
    assert "waits, because the list is moderated." in told
    assert "approve" not in told
    assert "PendingRequests" in told


async def test_the_notice_of_what_somebody_dealt_with_meanwhile_names_no_number(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = await world.make(moderate="everybody", adminEmail=BOB)
    held = world.lists._desk._held
    real = held.post

    async def post_and_decide(*arguments: object) -> None:
        await real(*arguments)  # type: ignore[arg-type]
        (one,) = await world.lists.pending_posts(news.id, actor=ADMIN)
        await world.lists.approve(news.id, one.uid, actor=ADMIN)

    monkeypatch.setattr(held, "post", post_and_decide)
    await world.sent("one", sender=ALICE)
    (told,) = [text_of(one) for one in await world.mail(BOB)]
    assert "approve 1" not in told
    assert "\n  pending\n" in told


# -- moderation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moderate", ["nonmembers", "everybody"])
async def test_the_administrator_is_not_moderated_when_logged_in_and_nobody_is_who_writes_in_his_name(
    tmp_path: Path, moderate: str
) -> None:
    async with world_at(tmp_path / "data", make_certificate(tmp_path / "c.pem")) as world:
        news = await world.make([CAROL], moderate=moderate, adminEmail=ALICE)
        await world.sent("forged", sender=ALICE, subject="forged")
        assert len(await world.in_list(news, "PendingRequests")) == 1
        client = await world.face.ready("submission")
        await client.starttls(client_context())
        await client.ok("EHLO client.test")
        await client.ok("AUTH PLAIN " + base64.b64encode(f"\0{ALICE}\0{PASSWORD}".encode()).decode())
        message = f"From: {ALICE}\r\nTo: {LIST}\r\nSubject: own\r\n\r\nwords\r\n".encode()
        assert (await client.send(message, LIST, sender=ALICE)).startswith("250")
        await world.idle()
        assert [one["Subject"] for one in await world.mail(CAROL)] == ["own"]
        assert len(await world.in_list(news, "PendingRequests")) == 1
