"""A whole IMAP face over a real store, on a loopback socket, and a client that speaks plain lines to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailstead.identity.authenticator import AuthReason
from mailstead.imap.server import ImapServer
from mailstead.imap.services import ImapServices
from mailstead.mailbox.service import Mailbox
from mailstead.store.service import Store
from mailstead.transport.endpoint import Endpoint

ACCOUNT = 7
USER, PASSWORD = "alice@example.test", "secret"


@dataclass
class Limits:
    shard: int = 1
    quota_bytes: int = 0
    quota_messages: int = 0


class Accounts:
    """Every account exists, in the shard the store has."""

    def __init__(self, shard: int) -> None:
        self.limits = Limits(shard)

    def account(self, account_id: int) -> Limits:
        return self.limits


class Authenticator:
    """Knows `USER` and, as other accounts, user<n>."""

    async def verify_password(self, login: str, password: str, *, service: str, peer: str, default_domain: str) -> Any:
        await asyncio.sleep(0)
        found = re.fullmatch(r"user(\d+)", login)
        account = ACCOUNT if login == USER else int(found[1]) + 1000 if found else 0
        ok = password == PASSWORD and account > 0
        return SimpleNamespace(ok=ok, account=account if ok else None, reason=AuthReason.OK if ok else AuthReason.BAD_CREDENTIALS)


OPTIONS: dict[str, Any] = {
    "idleTimeout": 1800, "maxErrors": 10, "maxAuthErrors": 5, "allowStartTLS": True, "plainConnAllowLogin": True,
    "secureConnAllowLogin": True, "plainConnAuthTypes": frozenset(), "secureConnAuthTypes": frozenset(),
    "imapShowAllFolders": False, "allowCompress": True, "maxAppendSize": 102400, "maxLineLength": 65536,
    "loginTimeout": 60, "recoverableSecrets": False, "imapIdEnabled": True, "greetingsText": "Mailstead ready",
}  # fmt: skip


@dataclass
class Face:
    """A listening IMAP server."""

    services: ImapServices
    server: ImapServer
    endpoint: Endpoint
    options: dict[str, Any]
    store: Store
    port: int = 0
    clients: list[Client] = field(default_factory=list)

    @property
    def mailbox(self) -> Mailbox:
        return self.services.mailbox

    async def client(self, login: bool = True) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        client = Client(reader, writer)
        self.clients.append(client)
        client.greeting = await client.line()
        if login:
            await client.ok(f'LOGIN "{USER}" "{PASSWORD}"')
        return client


class Client:
    """Speaks IMAP; `command` gives the untagged responses (literals inlined) and the tagged reply."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.greeting = b""
        self._tags = 0

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> bytes:
        """One response with its literals; empty at the end of the connection."""
        out = await asyncio.wait_for(self.reader.readline(), 60)
        while found := re.search(rb"~?\{(\d+)\}\r\n\Z", out):
            out += await self.reader.readexactly(int(found[1]))
            out += await self.reader.readline()
        return out.removesuffix(b"\r\n")

    async def until(self, tag: bytes) -> tuple[list[bytes], bytes]:
        untagged = []
        while True:
            line = await self.line()
            if not line:
                raise ConnectionResetError(f"closed after {untagged[-3:]}")
            if line.startswith(tag + b" "):
                return untagged, line[len(tag) + 1 :]
            untagged.append(line)

    async def command(self, text: str | bytes) -> tuple[list[bytes], bytes]:
        self._tags += 1
        tag = b"a%d" % self._tags
        self.write(tag + b" " + (text.encode() if isinstance(text, str) else text) + b"\r\n")
        return await self.until(tag)

    async def ok(self, text: str | bytes) -> list[bytes]:
        untagged, reply = await self.command(text)
        assert reply.startswith(b"OK"), reply
        return untagged

    async def append(self, folder: str, message: bytes, flags: str = "") -> list[bytes]:
        words = f"APPEND {folder} {flags + ' ' if flags else ''}{{{len(message)}+}}\r\n"
        return await self.ok(words.encode() + message)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


def message(subject: str = "hello", body: str = "some text\r\n", **fields: str) -> bytes:
    head = {
        "From": "Alice <alice@example.test>", "To": "bob@example.test", "Subject": subject,
        "Date": "Tue, 02 Nov 2021 10:00:00 +0000", "Message-ID": f"<{abs(hash((subject, body)))}@example.test>",
    } | {name.replace("_", "-"): value for name, value in fields.items()}  # fmt: skip
    return "".join(f"{name}: {value}\r\n" for name, value in head.items()).encode() + b"\r\n" + body.encode()


@pytest.fixture
def message_of() -> Callable[..., bytes]:
    return message


async def start_face(data_dir: Path, writer: str = "w0", **options: Any) -> tuple[Face, Callable[[], Awaitable[None]]]:
    store = await Store.open(data_dir, writer, segment_size=4 << 20, prepared=writer != "w0")
    mailbox = Mailbox(store, Accounts(next(iter(store._readers))))
    values = OPTIONS | options
    settings = SimpleNamespace(service=lambda name: SimpleNamespace(**values))
    services = ImapServices(mailbox=mailbox, authenticator=Authenticator(), settings=settings)
    server = ImapServer(services)
    endpoint = Endpoint("imap", idle_timeout=1800.0, max_errors=values["maxErrors"], max_auth_errors=values["maxAuthErrors"])
    listener = await asyncio.get_running_loop().create_server(lambda: server.connection(endpoint), "127.0.0.1", 0)
    face = Face(services, server, endpoint, values, store, listener.sockets[0].getsockname()[1])

    async def stop() -> None:
        listener.close()
        for client in face.clients:
            await client.close()
        for connection in list(endpoint.connections):
            connection.abort()
        await asyncio.sleep(0)
        await store.close()

    return face, stop


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    running, stop = await start_face(tmp_path)
    yield running
    await stop()
