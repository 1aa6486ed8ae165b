"""Mail arrives where it should: the plain way through the face."""

from __future__ import annotations

from tests.smtp.harness import MESSAGE, Face


async def test_a_message_reaches_the_inbox_with_its_trace(face: Face) -> None:
    client = await face.ready()
    assert (await client.send()).startswith("250 2.0.0")
    (octets,) = await face.messages()
    assert octets.startswith(b"Return-Path: <bob@remote.test>\r\nReceived: from client.test ([127.0.0.1])\r\n\tby mail.example.test with ESMTP\r\n")
    assert b" for <alice@example.test>;\r\n" in octets
    assert octets.endswith(MESSAGE)
