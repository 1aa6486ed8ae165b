"""What members get of a posting, and who may post."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailstead.directory.model import RecipientEdit
from tests.delivery.lists.conftest import DOMAIN, LIST, World, text_of, until
from tests.smtp.harness import ADMIN


async def test_members_here_and_elsewhere_get_a_copy_that_says_which_list_it_is(world: World) -> None:
    news = await world.make([f"alice@{DOMAIN}", f"info@{DOMAIN}", "bob@far.test", "zoe@far.test"], description="All the news")
    await world.sent("words", sender="writer@else.test", headers="Reply-To: writer@home.test\r\nList-Id: <other.test>\r\n")
    (copy,) = await world.mail()
    assert copy["List-Id"] == "All the news <news.example.test>"
    assert copy["List-Post"] == f"<mailto:{LIST}>"
    assert copy["List-Help"] == f"<mailto:news-request@{DOMAIN}?subject=help>"
    assert copy["List-Subscribe"] == f"<mailto:news-subscribe@{DOMAIN}>"
    assert copy["List-Unsubscribe"] == f"<mailto:news-unsubscribe@{DOMAIN}>"
    assert copy["List-Unsubscribe-Post"] is None
    assert copy["Precedence"] == "list"
    assert copy["Sender"] == f"news-bounces@{DOMAIN}"
    assert copy["From"] == "writer@else.test"
    assert copy["Reply-To"] == "writer@home.test"
    assert copy["Return-Path"] == f"<news-bounces@{DOMAIN}>"
    assert text_of(copy) == "words\n"
    bob, zoe = world.queued()
    assert (bob.recipient, zoe.recipient) == ("bob@far.test", "zoe@far.test")
    assert bob.sender.startswith("news-bounces+")
    assert bob.sender != zoe.sender
    assert bob.message["List-Unsubscribe"] != zoe.message["List-Unsubscribe"]
    assert bob.message["List-Unsubscribe"].startswith("<mailto:news-confirm+")
    assert len(bob.sender.partition("@")[0]) <= 64
    (kept,) = await world.in_list(news, "INBOX")
    assert b"\r\n\r\nwords\r\n" in kept


async def test_one_click_links(world: World) -> None:
    await world.face.directory.settings.set("server", "listUnsubscribeUrl", "https://lists.example.test/leave/", ADMIN)
    news = await world.make([f"alice@{DOMAIN}", "bob@far.test"])
    await world.sent()
    (copy,) = await world.mail()
    (bob,) = world.queued()
    for message in (copy, bob.message):
        link = message["List-Unsubscribe"].partition(">")[0].strip("<")
        assert link.startswith("https://lists.example.test/leave/")
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = bob.message["List-Unsubscribe"].partition(">")[0].rpartition("/")[2]
    assert await world.lists.unsubscribe_with_token(token[:-2] + "AA") is None
    assert await world.lists.unsubscribe_with_token(token) == "bob@far.test"
    assert [member.address for member in world.face.directory.members(news.id)] == [f"alice@{DOMAIN}"]


async def test_from_is_rewritten_for_dmarc(world: World) -> None:
    await world.make([f"alice@{DOMAIN}"], rewriteFrom="yes")
    await world.sent(sender="w@strict.test", from_='"Wanda W." <w@strict.test>', headers="DKIM-Signature: v=1\r\n")
    await world.sent(sender="w@strict.test", headers="Reply-To: elsewhere@strict.test\r\n")
    one, two = await world.mail()
    assert one["From"] == '"Wanda W. via news" <news@example.test>'
    assert one["Reply-To"] == '"Wanda W." <w@strict.test>'
    assert one["DKIM-Signature"] is None
    assert two["From"] == "w via news <news@example.test>"
    assert two["Reply-To"] == "elsewhere@strict.test"


async def test_headers_and_body_texts_of_the_list(world: World) -> None:
    news = await world.make([f"alice@{DOMAIN}"], removeHeaders="(X-Mailer X-Spy)")
    await world.face.directory.edit_recipient(
        news.id,
        RecipientEdit(contents={"addHeader": "X-Tag: one\r\nX-Tag: two", "bodyBegin": "Top", "bodyEnd": "Grüße"}),
        actor=ADMIN,
    )
    await world.sent("middle", headers="X-Mailer: m\r\nX-Spy: s\r\nX-Keep: k\r\n")
    (copy,) = await world.mail()
    assert copy.get_all("X-Tag") == ["one", "two"]
    assert copy["X-Mailer"] is None and copy["X-Spy"] is None and copy["X-Keep"] == "k"
    assert text_of(copy) == "Top\n\nmiddle\n\nGrüße\n"


@pytest.mark.parametrize(
    "headers",
    [f"List-Id: News <news.{DOMAIN}>\r\n", f"X-Loop: {LIST.upper()}\r\n", "Auto-Submitted: auto-replied (vacation)\r\n"],
)
async def test_loops_and_automatic_answers_end(world: World, headers: str) -> None:
    await world.make([f"carol@{DOMAIN}"])
    await world.sent(headers=headers)
    assert await world.mail(f"carol@{DOMAIN}") == []
    assert await world.mail() == []


async def test_notices_of_mail_systems_are_no_postings(world: World) -> None:
    await world.make([f"carol@{DOMAIN}"])
    await world.sent(sender="", from_="MAILER-DAEMON@x.test")
    assert await world.mail(f"carol@{DOMAIN}") == []


async def test_senders_of_another_kind_are_refused_at_once(world: World) -> None:
    await world.make([f"alice@{DOMAIN}"], senderAllow="members")
    client = await world.face.ready()
    await client.ok("MAIL FROM:<stranger@x.test>")
    assert (await client.command(f"RCPT TO:<{LIST}>")).startswith("550 5.7.2")
    assert (await client.command(f"RCPT TO:<news-request@{DOMAIN}>")).startswith("250")
    await world.sent()
    assert len(await world.mail()) == 1


async def test_size_and_content_are_refused_with_words(world: World) -> None:
    news = await world.make([f"carol@{DOMAIN}"], maxMessageSize="1", ctypeAllow="textAndHtml")
    await world.sent("x" * 2000)
    (answer,) = await world.mail()
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer["Return-Path"] == "<>"
    assert "larger than 1 KB" in text_of(answer)
    await world.sent("AAAA", headers="Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n")
    assert "image/png" in text_of((await world.mail())[1])
    await world.sent("fine", headers="Content-Type: text/html\r\n")
    await world.face.directory.set_recipient_attributes(news.id, actor=ADMIN, ctypeAllow="text")
    await world.sent("not fine", headers="Content-Type: text/html\r\n")
    assert [message.get_content().strip() for message in await world.mail(f"carol@{DOMAIN}")] == ["fine"]


async def test_groups_and_lists_within_a_list(world: World) -> None:
    directory = world.face.directory
    await directory.create_group(DOMAIN, "staff", [f"alice@{DOMAIN}", f"bob@{DOMAIN}"], actor=ADMIN)
    await directory.create_list(DOMAIN, "inner", [f"carol@{DOMAIN}", LIST], actor=ADMIN)
    await world.make([f"staff@{DOMAIN}", f"bob@{DOMAIN}", f"inner@{DOMAIN}"])
    await world.sent()
    for name in ("alice", "bob", "carol"):
        (copy,) = await world.mail(f"{name}@{DOMAIN}")
        assert copy["List-Id"] == ("<inner.example.test>" if name == "carol" else "<news.example.test>")


async def test_a_group_with_a_list_in_it(world: World) -> None:
    await world.make([f"carol@{DOMAIN}"])
    await world.face.directory.create_group(DOMAIN, "both", [f"bob@{DOMAIN}", LIST], actor=ADMIN)
    await world.sent(to=f"both@{DOMAIN}")
    assert len(await world.mail(f"bob@{DOMAIN}")) == 1
    (copy,) = await world.mail(f"carol@{DOMAIN}")
    assert copy["List-Id"] is not None


async def test_members_who_pause_or_want_digests_get_no_copy(world: World) -> None:
    news = await world.make([f"alice@{DOMAIN}", f"bob@{DOMAIN}", f"carol@{DOMAIN}"])
    directory = world.face.directory
    await directory.update_member(news.id, f"bob@{DOMAIN}", nomail=True, actor=ADMIN)
    await directory.update_member(news.id, f"carol@{DOMAIN}", digest=True, actor=ADMIN)
    await world.sent()
    assert [len(await world.mail(f"{name}@{DOMAIN}")) for name in ("alice", "bob", "carol")] == [1, 0, 0]


async def test_a_large_posting_is_written_once(world: World) -> None:
    await world.make([f"alice@{DOMAIN}", f"bob@{DOMAIN}", "x@far.test", "y@far.test"])
    body = "\r\n".join(f"line {n}" for n in range(60_000))
    await world.sent(body)
    for name in ("alice", "bob"):
        (copy,) = await world.mail(f"{name}@{DOMAIN}")
        assert text_of(copy).rstrip() == body.replace("\r\n", "\n")
        assert copy["List-Id"] == "<news.example.test>"
    queued = world.queued()
    assert [one.message["List-Unsubscribe"] is not None for one in queued] == [True, True]
    files = list((world.face.store.log_path / "w0" / "x").glob("*.mext"))
    assert len(files) == 2  # as it came, and the list's copy


async def test_a_large_posting_that_a_stop_breaks_off_is_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    news = await world.make([f"alice@{DOMAIN}"])
    octets = b"From: bob@example.test\r\nSubject: large\r\n\r\n" + b"a line of many\r\n" * 60_000
    store, under_way = world.face.store, asyncio.Event()
    submit = store.submit_message

    def watched(*arguments: Any, **more: Any) -> Any:
        under_way.set()
        return submit(*arguments, **more)

    monkeypatch.setattr(store, "submit_message", watched)
    publishing = asyncio.create_task(world.lists._publishing.publish(news, octets))
    await under_way.wait()
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    await until(lambda: world.lists._publishing._office.count(news, "INBOX"))
    await world.idle()
    (kept,) = await world.in_list(news, "INBOX")
    assert kept.endswith(b"a line of many\r\n")
    assert len(await world.mail()) == 1


async def test_the_archive_may_be_off(world: World) -> None:
    news = await world.make([f"alice@{DOMAIN}"], archive="no")
    await world.sent()
    assert len(await world.mail()) == 1
    assert await world.in_list(news, "INBOX") == []


async def test_a_disabled_list_takes_nothing(world: World) -> None:
    news = await world.make([f"alice@{DOMAIN}"])
    await world.face.directory.enable_recipient(news.id, False, actor=ADMIN)
    client = await world.face.ready()
    await client.ok("MAIL FROM:<a@b.test>")
    for address in (LIST, f"news-subscribe@{DOMAIN}"):
        assert (await client.command(f"RCPT TO:<{address}>")).startswith("550 5.2.1")
