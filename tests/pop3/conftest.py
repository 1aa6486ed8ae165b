"""A POP3 face over a real store and directory on loopback sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.pop3.server import Pop3Server
from mailstead.pop3.services import Pop3Services
from mailstead.process.certificates import TlsSettings, build_context, self_signed
from mailstead.store.service import Store
from mailstead.transport.endpoint import Endpoint

ADMIN = Actor.system("test")
PASSWORD = "mailstead-demo"


class LocalLocks:
    """The lock of one process (the node shares it over all; tested with the node)."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.moments: dict[int, float] = {}

    def acquire(self, account: int, limit: int = 1) -> bool:
        if limit and self.held.get(account, 0) >= limit:
            return False
        self.held[account] = self.held.get(account, 0) + 1
        return True

    def release(self, account: int) -> None:
        self.held[account] = self.held.get(account, 0) - 1

    def too_soon(self, account: int, seconds: int) -> bool:
        last, now = self.moments.get(account, -1e9), time.monotonic()
        if now - last < seconds:
            return True
        self.moments[account] = now
        return False


@dataclass
class Face:
    port: int
    tls_port: int
    mailbox: Mailbox
    directory: Directory
    locks: LocalLocks
    server: Pop3Server

    async def fill(self, *messages: bytes, address: str = "alice@example.test") -> list[int]:
        account = self.directory.account_by_address(address)
        assert account is not None
        inbox = await self.mailbox.folder(account.id, "INBOX")
        assert inbox is not None
        return list((await self.mailbox.append(inbox, [NewMessage(m) for m in messages])).uids)

    async def left(self, address: str = "alice@example.test") -> int:
        account = self.directory.account_by_address(address)
        assert account is not None
        inbox = await self.mailbox.folder(account.id, "INBOX")
        assert inbox is not None
        return (await self.mailbox.status(inbox)).messages

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        assert (await client.line()).startswith(b"+OK")
        return client

    async def logged_in_apart(self) -> Client:
        """A session of its own, whatever others are open."""
        self.locks.held.clear()
        return await self.logged_in()

    async def logged_in(self) -> Client:
        client = await self.client()
        assert (await client.command(b"USER alice@example.test")).startswith(b"+OK")
        assert (await client.command(b"PASS " + PASSWORD.encode())).startswith(b"+OK")
        return client


class Client:
    """Raw lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), 60)

    async def command(self, text: bytes) -> bytes:
        self.write(text + b"\r\n")
        return await self.line()

    async def multi(self, text: bytes) -> list[bytes]:
        """First line and the lines up to the dot, still stuffed."""
        lines = [await self.command(text)]
        if lines[0].startswith(b"-"):
            return lines
        while (line := await self.line()) != b".\r\n":
            assert line, "the connection broke off"
            lines.append(line)
        return lines

    def close(self) -> None:
        self.writer.close()


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    directory = Directory.open(tmp_path, create=True)
    await directory.create_domain("example.test", actor=ADMIN)
    for name in ("alice", "bob"):
        await directory.create_account("example.test", name, hash="{PLAIN}" + PASSWORD, actor=ADMIN)
    await directory.settings.set("pop3", "plainConnAllowLogin", "yes", ADMIN)
    await directory.settings.set("pop3", "plainConnAuthTypes", "plain login scram-sha-256", ADMIN)
    store = await Store.open(tmp_path, "w0")
    mailbox = Mailbox(store, directory)
    authenticator = Authenticator(directory, directory.settings, LocalGuard(), threads=1)
    locks = LocalLocks()
    server = Pop3Server(Pop3Services(mailbox, authenticator, directory.settings, locks, directory))
    certificate = tmp_path / "certificate.pem"
    self_signed(certificate, ["localhost", "127.0.0.1"])
    context = build_context(TlsSettings(cert_file=str(certificate)))
    plain = Endpoint("pop3", ssl_context=context)
    secure = Endpoint("pop3", ssl_context=context, implicit_tls=True)
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda made=endpoint: server.connection(made), "127.0.0.1", 0) for endpoint in (plain, secure)
    ]
    ports = [each.sockets[0].getsockname()[1] for each in servers]
    yield Face(ports[0], ports[1], mailbox, directory, locks, server)
    for each in servers:
        each.close()
    for endpoint in (plain, secure):
        for connection in list(endpoint.connections):
            connection.abort()
    await asyncio.sleep(0)
    await authenticator.close()
    await store.close()
    directory.close()
