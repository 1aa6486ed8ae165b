"""A whole SMTP face over a real store and directory on loopback sockets, and a client that speaks plain lines to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailstead.delivery.service import Delivery
from mailstead.directory import Account, Actor, Directory
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.mailbox.service import Mailbox
from mailstead.process.certificates import TlsSettings, build_context, self_signed
from mailstead.queue.detail import QueueDetail
from mailstead.smtp.server import SmtpServer
from mailstead.smtp.services import SmtpServices
from mailstead.store.service import QUEUE, Store
from mailstead.transport.endpoint import Endpoint

ADMIN = Actor.system("test")
PASSWORD = "mailstead-demo"
#: A cheap hash of the password, so that tests measure the face.
HASH = "{PLAIN}" + PASSWORD
MESSAGE = b"From: a@remote.test\r\nSubject: hello\r\n\r\nSome text\r\n"


@dataclass
class Face:
    """A listening SMTP server with everything below it."""

    directory: Directory
    store: Store
    mailbox: Mailbox
    delivery: Delivery
    server: SmtpServer
    endpoints: dict[str, Endpoint]
    ports: dict[str, int]
    clients: list[Client] = field(default_factory=list)

    async def set(self, name: str, value: str, context: str = "smtpIncoming") -> None:
        await self.directory.settings.set(context, name, value, ADMIN)

    async def client(self, port: str = "smtp", greet: bool = True) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[port], limit=1 << 20)
        client = Client(reader, writer)
        self.clients.append(client)
        if greet:
            client.greeting = await client.reply()
        return client

    async def ready(self, port: str = "smtp") -> Client:
        client = await self.client(port)
        await client.ok("EHLO client.test")
        return client

    def account(self, address: str) -> Account:
        found = self.directory.account_by_address(address)
        assert found is not None
        return found

    async def messages(self, address: str = "alice@example.test", folder: str = "INBOX") -> list[bytes]:
        """The octets of all messages in a folder."""
        account = self.account(address)
        found = await self.mailbox.folder(account.id, folder)
        assert found is not None
        view = await self.mailbox.open(found)
        try:
            rows = self.mailbox.rows(view, list(view.uids), ("location",))
            return [await self.mailbox.read_large(location) for _, location in rows]
        finally:
            view.release()

    def queued(self) -> list[tuple[str, str, QueueDetail, bytes]]:
        """``(sender, recipient, detail, octets)`` of the queue."""
        reader = self.store.reader(QUEUE)
        rows = list(
            reader.execute(
                "SELECT e.sender, r.address, r.detail, e.overlay, e.file, e.offset, e.length, e.external, e.external_size "
                "FROM recipient r JOIN entry e ON e.mid = r.mid ORDER BY r.mid, r.number"
            )
        )
        return [
            (sender, address, QueueDetail.decode(detail), (overlay or b"") + self.store.read_message(*place))
            for sender, address, detail, overlay, *place in rows
        ]


class Client:
    """Speaks SMTP lines; a reply is its text with all lines, codes kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.greeting = ""

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> str:
        """One reply; empty at the end of the connection."""
        lines = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 60)).decode()
            if not line:
                return "\n".join(lines)
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def command(self, text: str | bytes) -> str:
        self.write((text.encode() if isinstance(text, str) else text) + b"\r\n")
        return await self.reply()

    async def ok(self, text: str | bytes) -> str:
        reply = await self.command(text)
        assert reply[:1] in "23", reply
        return reply

    async def envelope(self, *recipients: str, sender: str = "bob@remote.test", parameters: str = "") -> None:
        await self.ok(f"MAIL FROM:<{sender}>{parameters}")
        for recipient in recipients or ("alice@example.test",):
            await self.ok(f"RCPT TO:<{recipient}>")

    async def send(self, message: bytes = MESSAGE, *recipients: str, sender: str = "bob@remote.test", parameters: str = "") -> str:
        """A whole transaction with dot stuffing; the final reply."""
        await self.envelope(*recipients, sender=sender, parameters=parameters)
        reply = await self.command("DATA")
        assert reply.startswith("354"), reply
        stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
        self.write(stuffed + b".\r\n" if stuffed.endswith(b"\r\n") or not stuffed else stuffed + b"\r\n.\r\n")
        return await self.reply()

    async def starttls(self, context: ssl.SSLContext) -> None:
        assert (await self.command("STARTTLS")).startswith("220")
        await self.writer.start_tls(context, server_hostname="mail.example.test")

    async def closed(self) -> bool:
        """Whether the server closes now (rest is read and thrown away)."""
        try:
            await asyncio.wait_for(self.reader.read(), 60)
        except ConnectionResetError:
            pass
        return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def fill(directory: Directory) -> None:
    """The domain example.test with alice (alias info), bob, and a few recipients of other kinds."""
    await directory.create_domain("example.test", actor=ADMIN)
    for name in ("alice", "bob", "carol", "postmaster"):
        await directory.create_account("example.test", name, hash=HASH, actor=ADMIN)
    alice = directory.account_by_address("alice@example.test")
    assert alice is not None
    await directory.add_account_alias(alice.id, "info", actor=ADMIN)
    settings = directory.settings
    await settings.set("server", "serverName", "mail.example.test", ADMIN)
    await settings.set("server", "primaryDomain", "example.test", ADMIN)


@asynccontextmanager
async def running(data_dir: Path, certificate: Path | None = None, **endpoint: Any) -> AsyncIterator[Face]:
    """Ports: smtp, submission (with STARTTLS), smtps (implicit TLS)."""
    fresh = not (data_dir / "index").exists()
    directory = Directory.open(data_dir, create=fresh)
    if fresh:
        await fill(directory)
    store = await Store.open(data_dir, segment_size=8 << 20)
    mailbox = Mailbox(store, directory, directory)
    delivery = Delivery(store, directory, mailbox)
    authenticator = Authenticator(directory, directory.settings, LocalGuard(), threads=1)
    server = SmtpServer(SmtpServices(delivery, directory, authenticator, directory.settings))
    context = build_context(TlsSettings(cert_file=str(certificate))) if certificate is not None else None
    kinds: dict[str, dict[str, Any]] = {
        "smtp": {}, "submission": {"submission": True}, "smtps": {"submission": True, "implicit_tls": True},
    }  # fmt: skip
    endpoints, ports, listeners = {}, {}, []
    loop = asyncio.get_running_loop()
    for name, options in kinds.items():
        made = endpoints[name] = Endpoint("smtpIncoming", ssl_context=context, **{**options, **endpoint})
        listener = await loop.create_server(lambda made=made: server.connection(made), "127.0.0.1", 0)
        ports[name] = listener.sockets[0].getsockname()[1]
        listeners.append(listener)
    face = Face(directory, store, mailbox, delivery, server, endpoints, ports)
    try:
        yield face
    finally:
        for client in face.clients:
            await client.close()
        for listener in listeners:
            listener.close()
        for made in endpoints.values():
            for connection in list(made.connections):
                connection.abort()
        await asyncio.sleep(0)
        await delivery.close()
        await authenticator.close()
        await store.close()
        directory.close()


def make_certificate(path: Path) -> Path:
    self_signed(path, ["mail.example.test", "127.0.0.1"])
    return path
