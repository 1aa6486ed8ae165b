"""Commands over mail, deletion and restoring, named objects of accounts, the administrator's own state."""

from __future__ import annotations

import asyncio
import time
import tomllib

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.purging import parse_condition
from tests.admin_cli.conftest import Face

MESSAGE = b"From: a@b.test\r\nSubject: x\r\n\r\nbody\r\n"


async def test_delete_keeps_a_copy_that_comes_back_with_its_accounts(face: Face) -> None:
    client = await face.client()
    assert "DISABLE it first" in await client.err("DELETE Domain name example.test")
    await client.ok("DISABLE Domain name example.test", 'DELETE Domain name "example.test"')
    assert face.directory.domain_by_name("example.test") is None
    assert any(row.startswith("example.test") for row in await client.rows("LIST DeletedDomains"))
    # Programs read the first line as the status of a command that enters a context.
    status = (await client.send("RESTORE Domain name example.test"))[0]
    assert status == "+OK: example.test is disabled, as it was; ENABLE Domain at the root enables it"
    assert client.prompt == "<domain#> " and await client.rows("LIST Accounts") == ["alice"]
    await client.ok("BACK", "ENABLE Domain name example.test")
    assert await client.ok("RESTORE Domain name example.test") == []


async def test_an_account_is_brought_back(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "REMOVE Account alice")
    assert any("alice" in row for row in await client.rows("LIST DeletedAccounts"))
    await client.ok("UNDELETE Account alice")
    assert await client.rows("LIST Accounts") == ["alice"]


async def test_purge_by_age_and_name(face: Face) -> None:
    client = await face.client()
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    trash = await face.mailbox.folder(account.id, "Trash") or await face.mailbox.create_folder(account.id, "Trash")
    await face.mailbox.append(trash, [NewMessage(MESSAGE), NewMessage(MESSAGE + b"x" * 5000)])
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice")
    assert "does not exist" in await client.err("PURGE account folders Nowhere")
    assert "no condition" in await client.err("PURGE account folders Trash someday")
    reply = await client.send("PURGE account folders Trash older than 3 days")
    assert reply[0] == "0 messages removed"
    reply = await client.send("PURGE account folders Trash size>4K")
    assert reply[0] == "1 messages removed"
    assert (await client.send("PURGE account folders Trash, INBOX"))[0] == "1 messages removed"
    rows = [[cell.strip() for cell in row.split(" | ")] for row in await client.rows("LIST Folders")]
    assert ["Trash", "mail", "0", "0"] in rows


async def test_archive_moves_old_messages(face: Face) -> None:
    client = await face.client()
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    inbox = await face.mailbox.folder(account.id, "INBOX")
    if inbox is None:
        await face.mailbox.folders(account.id)
        inbox = await face.mailbox.folder(account.id, "INBOX")
    assert inbox is not None
    await face.mailbox.append(inbox, [NewMessage(MESSAGE, date=int(time.time()) - 40 * 86_400), NewMessage(MESSAGE)])
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice")
    assert (await client.send("ARCHIVE folder INBOX older than 30"))[0] == "1 messages archived"
    assert any(row.startswith("Archive/") for row in await client.rows("LIST Folders"))


async def test_delegates_methods_and_signatures(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "ADD Account bob password secret-1-x", "COMMIT", "UPDATE Account alice")
    await client.ok("ADD Delegate bob resource calendar permissions rw", "ADD Delegate bob resource tasks permissions r")
    assert "expected one of" in await client.err("ADD Delegate bob resource fridge permissions r")
    assert [c.strip() for c in (await client.rows("LIST Delegates"))[0].split("|")] == ["bob@example.test", "rw", "r", "none"]
    await client.ok("REMOVE Delegate bob resource calendar", "ADD securityMethod email alice@elsewhere.test")
    (method,) = await client.rows("LIST SecurityMethods")
    await client.ok("CONFIG WebmailData", "ADD signature name work type text")
    await client.text("ESET signature name work", "Regards,\nAlice")
    assert await client.ok("SHOW signature name work") == ["Regards,", "Alice"]
    await client.ok("DONE", "COMMIT", "UPDATE Account alice", "CONFIG WebmailData")
    assert await client.ok("SHOW signature name work") == ["Regards,", "Alice"]
    await client.ok("REMOVE signature name work", "DONE", f"REVOKE securityMethod {method.split()[0]}")
    assert await client.rows("LIST SecurityMethods") == []
    await client.ok("COMMIT")


async def test_quota_of_one_folder(face: Face) -> None:
    client = await face.client()
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    await face.mailbox.folders(account.id)
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG Quotas")
    assert "INBOX" in await client.rows("LIST Mboxes")
    await client.ok("SET MboxQuota mboxName INBOX messageCount 10 messageSize 1000", "DONE", "COMMIT", "UPDATE Account alice")
    await client.ok("CONFIG Quotas")
    assert await client.show("SHOW MboxQuota mboxName INBOX") == {"messageCount": "10", "messageSize": "1000"}
    assert "does not exist" in await client.err("SET MboxQuota mboxName Nowhere messageCount 1")


async def test_search_lookup_and_premium(face: Face) -> None:
    client = await face.client()
    assert (await client.rows("SEARCH Object alice@example.test"))[0].startswith("alice@example.test")
    assert await client.rows("SEARCH Object nobody") == []
    assert (await client.show("LOOKUP Index Object alice@example.test"))["index"] == "index/shard-0.db"
    assert await client.rows("LIST premiumAccounts domain example.test") == ["alice@example.test"]
    await client.ok("SET premiumAccountAddons name alice@example.test addons (sharing ia)", "SHOW LicenseInfo")
    assert "expected any of" in await client.err("SET premiumAccountAddons name alice@example.test addons (coffee)")


async def test_the_first_run_is_skipped_and_the_configuration_saved(face: Face) -> None:
    client = await face.client()
    await client.ok("SET onboardingComplete yes", "SAVE CONFIG")
    assert await client.ok("SHOW onboardingComplete") == ["onboardingComplete = yes"]
    text = (face.services.data_dir / "run" / "mailstead-config.toml").read_text()
    assert "example.test" in text and tomllib.loads(text)
    body = await client.ok("CONFIG SERVER", "SHOW Config")
    assert any("example.test" in line for line in body)
    await client.ok("BACK", "EXPORT DOMAINDB example.test")
    assert "alice" in (face.services.data_dir / "run" / "domain-example.test.toml").read_text()


def test_conditions() -> None:
    assert parse_condition("older than 30 days").min_age == 30 * 86_400
    condition = parse_condition("age>2d size<10K")
    assert condition.holds(0, 100, 3 * 86_400) and not condition.holds(0, 20_000, 3 * 86_400)


async def test_two_who_save_at_once_save_a_whole_file(face: Face) -> None:
    """Both write their own draft; neither is refused, and what is there in the end is one of them."""
    clients = [await face.client() for _ in range(4)]
    for _ in range(5):
        await asyncio.gather(*(client.ok("SAVE Config") for client in clients))
    tomllib.loads((face.services.data_dir / "run" / "mailstead-config.toml").read_text())
    assert not [path.name for path in (face.services.data_dir / "run").iterdir() if path.name.endswith(".part")]
