"""STARTTLS (RFC 3207) and implicit TLS: nothing from before the handshake counts after it."""

from __future__ import annotations

import asyncio
import ssl

from tests.smtp.harness import Client, Face, client_context


async def test_the_session_starts_over(face: Face) -> None:
    client = await face.ready()
    await client.envelope()
    await client.starttls(client_context())
    assert (await client.command("RCPT TO:<bob@example.test>")).startswith("503")
    assert (await client.command("MAIL FROM:<a@b.test>")).startswith("503 5.5.1 Send EHLO")
    await client.ok("EHLO client.test")
    assert (await client.send()).startswith("250")
    (octets,) = await face.messages()
    assert b" with ESMTPS (TLSv1.3" in octets


async def test_commands_in_the_same_breath_are_refused(face: Face) -> None:
    client = await face.ready()
    client.write(b"STARTTLS\r\nMAIL FROM:<evil@remote.test>\r\nRCPT TO:<alice@example.test>\r\n")
    assert (await client.reply()).startswith("554 5.5.1")
    assert await client.closed()


async def test_plain_text_behind_the_go_ahead_is_never_taken(face: Face) -> None:
    client = await face.ready()
    assert (await client.command("STARTTLS")).startswith("220")
    client.write(b"MAIL FROM:<evil@remote.test>\r\n")
    assert await client.closed()


async def test_without_a_certificate(face: Face) -> None:
    face.endpoints["smtp"].ssl_context = None
    client = await face.client()
    assert "STARTTLS" not in await client.ok("EHLO client.test")
    assert (await client.command("STARTTLS")).startswith("454 4.7.0")


async def test_implicit_tls(face: Face) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", face.ports["smtps"], ssl=client_context())
    client = Client(reader, writer)
    face.clients.append(client)
    assert (await client.reply()).startswith("220")
    assert "AUTH SCRAM-SHA-256-PLUS" in await client.ok("EHLO client.test")


async def test_garbage_for_a_handshake_closes_that_connection_only(face: Face) -> None:
    other = await face.ready()
    client = await face.ready()
    await client.ok("STARTTLS")
    client.write(b"\x16\x03\x01garbage" * 50)
    assert await client.closed()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", face.ports["smtps"])
        writer.write(b"EHLO plain\r\n" * 5)
        assert await asyncio.wait_for(reader.read(), 60) != b"220"
        writer.close()
    except (ConnectionError, ssl.SSLError):
        pass  # closed even sooner
    assert (await other.send()).startswith("250")
