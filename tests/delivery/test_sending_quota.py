"""Sending limits (QTA-04) and sending with a full mailbox (QTA-02), over real sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailstead.delivery.expansion import Expander
from mailstead.delivery.sending_quota import SendingQuota
from mailstead.delivery.targets import INLINE_MEMBERS
from mailstead.directory import Directory
from mailstead.mailbox.model import NewMessage
from mailstead.queue.queue_index import START
from mailstead.store.submission import Unavailable
from tests.delivery.sending import limit, logged_in, settled
from tests.smtp.harness import ADMIN, MESSAGE, Client, Face

ALICE = "alice@example.test"


async def send(client: Client, *recipients: str, message: bytes = MESSAGE) -> str:
    reply = await client.command(f"MAIL FROM:<{ALICE}>")
    if not reply.startswith("250"):
        return reply
    for recipient in recipients or ("bob@example.test",):
        await client.ok(f"RCPT TO:<{recipient}>")
    await client.ok("DATA")
    client.write(message + b".\r\n")
    return await client.reply()


async def test_messages_of_an_interval(face: Face) -> None:
    await limit(face, sentMessagesCount="2", sentMessagesInterval="60")
    client = await logged_in(face)
    assert [(await send(client))[:3] for _ in range(3)] == ["250", "250", "450"]
    assert (await send(client)).startswith("450 4.7.1 Sending limit reached: 2 messages in the interval, try again in ")
    stranger = await face.ready()
    assert (await stranger.send()).startswith("250")  # who does not log in is not counted
    sending = face.delivery.sending
    status = sending.status(face.account(ALICE))
    assert (status.messages, status.recipients) == (2, 2) and status.size >= 2 * len(MESSAGE)
    await sending.reset(face.account(ALICE))
    assert (await send(client)).startswith("250")
    await limit(face, sentMessagesCount="9")
    assert (await send(client)).startswith("250")  # a changed limit holds for the session that runs
    await face.directory.database.write(lambda transaction: transaction.execute("UPDATE sent_quota SET started = started - 60"))
    assert sending.status(face.account(ALICE)).messages == 0


async def test_recipients_with_exceptions(face: Face) -> None:
    await limit(face, sentRecipientsCount="3", sentRecipientsExceptions="(carol@example.test *.partner.test)")
    client = await logged_in(face)
    assert (await send(client, "bob@example.test", "postmaster@example.test", "carol@example.test")).startswith("250")
    assert (await send(client, "x@a.remote.test", "y@a.remote.test")).startswith("450 4.7.1 Sending limit reached: 3 recipients")
    assert (await send(client, "carol@example.test", "x@mail.partner.test")).startswith("250")  # none that counts
    assert (await send(client, *(f"u{n}@remote.test" for n in range(4)))).startswith("550 5.7.1")  # never possible
    assert (await send(client, "x@remote.test")).startswith("250")
    assert face.delivery.sending.status(face.account(ALICE)).recipients == 3


async def test_size(face: Face) -> None:
    await limit(face, sentMessagesSize="3")
    client = await logged_in(face)
    big = MESSAGE + b"z" * 900 + b"\r\n"
    assert [(await send(client, message=big))[:3] for _ in range(4)] == ["250", "250", "250", "450"]
    assert (await send(client, message=MESSAGE + (b"z" * 70 + b"\r\n") * 60)).startswith("550 5.7.1")
    assert (await send(client)).startswith("250")  # what fits is taken


async def test_a_large_message_that_is_refused_leaves_no_file(face: Face) -> None:
    await limit(face, sentMessagesSize="100")
    client = await logged_in(face)
    assert (await send(client, message=MESSAGE + b"z\r\n" * 300_000)).startswith("550 5.7.1")
    await settled(face)
    while face.server._cleaning:
        await asyncio.gather(*face.server._cleaning)
    assert [path for path in face.store.log_path.rglob("*") if path.is_file() and path.suffix != ".mlog"] == []


async def test_what_is_not_taken_is_not_counted(face: Face) -> None:
    await limit(face, sentMessagesCount="5")
    await limit(face, "bob", totalMessageSize="1")
    client = await logged_in(face)
    assert (await send(client, message=MESSAGE + b"z" * 2000 + b"\r\n")).startswith("552")
    assert face.delivery.sending.status(face.account(ALICE)).messages == 0


async def test_exact_over_processes(face: Face, tmp_path: Path) -> None:
    await limit(face, sentMessagesCount="25")
    account = face.account(ALICE)
    others = [Directory.open(tmp_path) for _ in range(2)]
    try:
        quotas = [face.delivery.sending, *(SendingQuota(other) for other in others)]
        found = await asyncio.gather(
            *(quotas[n % 3].check_and_count(account, ["bob@example.test"], 100) for n in range(60))
        )
        assert sum(refusal is None for refusal in found) == 25
        assert quotas[2].status(account).messages == 25
    finally:
        for other in others:
            other.close()


async def test_who_is_told_is_told_once(face: Face) -> None:
    await limit(face, sentMessagesCount="1", sentOverquotaEmailAddress="postmaster@example.test")
    client = await logged_in(face)
    for _ in range(4):
        await send(client)
    await settled(face)
    (notice,) = await face.messages("postmaster@example.test")
    assert b"Subject: alice@example.test has reached its sending limit\r\n" in notice
    assert b"limit of 1 messages" in notice and b"messages:    1\r\n" in notice


async def test_the_notice_has_its_template(face: Face, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "over.txt").write_text("Subject: $ACCOUNT: stop\n\n$RECIPIENTS of $LIMIT, $UNKNOWN\n")
    (tmp_path / "secret.txt").write_text("secret")
    values = {"sentRecipientsCount": "1", "sentOverquotaEmailAddress": "postmaster@example.test"}
    await limit(face, **values, sentOverquotaFileName="over.txt")
    client = await logged_in(face)
    await send(client)
    await send(client)
    await settled(face)
    (notice,) = await face.messages("postmaster@example.test")
    assert b"Subject: alice@example.test: stop\r\n" in notice and b"1 of 1 recipients, $UNKNOWN\r\n" in notice
    await limit(face, sentOverquotaFileName="../secret.txt")
    await face.delivery.sending.reset(face.account(ALICE))
    await send(client)
    await send(client)
    await settled(face)
    assert all(b"secret" not in one for one in await face.messages("postmaster@example.test"))
    assert len(await face.messages("postmaster@example.test")) == 2


async def test_a_full_mailbox_may_not_send(face: Face) -> None:
    await limit(face, totalMessageCount="4", quotaSendMessageThreshold="50")
    client = await logged_in(face)
    stranger = await face.ready()
    assert (await stranger.send()).startswith("250")
    assert (await send(client)).startswith("250")
    assert (await stranger.send()).startswith("250")
    assert (await send(client)).startswith("552 5.2.2 Your mailbox is 50% full")
    await limit(face, quotaSendMessageThreshold="60")
    assert (await send(client)).startswith("250")


async def redirecting(face: Face, to: str = "far@remote.test", user: str = ALICE) -> None:
    """Alice's mail goes elsewhere by her script."""
    account = face.account(user)
    await face.mailbox.put_script(account.id, "main", f'redirect "{to}";')
    await face.mailbox.activate_script(account.id, "main")


async def test_what_a_script_redirects_counts(face: Face) -> None:
    await limit(face, sentMessagesCount="2", sentOverquotaEmailAddress="postmaster@example.test")
    await redirecting(face)
    stranger = await face.ready()
    for _ in range(4):
        assert (await stranger.send(MESSAGE, ALICE)).startswith("250")
    await settled(face)
    assert [row[1] for row in face.queued()] == ["far@remote.test"] * 2
    assert len(await face.messages(ALICE)) == 2  # RFC 5228 section 2.10.6: what cannot be done keeps the message
    status = face.delivery.sending.status(face.account(ALICE))
    assert (status.messages, status.recipients) == (2, 2) and status.size >= 2 * len(MESSAGE)
    (notice,) = await face.messages("postmaster@example.test")
    assert b"Subject: alice@example.test has reached its sending limit\r\n" in notice
    assert (await send(await logged_in(face))).startswith("450")  # it is one limit, whichever way mail leaves


async def test_a_redirection_to_an_exception_does_not_count(face: Face) -> None:
    await limit(face, sentRecipientsCount="1", sentRecipientsExceptions="(*.partner.test)")
    await redirecting(face, "x@mail.partner.test")
    stranger = await face.ready()
    for _ in range(3):
        assert (await stranger.send(MESSAGE, ALICE)).startswith("250")
    assert len(face.queued()) == 3
    assert face.delivery.sending.status(face.account(ALICE)).messages == 0


async def test_a_large_message_is_not_redirected_beyond_the_limit(face: Face) -> None:
    await limit(face, sentMessagesSize="3")
    await redirecting(face)
    stranger = await face.ready()
    assert (await stranger.send(MESSAGE + b"z\r\n" * 300_000, ALICE)).startswith("250")
    assert (await stranger.send(MESSAGE, ALICE)).startswith("250")
    assert len(face.queued()) == 1 and len(await face.messages(ALICE)) == 1


async def test_a_redirection_that_is_not_taken_is_not_counted(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    await limit(face, sentMessagesCount="5")
    await limit(face, "bob", totalMessageSize="1")
    await redirecting(face, "bob@example.test")
    stranger = await face.ready()
    assert (await stranger.send(MESSAGE + b"z" * 2000 + b"\r\n", ALICE)).startswith("552")
    assert face.delivery.sending.status(face.account(ALICE)).messages == 0
    with monkeypatch.context() as patch:
        patch.setattr(face.delivery.store, "submit_message", _failing)
        assert (await stranger.send(MESSAGE, ALICE)).startswith("451")
    assert face.delivery.sending.status(face.account(ALICE)).messages == 0
    assert (await stranger.send(MESSAGE, ALICE)).startswith("250")
    assert face.delivery.sending.status(face.account(ALICE)).messages == 1


def _failing(*_: object, **more: object) -> asyncio.Future[None]:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(Unavailable("the disk failed"))
    return future


async def test_redirections_at_once_are_counted_exactly(face: Face) -> None:
    await limit(face, sentMessagesCount="7")
    await redirecting(face)
    clients = [await face.ready() for _ in range(20)]
    assert all(reply.startswith("250") for reply in await asyncio.gather(*(one.send(MESSAGE, ALICE) for one in clients)))
    assert (len(face.queued()), len(await face.messages(ALICE))) == (7, 13)


async def test_a_full_mailbox_redirects_nothing(face: Face) -> None:
    await limit(face, totalMessageCount="4", quotaSendMessageThreshold="50")
    await redirecting(face)
    stranger = await face.ready()
    assert (await stranger.send(MESSAGE, ALICE)).startswith("250")
    assert len(face.queued()) == 1
    await limit(face, quotaSendMessageThreshold="1")
    account = face.account(ALICE)
    inbox = await face.mailbox.folder(account.id, "INBOX")
    assert inbox is not None
    await face.mailbox.append(inbox, [NewMessage(MESSAGE)])
    assert (await stranger.send(MESSAGE, ALICE)).startswith("250")
    assert (len(face.queued()), len(await face.messages(ALICE))) == (1, 2)


async def test_the_members_of_a_large_group_redirect_within_their_limits(face: Face) -> None:
    await limit(face, sentMessagesCount="1")
    await redirecting(face)
    members = [ALICE, *(f"m{number}@far.test" for number in range(INLINE_MEMBERS))]
    await face.directory.create_group("example.test", "large", members, actor=ADMIN)
    expander = Expander(face.delivery)
    task = asyncio.create_task(expander.run())
    stranger = await face.ready()
    for _ in range(2):
        assert (await stranger.send(MESSAGE, "large@example.test")).startswith("250")
    async with asyncio.timeout(60):
        while face.store.queue_index.expansions(START, 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await expander.stop()
    await task
    redirected = [row for row in face.queued() if row[1] == "far@remote.test"]
    assert (len(redirected), len(await face.messages(ALICE))) == (1, 1)


async def test_a_chunk_of_a_group_that_fails_is_not_counted_twice(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    await limit(face, sentMessagesCount="5")
    await redirecting(face)
    members = [ALICE, *(f"m{number}@far.test" for number in range(INLINE_MEMBERS))]
    await face.directory.create_group("example.test", "large", members, actor=ADMIN)
    stranger = await face.ready()
    assert (await stranger.send(MESSAGE, "large@example.test")).startswith("250")
    route, failed = face.delivery.planner.route, asyncio.Event()

    async def failing(*arguments: Any, **more: Any) -> None:
        if not more and not failed.is_set() and face.delivery.sending.status(face.account(ALICE)).messages:  # the next member
            failed.set()
            raise OSError("the disk failed")
        await route(*arguments, **more)

    monkeypatch.setattr(face.delivery.planner, "route", failing)
    expander = Expander(face.delivery)
    task = asyncio.create_task(expander.run())
    async with asyncio.timeout(60):
        while not failed.is_set() or face.store.queue_index.expansions(START, 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await expander.stop()
    await task
    assert failed.is_set() and [row[1] for row in face.queued()].count("far@remote.test") == 1
    assert face.delivery.sending.status(face.account(ALICE)).messages == 1
