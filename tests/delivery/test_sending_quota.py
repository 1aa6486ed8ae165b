"""Sending limits (QTA-04) and sending with a full mailbox (QTA-02), over real sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mailstead.delivery.sending_quota import SendingQuota
from mailstead.directory import Directory
from tests.delivery.sending import limit, logged_in, settled
from tests.smtp.harness import MESSAGE, Client, Face

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
    await asyncio.sleep(0.2)
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
