"""Users of another server come over at their first login, and their mail is passed on until then (MIG-01)."""

from __future__ import annotations

import asyncio
import imaplib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.identity.authenticator import AuthReason, AuthResult
from mailstead.migration import first_login as module
from mailstead.migration.domains import CONTEXT
from mailstead.migration.first_login import FirstLogin
from mailstead.migration.service import MigrationService
from mailstead.process.node import Node
from mailstead.settings import Actor
from mailstead.settings.edits import place_of
from mailstead.settings.service import store_value
from mailstead.transport.endpoint import Endpoint
from tests.migration.conftest import text
from tests.migration.fake_imap import FakeFolder, FakeImap
from tests.process.test_outbound import Remote, node

ADMIN = Actor.system("test")
NODE = node
PASSWORD = "their-own-1"


@pytest.fixture
async def fake() -> AsyncIterator[FakeImap]:
    server = await FakeImap({"INBOX": FakeFolder(messages={n: text(n) for n in range(1, 4)})}, password=PASSWORD).start()
    yield server
    await server.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_SECONDS", 0.3)
    monkeypatch.setattr(module, "USUAL_SECONDS", 0.3)


async def configure(node: Node, **values: object) -> None:
    domain = node.directory.domain_by_name("example.test")
    assert domain is not None
    place = place_of(CONTEXT, domain.id, domain.id)
    for name, value in values.items():
        setting = CONTEXT.setting(name)
        await node.directory.database.write(
            lambda t, s=setting, v=value: store_value(t, "test", place.scope, place.scope_id, place.stored(s.name), s, str(v))  # type: ignore[misc]
        )
    node.directory.poll()


@pytest.fixture
async def migrating(node: Node, fake: FakeImap) -> Node:
    await configure(node, enable="yes", remoteImapHost="[127.0.0.1]", remoteImapPort=fake.port)
    return node


async def login(node: Node, name: str, password: str = PASSWORD, service: str = "imap") -> AuthResult:
    return await node.authenticator.verify_password(name, password, service=service, peer="192.0.2.1")


async def count(node: Node, address: str, wanted: int) -> None:
    """Wait until so many messages are in the INBOX."""
    account = node.directory.account_by_address(address)
    assert account is not None
    async with asyncio.timeout(60):
        while True:
            inbox = await node.mailbox.folder(account.id, "INBOX")
            if inbox is not None and (await node.mailbox.status(inbox)).messages == wanted:
                return
            await asyncio.sleep(0.05)


async def test_an_unknown_user_comes_over(migrating: Node, fake: FakeImap) -> None:
    assert (await login(migrating, "Eve@example.test")).reason is AuthReason.OK
    account = migrating.directory.account_by_address("eve@example.test")
    assert account is not None
    await count(migrating, "eve@example.test", 3)
    assert 'LOGIN "Eve@example.test"' in fake.seen[0]
    asked = fake.logins
    fake.password = "changed-there-1"  # from now on this server answers for itself
    assert (await login(migrating, "eve@example.test")).ok
    assert (await login(migrating, "eve@example.test", "changed-there-1")).reason is AuthReason.BAD_CREDENTIALS
    assert fake.logins == asked
    jobs = MigrationService(migrating.directory, migrating.context.data_dir).list(actor=ADMIN)
    assert [(job.state, job.secret, job.taken) for job in jobs] == [("done", "", 3)]


async def test_whom_the_other_server_refuses_has_no_account(migrating: Node, fake: FakeImap) -> None:
    for _ in range(3):
        assert (await login(migrating, "eve@example.test", "wrong-1-word")).reason is AuthReason.BAD_CREDENTIALS
    assert fake.logins == 1  # asked once a minute
    assert migrating.directory.account_by_address("eve@example.test") is None
    assert (await login(migrating, "eve@example.test")).ok


@pytest.mark.parametrize(
    ("name", "service"),
    [("eve@elsewhere.test", "imap"), ("eve@example.test", "smtpIncoming"), ("e ve@example.test", "imap"),
     ("staff@example.test", "imap"), ("gone@example.test", "imap"), ("alice@example.test", "imap"), ("@example.test", "imap"),
     ("x" * 300 + "@example.test", "imap")],
)  # fmt: skip
async def test_who_is_never_asked_about(migrating: Node, fake: FakeImap, name: str, service: str) -> None:
    directory = migrating.directory
    await directory.create_group("example.test", "staff", actor=ADMIN)
    gone = await directory.create_account("example.test", "gone", "some-word-1", actor=ADMIN)
    await directory.delete_account(gone.id, actor=ADMIN)
    assert not (await login(migrating, name, service=service)).ok
    assert fake.logins == 0


async def test_a_domain_that_does_not_migrate_asks_nobody(migrating: Node, fake: FakeImap) -> None:
    await configure(migrating, enable="no")
    assert not (await login(migrating, "eve@example.test")).ok
    assert fake.logins == 0
    unknown = migrating.authenticator.unknown
    assert unknown is not None and unknown.refusal_seconds("eve@example.test", "", "imap") == 0.0


async def test_the_class_decides_and_is_given(migrating: Node, fake: FakeImap) -> None:
    found = await migrating.directory.create_account_class("example.test", "newcomers", actor=ADMIN)
    await configure(migrating, defaultAccountClassName="newcomers", createPremiumAccounts="no")
    await migrating.directory.set_class_setting(found.id, "enableAutoMigration", "no", actor=ADMIN)
    assert not (await login(migrating, "eve@example.test")).ok
    await migrating.directory.set_class_setting(found.id, "enableAutoMigration", "yes", actor=ADMIN)
    assert (await login(migrating, "eve@example.test", service="pop3")).ok
    account = migrating.directory.account_by_address("eve@example.test")
    assert account is not None and account.class_id == found.id
    rows = migrating.directory.database.query(
        "SELECT value FROM setting WHERE name LIKE '%accountType' AND scope_id = ?", (account.id,)
    )
    assert rows == [("basic",)]


async def test_a_refusal_takes_as_long_for_a_known_name_and_counts(migrating: Node, fake: FakeImap) -> None:
    fake.say["LOGIN"] = "{tag} NO [AUTHENTICATIONFAILED] wrong\r\n"

    unknown = migrating.authenticator.unknown
    assert unknown is not None
    for name in ("alice@example.test", "eve@example.test", "eve@example.test", "alice@example.test"):
        started = time.monotonic()
        assert (await login(migrating, name, "wrong-1-word")).reason is AuthReason.BAD_CREDENTIALS
        took = time.monotonic() - started
        # Both are held back to the same, which is longer than the asking; what is above it is the load of the machine.
        known, asked = (unknown.refusal_seconds(one, "", "imap") for one in ("alice@example.test", "eve@example.test"))
        assert took >= known - 0.01 and known == asked >= 0.3
    await migrating.directory.settings.set("server", "guardAccountFailures", "3", ADMIN)
    migrating.directory.poll()
    await login(migrating, "eve@example.test", "wrong-2-word")
    assert (await login(migrating, "eve@example.test", "wrong-3-word")).reason is AuthReason.LOCKED


async def test_a_dead_server_is_an_ordinary_refusal_that_counts_for_nobody(migrating: Node, fake: FakeImap) -> None:
    await configure(migrating, remoteImapPort=1)
    await migrating.directory.settings.set("server", "guardAccountFailures", "1", ADMIN)
    migrating.directory.poll()
    for _ in range(3):
        assert (await login(migrating, "eve@example.test")).reason is AuthReason.BAD_CREDENTIALS
    await configure(migrating, remoteImapPort=fake.port)
    fake.say["LOGIN"] = "{tag} NO [UNAVAILABLE] later\r\n"
    assert (await login(migrating, "eve@example.test")).reason is AuthReason.BAD_CREDENTIALS
    del fake.say["LOGIN"]
    assert (await login(migrating, "eve@example.test")).ok


async def test_logins_at_once_make_one_account_and_ask_once(migrating: Node, fake: FakeImap) -> None:
    results = await asyncio.gather(*(login(migrating, "eve@example.test") for _ in range(20)))
    assert all(result.ok for result in results)
    assert fake.logins <= 2  # and the copy
    assert migrating.directory.account_count() == 2


async def test_two_processes_make_one_account(migrating: Node, fake: FakeImap) -> None:
    other = FirstLogin(migrating.directory, migrating.context.data_dir, migrating.authenticator.unknown._domains)  # type: ignore[union-attr]
    mine = migrating.authenticator.unknown
    assert mine is not None
    found = await asyncio.gather(
        *(one.prove("eve@example.test", PASSWORD, service="imap", default_domain="") for one in (mine, other))
    )
    assert [account is not None for account in found] == [True, True]
    assert migrating.directory.account_count() == 2


async def test_this_server_is_not_asked_about_its_own_users(migrating: Node, fake: FakeImap) -> None:
    mine = migrating.authenticator.unknown
    mine._is_own = lambda address, port: (address, port) == ("127.0.0.1", fake.port)  # type: ignore[union-attr]
    assert not (await login(migrating, "eve@example.test")).ok
    assert fake.logins == 0


async def test_every_login_repeats_a_continuous_copy(migrating: Node, fake: FakeImap) -> None:
    await configure(migrating, enableContinuousMigration="yes", enableDebugLogging="yes")
    assert (await login(migrating, "eve@example.test")).ok
    await count(migrating, "eve@example.test", 3)
    jobs = MigrationService(migrating.directory, migrating.context.data_dir)
    async with asyncio.timeout(60):
        while jobs.list(actor=ADMIN)[0].state != "resting":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    fake.folders["INBOX"].messages[9] = text(9)
    assert (await login(migrating, "eve@example.test", service="pop3")).ok
    await count(migrating, "eve@example.test", 4)


async def test_the_command_runs_without_a_shell(migrating: Node, fake: FakeImap, tmp_path: Path) -> None:
    program = tmp_path / "made.py"
    program.write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('|'.join(sys.argv[2:]))")
    told = tmp_path / "told"
    words = f"{sys.executable} {program} {told} {{address}} '{{account}}; touch {tmp_path}/shell' {{domain}}"
    await configure(migrating, enableMigrationCommand="yes", migrationCommand=words)
    assert (await login(migrating, "eve@example.test")).ok
    await count(migrating, "eve@example.test", 3)
    assert told.read_text() == f"eve@example.test|eve; touch {tmp_path}/shell|example.test"
    assert not (tmp_path / "shell").exists()


async def test_imap_and_pop3_sessions_log_in(migrating: Node, fake: FakeImap) -> None:
    loop = asyncio.get_running_loop()
    endpoint = Endpoint("imap", idle_timeout=60.0)
    listener = await loop.create_server(lambda: migrating._faces["imap"](endpoint), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]

    def session() -> bytes:
        client = imaplib.IMAP4("127.0.0.1", port)
        client.login("eve@example.test", PASSWORD)
        found = client.select("INBOX")[1][0]
        client.logout()
        return bytes(found or b"")

    await migrating.directory.settings.set("imap", "plainConnAllowLogin", "yes", ADMIN)
    migrating.directory.poll()
    await asyncio.to_thread(session)
    await count(migrating, "eve@example.test", 3)
    assert await asyncio.to_thread(session) == b"3"
    listener.close()


async def test_mail_for_those_who_have_not_come_is_passed_on(migrating: Node, fake: FakeImap) -> None:
    remote = Remote()  # takes mail for friend@ alone
    there = await asyncio.start_server(remote.serve, "127.0.0.1", 0)
    port = there.sockets[0].getsockname()[1]
    await configure(migrating, remoteSmtpHost="[127.0.0.1]", remoteSmtpPort=port)
    # Whatever the smart host is, this mail does not go there.
    await migrating.directory.settings.set("smtpOutgoing", "smartHost", "[127.0.0.9]", ADMIN)
    endpoint = Endpoint("smtpIncoming", idle_timeout=60.0)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: migrating._faces["smtpIncoming"](endpoint), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.sockets[0].getsockname()[1])
    await reader.readline()

    async def say(line: str) -> bytes:
        writer.write(line.encode() + b"\r\n")
        while (reply := await reader.readline())[3:4] == b"-":
            pass
        return reply

    await say("EHLO client.test")
    await say("MAIL FROM:<sender@elsewhere.test>")
    writer.write(b"RCPT TO:<friend@example.test>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n")
    replies = [(await reader.readline())[:3] for _ in range(4)]
    assert replies == [b"250", b"550", b"250", b"354"]
    assert (await say("Subject: before\r\n\r\nhello\r\n.")).startswith(b"250")
    async with asyncio.timeout(60):
        while not remote.taken:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert b"Subject: before" in remote.taken[0]
    await count(migrating, "alice@example.test", 1)
    there.close()
    await configure(migrating, remoteSmtpPort=1)
    await say("MAIL FROM:<sender@elsewhere.test>")
    assert (await say("RCPT TO:<friend@example.test>")).startswith(b"451")  # not lost: it may come again
    await configure(migrating, remoteSmtpHost="")
    assert (await say("RCPT TO:<friend@example.test>")).startswith(b"550")
    writer.close()
    listener.close()
