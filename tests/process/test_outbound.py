"""The dispatcher within the node: mail for elsewhere leaves, and a notice comes back when it cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient, Result
from mailstead.process.application import ProcessContext
from mailstead.process.installation import Plan, create
from mailstead.process.node import Node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    plan = Plan(
        "mail.example.test", "example.test", "admin", "administrator", accounts=[("alice", None)], postmaster="alice",
        settings=[("server", "metricsPort", "0")],
    )  # fmt: skip
    await asyncio.to_thread(create, tmp_path / "data", plan)
    context = ProcessContext(tmp_path / "data", "w0", 1, "single", 1, lambda: None, lambda reason: None)
    found = Node(context)
    await found.prepare()
    await found.start()
    yield found
    await found.stop()


class Remote:
    """Another server: takes mail for `friend`, refuses the rest."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 remote.test\r\n")
        while line := await reader.readline():
            word = line[:4].upper()
            if word == b"RCPT" and b"friend@" not in line:
                writer.write(b"550 5.1.1 never heard of\r\n")
            elif word == b"DATA":
                writer.write(b"354 go\r\n")
                self.taken.append(await reader.readuntil(b"\r\n.\r\n"))
                writer.write(b"250 2.0.0 taken\r\n")
            elif word == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 ok\r\n")
        writer.close()


async def test_mail_leaves_and_a_refusal_comes_back_as_a_report(node: Node) -> None:
    remote = Remote()
    server = await asyncio.start_server(remote.serve, "127.0.0.1", 0)
    settings = node.directory.settings
    await settings.set("smtpOutgoing", "smartHost", "[127.0.0.1]", "test")
    await settings.set("smtpOutgoing", "smartHostPort", str(server.sockets[0].getsockname()[1]), "test")
    for recipient in ("friend@elsewhere.test", "stranger@elsewhere.test"):
        mail = f"Subject: to {recipient}\r\n\r\nx\r\n".encode()
        found = node.directory.resolve(recipient)
        message = AcceptedMessage(
            recipient, "alice@example.test", [EnvelopeRecipient(recipient, found)], b"", mail, len(mail), int(time.time())
        )
        assert (await node.delivery.accept(message)).result is Result.STORED
    account = node.directory.account_by_address("alice@example.test")
    assert account is not None
    async with asyncio.timeout(60):
        while not remote.taken or not node.mailbox.usage(account.id)[1]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert b"Subject: to friend@elsewhere.test" in remote.taken[0]
    inbox = await node.mailbox.folder(account.id, "INBOX")
    assert inbox is not None
    assert (await node.mailbox.status(inbox)).messages == 1
    server.close()


async def test_sending_stops_and_starts_with_its_service(node: Node) -> None:
    settings = node.directory.settings
    services = settings.service("server").services
    assert node.outbound is not None

    async def becomes(running: bool) -> None:
        async with asyncio.timeout(60):
            while (node.outbound is not None and node.outbound._running is not None) != running:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    await becomes(True)
    await settings.set("server", "services", " ".join(s for s in services if s != "smtpOutgoing"), "test")
    await becomes(False)
    await settings.set("server", "services", " ".join(services), "test")
    await becomes(True)
