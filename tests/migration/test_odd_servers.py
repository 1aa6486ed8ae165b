"""Servers that are old, odd, broken or hostile."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.migration import runner as runner_module
from mailstead.migration.imap_client import ImapClient, LoginRefused
from mailstead.migration.imap_stream import RemoteBroken, RemoteError
from mailstead.migration.remote import Remote, host_address
from mailstead.process.certificates import self_signed
from tests.migration.conftest import ADMIN, Here, text
from tests.migration.fake_imap import FakeFolder, FakeImap


@pytest.fixture
async def fake() -> AsyncIterator[FakeImap]:
    server = await FakeImap({"INBOX": FakeFolder(messages={n: text(n) for n in range(1, 4)})}).start()
    yield server
    await server.stop()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "DELAYS", (0.01,))


async def test_names_are_mapped_and_what_changed_is_said(here: Here, fake: FakeImap) -> None:
    fake.namespace = '(("INBOX." ".")) (("user." ".")) (("shared." "."))'
    one = {1: text(1)}
    for name, attributes in {
        "INBOX.Work.a/b": "", "INBOX.Work.a*b": "", "INBOX.Work.a_b": "", "INBOX.Sent Items": "\\Sent", "INBOX.Sent": "",
        "INBOX.Deleted Items": "", "INBOX.Other Users": "", "INBOX.&U,BTFw-": "", "INBOX.&bad": "", "user.bob": "",
        "shared.news": "",
        "INBOX.All": "\\All", "INBOX.Top": "\\Noselect", 'INBOX.q"uo\\te': "",
    }.items():  # fmt: skip
        fake.folders[name] = FakeFolder(attributes, messages=dict(one), subscribed=name.endswith("a_b"))
    here.start_runner()
    await here.service.start(here.account.id, **fake.source, actor=ADMIN)
    job = await here.over()
    assert job.state == "done"
    folders = {folder.name: folder for folder in await here.mailbox.folders(here.account.id)}
    counts = {}
    for name, folder in folders.items():
        counts[name] = (await here.mailbox.status(folder)).messages
    assert counts == {
        "INBOX": 3, "Drafts": 0, "Sent": 1, "Trash": 1, "Spam": 0, "Archive": 0, "Work": 0, "Work/a\u2215b": 1, "Work/a_b": 1,
        "Work/a_b (2)": 1, "Sent (2)": 1, "Other Users (2)": 1, "台北": 1, "&bad": 1, 'q"uo\\te': 1,
    }  # fmt: skip
    assert folders["Work/a_b (2)"].subscribed or folders["Work/a_b"].subscribed
    said = here.said(job)
    assert "Work/a/b: becomes Work/a\u2215b" in said
    assert "All: left out, it shows messages of other folders" in said
    assert "Sent Items: becomes Sent" in said
    again = await here.service.start(here.account.id, **fake.source, actor=ADMIN)
    await here.over()
    assert again.id == job.id
    assert {folder.name for folder in await here.mailbox.folders(here.account.id)} == set(folders)


async def test_a_lost_connection_is_made_again_and_nothing_comes_twice(here: Here, fake: FakeImap) -> None:
    fake.folders["INBOX"].messages = {n: text(n, 20_000 if n % 40 else 700_000) for n in range(1, 600)}
    fake.drop_after, fake.drops = 250, [450]
    here.start_runner()
    await here.service.start(here.account.id, **fake.source, actor=ADMIN)
    job = await here.over()
    assert job.state == "done"
    assert fake.logins == 3
    assert [octets for octets, _, _ in await here.messages()] == list(fake.folders["INBOX"].messages.values())
    # No more was asked for again than the batch that broke off and the one behind it.
    assert fake.given < 600 + 2 * 200


async def test_a_message_that_cannot_be_had_is_named(here: Here, fake: FakeImap) -> None:
    fake.broken = {2}
    here.start_runner()
    await here.service.start(here.account.id, **fake.source, actor=ADMIN)
    job = await here.over()
    assert job.state == "done"
    assert "UID 2: fetch: NO a message is damaged" in job.reason
    assert [octets for octets, _, _ in await here.messages()] == [text(1), text(3)]
    fake.broken = set()
    await here.service.start(here.account.id, **fake.source, actor=ADMIN)
    assert (await here.over()).reason == ""
    assert len(await here.messages()) == 3


async def test_numbers_that_changed_their_meaning_bring_nothing_twice(here: Here, fake: FakeImap) -> None:
    here.start_runner()
    await here.service.start(here.account.id, **fake.source, actor=ADMIN, continuous=True)
    await here.over()
    folder = fake.folders["INBOX"]
    folder.validity = 2
    # The dates are made of the UID here, so shifting by 28 keeps them.
    folder.messages = {uid + 28: octets for uid, octets in folder.messages.items()} | {99: text(99)}
    folder.flags[29] = "\\Seen"
    await here.service.again(here.account.id)
    job = await here.until(lambda job: job.rounds == 2)
    assert [octets for octets, _, _ in await here.messages()] == [text(1), text(2), text(3), text(99)]
    assert (await here.messages())[0][1] == ("\\Seen",)
    assert any("3 messages were found again" in line for line in here.said(job))


async def test_a_folder_that_cannot_be_opened_does_not_keep_the_others(here: Here, fake: FakeImap) -> None:
    fake.folders = {"INBOX": fake.folders["INBOX"], "A": FakeFolder(messages={1: text(1)}), "Z": FakeFolder(messages={1: text(2)})}
    here.start_runner()
    await here.service.start(here.account.id, **fake.source, actor=ADMIN, structure_only=True)
    await here.over()
    renamed = fake.folders.pop("A")
    fake.folders["A"] = renamed
    fake.say["LIST"] = '* LIST () "." INBOX\r\n* LIST () "." A2\r\n* LIST () "." Z\r\n{tag} OK done\r\n'
    await here.service.start(here.account.id, **fake.source, actor=ADMIN)
    job = await here.over()
    assert job.state == "done"
    assert "A2: examine A2: NO no such folder" in job.reason
    assert [octets for octets, _, _ in await here.messages("Z")] == [text(2)]


async def connect(fake: FakeImap, timeout: float = 30.0, **more: object) -> ImapClient:
    remote = Remote("127.0.0.1", fake.port, "u", "secret", **more)  # type: ignore[arg-type]
    return await ImapClient.connect(remote, timeout=timeout)


HOSTILE = {
    "a literal without end": '* LIST () "." {99999999}\r\n',
    "a message without end": "* 1 FETCH (UID 1 BODY[] {9999999999999}\r\n",
    "lists in lists": "* " + "(" * 90_000 + "\r\n",
    "no protocol": "HTTP/1.1 400 Bad Request\r\n",
    "a string without end": '* LIST () "." "abc\r\n',
    "silence": "",
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_server_is_left(fake: FakeImap, case: str) -> None:
    fake.say["LIST"] = HOSTILE[case]
    client = await connect(fake)
    await client.login("u", "secret")
    client.stream.timeout = 1.0
    async with asyncio.timeout(60):
        with pytest.raises(RemoteError):
            await client.folders()
    client.close()


async def test_bodies_that_were_not_asked_for_are_not_kept(fake: FakeImap) -> None:
    fake.say["UID FETCH"] = "* 1 FETCH (UID 77 BODY[] {3}\r\nabc)\r\n* 2 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n{tag} OK done\r\n"
    client = await connect(fake)
    await client.login("u", "secret")
    await client.select(b"INBOX")
    got: list[int] = []
    await client.fetch([1, 2], "UID BODY.PEEK[]", lambda message: got.append(message.uid))
    assert got == [1]
    client.close()


async def test_what_is_said_before_the_login(fake: FakeImap) -> None:
    fake.say["greeting"] = "* BYE too many connections"
    with pytest.raises(RemoteError, match="too many connections"):
        await connect(fake)
    fake.say["greeting"] = "* OK [CAPABILITY IMAP4rev1] hi"
    with pytest.raises(RemoteError, match="offers no STARTTLS"):
        await connect(fake, security="starttls")
    client = await connect(fake)
    with pytest.raises(LoginRefused, match=r"\Alogin: NO wrong\Z"):
        await client.login("u", "other")
    client.close()
    with pytest.raises(RemoteError, match="no connection"):
        await ImapClient.connect(Remote("127.0.0.1", 1, "u", "p"))


async def test_octets_before_tls_do_not_count_as_protected(fake: FakeImap) -> None:
    fake.capabilities = "IMAP4rev1 STARTTLS"
    fake.say["STARTTLS"] = "{tag} OK go\r\n* CAPABILITY IMAP4rev1\r\n"
    with pytest.raises(RemoteBroken, match="before TLS"):
        await connect(fake)


@pytest.mark.parametrize(
    ("capabilities", "password", "first"),
    [
        ("IMAP4rev1", 'sec"r\\et', 'LOGIN "u" "sec\\"r\\\\et"'),
        ("IMAP4rev1 AUTH=PLAIN LOGINDISABLED", "secret", "AUTHENTICATE PLAIN"),
        ("IMAP4rev1 AUTH=PLAIN", "geheimnüs", "AUTHENTICATE PLAIN"),
        ("IMAP4rev1 AUTH=LOGIN LOGINDISABLED", "secret", "AUTHENTICATE LOGIN"),
        ("IMAP4rev1", "geheimnüs", 'LOGIN "u" "geheimnÃ¼s"'),
    ],
)
async def test_ways_to_log_in(fake: FakeImap, capabilities: str, password: str, first: str) -> None:
    fake.capabilities = capabilities
    fake.password = password.encode().decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
    fake.say["AUTHENTICATE"] = "+ \r\n"
    client = await connect(fake)
    task = asyncio.create_task(client.login("u", password))
    async with asyncio.timeout(60):
        while not fake.seen:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert first in fake.seen[0]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    client.close()


@pytest.mark.parametrize("security", ["tls", "starttls", "auto"])
async def test_tls_is_verified_where_it_is_asked_for(tmp_path: Path, security: str) -> None:
    certificate = tmp_path / "cert.pem"
    self_signed(certificate, ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    fake = await FakeImap(
        {"INBOX": FakeFolder(messages={1: text(1)})}, capabilities="IMAP4rev1 STARTTLS", tls=context, implicit=security == "tls"
    ).start()
    remote = Remote("localhost", fake.port, "u", "secret", security)
    if security != "auto":
        with pytest.raises(RemoteError, match="TLS"):
            await ImapClient.connect(remote, timeout=60)
    for client in (
        await ImapClient.connect(remote, timeout=60, ca_bundle=str(certificate)),
        await ImapClient.connect(Remote("localhost", fake.port, "u", "secret", security, verify=False), timeout=60),
    ):
        assert client.stream.tls
        await client.login("u", "secret")
        assert len(await client.folders()) == 1
        await client.logout()
    assert fake.tls_begun == (security != "tls")
    assert not any("LOGIN" in line for line in fake.seen[: 1 if security != "tls" else 0])
    await fake.stop()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("imap.example.net", "imap.example.net"),
        ("[192.0.2.7]", "192.0.2.7"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_hosts(host: str, address: str) -> None:
    assert host_address(host) == address


@pytest.mark.parametrize("host", ["2001:db8::1", "[x]", "", "a b", "u@h", "a/b", "[::1", "x" * 300])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValueError):
        host_address(host)


async def test_an_address_in_brackets_is_reached(here: Here, fake: FakeImap) -> None:
    here.start_runner()
    await here.service.start(here.account.id, **fake.source | {"host": "[127.0.0.1]"}, actor=ADMIN)
    assert (await here.over()).state == "done"


async def test_a_mailbox_is_not_copied_into_itself(here: Here, fake: FakeImap) -> None:
    runner = here.start_runner()
    runner._is_own = lambda address, port: (address, port) == ("127.0.0.1", fake.port)
    await here.service.start(here.account.id, **fake.source | {"user": "alice@example.test"}, actor=ADMIN)
    job = await here.over()
    assert (job.state, job.reason) == ("failed", "a mailbox cannot be copied into itself")
    await here.service.start(here.account.id, **fake.source | {"user": "bob@example.test"}, actor=ADMIN)
    assert (await here.over()).state == "done"


async def test_a_running_job_is_aborted_and_goes_on_when_started_again(here: Here, fake: FakeImap) -> None:
    wanted = {n: text(n, 10_000) for n in range(1, 6_001)}
    fake.folders["INBOX"].messages = wanted
    fake.hold = asyncio.Event()
    here.start_runner()
    await here.service.start(here.account.id, **fake.source, actor=ADMIN)
    async with asyncio.timeout(300):
        while not await here.messages():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await here.service.abort(actor=ADMIN) == 1
    job = await here.over()
    assert (job.state, job.secret) == ("aborted", "")
    assert 0 < len(await here.messages()) < 6_000
    fake.hold.set()
    await here.service.start(here.account.id, **fake.source, actor=ADMIN)
    assert (await here.over()).state == "done"
    assert [octets for octets, _, _ in await here.messages()] == list(wanted.values())
