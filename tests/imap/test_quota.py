"""Quotas (RFC 9208): what is told, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.imap.conftest import Client, Face


@pytest.fixture
async def client(face: Face) -> Client:
    limits: Any = face.mailbox._accounts.account(1)
    limits.quota_bytes, limits.quota_messages, limits.folder_limit = 4096, 3, 8
    return await face.client()


async def test_all_resources_are_told(client: Client) -> None:
    await client.append("INBOX", b"x" * 1500)
    told = b'* QUOTA "" (STORAGE 2 4 MESSAGE 1 3 MAILBOX 6 8)'
    assert await client.ok('GETQUOTA ""') == [told]
    assert await client.ok("GETQUOTAROOT INBOX") == [b'* QUOTAROOT INBOX ""', told]


async def test_a_mailbox_that_does_not_exist_yet_has_a_root(client: Client) -> None:
    assert (await client.ok("GETQUOTAROOT later"))[0] == b'* QUOTAROOT later ""'


async def test_over_the_size(client: Client) -> None:
    await client.append("INBOX", b"x" * 3000)
    _, reply = await client.command(b"APPEND INBOX {2000+}\r\n" + b"x" * 2000)
    assert reply.startswith(b"NO [OVERQUOTA]")
    await client.ok("SELECT INBOX")
    _, reply = await client.command("COPY 1 Sent")
    assert reply.startswith(b"NO [OVERQUOTA]")


async def test_over_the_number_of_messages(client: Client) -> None:
    for _ in range(3):
        await client.append("INBOX", b"x")
    _, reply = await client.command(b"APPEND INBOX {1+}\r\nx")
    assert reply.startswith(b"NO [OVERQUOTA]")


async def test_replacing_needs_only_the_difference(client: Client) -> None:
    for _ in range(3):
        await client.append("INBOX", b"x" * 1300)
    await client.ok("SELECT INBOX")
    await client.ok(b"REPLACE 1 INBOX {1400+}\r\n" + b"y" * 1400)
    _, reply = await client.command(b"REPLACE 1 INBOX {2000+}\r\n" + b"y" * 2000)
    assert reply.startswith(b"NO [OVERQUOTA]")
    assert len(await client.ok("FETCH 1:* UID")) == 3


async def test_over_the_number_of_mailboxes(client: Client) -> None:
    await client.ok("CREATE seventh")
    _, reply = await client.command("CREATE eighth/ninth")
    assert reply.startswith(b"NO [OVERQUOTA]")
    await client.ok("CREATE eighth")


async def test_setquota_is_not_for_users(client: Client) -> None:
    _, reply = await client.command('SETQUOTA "" (STORAGE 512 MESSAGE 5)')
    assert reply.startswith(b"NO [NOPERM]")
    _, reply = await client.command('SETQUOTA "" (STORAGE)')
    assert reply.startswith(b"BAD")
    (line,) = await client.ok("CAPABILITY")
    assert b"QUOTASET" not in line
    assert b"QUOTA=RES-MAILBOX" in line


async def test_unknown_roots(client: Client) -> None:
    for root in ("other", '"Other Users/bob"', '"Public Folders"'):
        _, reply = await client.command(f"GETQUOTA {root}")
        assert reply.startswith(b"NO [NONEXISTENT]"), root
