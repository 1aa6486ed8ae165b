"""End of data is CRLF.CRLF and nothing else: what other servers took for it is content here, and refused."""

from __future__ import annotations

import pytest

from tests.smtp.harness import Face

ENDS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r\n\0.\r\n", b"\r\r\n.\r\n"[:3] + b".\n",
    b"\r\n.\r\r\n", b"\n\r.\r\n", b"\r\n.\0\r\n", b"\r\n. \r\n", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\x0b.\x0b",
    b"\x0c.\x0c",
]  # fmt: skip
INJECTED = b"MAIL FROM:<evil@remote.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\n"


@pytest.mark.parametrize("end", ENDS)
async def test_no_second_message_comes_out(face: Face, end: bytes) -> None:
    client = await face.ready()
    await client.envelope()
    await client.ok("DATA")
    client.write(b"Subject: first\r\n\r\ntext" + end + INJECTED + b".\r\n")
    reply = await client.reply()
    without = end.replace(b"\r\n", b"")
    bare = b"\r" in without or b"\n" in without
    assert reply.startswith("554 5.6.0" if bare else "250")
    assert await client.command("NOOP") == "250 2.0.0 Ok"
    assert await face.messages("bob@example.test") == []
    assert len(await face.messages()) == (0 if bare else 1)


@pytest.mark.parametrize("end", ENDS)
async def test_nor_where_bare_newlines_are_allowed(face: Face, end: bytes) -> None:
    await face.set("rejectBareNewlines", "no")
    client = await face.ready()
    await client.envelope()
    await client.ok("DATA")
    client.write(b"Subject: first\r\n\r\ntext" + end + INJECTED + b".\r\n")
    assert (await client.reply()).startswith("250")
    assert await face.messages("bob@example.test") == []
    (octets,) = await face.messages()
    assert b"Subject: smuggled" in octets


async def test_chunks_are_held_to_the_same(face: Face) -> None:
    client = await face.ready()
    await client.envelope()
    body = b"Subject: x\r\n\r\na\nb\r\n"
    client.write(b"BDAT %d LAST\r\n" % len(body) + body)
    assert (await client.reply()).startswith("554 5.6.0")
    await client.envelope(parameters=" BODY=BINARYMIME")
    client.write(b"BDAT %d LAST\r\n" % len(body) + body)
    assert (await client.reply()).startswith("250")
    (octets,) = await face.messages()
    assert octets.endswith(body)


async def test_commands_end_with_crlf(face: Face) -> None:
    client = await face.ready()
    client.write(b"NOOP\n")
    assert (await client.reply()).startswith("500 5.5.2")
    client.write(b"MAIL FROM:<a@b.test>\nRCPT TO:<alice@example.test>\r\n")
    assert (await client.reply()).startswith("500")
    assert (await client.reply()).startswith("503")
    await face.set("rejectBareNewlines", "no")
    await client.ok("EHLO client.test")
    client.write(b"NOOP\n")
    assert (await client.reply()).startswith("250")
