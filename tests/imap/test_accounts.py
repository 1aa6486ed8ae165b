"""Sessions by account (features IMP-08, PWD): how many there may be, over processes, and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.imap.server import ImapServer
from mailstead.imap.services import ImapServices
from mailstead.mailbox.service import Mailbox
from mailstead.process.shared_guard import SharedLocks
from mailstead.process.shared_table import SharedTable
from mailstead.store.service import Store
from mailstead.transport.endpoint import Endpoint
from tests.imap.conftest import Client

ADMIN = Actor.system()
PASSWORD = "secret-word-1"


@dataclass
class Node:
    """Two processes' worth of IMAP faces over one data directory."""

    directories: list[Directory]
    ports: list[int]

    async def client(self, process: int = 0) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[process])
        client = Client(reader, writer)
        client.greeting = await client.line()
        return client

    async def login(self, process: int = 0, name: str = "alice") -> tuple[Client, bytes]:
        client = await self.client(process)
        _, reply = await client.command(f"LOGIN {name}@example.test {PASSWORD}")
        return client, reply

    async def polled(self, process: int) -> None:
        self.directories[process].poll()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    first = Directory.open(tmp_path, create=True)
    await first.create_domain("example.test", actor=ADMIN)
    for name in ("alice", "bob"):
        await first.create_account("example.test", name, hash="{PLAIN}" + PASSWORD, actor=ADMIN)
    await first.settings.set("imap", "plainConnAllowLogin", "yes", ADMIN)
    await first.settings.set("imap", "plainConnAuthTypes", "plain", ADMIN)
    directories = [first, Directory.open(tmp_path)]
    table_path = tmp_path / "run" / "shared.table"
    table_path.parent.mkdir(exist_ok=True)
    tables = [SharedTable.create(table_path, 1024), SharedTable(table_path, 1)]
    ports, stops, endpoints = [], [], []
    for number, (directory, table) in enumerate(zip(directories, tables, strict=True)):
        store = await Store.open(tmp_path, f"w{number}", prepared=number > 0)
        authenticator = Authenticator(directory, directory.settings, LocalGuard(), threads=1)
        mailbox = Mailbox(store, directory, directory)
        server = ImapServer(ImapServices(mailbox, authenticator, directory.settings, directory, SharedLocks(table, "imap")))
        endpoint = Endpoint("imap")
        listener = await asyncio.get_running_loop().create_server(lambda s=server, e=endpoint: s.connection(e), "127.0.0.1", 0)
        ports.append(listener.sockets[0].getsockname()[1])
        endpoints.append(endpoint)
        stops += [listener, authenticator, store]
    yield Node(directories, ports)
    for endpoint in endpoints:
        for connection in list(endpoint.connections):
            connection.abort()
    await asyncio.sleep(0)
    for one in stops:
        closing = one.close()
        if closing is not None:
            await closing
    for directory, table in zip(directories, tables, strict=True):
        directory.close()
        table.close()


async def limit(node: Node, sessions: int) -> int:
    account = node.directories[0].account_by_address("alice@example.test")
    assert account is not None
    await node.directories[0].set_account_setting(account.id, "imapConnectionCount", str(sessions), actor=ADMIN)
    for directory in node.directories:
        directory.poll()
    return account.id


async def test_sessions_are_limited_over_processes(node: Node) -> None:
    await limit(node, 2)
    first, reply = await node.login(0)
    assert reply.startswith(b"OK")
    _second, reply = await node.login(1)
    assert reply.startswith(b"OK")
    third, reply = await node.login(1)
    assert reply == b"NO [LIMIT] Too many sessions of this account"
    assert (await node.login(1, "bob"))[1].startswith(b"OK")
    await first.ok("LOGOUT")
    assert await first.line() == b""
    _, reply = await third.command(f"LOGIN alice@example.test {PASSWORD}")
    assert reply.startswith(b"OK")


async def test_unauthenticate_gives_the_session_back(node: Node) -> None:
    await limit(node, 1)
    first, _ = await node.login()
    await first.ok("UNAUTHENTICATE")
    _second, reply = await node.login(1)
    assert reply.startswith(b"OK")
    _, reply = await first.command(f"LOGIN alice@example.test {PASSWORD}")
    assert reply.startswith(b"NO [LIMIT]")


async def test_a_lost_connection_gives_the_session_back(node: Node) -> None:
    await limit(node, 1)
    first, _ = await node.login()
    await first.close()
    for _ in range(100):
        client, reply = await node.login(1)
        if reply.startswith(b"OK"):
            return
        await client.close()
    raise AssertionError(reply)


@pytest.mark.parametrize("change", ["password", "disable", "domain"])
async def test_sessions_end_when_the_account_changes(node: Node, change: str) -> None:
    """Made in one process, it ends the sessions of the other as well; those of others go on."""
    directory = node.directories[0]
    account = directory.account_by_address("alice@example.test")
    assert account is not None
    idle, _ = await node.login(1)
    await idle.ok("SELECT INBOX")
    idle.write(b"x IDLE\r\n")
    assert await idle.line() == b"+ idling"
    plain, _ = await node.login(0)
    other, _ = await node.login(1, "bob")
    if change == "password":
        await directory.set_password(account.id, "another-password-7", actor=ADMIN)
    elif change == "disable":
        await directory.enable_account(account.id, False, actor=ADMIN)
    else:
        await directory.enable_domain("example.test", False, actor=ADMIN)
    for process in (0, 1):
        await node.polled(process)
    for client in (idle, plain):
        assert await client.line() == b"* BYE The account has changed, log in again"
        assert await client.line() == b""
    if change != "domain":
        await other.ok("NOOP")


async def test_an_unrelated_change_ends_nothing(node: Node) -> None:
    account = await limit(node, 5)
    client, _ = await node.login(1)
    await node.directories[0].set_account_setting(account, "pop3ConnectionCount", "3", actor=ADMIN)
    await node.polled(1)
    await client.ok("NOOP")
