"""An authenticator over a fresh directory with the account alice@example.test, password `wonder-land-1`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.directory import Account, Actor, Directory
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard

ADMIN = Actor.system("test")


@pytest.fixture
def admin() -> Actor:
    return ADMIN


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Directory]:
    opened = Directory.open(tmp_path, create=True)
    await opened.create_domain("example.test", actor=ADMIN)
    yield opened
    opened.close()


@pytest.fixture
async def alice(directory: Directory) -> Account:
    return await directory.create_account("example.test", "alice", "wonder-land-1", actor=ADMIN)


@pytest.fixture
async def authenticator(directory: Directory, alice: Account) -> AsyncIterator[Authenticator]:
    made = Authenticator(directory, directory.settings, LocalGuard(peer_failures=5, account_failures=8))
    yield made
    await made.close()
