"""Quotas at RCPT and at the end of data; what fails beside what succeeds is reported."""

from __future__ import annotations

import asyncio

from tests.smtp.harness import ADMIN, MESSAGE, Face

BIG = MESSAGE + b"z" * 3000 + b"\r\n"


async def limit(face: Face, address: str, kilobytes: int = 0, messages: int = 0) -> None:
    account = face.account(address)
    await face.directory.set_account_setting(account.id, "totalMessageSize", str(kilobytes), actor=ADMIN)
    await face.directory.set_account_setting(account.id, "totalMessageCount", str(messages), actor=ADMIN)


async def test_a_full_mailbox_is_refused_for_now(face: Face) -> None:
    await limit(face, "alice@example.test", messages=1)
    client = await face.ready()
    assert (await client.send()).startswith("250")
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command("RCPT TO:<alice@example.test>")).startswith("452 4.2.2")
    assert (await client.command("RCPT TO:<bob@example.test>")).startswith("250")


async def test_declared_size(face: Face) -> None:
    await limit(face, "alice@example.test", kilobytes=4)
    client = await face.ready()
    await client.ok("MAIL FROM:<bob@remote.test> SIZE=5000")
    assert (await client.command("RCPT TO:<alice@example.test>")).startswith("552 5.2.3")
    await client.ok("RSET")
    assert (await client.send(BIG)).startswith("250")
    await client.ok("MAIL FROM:<bob@remote.test> SIZE=3000")
    assert (await client.command("RCPT TO:<alice@example.test>")).startswith("452 4.2.2")


async def test_at_the_end_of_data(face: Face) -> None:
    await limit(face, "alice@example.test", kilobytes=2)
    client = await face.ready()
    assert (await client.send(BIG)).startswith("552 5.2.2")
    assert await face.messages() == []
    assert (await client.send(MESSAGE)).startswith("250")


async def test_the_limit_holds_to_the_unit_under_load(face: Face) -> None:
    await limit(face, "alice@example.test", messages=7)
    clients = [await face.ready() for _ in range(20)]
    for client in clients:
        await client.envelope()
        await client.ok("DATA")
    for client in clients:
        client.write(MESSAGE + b".\r\n")
    replies = await asyncio.gather(*(client.reply() for client in clients))
    assert sorted(reply[:9] for reply in replies) == ["250 2.0.0"] * 7 + ["552 5.2.2"] * 13
    assert len(await face.messages()) == 7


async def test_one_full_among_others_is_reported(face: Face) -> None:
    await limit(face, "alice@example.test", kilobytes=2)
    client = await face.ready()
    assert (await client.send(BIG, "alice@example.test", "bob@example.test", sender="carol@example.test")).startswith("250")
    assert await face.messages() == []
    assert len(await face.messages("bob@example.test")) == 1
    (report,) = await face.messages("carol@example.test")
    assert report.startswith(b"Return-Path: <>\r\n")
    assert b"From: Mail Delivery System <MAILER-DAEMON@mail.example.test>\r\n" in report
    assert b"Final-Recipient: rfc822; alice@example.test\r\nAction: failed\r\nStatus: 5.2.2\r\n" in report
    assert b"Subject: hello" in report


async def test_reports_to_other_servers_go_to_the_queue(face: Face) -> None:
    await limit(face, "alice@example.test", kilobytes=2)
    client = await face.ready()
    assert (await client.send(BIG, "alice@example.test", "bob@example.test")).startswith("250")
    ((sender, recipient, detail, octets),) = face.queued()
    assert (sender, recipient, detail.notify) == ("", "bob@remote.test", "NEVER")
    assert octets.startswith(b"From: Mail Delivery System")


async def test_nobody_is_told_where_nobody_wants_to_hear(face: Face) -> None:
    await limit(face, "alice@example.test", kilobytes=2)
    client = await face.ready()
    assert (await client.send(BIG, "alice@example.test", "bob@example.test", sender="")).startswith("250")
    await client.ok("MAIL FROM:<carol@example.test>")
    await client.ok("RCPT TO:<alice@example.test> NOTIFY=NEVER")
    await client.ok("RCPT TO:<bob@example.test> NOTIFY=NEVER")
    await client.ok("DATA")
    client.write(BIG + b".\r\n")
    assert (await client.reply()).startswith("250")
    assert await face.messages("carol@example.test") == []
    assert face.queued() == []


async def test_large_message_over_quota_leaves_no_file(face: Face) -> None:
    await limit(face, "alice@example.test", kilobytes=100)
    client = await face.ready()
    assert (await client.send(MESSAGE + b"z\r\n" * 300_000)).startswith("552 5.2.2")
    while face.delivery._tasks:
        await asyncio.gather(*face.delivery._tasks)
    assert [path for path in face.store.log_path.rglob("*") if path.is_file() and path.suffix != ".mlog"] == []


async def test_a_group_of_one_full_mailbox_and_that_mailbox(face: Face) -> None:
    await face.directory.create_group("example.test", "staff", ["alice@example.test"], actor=ADMIN)
    await limit(face, "alice@example.test", kilobytes=2)
    client = await face.ready()
    assert (await client.send(BIG, "staff@example.test", "alice@example.test")).startswith("552 5.2.2")
    assert (await client.send(BIG, "staff@example.test")).startswith("552 5.2.2")
    assert await face.messages() == []
