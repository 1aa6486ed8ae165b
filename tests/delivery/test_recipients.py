"""Which mailbox an address leads to."""

from __future__ import annotations

import pytest

from tests.smtp.harness import ADMIN, MESSAGE, Face


async def test_alias_and_its_account_get_one_copy(face: Face) -> None:
    client = await face.ready()
    assert (await client.send(MESSAGE, "info@example.test", "alice@example.test", "ALICE+x@example.test")).startswith("250")
    assert len(await face.messages()) == 1


async def test_domain_alias(face: Face) -> None:
    await face.directory.add_domain_alias("example.test", "other.test", actor=ADMIN)
    client = await face.ready()
    assert (await client.send(MESSAGE, "alice@other.test")).startswith("250")
    assert len(await face.messages()) == 1


async def test_catch_all(face: Face) -> None:
    client = await face.ready()
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command("RCPT TO:<anything@example.test>")).startswith("550 5.1.1")
    await client.ok("RSET")
    await face.directory.set_domain_setting("example.test", "catchAllType", "account", actor=ADMIN)
    await face.directory.set_domain_setting("example.test", "catchAllAccountName", "carol", actor=ADMIN)
    assert (await client.send(MESSAGE, "anything@example.test")).startswith("250")
    assert len(await face.messages("carol@example.test")) == 1
    assert (await client.send(MESSAGE, "alice@example.test")).startswith("250")
    assert len(await face.messages("carol@example.test")) == 1


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        ("alice+Projects@example.test", "Projects"), ("alice+projects@example.test", "Projects"),
        ("alice+Projects/2024@example.test", "Projects/2024"), ("alice+nothing@example.test", "INBOX"),
        ("alice+@example.test", "INBOX"), ("info+Projects@example.test", "Projects"), ("alice+inbox@example.test", "INBOX"),
    ],
)  # fmt: skip
async def test_subaddress_names_a_folder(face: Face, address: str, folder: str) -> None:
    await face.mailbox.create_folder(face.account("alice@example.test").id, "Projects/2024")
    client = await face.ready()
    assert (await client.send(MESSAGE, address)).startswith("250")
    for name in ("INBOX", "Projects", "Projects/2024"):
        assert len(await face.messages(folder=name)) == (name == folder)


async def test_subaddress_may_be_off(face: Face) -> None:
    await face.set("recipientDelimiter", "")
    client = await face.ready()
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command("RCPT TO:<alice+x@example.test>")).startswith("550 5.1.1")


async def test_the_folder_went_away_meanwhile(face: Face) -> None:
    account = face.account("alice@example.test")
    await face.mailbox.create_folder(account.id, "Projects")
    client = await face.ready()
    planner = face.delivery.planner
    number = planner.detail_folder(account.shard, account.id, "projects")
    assert number
    await face.mailbox.delete_folder(account.id, "Projects")
    planner.detail_folder = lambda *args: number  # type: ignore[method-assign]
    assert (await client.send(MESSAGE, "alice+projects@example.test", "bob@example.test")).startswith("250")
    (octets,) = await face.messages()
    assert octets.endswith(MESSAGE)
    assert octets.startswith(b"Return-Path: ")
    assert len(await face.messages("bob@example.test")) == 1


async def test_disabled_account(face: Face) -> None:
    await face.directory.disable_account(face.account("alice@example.test").id, actor=ADMIN)
    client = await face.ready()
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command("RCPT TO:<alice@example.test>")).startswith("550 5.2.1")


async def test_public_folders_do_not_take_mail_yet(face: Face) -> None:
    await face.directory.create_folder_recipient("example.test", "archive", "Archive", actor=ADMIN)
    client = await face.ready()
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command("RCPT TO:<archive@example.test>")).startswith("550 5.3.3")


async def test_groups_are_expanded_once_each_and_end(face: Face) -> None:
    every = await face.directory.create_group("example.test", "all", ["bob@example.test"], actor=ADMIN)
    staff = ["alice@example.test", "info@example.test", "all@example.test", "x@elsewhere.test"]
    await face.directory.create_group("example.test", "staff", staff, actor=ADMIN)
    await face.directory.add_members(every.id, ["staff@example.test", "all@example.test"], actor=ADMIN)
    client = await face.ready()
    assert (await client.send(MESSAGE, "all@example.test", "bob@example.test", "carol@example.test")).startswith("250")
    for name in ("alice", "bob", "carol"):
        assert len(await face.messages(f"{name}@example.test")) == 1
    assert [row[1] for row in face.queued()] == ["x@elsewhere.test"]


async def test_group_senders(face: Face) -> None:
    await face.directory.create_group("example.test", "inner", ["alice@example.test"], actor=ADMIN, receiveEmailFrom="server")
    client = await face.ready()
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command("RCPT TO:<inner@example.test>")).startswith("550 5.7.2")
    await client.ok("RSET")
    assert (await client.send(MESSAGE, "inner@example.test", sender="bob@example.test")).startswith("250")


async def test_an_empty_group_is_refused(face: Face) -> None:
    await face.directory.create_group("example.test", "empty", [], actor=ADMIN)
    client = await face.ready()
    assert (await client.send(MESSAGE, "empty@example.test")).startswith("550 5.2.4")
    assert (await client.send(MESSAGE, "empty@example.test", "alice@example.test", sender="bob@example.test")).startswith("250")
    (report,) = await face.messages("bob@example.test")
    assert b"Final-Recipient: rfc822; empty@example.test\r\nAction: failed\r\nStatus: 5.2.4\r\n" in report


async def test_the_sender_hears_of_dead_members(face: Face) -> None:
    gone = await face.directory.create_account("example.test", "gone", actor=ADMIN)
    members = ["alice@example.test", "gone@example.test"]
    await face.directory.create_group("example.test", "staff", members, actor=ADMIN)
    await face.directory.delete_account(gone.id, actor=ADMIN)
    client = await face.ready()
    assert (await client.send(MESSAGE, "staff@example.test", sender="bob@example.test")).startswith("250")
    assert len(await face.messages()) == 1
    (report,) = await face.messages("bob@example.test")
    assert b"Final-Recipient: rfc822; gone@example.test" in report


async def test_a_large_group_is_one_record(face: Face) -> None:
    names = [f"u{n}" for n in range(300)]
    from mailstead.directory import NewAccount

    await face.directory.import_accounts([NewAccount(f"{name}@example.test", hash="{PLAIN}x") for name in names], actor=ADMIN)
    await face.directory.create_group("example.test", "many", [f"{name}@example.test" for name in names], actor=ADMIN)
    client = await face.ready()
    assert (await client.send(MESSAGE, "many@example.test")).startswith("250")
    assert len(await face.messages("u0@example.test")) == len(await face.messages("u299@example.test")) == 1
    row = face.store.reader(face.account("u0@example.test").shard).row("SELECT count(*) FROM wide")
    assert row is not None
    assert row[0] == 1


async def test_mail_to_a_public_folder(face: Face) -> None:
    domain = face.directory.domain_by_name("example.test")
    assert domain is not None
    await face.directory.create_folder_recipient("example.test", "news", "News", actor=ADMIN)
    client = await face.ready()
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command("RCPT TO:<news@example.test>")).startswith("550 5.3.3")
    await client.ok("RSET")
    folder = await face.mailbox.create_folder(domain.id, "News")
    assert (await client.send(MESSAGE, "news@example.test", "alice@example.test")).startswith("250")
    view = await face.mailbox.open(folder)
    assert len(view.uids) == 1
    assert len(await face.messages()) == 1
    await face.directory.set_domain_setting("example.test", "catchAllType", "folder", actor=ADMIN)
    await face.directory.set_domain_setting("example.test", "catchAllFolderName", "News", actor=ADMIN)
    assert (await client.send(MESSAGE, "anything@example.test", "news@example.test")).startswith("250")
    await view.refresh()
    assert len(view.uids) == 2
    view.release()
    planner = face.delivery.planner
    planner.public_folder = lambda found, folder=folder: folder  # type: ignore[method-assign,misc]
    await face.mailbox.delete_folder(domain.id, "News")
    assert (await client.send(MESSAGE, "news@example.test")).startswith("4")
    assert (await client.send(MESSAGE, "alice@example.test")).startswith("250")
