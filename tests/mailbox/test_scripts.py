"""Scripts of accounts, as two processes see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailstead.mailbox.scripts import ScriptActive, ScriptExists, ScriptMissing
from mailstead.mailbox.service import Mailbox
from mailstead.sieve.grammar import SieveError
from mailstead.store.service import Store
from tests.mailbox.conftest import ACCOUNT


class Limits:
    shard = 0
    quota_bytes = 0
    quota_messages = 0


class Accounts:
    def account(self, account_id: int) -> Limits:
        return Limits()


async def test_a_change_is_seen_by_others_before_it_is_acknowledged(tmp_path: Path) -> None:
    one = await Store.open(tmp_path, "w0")
    two = await Store.open(tmp_path, "w1", prepared=True)
    here, there = Mailbox(one, Accounts()), Mailbox(two, Accounts())
    assert there.active_script(ACCOUNT, 0) is None
    await here.put_script(ACCOUNT, "a", "keep;")
    assert there.active_script(ACCOUNT, 0) is None
    await here.activate_script(ACCOUNT, "a")
    assert there.active_script(ACCOUNT, 0) == "keep;"
    await here.put_script(ACCOUNT, "a", "discard;")
    assert there.active_script(ACCOUNT, 0) == "discard;"
    with pytest.raises(ScriptActive):
        await there.delete_script(ACCOUNT, "a")
    await there.activate_script(ACCOUNT, "")
    assert here.active_script(ACCOUNT, 0) is None
    await there.put_script(ACCOUNT, "b", "stop;")
    with pytest.raises(ScriptExists):
        await here.rename_script(ACCOUNT, "a", "b")
    await here.delete_script(ACCOUNT, "a")
    with pytest.raises(ScriptMissing):
        await there.script(ACCOUNT, "a")
    with pytest.raises(SieveError):
        await there.put_script(ACCOUNT, "c", "nonsense")
    assert await here.scripts(ACCOUNT) == [("b", 5, False)]
    await one.close()
    await two.close()
