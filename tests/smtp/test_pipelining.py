"""Commands in one breath (RFC 2920) and messages in chunks (RFC 3030)."""

from __future__ import annotations

import asyncio

import pytest

from tests.smtp.harness import MESSAGE, Face


async def test_a_batch_is_answered_with_one_write(face: Face) -> None:
    client = await face.ready()
    batch = b"MAIL FROM:<b@r.test>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n"
    loop = asyncio.get_running_loop()
    connection = next(iter(face.endpoints["smtp"].connections))
    writes: list[bytes] = []
    original = connection._transport

    class Spy:
        def __getattr__(self, name: str) -> object:
            return getattr(original, name)

        def write(self, data: bytes) -> None:
            writes.append(data)
            original.write(data)

    connection._transport = Spy()  # type: ignore[assignment]
    client.write(batch)
    assert [(await client.reply())[:9] for _ in range(4)] == ["250 2.1.0", "250 2.1.5", "550 5.1.1", "354 End d"]
    assert len(writes) == 1
    client.write(MESSAGE + b".\r\nMAIL FROM:<>\r\nQUIT\r\n")
    assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "221"]
    assert len(await face.messages()) == 1
    assert loop.is_running()


async def test_many_messages_in_one_write(face: Face) -> None:
    client = await face.ready()
    one = b"MAIL FROM:<b@r.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n" + MESSAGE + b".\r\n"
    client.write(one * 20 + b"QUIT\r\n")
    replies = [(await client.reply())[:3] for _ in range(81)]
    assert replies == ["250", "250", "354", "250"] * 20 + ["221"]
    assert len(await face.messages()) == 20


@pytest.mark.parametrize("step", [1, 2, 3, 7])
async def test_octet_by_octet(face: Face, step: int) -> None:
    client = await face.ready()
    whole = b"MAIL FROM:<b@r.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nBDAT 0\r\nNOOP\r\n"
    connection = next(iter(face.endpoints["smtp"].connections))
    for start in range(0, len(whole), step):
        connection.data_received(whole[start : start + step])
    assert [(await client.reply())[:3] for _ in range(6)] == ["250", "250", "354", "250", "503", "250"]
    (octets,) = await face.messages()
    assert octets.endswith(b"\r\n\r\n.dot\r\n")


async def test_chunks_make_a_message(face: Face) -> None:
    client = await face.ready()
    await client.envelope(parameters=" BODY=BINARYMIME")
    client.write(b"BDAT 12\r\nSubject: x\r\nBDAT 2\r\n\r\nBDAT 5\r\n.\r\n\x00\rBDAT 0 LAST\r\nNOOP\r\n")
    assert [await client.reply() for _ in range(3)] == [f"250 2.0.0 {n} octets received" for n in (12, 2, 5)]
    assert (await client.reply()).startswith("250 2.0.0 Ok: queued")
    assert (await client.reply()) == "250 2.0.0 Ok"
    (octets,) = await face.messages()
    assert octets.endswith(b"Subject: x\r\n\r\n.\r\n\x00\r")


async def test_chunks_out_of_order_are_read_and_refused(face: Face) -> None:
    client = await face.ready()
    client.write(b"BDAT 6\r\nQUIT\r\nNOOP\r\n")
    assert (await client.reply()).startswith("503 5.5.1")
    assert (await client.reply()).startswith("250")
    await client.ok("MAIL FROM:<b@r.test>")
    client.write(b"BDAT 6 LAST\r\nQUIT\r\n")
    assert (await client.reply()).startswith("503 5.5.1")
    await client.ok("RCPT TO:<alice@example.test>")
    client.write(b"BDAT 6\r\nabcd\r\n")
    assert (await client.reply()).startswith("250")
    assert (await client.command("DATA")).startswith("503")
    assert (await client.command("RCPT TO:<bob@example.test>")).startswith("503")
    assert (await client.command("MAIL FROM:<b@r.test>")).startswith("503")
    await client.ok("RSET")
    client.write(b"BDAT 6\r\nQUIT\r\n")
    assert (await client.reply()).startswith("503")
    client.write(b"BDAT huge\r\n")
    assert (await client.reply()).startswith("501")
    assert (await client.reply()).startswith("421")
    assert await client.closed()
    assert await face.messages() == []


async def test_binary_mime_needs_chunks(face: Face) -> None:
    client = await face.ready()
    await client.envelope(parameters=" BODY=BINARYMIME")
    assert (await client.command("DATA")).startswith("503")


async def test_chunks_over_the_size_limit(face: Face) -> None:
    await face.set("maxDataSize", "1")
    client = await face.ready()
    await client.envelope()
    client.write(b"BDAT 900\r\n" + b"x" * 900 + b"BDAT 900\r\n" + b"x" * 900 + b"BDAT 2 LAST\r\n\r\n")
    assert [(await client.reply())[:9] for _ in range(3)] == ["250 2.0.0", "552 5.3.4", "552 5.3.4"]
    assert (await client.send()).startswith("250")
