"""Mail arrives where it should, as it was sent, with its trace."""

from __future__ import annotations

import asyncio

import pytest

from mailstead.observe import receipt
from mailstead.store.record import HEADER_SIZE, Kind, decode_head, parse_header
from tests.smtp.harness import MESSAGE, Face, client_context, running


async def test_a_message_reaches_the_inbox_with_its_trace(face: Face) -> None:
    client = await face.ready()
    assert (await client.send()).startswith("250 2.0.0 Ok: queued as ")
    (octets,) = await face.messages()
    trace = octets.removesuffix(MESSAGE).split(b"\r\n")
    assert trace[:3] == [
        b"Return-Path: <bob@remote.test>",
        b"Received: from client.test ([127.0.0.1])",
        b"\tby mail.example.test with ESMTP",
    ]
    assert trace[3].startswith(b"\tid ")
    assert trace[3].endswith(b" for <alice@example.test>;")
    assert octets.endswith(MESSAGE)


async def test_blind_copies_are_not_told(face: Face) -> None:
    client = await face.ready()
    assert (await client.send(MESSAGE, "alice@example.test", "bob@example.test")).startswith("250")
    for address in ("alice@example.test", "bob@example.test"):
        (octets,) = await face.messages(address)
        assert b" for " not in octets
        assert b"bob@example.test" not in octets


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\r\n", b"\r\nbody only\r\n", b"Subject: no body\r\n", b"no header at all\r\n", b".\r\n", b"..\r\n...\r\n",
        b"Subject: x\r\n\r\n.leading\r\n..\r\n.\r\nend\r\n", b"Subject: \xff\xfe\x00\r\n\r\n\x00\x80\r\n",
        b"S: x\r\n\r\n" + b"y" * 5000 + b"\r\n",
    ],
)  # fmt: skip
async def test_octets_arrive_as_they_were_sent(face: Face, message: bytes) -> None:
    client = await face.ready()
    assert (await client.send(message)).startswith("250")
    (octets,) = await face.messages()
    assert octets.endswith(message)
    header, _, body = octets.partition(b"\r\n\r\n")
    if not message.startswith((b"S", b"\r\n")):
        assert body == message  # what has no header is all body
    assert header.startswith(b"Return-Path: ")


async def test_the_client_cannot_write_into_the_trace(face: Face) -> None:
    client = await face.client()
    await client.ok("EHLO x);evil(by=<a>,\"b\"@c")
    assert (await client.send()).startswith("250")
    (octets,) = await face.messages()
    assert b"Received: from x??evil?by??a???b??c ([127.0.0.1])\r\n" in octets


async def test_loops_end(face: Face) -> None:
    client = await face.ready()
    hop = b"Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    assert (await client.send(hop * 30 + MESSAGE)).startswith("250")
    assert (await client.send(hop * 31 + MESSAGE)).startswith("554 5.4.6")
    assert (await client.send(MESSAGE + hop * 40)).startswith("250")  # in the body they say nothing
    await face.set("maxReceivedHeaders", "0")
    assert (await client.send(hop * 200 + MESSAGE)).startswith("250")


async def test_size_limit_while_receiving(face: Face) -> None:
    await face.set("maxDataSize", "2")
    client = await face.ready()
    assert (await client.command("MAIL FROM:<a@b.test> SIZE=2049")).startswith("552 5.3.4")
    assert (await client.send(MESSAGE + b"x" * 3000 + b"\r\n")).startswith("552 5.3.4")
    assert (await client.send(MESSAGE)).startswith("250")
    assert len(await face.messages()) == 1


async def test_smtputf8(face: Face) -> None:
    await face.directory.create_account("example.test", "jörg", actor=_admin())
    client = await face.ready()
    assert (await client.send("Subject: grüße\r\n\r\n".encode(), "jörg@example.test", sender="mü@remote.test", parameters=" SMTPUTF8")).startswith("250")  # noqa: E501
    (octets,) = await face.messages("jörg@example.test")
    assert octets.startswith("Return-Path: <mü@remote.test>".encode())
    assert b" with UTF8SMTP\r\n" in octets
    assert " for <jörg@example.test>".encode() in octets


async def test_protocol_names_after_tls_and_login(face: Face) -> None:
    client = await face.ready("submission")
    await client.starttls(client_context())
    await client.ok("EHLO client.test")
    await client.ok("AUTH PLAIN AGFsaWNlAG1haWxzdGVhZC1kZW1v")
    assert (await client.send(sender="alice@example.test")).startswith("250")
    (octets,) = await face.messages()
    assert b" with ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n" in octets
    assert b"mailstead-demo" not in octets


async def test_submission_completes_the_header(face: Face) -> None:
    client = await face.ready("submission")
    await client.starttls(client_context())
    await client.ok("EHLO client.test")
    await client.ok("AUTH PLAIN AGFsaWNlAG1haWxzdGVhZC1kZW1v")
    own = b"Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nmessage-id: <own@client.test>\r\n\r\nx\r\n"
    for message in (MESSAGE, b"only text\r\n", own, b"\r\nx\r\n"):
        assert (await client.send(message, sender="alice@example.test")).startswith("250")
    for octets, message in zip(await face.messages(), (MESSAGE, b"only text\r\n", own, b"\r\nx\r\n"), strict=True):
        assert octets.endswith(message)
        header = octets.partition(b"\r\n\r\n")[0].lower()
        assert header.count(b"\r\ndate: ") == header.count(b"\r\nmessage-id: <") == 1
    client = await face.ready()
    assert (await client.send(MESSAGE, "bob@example.test")).startswith("250")
    (octets,) = await face.messages("bob@example.test")
    assert b"message-id" not in octets.lower()


async def test_the_receipt_is_in_the_log(face: Face) -> None:
    client = await face.ready()
    reply = await client.send(MESSAGE, "info@example.test", "bob+x@example.test")
    account = face.account("alice@example.test")
    row = face.store.reader(account.shard).row("SELECT file, offset FROM wide")
    assert row is not None
    segment = next(face.store.log_path.glob("*/*.mlog")).read_bytes()
    start = segment.rfind(b"MSR1", 0, row[1])
    kind, _, size, *_ = parse_header(segment[start : start + HEADER_SIZE])
    assert kind == Kind.MESSAGE
    head = decode_head(kind, segment[start + HEADER_SIZE : start + HEADER_SIZE + size])
    found = receipt.decode(head.receipt)
    assert reply.endswith(found.id)
    assert found.sender == head.sender == "bob@remote.test"
    assert found.connection is not None
    assert found.connection.helo == "client.test"
    assert [(d.recipient, d.account, d.by) for d in found.deliveries] == [
        ("info@example.test", "alice@example.test", "alias"), ("bob+x@example.test", "bob@example.test", "subaddress"),
    ]  # fmt: skip


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: object) -> None:
    from pathlib import Path

    directory = Path(str(tmp_path)) / "data"
    directory.mkdir()
    async with running(directory) as face:
        clients = [await face.ready() for _ in range(5)]
        replies = await asyncio.gather(*(client.send(MESSAGE + b"%d\r\n" % n) for n, client in enumerate(clients)))
        assert all(reply.startswith("250") for reply in replies)
    async with running(directory) as face:
        assert sorted(octets[-3:-2] for octets in await face.messages()) == [b"0", b"1", b"2", b"3", b"4"]
        assert (await (await face.ready()).send()).startswith("250")
        assert len(await face.messages()) == 6


async def test_disk_full_is_said_and_nothing_kept(face: Face) -> None:
    client = await face.ready()
    await client.envelope()
    face.store.full = True
    assert (await client.command("DATA")).startswith("354")
    client.write(b"Subject: x\r\n\r\n.\r\n")
    assert (await client.reply()).startswith("452 4.3.1")
    assert (await client.command("MAIL FROM:<a@b.test>")).startswith("452 4.3.1")
    face.store.full = False
    assert (await client.send()).startswith("250")
    assert len(await face.messages()) == 1


def _admin() -> object:
    from tests.smtp.harness import ADMIN

    return ADMIN
