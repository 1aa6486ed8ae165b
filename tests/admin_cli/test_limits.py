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


async def test_quotas_of_lists_public_folders_and_single_folders_are_bounded(face: Face) -> None:
    client = await face.client()
    await client.ok(
        "UPDATE Domain example.test", "CONFIG adminLimits", "SET maxMaillistMessageCountQuota 10",
        "SET maxMaillistFolderCountQuota 7", "SET maxPublicFolderMessageSizeQuota 100",
        "SET maxPublicFolderFolderMessageCountQuota 5",
        "SET maxAccountFolderMessageSizeQuota 50", "COMMIT",
    )  # fmt: skip
    await client.ok('ADD List name "news" password "list-secret-1" adminEmail "alice@example.test"', "COMMIT", "UPDATE List news")
    await client.ok("CONFIG QUOTAS")
    assert "the domain allows 1 to 10" in await client.err("SET totalMessageCount 11")
    await client.ok("SET totalMessageCount 10", "SET mboxCount 7", "DONE", "COMMIT")
    await client.ok("CONFIG PUBLIC-FOLDER", "ADD Mbox Board", "CONFIG QUOTAS")
    assert "the domain allows 1 to 100" in await client.err("SET totalMessageSize 101")
    await client.ok("SET totalMessageSize 100")
    assert "the domain allows 1 to 5" in await client.err("SET MboxQuota mboxName Board messageCount 6")
    await client.ok("SET MboxQuota mboxName Board messageCount 5", "DONE", "COMMIT")
    owner = face.directory.owner(face.domain_id)
    assert owner is not None and owner.quota_bytes == 102_400 and owner.folders is not None
    assert owner.folders.of("Board") == (0, 5)


async def test_how_many_accounts_may_share(face: Face) -> None:
    client = await face.client()
    await client.ok(
        "UPDATE Domain example.test", "ADD Account name bob password wonder-land-2", "COMMIT", "CONFIG adminLimits",
        "SET maxSharingMailboxCount 1", "SET maxPremiumMailboxCount 3", "COMMIT",
    )  # fmt: skip
    # Two are beyond the limit already: nothing is taken away, and nothing more is given.
    await client.ok("ADD Account name carol password wonder-land-3")
    assert "maxSharingMailboxCount: the domain may have at most 1" in await client.err("COMMIT")
    await client.ok("CONFIG Limits", "SET enableSharing no", "DONE", "COMMIT")
    await client.ok("UPDATE Account bob", "CONFIG Limits", "SET enableSharing no", "DONE", "COMMIT")
    await client.ok("UPDATE Account carol", "CONFIG Limits", "SET enableSharing yes", "DONE")
    assert "maxSharingMailboxCount" in await client.err("COMMIT")
    await client.ok("BACK", "UPDATE Account alice", "CONFIG Limits", "SET enableSharing no", "DONE", "COMMIT")
    await client.ok("UPDATE Account carol", "CONFIG Limits", "SET enableSharing yes", "DONE", "COMMIT")
    await client.ok("ADD Account name dora password wonder-land-4", "CONFIG Limits", "SET enableSharing no", "DONE")
    assert "maxPremiumMailboxCount" in await client.err("COMMIT")
    await client.ok("SET accountType basic", "COMMIT")


async def test_a_default_of_accounts_is_given_and_taken_back(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "CONFIG accountDefaultQuotas")
    untouched = (await client.show("SHOW ATTR totalMessageSize"))["totalMessageSize"]
    await client.ok("SET totalMessageSize 4096", "DONE", "COMMIT", "UPDATE Domain example.test", "CONFIG accountDefaultQuotas")
    assert (await client.show("SHOW ATTR totalMessageSize"))["totalMessageSize"].startswith("4096 [explicit")
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None and account.quota_bytes == 4096 * 1024
    await client.ok("RESET totalMessageSize", "DONE", "COMMIT", "UPDATE Domain example.test", "CONFIG accountDefaultQuotas")
    assert (await client.show("SHOW ATTR totalMessageSize"))["totalMessageSize"] == untouched
    account = face.directory.account(account.id)
    assert account is not None and account.quota_bytes != 4096 * 1024
    await client.ok("DONE", "CONFIG accountDefaultSendRecvRestrictions", "ADD sendPolicyException *@a.test")
    await client.ok("RESET sendPolicyExceptions")
    assert await client.items("LIST sendPolicyExceptions") == []


async def test_commit_names_the_context_of_a_quota_beyond_the_limit(face: Face) -> None:
    """Beyond a limit that another administrator has set meanwhile; one that is there already is told at SET."""
    client, other = await face.client(), await face.client()
    await client.ok("UPDATE Domain example.test", "CONFIG accountDefaultQuotas", "SET totalMessageSize 0", "DONE")
    await other.ok("UPDATE Domain example.test", "CONFIG adminLimits", "SET maxAccountMessageSizeQuota 1024", "COMMIT")
    assert await client.err("COMMIT") == "accountDefaultQuotas: totalMessageSize: the domain allows 1 to 1024"
    await client.ok("CONFIG accountDefaultQuotas")
    assert await client.err("SET totalMessageSize 0") == "totalMessageSize: the domain allows 1 to 1024"
    await client.ok("RESET totalMessageSize", "DONE", "UPDATE Account alice", "CONFIG Quotas")
    await client.ok("SET totalMessageSize 1000", "SET MboxQuota mboxName INBOX messageCount 9", "DONE")
    await other.ok("CONFIG adminLimits", "SET maxAccountMessageSizeQuota 900", "COMMIT")
    assert await client.err("COMMIT") == "quotas: totalMessageSize: the domain allows 1 to 900"
    await client.ok("CONFIG Quotas", "SET totalMessageSize 900", "DONE")
    await other.ok("CONFIG adminLimits", "SET maxAccountFolderMessageCountQuota 8", "COMMIT")
    assert await client.err("COMMIT") == "quotas, of the folder INBOX: messageCount: the domain allows 1 to 8"
