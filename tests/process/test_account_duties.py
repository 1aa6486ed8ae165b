"""What the background process does for accounts: purging by age, warnings of passwords, welcomes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.delivery.account_mail import AccountMail
from mailstead.delivery.welcome import Welcome, run
from mailstead.mailbox.autopurge import autopurge
from mailstead.mailbox.model import NewMessage
from mailstead.process.account_duties import one_round
from mailstead.settings.database import Transaction
from tests.delivery.sending import limit
from tests.smtp.harness import ADMIN, MESSAGE, Face, running

DAY = 86_400


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with running(tmp_path) as found:
        yield found


async def put(face: Face, folder: str, number: int, account: str = "alice@example.test") -> None:
    found = await face.mailbox.folder(face.account(account).id, folder)
    assert found is not None
    await face.mailbox.append(found, [NewMessage(MESSAGE)] * number)


async def count(face: Face, folder: str) -> int:
    return len(await face.messages(folder=folder))


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Days pass for what looks at the clock."""
    now = time.time
    monkeypatch.setattr("mailstead.mailbox.autopurge.time.time", lambda: now() + days * DAY)


async def one(face: Face) -> int:
    return await one_round(face.directory, face.store, face.mailbox, face.delivery.account_mail)


async def test_old_mail_of_trash_and_spam_goes_and_can_come_back(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(face, "INBOX", 1)
    await put(face, "Trash", 3)
    await put(face, "Spam", 2)
    await put(face, "Trash", 2, "bob@example.test")
    await limit(face, "bob", autopurgeAgeLimit="0")
    assert await one(face) == 0
    later(monkeypatch, 31)
    assert await one(face) == 5
    assert (await count(face, "INBOX"), await count(face, "Trash"), await count(face, "Spam")) == (1, 0, 0)
    assert len(await face.messages("bob@example.test", "Trash")) == 2
    account = face.account("alice@example.test").id
    deleted = await face.mailbox.deleted_messages(account, actor=ADMIN)
    assert len(deleted) == 5
    await face.mailbox.restore_messages(account, deleted, actor=ADMIN)
    assert (await count(face, "Trash"), await count(face, "Spam")) == (3, 2)


async def test_folders_by_name_and_the_work_of_a_round(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    account = face.account("alice@example.test").id
    await face.mailbox.create_folder(account, "Lists")
    await face.mailbox.rename_folder(account, "Trash", "Papierkorb")
    await put(face, "Lists", 4)
    await put(face, "Papierkorb", 4)
    await limit(face, autopurgeFolders="(lists Trash)", autopurgeAgeLimit="2")
    later(monkeypatch, 3)
    assert await autopurge(face.mailbox, account, ["lists", "Trash"], 2, limit=5) == 5
    assert await one(face) == 3
    assert (await count(face, "Lists"), await count(face, "Papierkorb")) == (0, 0)


async def test_passwords_are_warned_of_once_or_daily(face: Face) -> None:
    async def age(days: float) -> None:
        def operation(transaction: Transaction) -> None:
            transaction.execute("UPDATE account SET password_changed = ?", (int((time.time() - days * DAY) * 1_000_000),))
            transaction.record("test", "account", face.account("alice@example.test").id, "age")

        await face.directory.database.write(operation)

    await limit(face, passExpirationEnabled="yes", passExpirationInterval="90", passExpirationWarningInterval="5")
    await age(80)
    await one(face)
    assert await face.messages() == []
    await age(86.5)
    for _ in range(2):
        await one(face)
        (warning,) = await face.messages()
    assert b"Subject: Your password expires in 4 days\r\n" in warning
    await face.directory.database.write(lambda t: t.execute("UPDATE notice SET time = time - ?", (DAY,)))
    await one(face)
    assert len(await face.messages()) == 1
    await limit(face, passExpirationWarningSentDaily="yes")
    await one(face)
    await one(face)
    assert len(await face.messages()) == 2
    await age(91)  # too late
    await face.directory.database.write(lambda t: t.execute("DELETE FROM notice"))
    await one(face)
    assert len(await face.messages()) == 2


async def test_new_accounts_are_welcomed_once(face: Face, tmp_path: Path) -> None:
    directory = face.directory
    await directory.set_domain_default("example.test", "welcomeMessageEnabled", "yes", actor=ADMIN)
    await directory.database.write(
        lambda t: t.execute("UPDATE meta SET value = (SELECT max(seq) FROM history) WHERE key = 'welcomed'")
    )
    duty = asyncio.create_task(run(Welcome(directory, face.store, face.delivery.account_mail), directory))
    await directory.create_account("example.test", "dora", hash="{PLAIN}x", full_name="Dora D", actor=ADMIN)
    async with asyncio.timeout(60):
        while not await face.messages("dora@example.test"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    duty.cancel()
    await asyncio.gather(duty, return_exceptions=True)
    (welcome,) = await face.messages("dora@example.test")
    assert b"Subject: Welcome\r\n" in welcome and b"Hello Dora D," in welcome
    assert await face.messages() == []  # alice is older


async def test_a_crash_between_message_and_mark(face: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = face.directory
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "hello.txt").write_text("Subject: Hi $ACCOUNT\n\nRead the rules.\n")
    await directory.set_domain_default("example.test", "welcomeMessageEnabled", "yes", actor=ADMIN)
    await directory.set_domain_default("example.test", "welcomeMessageFileName", "hello.txt", actor=ADMIN)
    await directory.create_account("example.test", "emil", hash="{PLAIN}x", actor=ADMIN)
    await directory.set_account_setting(face.account("carol@example.test").id, "welcomeMessageEnabled", "no", actor=ADMIN)

    class Crash(Exception):
        pass

    async def crash(self: Welcome, seq: int) -> None:
        raise Crash

    mail = AccountMail(directory, face.mailbox, tmp_path)
    for _ in range(3):  # the first account is written and the mark lost, again and again
        with monkeypatch.context() as patch:
            patch.setattr(Welcome, "_move", crash)
            with pytest.raises(Crash):
                await Welcome(directory, face.store, mail).run_once()
    inbox = await face.mailbox.folder(face.account("alice@example.test").id, "INBOX")
    assert inbox is not None
    view = await face.mailbox.open(inbox)
    assert len(view.uids) == 1
    await face.mailbox.remove(view, list(view.uids))  # read and deleted while the server was down: not again
    view.release()
    assert await Welcome(directory, face.store, mail).run_once() == 3
    assert await Welcome(directory, face.store, mail).run_once() == 0
    assert await face.messages() == [] and await face.messages("carol@example.test") == []
    for name in ("bob", "postmaster", "emil"):
        (welcome,) = await face.messages(f"{name}@example.test")
        assert f"Subject: Hi {name}@example.test\r\n".encode() in welcome


@pytest.mark.parametrize("place", ["keys", "certs/../keys", "{data}/keys", ".", "/"])
async def test_templates_are_never_the_servers_own_files(face: Face, tmp_path: Path, place: str) -> None:
    directory = face.directory
    (tmp_path / "keys").mkdir(exist_ok=True)
    (tmp_path / "keys" / "hello.txt").write_text("Subject: the key\n\nvery secret\n")
    await directory.settings.set("server", "templatesPath", place.format(data=tmp_path), ADMIN)
    await directory.set_domain_default("example.test", "welcomeMessageEnabled", "yes", actor=ADMIN)
    below = {".": "keys/hello.txt", "/": str(tmp_path / "keys" / "hello.txt").lstrip("/")}
    file = below.get(place, "hello.txt")
    await directory.set_domain_default("example.test", "welcomeMessageFileName", file, actor=ADMIN)
    await Welcome(directory, face.store, AccountMail(directory, face.mailbox, tmp_path)).run_once()
    (welcome,) = await face.messages("bob@example.test")
    assert b"secret" not in welcome and b"Subject: Welcome\r\n" in welcome
