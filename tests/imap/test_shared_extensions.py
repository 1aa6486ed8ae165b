"""NOTIFY, REPLACE, URLAUTH, QUOTA and the ids of messages where mailboxes are shared, in one shard and in two."""

from __future__ import annotations

import re

import pytest

from tests.imap.conftest import Client, message
from tests.imap.test_sharing import ADMIN, Domain, domain, share

__all__ = ["domain"]
WORK = '"Other Users/alice/Work"'


@pytest.fixture
async def pair(domain: Domain) -> tuple[Client, Client]:
    """alice, who has a mailbox Work, and bob."""
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    return alice, bob


async def test_news_of_shared_mailboxes(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    await bob.ok('NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge FlagChange MailboxName))')
    await share(alice, "Work", "bob", "lr")
    assert await bob.line() == b'* LIST (\\HasNoChildren) "/" "Other Users/alice/Work"'
    await alice.append("Work", message())
    assert (await bob.line()).startswith(b'* STATUS "Other Users/alice/Work" (MESSAGES 1 ')
    await alice.ok("CREATE Work/below")
    assert await bob.line() == b'* LIST (\\HasNoChildren) "/" "Other Users/alice/Work/below"'
    await alice.append("Sent", message())
    await alice.ok("DELETEACL Work bob")
    gone = {await bob.line(), await bob.line()}
    assert gone == {b'* LIST (\\NonExistent) "/" "Other Users/alice/Work%b"' % name for name in (b"", b"/below")}
    await alice.append("Work", message())
    assert await bob.ok("NOOP") == []


async def test_replacing_in_anothers_mailbox_needs_rights(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    await alice.append("Work", message("old"))
    await share(alice, "Work", "bob", "lrsi")
    await bob.ok(f"SELECT {WORK}")
    _, reply = await bob.command(b"UID REPLACE 1 INBOX {1+}\r\nx")
    assert reply.startswith(b"NO"), reply
    await share(alice, "Work", "bob", "lrswite")
    untagged = await bob.ok(b"UID REPLACE 1 INBOX (\\Seen) {1+}\r\nx")
    assert b"* 1 EXPUNGE" in untagged
    assert await bob.ok("STATUS INBOX (MESSAGES UNSEEN)") == [b"* STATUS INBOX (MESSAGES 1 UNSEEN 0)"]
    assert await alice.ok("STATUS Work (MESSAGES)") == [b"* STATUS Work (MESSAGES 0)"]
    await bob.ok("SELECT INBOX")
    await bob.ok(b"REPLACE 1 %b (\\Seen \\Draft) {1+}\r\ny" % WORK.encode())
    await bob.ok(f"SELECT {WORK}")
    assert await bob.ok("FETCH 1 (UID FLAGS)") == [b"* 1 FETCH (UID 2 FLAGS (\\Seen \\Draft))"]
    await alice.ok("SELECT Work")
    assert await alice.ok("FETCH 1 (UID FLAGS)") == [b"* 1 FETCH (UID 2 FLAGS (\\Draft))"]


async def test_a_url_gives_what_its_author_may_still_read(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    await alice.append("Work", message(body="plan\r\n"))
    await share(alice, "Work", "bob", "lr")
    rump = b"imap://bob@example.test/Other%20Users/alice/Work/;UID=1/;SECTION=TEXT;URLAUTH=user+alice"
    (line,) = await bob.ok(b'GENURLAUTH "%b" INTERNAL' % rump)
    url = line.split()[2]  # quoted
    assert (await alice.ok(b"URLFETCH " + url))[0].endswith(b" {6}\r\nplan\r\n")
    assert (await bob.ok(b"URLFETCH " + url))[0].endswith(b" NIL")
    await alice.ok("RESETKEY Work")
    assert (await alice.ok(b"URLFETCH " + url))[0].endswith(b" {6}\r\nplan\r\n"), "alice's key is not bob's"
    await alice.ok("DELETEACL Work bob")
    assert (await alice.ok(b"URLFETCH " + url))[0].endswith(b" NIL")


async def test_urls_have_translated_names_where_the_client_sees_them(domain: Domain) -> None:
    account = domain.directory.account_by_address("alice@example.test")
    assert account is not None
    await domain.directory.set_account_setting(account.id, "localizedImapFolderNames", "yes", actor=ADMIN)
    await domain.directory.set_account_setting(account.id, "language", "de", actor=ADMIN)
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("ENABLE UTF8=ACCEPT")
    await alice.append('"Entwürfe"', message(body="draft\r\n"))
    await alice.ok('APPEND INBOX CATENATE (URL "/Entw%C3%BCrfe/;UID=1")')
    rump = b"imap://alice@example.test/Entw%C3%BCrfe/;UID=1/;SECTION=TEXT;URLAUTH=user+bob"
    (line,) = await alice.ok(b'GENURLAUTH "%b" INTERNAL' % rump)
    assert (await bob.ok(b"URLFETCH " + line.split()[2]))[0].endswith(b" {7}\r\ndraft\r\n")


async def test_the_root_of_a_shared_mailbox_is_its_owners(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    _, reply = await bob.command(f"GETQUOTAROOT {WORK}")
    assert reply.startswith(b"NO [NONEXISTENT]")
    _, reply = await bob.command('GETQUOTA "Other Users/alice"')
    assert reply.startswith(b"NO [NONEXISTENT]")
    await alice.append("Work", message(body="x" * 3000))
    await share(alice, "Work", "bob", "lr")
    untagged = await bob.ok(f"GETQUOTAROOT {WORK}")
    assert untagged[0] == b'* QUOTAROOT "Other Users/alice/Work" "Other Users/alice"'
    found = re.fullmatch(rb'\* QUOTA "Other Users/alice" \((.*)\)', untagged[1])
    own = re.fullmatch(rb'\* QUOTA "" \((.*)\)', (await alice.ok('GETQUOTA ""'))[0])
    assert found
    assert own
    assert found[1] == own[1]
    assert await bob.ok('GETQUOTA "Other Users/alice"') == [untagged[1]]


async def ids(client: Client, folder: str) -> list[tuple[bytes, bytes]]:
    await client.ok(f"SELECT {folder}")
    found = [
        re.search(rb"EMAILID \((M\d+)\) THREADID \((T\d+)\)", line) for line in await client.ok("FETCH 1:* (EMAILID THREADID)")
    ]
    return [(one[1], one[2]) for one in found if one]


async def test_a_message_keeps_its_id_between_accounts(pair: tuple[Client, Client]) -> None:
    alice, bob = pair
    await alice.append("Work", message("one"))
    await alice.append("Work", message("two"))
    before = [email for email, _ in await ids(alice, "Work")]
    await share(alice, "Work", "bob", "lrswite")
    await bob.ok(f"SELECT {WORK}")
    await bob.ok("COPY 1 INBOX")
    await bob.ok("MOVE 2 Sent")
    await bob.ok("SELECT INBOX")
    await bob.ok("COPY 1 Archive")
    assert [email for email, _ in await ids(bob, "INBOX")] == before[:1]
    assert [email for email, _ in await ids(bob, "Sent")] == before[1:]
    assert await ids(bob, "Archive") == await ids(bob, "INBOX")
    await bob.ok(f"COPY 1 {WORK}")
    assert {email for email, _ in await ids(alice, "Work")} == set(before[:1])
    threads = {thread for _, thread in await ids(alice, "Work")}
    assert len(threads) == 1, "one message, one thread"
