"""Appending: what is refused leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailstead.mailbox.errors import OverQuota
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from tests.mailbox.conftest import ACCOUNT, Accounts, text


def _bodies(path: Path) -> list[Path]:
    return list(path.glob("log/*/x/*.mext"))


async def test_a_large_message_over_quota_leaves_no_file(mailbox: Mailbox, accounts: Accounts, tmp_path: Path) -> None:
    folder = await mailbox.folder(ACCOUNT, "INBOX")
    assert folder is not None
    accounts.limits[ACCOUNT].quota_bytes = 1000
    large = text(1) + b"line\r\n" * 200_000
    spool = mailbox.spool()
    await spool.write(large)
    for message in (NewMessage(large), NewMessage(spool=spool)):
        with pytest.raises(OverQuota):
            await mailbox.append(folder, [message])
    assert _bodies(tmp_path) == []
    accounts.limits[ACCOUNT].quota_bytes = 0
    await mailbox.append(folder, [NewMessage(large)])
    assert len(_bodies(tmp_path)) == 1
    view = await mailbox.open(folder)
    ((_, location),) = mailbox.rows(view, list(view.uids), ("location",))
    assert await mailbox.read_large(location) == large
