"""An administration face over a real store and directory, and a client that reads whole replies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailstead.admin_cli.server import AdminServer
from mailstead.admin_cli.services import AdminServices
from mailstead.delivery.service import Delivery
from mailstead.directory import Actor, Directory
from mailstead.identity.administrators import AdministratorLogin
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.mailbox.service import Mailbox
from mailstead.process.background import BackgroundMissingError, BackgroundRefusedError, BackgroundVerbs
from mailstead.process.maintenance import Maintenance
from mailstead.process.mounts import Mounts
from mailstead.process.outbound import Outbound
from mailstead.process.support import offer as offer_support
from mailstead.store.service import Store
from mailstead.transport.endpoint import Endpoint

ADMIN = Actor.system("test")
PASSWORD = "admin-secret-1"
PROMPT = re.compile(r"<[A-Za-z0-9-]*#?> \Z")


class Refused(AssertionError):
    """The server answered -ERR where +OK was expected."""


class Client:
    """Sends lines, reads replies up to the prompt."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.prompt = ""

    async def read(self) -> list[str]:
        """Lines of one reply without the prompt, which is kept."""
        data = b""
        while not PROMPT.search(text := data.decode(errors="replace")):
            part = await asyncio.wait_for(self.reader.read(65536), 60)
            if not part:
                self.prompt = ""
                return text.split("\r\n")
            data += part
        lines = text.split("\r\n")
        self.prompt = lines.pop()
        return lines

    async def send(self, line: str) -> list[str]:
        """One command; the lines of its reply, the status line last."""
        self.writer.write(line.encode() + b"\r\n")
        return await self.read()

    async def ok(self, *lines: str) -> list[str]:
        """Commands that must succeed; the body of the last."""
        body: list[str] = []
        for line in lines:
            reply = await self.send(line)
            if not reply or not reply[-1].startswith("+OK: "):
                raise Refused(f"{line} -> {reply}")
            body = reply[:-1]
        return body

    async def err(self, line: str) -> str:
        """A command that must be refused; the reason."""
        reply = await self.send(line)
        assert reply[-1].startswith("-ERR: "), f"{line} -> {reply}"
        return reply[-1][6:]

    async def login(self, name: str = "admin", password: str = PASSWORD) -> Client:
        await self.send(f"USER {name}")
        assert self.prompt == "<password> "
        assert await self.send(password) == ["+OK: Authentication successful"]
        return self

    async def show(self, line: str = "SHOW") -> dict[str, str]:
        """A SHOW as a mapping."""
        return dict(pair.split(" = ", 1) for pair in await self.ok(line) if " = " in pair)

    async def rows(self, line: str) -> list[str]:
        """Rows of a table."""
        body = await self.ok(line)
        assert body[0] == "" and body[2] == "" and set(body[4]) == {"-"} and len(body[4]) >= 6 and body[-1] == ""
        return [row.strip() for row in body[5:-1]]

    async def items(self, line: str) -> list[str]:
        """Items of a plain list."""
        body = await self.ok(line)
        assert body[0] == "" and body[1] and body[-1] == ""
        return body[2:-1]

    async def text(self, line: str, text: str) -> list[str]:
        """A command with a multi-line text."""
        self.writer.write(line.encode() + b"\r\n")
        first = await asyncio.wait_for(self.reader.readline(), 60)
        assert first.startswith(b"+OK: "), first
        for part in text.split("\n"):
            self.writer.write((f".{part}" if part.startswith(".") else part).encode() + b"\r\n")
        return await self.send(".")


class Face:
    def __init__(self, services: AdminServices, port: int, endpoint: Endpoint) -> None:
        self.services, self.port, self.endpoint = services, port, endpoint
        self.directory, self.mailbox = services.directory, services.mailbox

    @property
    def domain_id(self) -> int:
        """Of example.test."""
        domain = self.directory.domain_by_name("example.test")
        assert domain is not None
        return domain.id

    async def raw(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        await client.read()
        assert client.prompt == "<login> "
        return client

    async def client(self, name: str = "admin", password: str = PASSWORD) -> Client:
        return await (await self.raw()).login(name, password)


@dataclass
class Served:
    """What mounts are given."""

    directory: Directory
    mailbox: Mailbox
    store: Store


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    directory = Directory.open(tmp_path, create=True)
    await directory.create_admin("admin", PASSWORD, actor=ADMIN, everything=True)
    await directory.create_domain("example.test", actor=ADMIN)
    await directory.create_account("example.test", "alice", "wonder-land-1", actor=ADMIN)
    store = await Store.open(tmp_path, "w0")
    mailbox = Mailbox(store, directory, directory)
    directory.know_public_folders(mailbox.has_public_folder)
    authenticator = Authenticator(directory, directory.settings, LocalGuard())
    background = BackgroundVerbs()
    outbound = Outbound(store, directory.settings, Delivery(store, directory, mailbox))
    outbound.offer(background)
    maintenance = Maintenance(tmp_path, store, mailbox)
    maintenance.offer(background)
    offer_support(background, tmp_path)
    mounts = Mounts(tmp_path, Served(directory, mailbox, store))
    mounts.offer(background)
    running = asyncio.create_task(outbound.run())
    services = AdminServices(
        directory, directory.settings, AdministratorLogin(authenticator), mailbox, store, tmp_path, background,
        (BackgroundRefusedError, BackgroundMissingError),
    )  # fmt: skip
    server = AdminServer(services)
    endpoint = Endpoint(service="cli", address="127.0.0.1", idle_timeout=300.0, max_errors=20, max_auth_errors=5)
    listener = await asyncio.get_running_loop().create_server(lambda: server.connection(endpoint), "127.0.0.1", 0)
    yield Face(services, listener.sockets[0].getsockname()[1], endpoint)
    listener.close()
    for connection in tuple(endpoint.connections):
        connection.abort()
    await authenticator.close()
    await outbound.stop()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await outbound.close()
    await maintenance.close()
    await mounts.close()
    await store.close()
    directory.close()
