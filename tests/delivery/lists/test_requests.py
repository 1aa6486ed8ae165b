"""Subscribing, unsubscribing, commands, moderation: by mail, as people and administrators do it."""

from __future__ import annotations

import time
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.delivery.lists import office
from mailstead.delivery.lists.commands import COMMANDS, MAX_COMMANDS, parse_commands
from mailstead.directory import Actor, PermissionDeniedError
from mailstead.directory.model import Recipient, RecipientEdit
from mailstead.mailbox.errors import MessageMissing
from mailstead.settings.database import Transaction
from mailstead.settings.declarations import LIST_QUOTAS
from mailstead.settings.service import store_value
from tests.delivery.lists.conftest import DOMAIN, LIST, World, text_of
from tests.smtp.harness import ADMIN

CAROL = f"carol@{DOMAIN}"
ALICE = f"alice@{DOMAIN}"
SUBSCRIBE, LEAVE, REQUEST = f"news-subscribe@{DOMAIN}", f"news-unsubscribe@{DOMAIN}", f"news-request@{DOMAIN}"


def members(world: World, news: Recipient) -> list[str]:
    return [member.address for member in world.face.directory.members(news.id)]


async def last(world: World, address: str = CAROL) -> EmailMessage:
    return (await world.mail(address))[-1]


async def test_subscribe_and_unsubscribe_with_confirmation(world: World) -> None:
    news = await world.make()
    await world.sent("", to=SUBSCRIBE, sender=CAROL, from_="Carol C <carol@example.test>")
    asked = await last(world)
    assert members(world, news) == []
    assert asked["Auto-Submitted"] == "auto-replied"
    assert asked["Return-Path"] == "<>"
    confirm = asked["Reply-To"]
    assert confirm in text_of(asked)
    assert len(confirm.partition("@")[0]) <= 64
    assert len(await world.in_list(news, "Requests")) == 1
    await world.sent("ok", to=confirm, sender=CAROL, subject="Re: please confirm")
    assert "now a member" in text_of(await last(world))
    (member,) = world.face.directory.members(news.id)
    assert (member.address, member.name) == (CAROL, "Carol C")
    assert await world.in_list(news, "Requests") == []
    await world.sent("again", to=confirm, sender=CAROL)
    assert "not valid" in text_of(await last(world))
    await world.sent("", to=SUBSCRIBE, sender=CAROL)
    assert "already" in text_of(await last(world))
    await world.sent("", to=LEAVE, sender=CAROL)
    assert members(world, news) == [CAROL]
    await world.sent("", to=(await last(world))["Reply-To"], sender=CAROL)
    assert members(world, news) == []
    assert "no longer a member" in text_of(await last(world))
    await world.sent("", to=LEAVE, sender=CAROL)
    assert "not a member" in text_of(await last(world))


async def test_a_confirmation_is_good_for_its_list_and_its_time(world: World) -> None:
    news = await world.make(confirmInterval="1")
    other = await world.face.directory.create_list(DOMAIN, "other", actor=ADMIN)
    await world.sent("", to=SUBSCRIBE, sender=CAROL)
    confirm = str((await last(world))["Reply-To"])
    token = confirm.partition("+")[2].partition("@")[0]
    await world.sent("", to=f"other-confirm+{token}@{DOMAIN}", sender=CAROL)
    assert "not valid" in text_of(await last(world))
    assert members(world, other) == []
    index = world.face.store._writers[news.shard]
    index.begin()
    index.execute("UPDATE message SET saved = saved - 7200 WHERE folder IN (SELECT id FROM folder WHERE name = 'Requests')")
    index.commit()
    await world.sent("", to=confirm, sender=CAROL)
    assert "not valid" in text_of(await last(world))
    assert members(world, news) == []
    await world.lists.upkeep()
    assert await world.in_list(news, "Requests") == []


async def test_the_administrator_confirms_subscriptions(world: World) -> None:
    news = await world.make(adminConfirm="yes", adminEmail=f"bob@{DOMAIN}")
    await world.sent("", to=SUBSCRIBE, sender=CAROL)
    await world.sent("", to=(await last(world))["Reply-To"], sender=CAROL)
    assert "waits for the administrator" in text_of(await last(world))
    assert "wants to subscribe" in (await last(world, f"bob@{DOMAIN}"))["Subject"]
    assert members(world, news) == []
    (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
    assert (waiting.kind, waiting.address) == ("subscribe", CAROL)
    with pytest.raises(PermissionDeniedError):
        await world.lists.approve(news.id, waiting.uid, actor=Actor("nobody"))
    await world.lists.approve(news.id, waiting.uid, actor=ADMIN)
    await world.idle()
    assert members(world, news) == [CAROL]
    assert "now a member" in text_of(await last(world))
    await world.sent("", to=SUBSCRIBE, sender=f"bob@{DOMAIN}")
    await world.sent("", to=(await last(world, f"bob@{DOMAIN}"))["Reply-To"], sender=f"bob@{DOMAIN}")
    (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
    await world.lists.reject(news.id, waiting.uid, "no room", actor=ADMIN)
    await world.idle()
    assert "no room" in text_of(await last(world, f"bob@{DOMAIN}"))
    assert members(world, news) == [CAROL]
    with pytest.raises(MessageMissing):
        await world.lists.reject(news.id, waiting.uid, actor=ADMIN)


async def test_moderation(world: World) -> None:
    news = await world.make([CAROL], moderate="nonmembers", adminEmail=f"bob@{DOMAIN}")
    await world.sent("from a member", sender=CAROL)
    assert len(await world.mail(CAROL)) == 1
    await world.sent("from outside", subject="wait for me")
    assert len(await world.mail(CAROL)) == 1
    assert "waits for the administrator" in text_of(await last(world, ALICE))
    assert "wait for me" in text_of(await last(world, f"bob@{DOMAIN}"))
    (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
    assert (waiting.kind, waiting.address, waiting.subject) == ("post", ALICE, "wait for me")
    await world.lists.approve(news.id, waiting.uid, actor=ADMIN)
    await world.idle()
    copy = await last(world)
    assert text_of(copy) == "from outside\n"
    assert copy["X-List-Request"] is None
    assert await world.in_list(news, "ConfirmedRequests") == []
    assert len(await world.in_list(news, "INBOX")) == 2
    await world.sent("refused", subject="not for me")
    (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
    await world.lists.reject(news.id, waiting.uid, actor=ADMIN)
    await world.idle()
    assert "not sent" in text_of(await last(world, ALICE))
    assert len(await world.mail(CAROL)) == 2


async def test_nobody_approves_by_a_line_of_his_own(world: World) -> None:
    news = await world.make([CAROL], moderate="everybody")
    await world.sent("first")
    (held,) = await world.in_list(news, "PendingRequests")
    line = held.partition(b"\r\n")[0].decode()
    await world.sent("forged", headers=line + "\r\n")
    confirmed = await world.lists._office.folder(news, "ConfirmedRequests")
    from mailstead.mailbox.model import NewMessage

    forged = b"X-List-Request: AAAA\r\nSubject: x\r\n\r\nforged\r\n"
    await world.face.mailbox.append(confirmed, [NewMessage(forged), NewMessage(b"Subject: y\r\n" + held)])
    await world.idle()
    assert await world.mail(CAROL) == []


async def test_commands(world: World) -> None:
    news = await world.make([CAROL], description="What it is about")
    await world.face.directory.set_list_password(news.id, "open-sesame", actor=ADMIN)
    await world.sent("help\ninfo\n-- \nsubscribe\n", to=REQUEST, sender=CAROL)
    answer = text_of(await last(world))
    assert "unsubscribe" in answer and "What it is about" in answer
    await world.sent("", to=REQUEST, sender=CAROL, subject="Re: help")
    assert "unsubscribe" in text_of(await last(world))
    await world.sent("dance", to=REQUEST, sender=CAROL)
    assert 'no command "dance"' in text_of(await last(world))
    await world.sent("set digest maybe", to=REQUEST, sender=CAROL)
    assert "not understood" in text_of(await last(world))
    await world.sent("set mail off\nset digest on", to=REQUEST, sender=CAROL)
    member = world.face.directory.member(news.id, CAROL)
    assert member is not None and member.nomail and member.digest
    await world.sent("unsubscribe", to=REQUEST, sender=CAROL)
    await world.sent("", to=(await last(world))["Reply-To"], sender=CAROL)
    assert members(world, news) == []


async def test_commands_of_the_administrator(world: World) -> None:
    news = await world.make([CAROL], moderate="everybody", answersPerDay="100")
    await world.face.directory.set_list_password(news.id, "open-sesame", actor=ADMIN)
    bob = f"bob@{DOMAIN}"

    async def say(text: str) -> str:
        await world.sent(text, to=REQUEST, sender=bob)
        return text_of(await last(world, bob))

    assert "needs the list's password" in await say("who")
    assert "not accepted" in await say("password wrong\nwho")
    assert CAROL in await say("password open-sesame\nwho")
    assert "is a member" in await say("password open-sesame\nadd x@far.test Xaver X")
    member = world.face.directory.member(news.id, "x@far.test")
    assert member is not None and member.name == "Xaver X"
    assert "no member any more" in await say("password open-sesame\nremove x@far.test")
    await world.sent("to be let through", subject="please")
    shown = await say("password open-sesame\npending")
    assert "please" in shown
    await say(f"password open-sesame\napprove {shown.split()[0]}")
    await world.idle()
    assert len(await world.mail(CAROL)) == 1
    assert "open-sesame" not in repr([message.as_bytes() for message in await world.mail(bob)])


@pytest.mark.parametrize(
    "headers", ["Auto-Submitted: auto-generated\r\n", "Precedence: bulk\r\n", "X-Loop: news@example.test\r\n", "List-Id: <x.y>\r\n"]
)
async def test_machines_are_not_answered(world: World, headers: str) -> None:
    news = await world.make()
    for to in (SUBSCRIBE, LEAVE, REQUEST, f"news-confirm+abc@{DOMAIN}"):
        await world.sent("help", to=to, sender=CAROL, headers=headers)
        await world.sent("help", to=to, sender="", from_=CAROL)
    assert await world.mail(CAROL) == []
    assert await world.in_list(news, "Requests") == []


async def test_answers_are_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "DAY", 1 << 40)  # no midnight comes between
    news = await world.make(answersPerDay="3")
    for _ in range(6):
        await world.sent("help", to=REQUEST, sender=CAROL)
    assert len(await world.mail(CAROL)) == 3
    await world.sent("help", to=REQUEST, sender=ALICE)
    assert len(await world.mail(ALICE)) == 1
    await world.sent("", to=SUBSCRIBE, sender=CAROL)
    assert await world.in_list(news, "Requests") == []


async def test_a_large_message_waits_and_goes_out_as_it_came(world: World) -> None:
    news = await world.make([CAROL], moderate="everybody")
    body = "\r\n".join(f"line {number}" for number in range(60_000))
    await world.sent(body, subject="large")
    (waiting,) = await world.lists.pending_posts(news.id, actor=ADMIN)
    await world.lists.approve(news.id, waiting.uid, actor=ADMIN)
    await world.idle()
    assert text_of(await last(world)).rstrip() == body.replace("\r\n", "\n")


async def test_what_cannot_wait_is_refused_with_words(world: World) -> None:
    news = await world.make([CAROL], moderate="everybody", adminEmail=f"bob@{DOMAIN}")

    def limit(transaction: Transaction) -> None:
        setting = LIST_QUOTAS.setting("totalMessageSize")
        store_value(transaction, "test", "recipient", news.id, "listQuotas.totalMessageSize", setting, "1")

    await world.face.directory.database.write(limit)
    await world.sent("x" * 2000)
    assert await world.in_list(news, "PendingRequests") == []
    assert "full" in text_of(await last(world, ALICE))
    assert "full" in (await last(world, f"bob@{DOMAIN}"))["Subject"]


async def test_what_was_let_through_goes_out_once_though_the_mailbox_is_full(world: World) -> None:
    news = await world.make([CAROL], moderate="everybody")
    await world.face.directory.edit_recipient(news.id, RecipientEdit(contents={"bodyEnd": "y" * 2000}), actor=ADMIN)
    await world.sent("words")

    def limit(transaction: Transaction) -> None:
        setting = LIST_QUOTAS.setting("totalMessageSize")
        store_value(transaction, "test", "recipient", news.id, "listQuotas.totalMessageSize", setting, "1")

    await world.face.directory.database.write(limit)
    await world.approve_waiting(news)
    assert len(await world.mail(CAROL)) == 1
    assert await world.in_list(news, "ConfirmedRequests") == []


async def test_the_owners_of_a_list_may_be_a_group(world: World) -> None:
    await world.face.directory.create_group(DOMAIN, "owners", [f"bob@{DOMAIN}"], actor=ADMIN)
    await world.make([CAROL], moderate="everybody", adminEmail=f"owners@{DOMAIN}")
    await world.sent("from outside", subject="wait for me")
    assert "wait for me" in text_of(await last(world, f"bob@{DOMAIN}"))


async def test_own_words_of_the_list(world: World) -> None:
    news = await world.make([CAROL])
    contents = {"notAUser": "Subject: Nein, $EMAIL\n\n$EMAIL gehört nicht zu $LIST ($ADDRESS).\n"}
    await world.face.directory.edit_recipient(news.id, RecipientEdit(contents=contents), actor=ADMIN)
    await world.sent("", to=LEAVE, sender=ALICE)
    answer = await last(world, ALICE)
    assert answer["Subject"] == f"Nein, {ALICE}"
    assert text_of(answer) == f"{ALICE} gehört nicht zu news ({LIST}).\n"


async def test_the_mailto_link_of_a_copy_needs_no_confirmation(world: World) -> None:
    news = await world.make(["bob@far.test", CAROL])
    await world.sent()
    (bob,) = world.queued()
    address = str(bob.message["List-Unsubscribe"]).partition("<mailto:")[2].rstrip(">").replace("%2B", "+")
    await world.clear_queue()
    await world.sent("", to=address, sender="robot@mail.test", headers="Auto-Submitted: auto-generated\r\n")
    assert members(world, news) == [CAROL]
    (goodbye,) = world.queued()
    assert goodbye.recipient == "bob@far.test"
    assert time.time() > 0


@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=100),
    st.one_of(
        st.text(max_size=300),
        st.lists(
            st.sampled_from([*COMMANDS, "x", "-- ", "> help", "set mail on", "approve 5", "approve x", ""]), max_size=40
        ).map("\n".join),
    ),
)  # fmt: skip
def test_no_text_breaks_the_reading_of_commands(subject: str, text: str) -> None:
    found = parse_commands(subject, text)
    assert len(found) <= MAX_COMMANDS
    for command in found:
        assert command.name in COMMANDS or command.name in ("unknown", "invalid")
        assert "\n" not in command.line
        if command.name in ("approve", "reject"):
            assert int(command.words[0]) >= 0
