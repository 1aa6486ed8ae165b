"""Mail for other servers, and reports of success."""

from __future__ import annotations

from tests.smtp.harness import MESSAGE, Face

LARGE = MESSAGE + b"z" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 8000


async def open_relay(face: Face) -> None:
    await face.set("remoteDelivery", "all")


async def test_remote_recipients_are_queued_with_their_wishes(face: Face) -> None:
    await open_relay(face)
    client = await face.ready()
    await client.ok("MAIL FROM:<alice@example.test> RET=HDRS ENVID=id+2B1 BODY=8BITMIME SMTPUTF8")
    await client.ok("RCPT TO:<x@Elsewhere.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;y@elsewhere.test")
    await client.ok("RCPT TO:<z@[192.0.2.1]>")
    await client.ok("DATA")
    client.write(MESSAGE + b".\r\n")
    assert (await client.reply()).startswith("250")
    first, second = face.queued()
    assert first[:2] == ("alice@example.test", "x@elsewhere.test")
    detail = first[2]
    assert (detail.notify, detail.orcpt, detail.envid, detail.ret, detail.smtputf8, detail.body) == (
        "SUCCESS,FAILURE", "rfc822;y@elsewhere.test", "id+2B1", "HDRS", True, "8BITMIME",
    )  # fmt: skip
    assert first[3].startswith(b"Received: from ")
    assert first[3].endswith(MESSAGE)
    assert second[1] == "z@[192.0.2.1]"
    row = face.store.reader(1000).row("SELECT count(*), sum(due <= strftime('%s') + 1) FROM recipient")
    assert tuple(row or ()) == (2, 2)


async def test_mailboxes_have_a_return_path_and_relays_have_not(face: Face) -> None:
    await open_relay(face)
    client = await face.ready()
    assert (await client.send(MESSAGE, "alice@example.test", "bob@example.test", "x@elsewhere.test")).startswith("250")
    for address in ("alice@example.test", "bob@example.test"):
        (octets,) = await face.messages(address)
        assert octets.startswith(b"Return-Path: <bob@remote.test>\r\nReceived: ")
        assert octets.count(b"Return-Path") == 1
    ((_, _, _, octets),) = face.queued()
    assert octets.startswith(b"Received: ")


async def test_a_large_message_for_both(face: Face) -> None:
    await open_relay(face)
    client = await face.ready()
    assert (await client.send(LARGE, "alice@example.test", "x@elsewhere.test")).startswith("250")
    (octets,) = await face.messages()
    assert octets.startswith(b"Return-Path: <bob@remote.test>\r\nReceived: ")
    assert octets.endswith(LARGE)
    ((_, _, _, queued),) = face.queued()
    assert queued.endswith(LARGE)
    assert (await client.send(LARGE, "x@elsewhere.test")).startswith("250")
    assert face.queued()[-1][3].startswith(b"Received: ")


async def test_success_is_reported_when_asked_for(face: Face) -> None:
    client = await face.ready()
    await client.ok("MAIL FROM:<carol@example.test> ENVID=E1")
    await client.ok("RCPT TO:<alice@example.test> NOTIFY=SUCCESS ORCPT=rfc822;old@remote.test")
    await client.ok("RCPT TO:<bob@example.test>")
    await client.ok("DATA")
    client.write(MESSAGE + b".\r\n")
    assert (await client.reply()).startswith("250")
    (report,) = await face.messages("carol@example.test")
    assert report.startswith(b"Return-Path: <>\r\n")
    assert b"Original-Envelope-Id: E1\r\n" in report
    about = b"Original-Recipient: rfc822; old@remote.test\r\nFinal-Recipient: rfc822; alice@example.test\r\nAction: delivered\r\n"
    assert about in report
    assert b"bob@example.test" not in report
    assert len(await face.messages()) == len(await face.messages("bob@example.test")) == 1


async def test_expansion_is_reported_as_such(face: Face) -> None:
    from tests.smtp.harness import ADMIN

    await face.directory.create_group("example.test", "staff", ["alice@example.test"], actor=ADMIN)
    client = await face.ready()
    await client.ok("MAIL FROM:<carol@example.test>")
    await client.ok("RCPT TO:<staff@example.test> NOTIFY=SUCCESS")
    await client.ok("DATA")
    client.write(MESSAGE + b".\r\n")
    assert (await client.reply()).startswith("250")
    (report,) = await face.messages("carol@example.test")
    assert b"Final-Recipient: rfc822; staff@example.test\r\nAction: expanded\r\n" in report


async def test_the_null_sender_gets_no_report_of_success(face: Face) -> None:
    client = await face.ready()
    await client.ok("MAIL FROM:<>")
    await client.ok("RCPT TO:<alice@example.test> NOTIFY=SUCCESS")
    await client.ok("DATA")
    client.write(MESSAGE + b".\r\n")
    assert (await client.reply()).startswith("250")
    assert len(await face.messages()) == 1
    assert face.queued() == []


async def test_a_success_report_of_a_large_message(face: Face) -> None:
    client = await face.ready()
    await client.ok("MAIL FROM:<carol@example.test>")
    await client.ok("RCPT TO:<alice@example.test> NOTIFY=SUCCESS")
    await client.ok("DATA")
    client.write(LARGE + b".\r\n")
    assert (await client.reply()).startswith("250")
    (report,) = await face.messages("carol@example.test")
    assert b"Subject: hello" in report
    assert len(report) < 70_000


async def test_system_mail(face: Face) -> None:
    outcome = await face.delivery.send_system_mail("alice@example.test", b"Subject: from the server\r\n\r\ntext\r\n")
    assert outcome is not None
    (octets,) = await face.messages()
    assert octets == b"Return-Path: <>\r\nSubject: from the server\r\n\r\ntext\r\n"
    assert await face.delivery.send_system_mail("nobody@example.test", b"x") is None


async def test_a_failing_store_is_a_temporary_error(face: Face) -> None:
    import asyncio

    from mailstead.store.submission import Unavailable

    original = face.store.submit_message

    def refuse(*args: object, **more: object) -> asyncio.Future[object]:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        future.set_exception(Unavailable("a sync failed"))
        return future

    face.store.submit_message = refuse  # type: ignore[method-assign,assignment]
    client = await face.ready()
    assert (await client.send()).startswith("451 4.3.0")
    assert (await client.send(LARGE)).startswith("451 4.3.0")
    face.store.submit_message = original  # type: ignore[method-assign]
    assert (await client.send()).startswith("250")
    assert len(await face.messages()) == 1
