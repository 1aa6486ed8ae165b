"""A ManageSieve face over a real store and directory, and a client that speaks plain lines to it."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.mailbox.service import Mailbox
from mailstead.managesieve.server import ManageSieveServer
from mailstead.managesieve.services import ManageSieveServices
from mailstead.process.certificates import TlsSettings, build_context, self_signed
from mailstead.store.service import Store
from mailstead.transport.endpoint import Endpoint

ADMIN = Actor.system("test")
USER, PASSWORD = "alice@example.test", "wonder-land-1"


class Client:
    """Raw lines; a literal is inlined with its head."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def line(self) -> bytes:
        out = await asyncio.wait_for(self.reader.readline(), 60)
        while found := re.search(rb"\{(\d+)\}\r\n\Z", out):
            out += await self.reader.readexactly(int(found[1]))
            out += await self.reader.readline()
        return out.removesuffix(b"\r\n")

    async def reply(self) -> tuple[list[bytes], bytes]:
        lines = []
        while True:
            line = await self.line()
            if not line or re.match(rb"(?:OK|NO|BYE)\b", line):
                return lines, line
            lines.append(line)

    async def command(self, text: str | bytes) -> tuple[list[bytes], bytes]:
        self.writer.write((text.encode() if isinstance(text, str) else text) + b"\r\n")
        return await self.reply()

    async def ok(self, text: str | bytes) -> list[bytes]:
        lines, reply = await self.command(text)
        assert reply.startswith(b"OK"), reply
        return lines

    async def put(self, name: str, script: str, verb: str = "PUTSCRIPT") -> bytes:
        words = f'{verb} "{name}" ' if name else f"{verb} "
        return (await self.command(words.encode() + b"{%d+}\r\n%b" % (len(script.encode()), script.encode())))[1]


class Face:
    def __init__(self, directory: Directory, mailbox: Mailbox, port: int, certificate: Path, server: ManageSieveServer) -> None:
        self.directory, self.mailbox, self.port, self.server = directory, mailbox, port, server
        self.context = ssl.create_default_context(cafile=str(certificate))

    async def client(self, login: bool = True) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        _, reply = await client.reply()
        assert reply.startswith(b"OK")
        if login:
            word = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
            await client.ok(f'AUTHENTICATE "PLAIN" "{word}"')
        return client


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    directory = Directory.open(tmp_path, create=True)
    await directory.create_domain("example.test", actor=ADMIN)
    await directory.create_account("example.test", "alice", PASSWORD, actor=ADMIN)
    await directory.settings.set("managesieve", "plainConnAuthTypes", "plain scram-sha-256", ADMIN)
    store = await Store.open(tmp_path)
    mailbox = Mailbox(store, directory, directory)
    authenticator = Authenticator(directory, directory.settings, LocalGuard(peer_failures=20, account_failures=20))
    server = ManageSieveServer(ManageSieveServices(mailbox, authenticator, directory.settings, directory))
    certificate = tmp_path / "certificate.pem"
    self_signed(certificate, ["localhost", "127.0.0.1"])
    endpoint = Endpoint("managesieve", ssl_context=build_context(TlsSettings(cert_file=str(certificate))), max_errors=50)
    listener = await asyncio.get_running_loop().create_server(lambda: server.connection(endpoint), "127.0.0.1", 0)
    yield Face(directory, mailbox, listener.sockets[0].getsockname()[1], certificate, server)
    listener.close()
    for connection in list(endpoint.connections):
        connection.abort()
    await asyncio.sleep(0)
    await authenticator.close()
    await store.close()
    directory.close()
