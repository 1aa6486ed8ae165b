"""Logging in with the real directory, settings and SASL: in clear, over STARTTLS and implicit TLS."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.imap.server import ImapServer
from mailstead.imap.services import ImapServices
from mailstead.mailbox.service import Mailbox
from mailstead.process.certificates import TlsSettings, build_context, self_signed
from mailstead.store.service import Store
from mailstead.transport.endpoint import Endpoint
from tests.identity.scram_client import ScramClient
from tests.imap.conftest import Client

ADMIN = Actor.system("test")
USER, PASSWORD = "alice@example.test", "wonder-land-1"


class Node:
    """A listener in clear with STARTTLS and one with implicit TLS, over one directory."""

    def __init__(self, directory: Directory, clear: int, tls: int, certificate: Path) -> None:
        self.directory, self.clear, self.tls = directory, clear, tls
        self.context = ssl.create_default_context(cafile=str(certificate))

    async def client(self, tls: bool = False) -> Client:
        options = {"ssl": self.context, "server_hostname": "127.0.0.1"} if tls else {}
        reader, writer = await asyncio.open_connection("127.0.0.1", self.tls if tls else self.clear, **options)
        client = Client(reader, writer)
        client.greeting = await client.line()
        return client


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    directory = Directory.open(tmp_path, create=True)
    await directory.create_domain("example.test", actor=ADMIN)
    await directory.create_account("example.test", "alice", PASSWORD, actor=ADMIN)
    store = await Store.open(tmp_path, shards=1)
    authenticator = Authenticator(directory, directory.settings, LocalGuard(peer_failures=20, account_failures=20))
    server = ImapServer(ImapServices(Mailbox(store, directory), authenticator, directory.settings, directory))
    certificate = tmp_path / "server.pem"
    self_signed(certificate, ["mail.example.test", "127.0.0.1"])
    context = build_context(TlsSettings(str(certificate)))
    loop = asyncio.get_running_loop()
    endpoints = [
        Endpoint("imap", ssl_context=context, listener_domain="example.test"),
        Endpoint("imap", ssl_context=context, implicit_tls=True, listener_domain="example.test"),
    ]
    clear = await loop.create_server(lambda: server.connection(endpoints[0]), "127.0.0.1", 0)
    implicit = await loop.create_server(lambda: server.connection(endpoints[1]), "127.0.0.1", 0)
    yield Node(directory, clear.sockets[0].getsockname()[1], implicit.sockets[0].getsockname()[1], certificate)
    clear.close()
    implicit.close()
    for endpoint in endpoints:
        for connection in list(endpoint.connections):
            connection.abort()
    await asyncio.sleep(0)
    await authenticator.close()
    await store.close()
    directory.close()


async def test_in_clear_only_what_shows_no_password(node: Node) -> None:
    client = await node.client()
    assert b"STARTTLS" in client.greeting
    assert b"LOGINDISABLED" in client.greeting
    assert b"AUTH=PLAIN" not in client.greeting
    assert b"AUTH=SCRAM-SHA-256" in client.greeting
    assert (await client.command(f"LOGIN {USER} {PASSWORD}"))[1].startswith(b"NO [PRIVACYREQUIRED]")
    assert (await client.command("AUTHENTICATE PLAIN"))[1].startswith(b"NO [CANNOT]")


async def test_starttls_drops_what_came_in_clear_behind_it(node: Node) -> None:
    client = await node.client()
    client.write(b"a STARTTLS\r\nb NOOP\r\n")
    assert await client.line() == b"a OK Begin TLS negotiation now"
    await client.writer.start_tls(node.context, server_hostname="127.0.0.1")
    untagged, reply = await client.command("CAPABILITY")
    assert b"STARTTLS" not in untagged[0]
    assert b"AUTH=PLAIN" in untagged[0]
    assert reply == b"OK CAPABILITY completed"
    assert (await client.command("STARTTLS"))[1].startswith(b"BAD")
    await client.ok(f"LOGIN {USER} {PASSWORD}")
    await client.ok("SELECT INBOX")


async def test_plain_with_and_without_initial_response(node: Node) -> None:
    answer = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
    client = await node.client(tls=True)
    assert (await client.command(b"AUTHENTICATE PLAIN " + answer))[1].startswith(b"OK [CAPABILITY")
    client = await node.client(tls=True)
    client.write(b"a AUTHENTICATE PLAIN\r\n")
    assert await client.line() == b"+ "
    client.write(answer + b"\r\nb SELECT INBOX\r\n")
    untagged, _ = await client.until(b"b")
    assert untagged[0].startswith(b"a OK [CAPABILITY")


async def test_an_exchange_may_be_cancelled_or_broken(node: Node) -> None:
    client = await node.client(tls=True)
    for answer in (b"*", b"!!!", b"{5}"):
        client.write(b"a AUTHENTICATE PLAIN\r\n")
        assert await client.line() == b"+ "
        client.write(answer + b"\r\n")
        assert (await client.line()).startswith(b"a BAD")
    await client.ok("NOOP")


async def test_a_client_may_leave_in_the_middle_of_an_exchange(node: Node) -> None:
    client = await node.client(tls=True)
    client.write(b"a AUTHENTICATE PLAIN\r\n")
    assert await client.line() == b"+ "
    client.writer.transport.abort()
    await (await node.client(tls=True)).ok("NOOP")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
async def test_scram(node: Node, mechanism: str) -> None:
    client = await node.client()
    scram = ScramClient("sha256" if "256" in mechanism else "sha1", USER, PASSWORD)
    client.write(b"a AUTHENTICATE %b\r\n" % mechanism.encode())
    assert await client.line() == b"+ "
    client.write(base64.b64encode(scram.first()) + b"\r\n")
    challenge = base64.b64decode((await client.line())[2:])
    client.write(base64.b64encode(scram.final(challenge)) + b"\r\n")
    assert base64.b64decode((await client.line())[2:]) == scram.signature
    client.write(b"\r\n")
    assert (await client.line()).startswith(b"a OK [CAPABILITY")
    await client.ok("SELECT INBOX")


async def test_a_disabled_service_is_said_so_but_not_to_strangers(node: Node) -> None:
    client = await node.client(tls=True)
    assert (await client.command("LOGIN nobody@example.test x"))[1] == b"NO [AUTHENTICATIONFAILED] Authentication failed"
    assert (await client.command(f"LOGIN {USER} wrong"))[1] == b"NO [AUTHENTICATIONFAILED] Authentication failed"


async def test_a_name_without_domain_is_of_the_listeners(node: Node) -> None:
    client = await node.client(tls=True)
    await client.ok(f"LOGIN alice {PASSWORD}")


async def test_a_password_that_must_be_changed(node: Node) -> None:
    account = node.directory.account_by_address(USER)
    assert account is not None
    await node.directory.set_password(account.id, PASSWORD, actor=ADMIN, must_change=True)
    client = await node.client(tls=True)
    assert (await client.command(f"LOGIN {USER} wrong"))[1] == b"NO [AUTHENTICATIONFAILED] Authentication failed"
    assert (await client.command(f"LOGIN {USER} {PASSWORD}"))[1] == b"NO [EXPIRED] The password must be changed first"


async def test_services_of_account_and_domain_end_sessions_and_logins(node: Node) -> None:
    client = await node.client(tls=True)
    await client.ok(f"LOGIN {USER} {PASSWORD}")
    account = node.directory.account_by_address(USER)
    assert account is not None
    await node.directory.set_domain_setting("example.test", "services", "pop3 webmail", actor=ADMIN)
    assert (await client.line()).startswith(b"* BYE")
    again = await node.client(tls=True)
    assert (await again.command(f"LOGIN {USER} {PASSWORD}"))[1].startswith(b"NO [CONTACTADMIN]")
    await node.directory.set_domain_setting("example.test", "services", None, actor=ADMIN)
    await again.ok(f"LOGIN {USER} {PASSWORD}")
    await node.directory.set_account_setting(account.id, "services", "smtpIncoming", actor=ADMIN)
    assert (await again.line()).startswith(b"* BYE")


async def test_sessions_end_when_the_domain_above_is_disabled(node: Node) -> None:
    await node.directory.create_domain("above.test", actor=ADMIN)
    await node.directory.set_domain_setting("example.test", "parentDomain", "above.test", actor=ADMIN)
    client = await node.client(tls=True)
    await client.ok(f"LOGIN {USER} {PASSWORD}")
    await node.directory.disable_domain("above.test", actor=ADMIN)
    assert (await client.line()).startswith(b"* BYE")
    again = await node.client(tls=True)
    assert (await again.command(f"LOGIN {USER} {PASSWORD}"))[1].startswith(b"NO [CONTACTADMIN]")
    await node.directory.enable_domain("above.test", actor=ADMIN)
    await again.ok(f"LOGIN {USER} {PASSWORD}")
