"""A mailbox over a store of its own, for one account and its neighbour."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailstead.mailbox.service import Mailbox
from mailstead.store.service import Store

ACCOUNT = 7


@dataclass
class Limits:
    shard: int = 0
    quota_bytes: int = 0
    quota_messages: int = 0


class Accounts:
    """Accounts with the limits a test gives them."""

    def __init__(self) -> None:
        self.limits = {ACCOUNT: Limits()}

    def account(self, account_id: int) -> Limits | None:
        return self.limits.get(account_id)


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
async def mailbox(tmp_path: Path, accounts: Accounts) -> AsyncIterator[Mailbox]:
    store = await Store.open(tmp_path)
    yield Mailbox(store, accounts)
    await store.close()


def text(number: int) -> bytes:
    return b"Subject: n%d\r\nMessage-ID: <%d@t>\r\n\r\nbody\r\n" % (number, number)
