"""Clients that are logged in, and values of accounts."""

from __future__ import annotations

import base64

from tests.smtp.harness import ADMIN, PASSWORD, Client, Face


async def logged_in(face: Face, user: str = "alice") -> Client:
    """Over a clear connection, which tests allow."""
    await face.set("plainConnAuthTypes", "plain")
    client = await face.ready()
    proof = base64.b64encode(f"\0{user}@example.test\0{PASSWORD}".encode()).decode()
    assert (await client.command(f"AUTH PLAIN {proof}")).startswith("235")
    return client


async def limit(face: Face, user: str = "alice", **values: str) -> None:
    """Settings of an account."""
    account = face.account(f"{user}@example.test")
    for name, value in values.items():
        await face.directory.set_account_setting(account.id, name, value, actor=ADMIN)


async def settled(face: Face) -> None:
    """What runs in the background has ended."""
    await face.delivery.close()
