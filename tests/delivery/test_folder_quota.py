"""Quotas of single folders (QTA-01): of accounts, lists and public folders, exact whatever way a message comes."""

from __future__ import annotations

import asyncio

import pytest

from mailstead.directory import RecipientKind
from mailstead.mailbox.errors import OverQuota
from mailstead.mailbox.model import NewMessage
from mailstead.settings.declaration import Context
from mailstead.settings.declarations import DOMAIN_CONTEXTS, LIST_QUOTAS, OBJECT_KINDS
from mailstead.settings.edits import Pending, place_of
from tests.smtp.harness import ADMIN, MESSAGE, Face

KIND = OBJECT_KINDS["mboxQuota"]


async def quota(face: Face, scope: str, owner: int, folder: str, **limits: str) -> None:
    objects = face.directory.settings.objects
    await face.directory.database.write(objects.adder(KIND, {"mboxName": folder, **limits}, "test", scope, owner))


async def change(face: Face, context: Context, owner: int, domain: int, **values: str) -> None:
    pending = Pending()
    for name, value in values.items():
        pending.set_value(place_of(context, owner, domain), context, context.setting(name), value)
    await face.directory.commit(pending, actor=ADMIN, own=lambda _seq: True)


async def test_what_all_folders_may_hold_and_one_that_may_hold_more(face: Face) -> None:
    alice = face.account("alice@example.test")
    await face.directory.set_account_setting(alice.id, "messageCount", "2", actor=ADMIN)
    await quota(face, "account", alice.id, "Archive", messageCount="3")
    client = await face.ready()
    for reply in ("250", "250", "552 5.2.2"):
        assert (await client.send()).startswith(reply)
    archive = await face.mailbox.folder(alice.id, "Archive")
    drafts = await face.mailbox.folder(alice.id, "Drafts")
    assert archive is not None and drafts is not None
    for _ in range(3):
        await face.mailbox.append(archive, [NewMessage(MESSAGE)])
    with pytest.raises(OverQuota):
        await face.mailbox.append(archive, [NewMessage(MESSAGE)])
    with pytest.raises(OverQuota):
        await face.mailbox.append(drafts, [NewMessage(MESSAGE)] * 3)
    assert (await face.mailbox.status(drafts)).messages == 0
    view = await face.mailbox.open(archive)
    with pytest.raises(OverQuota):
        await face.mailbox.copy(view, list(view.uids), drafts)
    await face.mailbox.copy(view, list(view.uids)[:1], drafts)
    with pytest.raises(OverQuota):  # a move within the mailbox takes no more of its quota, but of the folder's
        await face.mailbox.move(view, list(view.uids)[1:], drafts)
    await face.mailbox.move(view, list(view.uids)[1:2], drafts)
    view.release()
    assert (await face.mailbox.status(drafts)).messages == 2


async def test_size_of_a_folder_named_by_a_subaddress(face: Face) -> None:
    alice = face.account("alice@example.test")
    await face.mailbox.create_folder(alice.id, "Projects")
    await quota(face, "account", alice.id, "Projects", messageSize="1")
    client = await face.ready()
    big = MESSAGE + b"z" * 900 + b"\r\n"
    assert (await client.send(big, "alice+projects@example.test")).startswith("552 5.2.2")
    assert (await client.send(big)).startswith("250")
    assert (await client.send(MESSAGE, "alice+projects@example.test")).startswith("250")
    assert len(await face.messages(folder="Projects")) == 1
    await face.directory.database.write(face.directory.settings.objects.remover(KIND, "Projects", "test", "account", alice.id))
    assert (await client.send(big, "alice+projects@example.test")).startswith("250")


async def test_the_limit_holds_to_the_unit_under_load(face: Face) -> None:
    alice = face.account("alice@example.test")
    await quota(face, "account", alice.id, "INBOX", messageCount="7")
    clients = [await face.ready() for _ in range(20)]
    for client in clients:
        await client.envelope()
        await client.ok("DATA")
    for client in clients:
        client.write(MESSAGE + b".\r\n")
    replies = await asyncio.gather(*(client.reply() for client in clients))
    assert sorted(reply[:9] for reply in replies) == ["250 2.0.0"] * 7 + ["552 5.2.2"] * 13
    assert len(await face.messages()) == 7


async def test_public_folders(face: Face) -> None:
    domain = face.account("alice@example.test").domain_id
    await face.mailbox.create_folder(domain, "Board")
    await face.mailbox.create_folder(domain, "News")
    for name in ("Board", "News"):
        await face.directory.create_folder_recipient("example.test", name.lower(), name, actor=ADMIN)
    await change(face, DOMAIN_CONTEXTS["publicFolderQuotas"], domain, domain, mboxCount="2", totalMessageCount="2")
    with pytest.raises(OverQuota):
        await face.mailbox.create_folder(domain, "Third")
    await quota(face, "domainConfig", domain, "Board", messageCount="1")
    client = await face.ready()
    assert (await client.send(MESSAGE, "board@example.test")).startswith("250")
    assert (await client.send(MESSAGE, "board@example.test")).startswith("552 5.2.2")
    assert (await client.send(MESSAGE, "news@example.test")).startswith("250")
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command("RCPT TO:<news@example.test>")).startswith("452 4.2.2")
    news = face.mailbox.public_folder(domain, "News")
    assert news is not None
    with pytest.raises(OverQuota):
        await face.mailbox.append(news, [NewMessage(MESSAGE)])


async def test_lists(face: Face) -> None:
    found = await face.directory.create_recipient(RecipientKind.LIST, "example.test", "news", {}, (), actor=ADMIN)
    await change(face, LIST_QUOTAS, found.id, found.domain_id, messageCount="1")
    inbox = await face.mailbox.folder(found.id, "INBOX")
    assert inbox is not None
    await face.mailbox.append(inbox, [NewMessage(MESSAGE)])
    with pytest.raises(OverQuota):
        await face.mailbox.append(inbox, [NewMessage(MESSAGE)])
    await quota(face, "recipient", found.id, "INBOX", messageCount="2")
    await face.mailbox.append(inbox, [NewMessage(MESSAGE)])


async def test_folders_that_may_be_made(face: Face) -> None:
    alice = face.account("alice@example.test")
    await face.directory.set_account_setting(alice.id, "mboxCount", "8", actor=ADMIN)
    made = await asyncio.gather(
        *(face.mailbox.create_folder(alice.id, f"Folder {n}") for n in range(6)), return_exceptions=True
    )
    assert sum(isinstance(one, OverQuota) for one in made) == 4
    assert len(await face.mailbox.folders(alice.id)) == 8
