"""What a hosting firm's billing system sends (contract: provisioning, section 4), over TCP and over TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from mailstead.admin_cli.server import AdminServer
from mailstead.process.certificates import TlsSettings, build_context, self_signed
from mailstead.transport.endpoint import Endpoint
from tests.admin_cli.conftest import PASSWORD, Client, Face

Connect = Callable[..., Awaitable[Client]]
LOCATION = "/var/opt/axigen/domains/shop.test"
CREATE = (
    f'CREATE Domain name "shop.test" domainLocation "{LOCATION}" postmasterPassword "post-secret-1"',
    "SET groupwareSupport yes",
    f'SET domainObjectsLocation "{LOCATION}/objects"',
    'ADD MessagesLocation "file:///m1?maxFiles=128&maxFileSize=262144"',
    'ADD MessagesLocation "file:///m2?maxFiles=128&maxFileSize=262144"',
    "COMMIT",
    'UPDATE Domain name "shop.test"',
    "SET services (smtpIncoming smtpOutgoing pop3 imap webmail)",
    'SET customerReference "whmcs-17"',
    "CONFIG adminLimits",
    *(f"SET {name} 3" for name in (
        "maxAccounts", "maxMaillists", "maxGroups", "maxFolderRecipients", "maxSubdomains", "maxPremiumMailboxCount",
    )),
    "SET maxAccountMessageSizeQuota 2097152",
    "COMMIT",
    'ADD Alias "shop.example.net"',
    "COMMIT",
    "SAVE CONFIG",
)  # fmt: skip
ADMINISTRATOR = (
    "ENTER AACL",
    'ADD admin-user name "shopkeeper" password "keeper-secret-1"',
    'GRANT permission (manageAccounts createAccounts removeAccounts changeAccountsPassword) domain "shop.test"',
    "DONE",
    "DONE",
)
ACCOUNT = (
    'UPDATE Domain name "shop.test"',
    'ADD Account name "john" password "john-secret-1"',
    "SET accountType premium",
    'SET customerReference "whmcs-18"',
    'INHERIT SETTINGS FROM accountClass "gold"',
    "CONFIG Quotas", "SET totalMessageSize 1048576", "SET totalMessageCount 10000", "DONE",
    "CONFIG Limits", "SET sentMessagesCount 100", "SET sentRecipientsCount 500", "SET sentMessagesInterval 3600", "DONE",
    "CONFIG ContactInfo", 'SET firstName "John"', 'SET lastName "O\'Neill"', "DONE",
    "COMMIT",
    "COMMIT",
)  # fmt: skip


@pytest.fixture(params=["tcp", "tls"])
async def connect(face: Face, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    certificate = tmp_path / "certificate.pem"
    await asyncio.to_thread(self_signed, certificate, ["localhost", "127.0.0.1"])
    endpoint = Endpoint("cli", ssl_context=build_context(TlsSettings(cert_file=str(certificate))), implicit_tls=True)
    server = AdminServer(face.services)
    listener = await asyncio.get_running_loop().create_server(lambda: server.connection(endpoint), "127.0.0.1", 0)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def dial(name: str = "admin", password: str = PASSWORD) -> Client:
        if request.param == "tcp":
            return await face.client(name, password)
        port = listener.sockets[0].getsockname()[1]
        client = Client(*await asyncio.open_connection("127.0.0.1", port, ssl=trusting))
        await client.read()
        assert client.prompt == "<login> "
        return await client.login(name, password)

    yield dial
    listener.close()
    for connection in list(endpoint.connections):
        connection.abort()
    await asyncio.sleep(0)


async def _session(connect: Connect, *lines: str, name: str = "admin", password: str = PASSWORD) -> list[str]:
    """One connection, as the module makes for each action: the commands, then QUIT. The body of the last command."""
    client = await connect(name, password)
    body = await client.ok(*lines)
    assert (await client.send("QUIT"))[0] == "+OK: have a nice day"
    return body


async def _services(connect: Connect, account: str) -> bool:
    """Whether an account may use any service, as SHOW says."""
    way = ('UPDATE Domain "shop.test"', f"UPDATE Account {account}", "CONFIG Limits")
    value = (await _session(connect, *way, "SHOW ATTR services"))[0].split(" = ")[1].split(" [")[0]
    return value not in ("()", "none")


async def test_life_of_a_domain(connect: Connect, face: Face) -> None:
    await _session(connect, *CREATE)
    domain = face.directory.domain_by_name("shop.test")
    assert domain is not None and domain.enabled and face.directory.domain_by_name("shop.example.net") == domain
    client = await connect()
    assert "already exists" in await client.err(CREATE[0])
    shown = await client.show('SHOW Domain "shop.test"')
    assert shown["customerReference"] == '"whmcs-17"'
    await client.ok('UPDATE Domain "shop.test"', "CONFIG adminLimits")
    assert (await client.show())["maxAccounts"].split()[0] == "3"
    await client.ok("BACK", "BACK")

    await _session(connect, *ADMINISTRATOR)
    keeper = await connect("shopkeeper", "keeper-secret-1")
    assert [row.split()[0] for row in await keeper.rows("LIST Domains")] == ["shop.test"]
    assert "does not exist" in await keeper.err("UPDATE Domain example.test")
    for number in range(2):
        await keeper.ok('UPDATE Domain "shop.test"', f'ADD Account name "u{number}" password "secret-{number}-x"', "COMMIT", "BACK")
    await keeper.ok('UPDATE Domain "shop.test"')
    reply = await keeper.send('ADD Account name "u9" password "secret-9-x"')
    if reply[-1].startswith("+OK"):
        reply = await keeper.send("COMMIT")
    assert reply[-1].startswith("-ERR: "), "the postmaster and two accounts are all that maxAccounts 3 allows"

    # Change package, change password, usage.
    await _session(connect, 'UPDATE Domain "shop.test"', "CONFIG adminLimits", "SET maxAccounts 5", "COMMIT", "COMMIT")
    await _session(
        connect, 'UPDATE Domain "shop.test"', "UPDATE Account name postmaster", 'SET password "new-post-2"', "COMMIT", "COMMIT"
    )
    await _session(connect, "ENTER AACL", "UPDATE admin-user shopkeeper", 'SET password "keeper-secret-2"', "DONE", "DONE")
    await connect("shopkeeper", "keeper-secret-2")
    usage = await _session(connect, 'UPDATE Domain "shop.test"', "SHOW StorageInformation")
    assert len(usage) >= 3
    rows = await _session(connect, 'UPDATE Domain "shop.test"', "LIST DomainObjectsInfo")
    assert "u0" in "\n".join(rows)
    found = json.loads("\n".join(await _session(connect, "ENTER JSONQUERY", "QUERY /domains")))
    assert "shop.test" in json.dumps(found)

    # Suspend, resume, terminate.
    await _session(connect, 'DISABLE Domain name "shop.test"')
    domain = face.directory.domain_by_name("shop.test")
    assert domain is not None and not domain.enabled
    await _session(connect, 'ENABLE Domain name "shop.test"')
    client = await connect()
    assert "disable" in (await client.err('DELETE Domain name "shop.test"')).lower()
    await client.ok('DISABLE Domain name "shop.test"', 'DELETE Domain name "shop.test"')
    assert face.directory.domain_by_name("shop.test") is None
    assert "does not exist" in await client.err('DISABLE Domain name "shop.test"')


async def test_locations_are_kept_and_changed_while_the_domain_is_disabled(connect: Connect) -> None:
    await _session(connect, *CREATE)
    client = await connect()
    await client.ok('DISABLE Domain name "shop.test"', 'EDIT Domain name "shop.test"')
    assert await client.items("LIST MessagesLocations") == [f"file:///m{n}?maxFiles=128&maxFileSize=262144" for n in (1, 2)]
    assert (await client.show())["domainLocation"] == f'"{LOCATION}"'
    await client.ok('REMOVE MessagesLocation "/m1"', 'UPDATE MessagesLocation "/m2" "file:///m3"', "COMMIT")
    await client.ok('EDIT Domain name "shop.test"')
    assert await client.items("LIST MessagesLocations") == ["file:///m3"]
    assert "does not exist" in await client.err("REMOVE MessagesLocation /m2")
    assert "already exists" in await client.err("ADD MessagesLocation file:///m3")
    await client.ok("REPAIR domainContainer")
    assert any("state: " in line for line in await client.ok("REPAIR attach"))
    assert "fsck" in await client.err("REPAIR publicContainer reset")


async def test_life_of_an_account(connect: Connect, face: Face) -> None:
    await _session(connect, *CREATE)
    await _session(connect, 'UPDATE Domain "shop.test"',
                   "ADD accountClass gold", "CONFIG Quotas", "SET messageCount 77", "DONE", "COMMIT",
                   "ADD accountClass suspended", "CONFIG Limits", "SET services ()", "DONE", "COMMIT")  # fmt: skip
    await _session(connect, *ACCOUNT)
    client = await connect()
    await client.ok('UPDATE Domain "shop.test"')
    assert "already exists" in await client.err('ADD Account name "john" password "john-secret-1"')
    await client.ok("UPDATE Account john")
    shown = await client.show()
    assert (shown["accountType"], shown["customerReference"], shown["accountClassName"]) == ("premium", '"whmcs-18"', '"gold"')
    assert "Mbox size" in await client.show("SHOW RegistryInformation")
    await client.ok("CONFIG Quotas")
    assert (await client.ok("SHOW ATTR totalMessageSize"))[0].split()[2] == "1048576"
    assert (await client.ok("SHOW ATTR messageCount"))[0].split()[2] == "77"
    await client.ok("BACK", "BACK", "BACK")

    way = ('UPDATE Domain "shop.test"', "UPDATE Account john")
    assert await _services(connect, "john")
    await _session(connect, *way, "CONFIG Limits", "SET services ()", "DONE", "COMMIT", "COMMIT")
    assert not await _services(connect, "john")
    await _session(connect, *way, "CONFIG Limits", "RESET services", "DONE", "COMMIT", "COMMIT")
    assert await _services(connect, "john")
    await _session(connect, *way, 'INHERIT SETTINGS FROM accountClass "suspended"', "COMMIT", "COMMIT")
    assert not await _services(connect, "john")
    await _session(connect, *way, 'INHERIT SETTINGS FROM accountClass "gold"', "COMMIT", "COMMIT")
    assert await _services(connect, "john")

    await _session(connect, *way, 'SET password "other-secret-2" respectEnforcement yes', "COMMIT", "COMMIT")
    await _session(connect, way[0], 'REMOVE Account name "john"', "COMMIT")
    assert face.directory.account_by_address("john@shop.test") is None
    client = await connect()
    await client.ok('UPDATE Domain "shop.test"')
    assert "does not exist" in await client.err('REMOVE Account name "john"')
