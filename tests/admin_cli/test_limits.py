"""Limits that the server acts on, set and shown over the protocol."""

from __future__ import annotations

from mailstead.delivery.sending_quota import SendingQuota
from tests.admin_cli.conftest import Face


async def test_what_was_sent_is_shown_and_reset(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG Limits", "SET sentMessagesCount 2", "DONE")
    await client.ok("COMMIT")
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None and account.rules is not None
    sending = SendingQuota(face.directory)
    assert await sending.check_and_count(account, ["a@b.test", "c@d.test"], 1500) is None
    await client.ok("UPDATE Account alice", "CONFIG Limits")
    shown = await client.show("SHOW sendQuota")
    left = int(shown.pop("secondsLeft"))
    assert 3500 < left <= 3600
    assert shown == {"sentMessagesCount": "1 of 2", "sentRecipientsCount": "2 of unlimited", "sentMessagesSize": "2 of unlimited"}
    await client.ok("RESET sendQuota")
    assert (await client.show("SHOW sendQuota"))["sentMessagesCount"] == "0 of 2"
    assert sending.status(account).messages == 0
    await client.ok("RESET sentMessagesCount", "DONE", "COMMIT")
    account = face.directory.account(account.id)
    assert account is not None and account.rules is None
