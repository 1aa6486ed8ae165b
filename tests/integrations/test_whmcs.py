"""The WHMCS module against real servers of the administration protocol."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mailstead.admin_cli.server import AdminServer
from mailstead.admin_cli.services import AdminServices
from mailstead.directory import Actor, Directory
from mailstead.identity.administrators import AdministratorLogin
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.process.background import BackgroundVerbs
from mailstead.process.certificates import self_signed
from mailstead.store.service import Store
from mailstead.transport.endpoint import Endpoint

ADMIN = Actor.system("test")
SECRET = 'admin "secret\\ 1'
DRIVER = Path(__file__).with_name("whmcs.php")
MODULE = Path(__file__).parents[2] / "integrations/whmcs/modules/servers/mailstead"

pytestmark = pytest.mark.skipif(not shutil.which("php"), reason="needs php-cli")


class Server:
    """One Mailstead with its administration listener."""

    def __init__(self, directory: Directory, mailbox: Mailbox, port: int) -> None:
        self.directory, self.mailbox, self.port = directory, mailbox, port
        self.closers: list[Any] = []

    async def stop(self) -> None:
        for close in self.closers:
            result = close()
            if asyncio.iscoroutine(result):
                await result


async def start(data: Path) -> Server:
    directory = Directory.open(data, create=True)
    await directory.create_admin("whmcs", SECRET, actor=ADMIN, everything=True)
    store = await Store.open(data, "w0")
    mailbox = Mailbox(store, directory, directory)
    authenticator = Authenticator(directory, directory.settings, LocalGuard())
    services = AdminServices(
        directory, directory.settings, AdministratorLogin(authenticator), mailbox, store, data, BackgroundVerbs()
    )
    server = AdminServer(services)
    endpoint = Endpoint(service="cli", address="127.0.0.1", idle_timeout=300.0, max_errors=20, max_auth_errors=5)
    listener = await asyncio.get_running_loop().create_server(lambda: server.connection(endpoint), "127.0.0.1", 0)
    found = Server(directory, mailbox, listener.sockets[0].getsockname()[1])
    found.closers = [listener.close, authenticator.close, store.close, directory.close]
    return found


class Whmcs:
    """WHMCS's tables, and calls of the module's functions."""

    def __init__(self, file: Path, servers: list[Server]) -> None:
        self.file = file
        self.tables: dict[str, list[dict[str, Any]]] = {
            "tblproducts": [],
            "tblservergroupsrel": [{"groupid": 3, "serverid": n} for n in range(1, len(servers) + 1)],
            "tblservers": [
                {
                    "id": number, "name": f"mail{number}", "type": "mailstead", "disabled": 0, "hostname": "", "port": server.port,
                    "ipaddress": "127.0.0.1", "secure": "", "username": "whmcs", "password": SECRET[::-1], "accesshash": "",
                }
                for number, server in enumerate(servers, 1)
            ],
            "tblhosting": [],
            "tblcustomfields": [],
            "tblcustomfieldsvalues": [],
        }  # fmt: skip
        self.log: list[str] = []

    def product(self, id: int, kind: str, group: int = 3) -> None:
        self.tables["tblproducts"].append({"id": id, "servergroup": group, "servertype": "mailstead", "configoption1": kind})

    def service(self, id: int, product: int, domain: str, username: str) -> None:
        row = {"id": id, "packageid": product, "domain": domain, "username": username, "server": 1, "domainstatus": "Active"}
        self.tables["tblhosting"].append(row | {"diskusage": 0, "disklimit": 0, "lastupdate": ""})

    def row(self, table: str, id: int) -> dict[str, Any]:
        return next(row for row in self.tables[table] if row["id"] == id)

    def params(self, service: int, password: str = "", options: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
        """What WHMCS hands over for a service."""
        row = self.row("tblhosting", service)
        params = {
            "serviceid": service, "pid": row["packageid"], "domain": row["domain"], "username": row["username"],
            "password": password, "configoption1": self.row("tblproducts", row["packageid"])["configoption1"],
            "configoptions": options or {}, "customfields": {}, "status": row["domainstatus"],
            "clientsdetails": {"firstname": "Jöhn", "lastname": 'O"Neill'},
        }  # fmt: skip
        return params | self.server(row["server"]) | more

    def server(self, id: int) -> dict[str, Any]:
        row = self.row("tblservers", id)
        return {
            "serverid": id, "serverhostname": row["hostname"], "serverip": row["ipaddress"], "serverport": row["port"],
            "serversecure": row["secure"] == "on", "serverusername": row["username"], "serverpassword": row["password"][::-1],
            "serveraccesshash": row["accesshash"],
        }  # fmt: skip

    async def call(self, function: str, params: dict[str, Any] | None = None) -> Any:
        self.file.write_text(json.dumps(self.tables))
        given = {"function": function, "database": str(self.file)} | ({"params": params} if params is not None else {})
        php = await asyncio.create_subprocess_exec(
            "php", str(DRIVER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await php.communicate(json.dumps(given).encode())
        self.tables = json.loads(self.file.read_text())
        try:
            answer = json.loads(out)
        except ValueError:
            raise AssertionError(out.decode()) from None
        self.log = answer["log"]
        for line in self.log:
            assert SECRET not in line
            for secret in (params or {}).get("password", ""), (params or {}).get("serverpassword", ""):
                assert not secret or secret not in line
        return answer["result"]

    async def ok(self, function: str, params: dict[str, Any]) -> None:
        assert await self.call(function, params) == "success", "\n".join(self.log)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    found = await start(tmp_path / "one")
    yield found
    await found.stop()


@pytest.fixture
def whmcs(tmp_path: Path, server: Server) -> Whmcs:
    made = Whmcs(tmp_path / "whmcs.json", [server])
    made.product(1, "Domain")
    made.product(2, "Account")
    made.service(10, 1, "example.com", "examplec")
    made.service(20, 2, "example.com", "john")
    return made


DOMAIN = {"Max accounts": "50", "Max lists": "5", "Largest quota": "2048", "Services": "smtpIncoming smtpOutgoing imap pop3"}
ACCOUNT = {"Quota": "1024", "Message quota": "10000", "Sent messages": "100", "Account type": "basic"}


async def test_life_of_a_domain(whmcs: Whmcs, server: Server) -> None:
    await whmcs.ok("CreateAccount", whmcs.params(10, 'p"ss\\w1 rd', DOMAIN))
    domain = server.directory.domain_by_name("example.com")
    assert domain is not None
    values = server.directory.domain_settings(domain.id)
    assert (values.maxAccounts, values.maxAccountMessageSizeQuota, values.customerReference) == (50, 2048 * 1024, "whmcs-10")
    assert "imap" in values.services and "webmail" not in values.services
    login = Authenticator(server.directory, server.directory.settings, LocalGuard())
    ok = await login.verify_password("postmaster@example.com", 'p"ss\\w1 rd', service="imap", peer="127.0.0.1")
    assert ok.ok
    await whmcs.ok("CreateAccount", whmcs.params(10, 'p"ss\\w1 rd', DOMAIN))  # begun anew, it is ours
    whmcs.service(11, 1, "example.com", "other")
    assert "already exists" in await whmcs.call("CreateAccount", whmcs.params(11, "another-1-word"))
    for function in ("SuspendAccount", "ChangePassword", "ChangePackage", "TerminateAccount"):
        answer = await whmcs.call(function, whmcs.params(11, "another-1-word", {"Max accounts": "9"}))
        assert "belongs to another service" in answer, function
    assert (found := server.directory.domain_by_name("example.com")) is not None and found.enabled
    await whmcs.ok("ChangePassword", whmcs.params(10, "new-word-1"))
    assert (await login.verify_password("postmaster@example.com", "new-word-1", service="imap", peer="127.0.0.1")).ok
    await whmcs.ok("ChangePackage", whmcs.params(10, "new-word-1", DOMAIN | {"Max accounts": "7"}))
    assert server.directory.domain_settings(domain.id).maxAccounts == 7
    await whmcs.ok("SuspendAccount", whmcs.params(10))
    assert not server.directory.domain_by_name("example.com").enabled  # type: ignore[union-attr]
    await whmcs.ok("UnsuspendAccount", whmcs.params(10))
    assert server.directory.domain_by_name("example.com").enabled  # type: ignore[union-attr]
    await whmcs.ok("TerminateAccount", whmcs.params(10))
    assert server.directory.domain_by_name("example.com") is None
    await whmcs.ok("TerminateAccount", whmcs.params(10))  # what is gone is gone
    await login.close()


async def test_the_customers_administrator(whmcs: Whmcs, server: Server) -> None:
    await whmcs.ok("CreateAccount", whmcs.params(10, "customer-1-word", {"Domain administrator": "on"}))
    domain = server.directory.domain_by_name("example.com")
    admin = server.directory.admin("examplec")
    assert domain is not None and admin is not None and not admin.everything
    customer = whmcs.server(1) | {"serverusername": "examplec", "serverpassword": "customer-1-word"}
    assert await whmcs.call("TestConnection", customer) == {"success": True, "error": ""}
    await whmcs.ok("ChangePassword", whmcs.params(10, "customer-2-word", {"Domain administrator": "on"}))
    found = await whmcs.call(
        "TestConnection", whmcs.server(1) | {"serverusername": "examplec", "serverpassword": "customer-1-word"}
    )
    assert not found["success"]
    whmcs.service(12, 1, "another.com", "whmcs")  # the name of an administrator that is not this service's
    answer = await whmcs.call("CreateAccount", whmcs.params(12, "customer-1-word", {"Domain administrator": "on"}))
    assert "another administrator" in answer
    await whmcs.ok("TerminateAccount", whmcs.params(12, options={"Domain administrator": "on"}))
    assert server.directory.admin("whmcs") is not None
    await whmcs.ok("TerminateAccount", whmcs.params(10, options={"Domain administrator": "on"}))
    assert server.directory.admin("examplec") is None


async def test_life_of_an_account(whmcs: Whmcs, server: Server) -> None:
    await server.directory.create_domain("example.com", actor=ADMIN)
    gold = await server.directory.create_account_class("example.com", "gold", actor=ADMIN)
    login = Authenticator(server.directory, server.directory.settings, LocalGuard())

    async def may(password: str) -> str:
        return (await login.verify_password("john@example.com", password, service="imap", peer="127.0.0.1")).reason.name

    await whmcs.ok("CreateAccount", whmcs.params(20, 'p"ss\\w1 rd', ACCOUNT | {"Account class": "gold"}))
    account = server.directory.account_by_address("john@example.com")
    assert account is not None
    assert (account.class_id, account.quota_bytes, account.quota_messages) == (gold.id, 1 << 30, 10_000)
    assert account.full_name == 'Jöhn O"Neill'
    assert await may('p"ss\\w1 rd') == "OK"
    await whmcs.ok("CreateAccount", whmcs.params(20, 'p"ss\\w1 rd', ACCOUNT))  # begun anew
    whmcs.service(21, 2, "example.com", "john")
    assert "already exists" in await whmcs.call("CreateAccount", whmcs.params(21, "another-1-word"))
    for function in ("SuspendAccount", "UnsuspendAccount", "ChangePassword", "ChangePackage", "TerminateAccount"):
        answer = await whmcs.call(function, whmcs.params(21, "another-1-word", {"Quota": "9"}))
        assert "belongs to another service" in answer, function
    assert await may('p"ss\\w1 rd') == "OK"
    await whmcs.ok("ChangePassword", whmcs.params(20, "new-word-1"))
    assert await may("new-word-1") == "OK"
    await whmcs.ok("SuspendAccount", whmcs.params(20))
    assert await may("new-word-1") == "SERVICE_OFF"
    whmcs.row("tblhosting", 20)["domainstatus"] = "Suspended"
    await whmcs.ok("ChangePackage", whmcs.params(20, options={"Quota": "5"}))
    account = server.directory.account_by_address("john@example.com")
    assert account is not None and (account.quota_bytes, account.quota_messages, account.class_id) == (5 << 20, 0, 0)
    assert await may("new-word-1") == "SERVICE_OFF"  # another product does not end a suspension
    whmcs.row("tblhosting", 20)["domainstatus"] = "Active"
    await whmcs.ok("UnsuspendAccount", whmcs.params(20))
    assert await may("new-word-1") == "OK"
    await whmcs.ok("SuspendAccount", whmcs.params(20))
    await whmcs.ok("UnsuspendAccount", whmcs.params(20, options={"Services": "pop3"}))
    assert await may("new-word-1") == "SERVICE_OFF"
    await whmcs.ok("TerminateAccount", whmcs.params(20))
    assert server.directory.account_by_address("john@example.com") is None
    await whmcs.ok("TerminateAccount", whmcs.params(20))
    await login.close()


async def test_usage_of_domains_and_accounts(whmcs: Whmcs, server: Server) -> None:
    await whmcs.ok("CreateAccount", whmcs.params(10, "customer-1-word"))
    await whmcs.ok(
        "CreateAccount", whmcs.params(20, "customer-1-word", {"Quota": "10"}, customfields={"Mailbox": "mary@example.com"})
    )
    whmcs.tables["tblcustomfields"].append({"id": 4, "relid": 2, "fieldname": "Mailbox"})
    whmcs.tables["tblcustomfieldsvalues"].append({"fieldid": 4, "relid": 20, "value": "mary@example.com"})
    account = server.directory.account_by_address("mary@example.com")
    assert account is not None
    inbox = await server.mailbox.folder(account.id, "INBOX")
    assert inbox is not None
    await server.mailbox.append(inbox, [NewMessage(b"Subject: x\r\n\r\n" + b"y" * (3 << 20))])
    assert await whmcs.call("UsageUpdate", whmcs.server(1)) == "success"
    assert (whmcs.row("tblhosting", 20)["diskusage"], whmcs.row("tblhosting", 20)["disklimit"]) == (3, 10)
    assert (whmcs.row("tblhosting", 10)["diskusage"], whmcs.row("tblhosting", 10)["disklimit"]) == (3, 0)
    whmcs.service(30, 2, "gone.com", "x")
    assert "gone.com: the domain gone.com does not exist" in await whmcs.call("UsageUpdate", whmcs.server(1))


async def test_servers_of_a_group_take_turns_and_each_service_stays(tmp_path: Path, whmcs: Whmcs, server: Server) -> None:
    others = [await start(tmp_path / name) for name in ("two", "three")]
    servers = [server, *others]
    many = Whmcs(tmp_path / "many.json", servers)
    many.product(1, "Domain")
    others[1].closers[0]()  # the third does not listen
    for number in range(1, 7):
        many.service(number, 1, f"d{number}.com", f"d{number}")
        await many.ok("CreateAccount", many.params(number, "customer-1-word"))
    chosen = [many.row("tblhosting", number)["server"] for number in range(1, 7)]
    assert set(chosen) == {1, 2}
    assert chosen[:2] == [1, 2]
    assert chosen.count(1) >= 2 and chosen.count(2) >= 2
    for number, place in enumerate(chosen, 1):
        assert servers[place - 1].directory.domain_by_name(f"d{number}.com") is not None
        assert servers[2 - place].directory.domain_by_name(f"d{number}.com") is None
        await many.ok("SuspendAccount", many.params(number))
    # A repetition goes to the server that was chosen before.
    await many.ok("UnsuspendAccount", many.params(2))
    many.row("tblhosting", 2)["server"] = 1
    await many.ok("CreateAccount", many.params(2, "customer-1-word"))
    assert many.row("tblhosting", 2)["server"] == 2
    await others[0].stop()
    await others[1].stop()


async def test_connection_tests_say_what_is_wrong(whmcs: Whmcs, server: Server) -> None:
    good = whmcs.server(1)
    assert await whmcs.call("TestConnection", good) == {"success": True, "error": ""}
    assert "failed" in (await whmcs.call("TestConnection", good | {"serverpassword": "wrong"}))["error"].lower()
    assert "no connection" in (await whmcs.call("TestConnection", good | {"serverport": 1}))["error"]
    assert "no usable host" in (await whmcs.call("TestConnection", good | {"serverip": "a b"}))["error"]


async def test_the_certificate_is_verified_unless_told_otherwise(tmp_path: Path, whmcs: Whmcs, server: Server) -> None:
    certificate = tmp_path / "cert.pem"
    self_signed(certificate, ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server.port)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
            target.close()

        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer), return_exceptions=True)

    listener = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    given = whmcs.server(1) | {
        "serverhostname": "localhost", "serverport": listener.sockets[0].getsockname()[1], "serversecure": True,
    }  # fmt: skip
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    pin = hashlib.sha256(der).hexdigest()
    for hash, good in (
        ("", False), ("selfsigned=yes", True), ("selfsigned=no", False), (f"cafile={certificate}", True),
        (f"fingerprint={pin.upper()}", True), (f"selfsigned=yes\nfingerprint={pin[::-1]}", False),
    ):  # fmt: skip
        found = await whmcs.call("TestConnection", given | {"serveraccesshash": hash})
        assert found["success"] is good, (hash, found)
    listener.close()


@pytest.mark.parametrize(
    ("service", "change", "words"),
    [
        (10, {"password": "a\r\nDELETE"}, "control characters"), (10, {"domain": "a b"}, "no usable domain"),
        (10, {"password": ""}, "password"),
        (10, {"configoptions": {"Max accounts": "many"}}, "must be a number"),
        (10, {"configoptions": {"Services": "imap)"}}, "impossible word"),
        (20, {"username": ""}, "no user name"), (20, {"configoptions": {"Account class": "none"}}, "does not exist"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_told_and_leaves_nothing(
    whmcs: Whmcs, server: Server, service: int, change: dict[str, Any], words: str
) -> None:
    if service == 20:
        await server.directory.create_domain("example.com", actor=ADMIN)
    answer = await whmcs.call("CreateAccount", whmcs.params(service, "customer-1-word") | change)
    assert words in answer
    assert server.directory.account_by_address("john@example.com") is None
    assert service == 20 or server.directory.domain_by_name("example.com") is None


async def test_what_whmcs_asks_of_every_module(whmcs: Whmcs) -> None:
    assert (await whmcs.call("MetaData"))["DefaultSSLPort"] == "7001"
    options = await whmcs.call("ConfigOptions")
    assert len(options) <= 24
    assert next(iter(options)) == "Product"
    assert {option["Type"] for option in options.values()} <= {"text", "password", "yesno", "dropdown", "radio", "textarea"}
    area = await whmcs.call("ClientArea", whmcs.params(20, serverhostname="mail.<b>"))
    assert "john@example.com" in area and "<b>" not in area


async def test_the_files_are_php() -> None:
    for file in MODULE.rglob("*.php"):
        php = await asyncio.create_subprocess_exec("php", "-l", str(file), stdout=asyncio.subprocess.DEVNULL)
        assert await php.wait() == 0
