"""Sieve scripts over mail as it arrives: folders, flags, redirection, rejection, and faults that lose nothing."""

from __future__ import annotations

import pytest

from mailstead.delivery import targets
from mailstead.delivery.targets import Planner
from mailstead.mailbox.model import Folder
from tests.smtp.harness import ADMIN, MESSAGE, Face

ALICE, BOB = "alice@example.test", "bob@example.test"


async def script(face: Face, text: str, address: str = ALICE) -> None:
    account = face.account(address)
    await face.mailbox.put_script(account.id, "main", text)
    await face.mailbox.activate_script(account.id, "main")


async def counts(face: Face, *folders: str, address: str = ALICE) -> list[int]:
    return [len(await face.messages(address, folder=name)) for name in folders]


async def test_into_a_folder_with_flags(face: Face) -> None:
    account = face.account(ALICE)
    await face.mailbox.create_folder(account.id, "Lists")
    await script(
        face, 'require ["fileinto", "imap4flags", "envelope"]; if envelope :domain "from" "remote.test" '
        '{ fileinto :flags ["\\\\Seen", "list"] "Lists"; }',
    )  # fmt: skip
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert await counts(face, "INBOX", "Lists") == [0, 1]
    folder = await face.mailbox.folder(account.id, "Lists")
    assert folder is not None
    view = await face.mailbox.open(folder)
    assert view.flags[0] & 1
    assert view.keywords == ["list"]
    view.release()
    await face.mailbox.activate_script(account.id, "")
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert await counts(face, "INBOX", "Lists") == [1, 1]


async def test_a_folder_is_made_or_inbox_takes_it(face: Face) -> None:
    await script(face, 'require ["fileinto", "mailbox", "copy"]; fileinto :create "New/Deep"; fileinto :copy "Missing";')
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert await counts(face, "INBOX", "New/Deep") == [1, 1]


async def test_discard_is_said_to_nobody(face: Face) -> None:
    await script(face, "discard;")
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert (await client.send(MESSAGE, ALICE, BOB)).startswith("250")
    assert await counts(face, "INBOX") == [0]
    assert len(await face.messages(BOB)) == 1


async def test_redirect_here_and_elsewhere(face: Face) -> None:
    await script(face, f'require "copy"; redirect "{BOB}"; redirect :copy "far@remote.test";')
    await script(face, f'redirect "{ALICE}";', BOB)
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert await counts(face, "INBOX") == [1]  # round and round ends at home
    rows = face.store.queue_index.due(1 << 40, (0, 0, 0), 10)
    assert [row[2] for row in rows] == ["far@remote.test"]
    await script(face, "keep;", BOB)
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert len(await face.messages(BOB)) == 1


async def test_reject_at_once_or_by_a_report(face: Face) -> None:
    await script(face, 'require "reject"; reject "go away,\\r\\nplease";')
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE)).startswith("550 5.7.1")
    assert (await client.send(MESSAGE, ALICE, BOB)).startswith("250")
    assert await counts(face, "INBOX") == [0]
    assert len(await face.messages(BOB)) == 1
    rows = face.store.queue_index.due(1 << 40, (0, 0, 0), 10)
    assert len(rows) == 1


@pytest.mark.parametrize("text", ['redirect "not an address";', 'require "ihave"; error "x";'])
async def test_a_script_that_fails_loses_nothing(face: Face, text: str) -> None:
    await script(face, text)
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert await counts(face, "INBOX") == [1]


async def test_members_of_groups_have_their_scripts(face: Face) -> None:
    await face.directory.create_group("example.test", "staff", [ALICE, BOB], actor=ADMIN)
    await script(face, 'require ["fileinto", "mailbox"]; fileinto :create "Staff";')
    client = await face.ready()
    assert (await client.send(MESSAGE, "staff@example.test")).startswith("250")
    assert await counts(face, "INBOX", "Staff") == [0, 1]
    assert len(await face.messages(BOB)) == 1


async def test_body_and_a_large_message(face: Face) -> None:
    await script(face, 'require ["fileinto", "mailbox", "body"]; if body :contains "needle" { fileinto :create "Found"; }')
    client = await face.ready()
    assert (await client.send(MESSAGE + b"a needle here\r\n", ALICE)).startswith("250")
    assert (await client.send(MESSAGE + b"hay\r\n" * 100_000, ALICE)).startswith("250")
    assert await counts(face, "INBOX", "Found") == [1, 1]


@pytest.mark.parametrize(
    "text",
    [
        'require ["encoded-character", "fileinto"]; fileinto "x${hex:ff}";',
        'require ["encoded-character", "fileinto", "mailbox"]; fileinto :create "${hex:00}";',
        'require ["encoded-character", "mailbox"]; if mailboxexists "${hex:ff}" { discard; }',
        'require ["encoded-character"]; redirect "x@${hex:ff}remote.test";',
        'redirect "nobody@example.test";',
        'redirect "a@b@example.test";',
        'redirect "x@no..dots";',
        'redirect "x@[1.2.3";',
    ],
)
async def test_what_cannot_be_carried_out_is_kept(face: Face, text: str) -> None:
    await script(face, text)
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE, BOB)).startswith("250")
    assert await counts(face, "INBOX") == [1]
    assert len(await face.messages(BOB)) == 1
    assert face.queued() == []


async def test_redirect_to_a_group_reaches_its_members(face: Face) -> None:
    await face.directory.create_group("example.test", "staff", [ALICE, BOB], actor=ADMIN)
    await script(face, 'redirect "staff@example.test";')
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert await counts(face, "INBOX") == [1]
    assert len(await face.messages(BOB)) == 1


async def test_inbox_gets_a_message_once_however_it_is_named(face: Face) -> None:
    await script(face, 'require ["fileinto", "copy"]; fileinto :copy "inbox"; keep;')
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert await counts(face, "INBOX") == [1]


async def test_who_rejects_is_not_reported_as_delivered(face: Face) -> None:
    await script(face, 'require "reject"; reject "no";')
    client = await face.ready()
    await client.ok("MAIL FROM:<a@remote.test>")
    for address in (ALICE, BOB):
        await client.ok(f"RCPT TO:<{address}> NOTIFY=SUCCESS,FAILURE")
    await client.ok("DATA")
    client.write(MESSAGE + b".\r\n")
    assert (await client.reply()).startswith("250")
    reports = [octets for _, _, _, octets in face.queued()]
    about_alice = [octets for octets in reports if b"Final-Recipient: rfc822;alice@example.test" in octets.replace(b"; ", b";")]
    assert len(about_alice) == 1
    assert b"Action: failed" in about_alice[0]


async def test_a_folder_that_goes_away_meanwhile_sends_mail_home(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to whoever shared the folder, and once only."""
    bob, alice = face.account(BOB), face.account(ALICE)
    await face.mailbox.create_folder(alice.id, "Mine")
    folder = await face.mailbox.create_folder(bob.id, "Shared")
    monkeypatch.setattr(Planner, "_filed", lambda self, account, action: _gone(face, folder))
    await face.directory.create_group("example.test", "staff", [ALICE], actor=ADMIN)
    client = await face.ready()
    await script(face, 'require "fileinto"; fileinto "Shared";')
    assert (await client.send(MESSAGE, "staff@example.test")).startswith("250")
    assert await counts(face, "INBOX") == [1]
    await script(face, 'require "fileinto"; fileinto "Shared"; keep;')
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert await counts(face, "INBOX") == [2]
    assert await face.messages(BOB) == []


async def _gone(face: Face, folder: Folder) -> Folder:
    if await face.mailbox.folder(folder.account, "Shared") is not None:
        await face.mailbox.delete_folder(folder.account, "Shared")
    return folder


async def test_a_long_chain_of_redirections_ends(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "MAX_CHAIN", 1)
    await script(face, f'redirect "{BOB}";')
    await script(face, 'redirect "carol@example.test";', BOB)
    await script(face, f'redirect "{ALICE}";', "carol@example.test")
    client = await face.ready()
    assert (await client.send(MESSAGE, ALICE)).startswith("250")
    assert len(await face.messages("carol@example.test")) == 1
    assert await counts(face, "INBOX") == [0]
