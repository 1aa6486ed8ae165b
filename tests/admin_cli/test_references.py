"""Names that settings of the server have of connectors, filters and user maps: which must be there, and when they are asked."""

from __future__ import annotations

import pytest

from mailstead.settings.declaration import InvalidValueError
from tests.admin_cli.conftest import Face

LDAP = ("CONFIG SERVER", "CONFIG USERDB", "ADD ldapConnector name office ldapUri ldap://ldap.example.test", "COMMIT")


@pytest.mark.parametrize(
    ("way", "setting", "kind", "add"),
    [
        (("CONFIG SERVER", "CONFIG IMAP"), "userdbConnectorName", "ldapConnector", LDAP),
        (("UPDATE Domain example.test",), "ldapSyncConnectorName", "ldapConnector", LDAP),
        (("CONFIG SERVER", "CONFIG WEBADMIN"), "accountSecuritySmsConnector", "smsConnector",
         ("CONFIG SERVER", "ADD smsConnector office", "COMMIT")),
        (("CONFIG SERVER", "CONFIG USERDB"), "defaultOAuthConnector", "oauthConnector",
         ("CONFIG SERVER", "CONFIG USERDB", "ADD oauthConnector name office mode oidc", "COMMIT")),
    ],
)  # fmt: skip
async def test_a_connector_that_is_named_is_there(
    face: Face, way: tuple[str, ...], setting: str, kind: str, add: tuple[str, ...]
) -> None:
    client, other = await face.client(), await face.client()
    await client.ok(*way, f"SET {setting} office")
    assert await client.err("COMMIT") == f"{setting}: there is no {kind} office"
    await other.ok(*add)
    await client.ok("COMMIT", *way[-1:])
    assert (await client.show())[setting] == '"office"'
    # What was there before is not asked again, and nothing names nothing.
    await other.ok(f"REMOVE {kind} office", "COMMIT")
    await client.ok("SET logLevel 15" if "CONFIG" in way[-1] else "SET customerReference x", "COMMIT", *way[-1:])
    await client.ok(f'SET {setting} ""', "COMMIT")


async def test_a_filter_that_is_switched_on_is_there(face: Face) -> None:
    client = await face.client()
    await client.ok("CONFIG SERVER", "CONFIG FILTERS", "ADD ActiveFilter priority 3 filterName rules filterType script", "DONE")
    assert await client.err("COMMIT") == "filterName: there is no scriptFilter rules here, or in the server"
    await client.ok("ADD ScriptFilter rules file rules.sieve", "DONE", "COMMIT")  # what comes with it counts
    await client.ok("CONFIG FILTERS")
    assert [row.split(" | ")[1].strip() for row in await client.rows("LIST ActiveFilters")] == ["rules"]
    await client.ok("UPDATE ActiveFilter priority 3", "SET filterName others", "DONE")
    assert "no scriptFilter others" in await client.err("COMMIT")


async def test_a_domain_switches_on_filters_of_the_server(face: Face) -> None:
    client = await face.client()
    await client.ok("CONFIG SERVER", "CONFIG FILTERS", "ADD ScriptFilter rules file rules.sieve", "DONE")
    await client.ok("ADD SocketFilter scan address inet://127.0.0.1:3310 protocolFile scan.afsl", "DONE", "COMMIT", "BACK")
    await client.ok("UPDATE Domain example.test", "CONFIG FILTERS")
    await client.ok("ADD ActiveFilter priority 1 filterName RULES filterType script", "DONE")
    await client.ok("ADD ActiveFilter priority 2 filterName scan filterType socket", "DONE")
    await client.ok("ADD ActiveFilter priority 3 filterName builtIn filterType integrated", "DONE", "COMMIT", "COMMIT")
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG Filters")
    await client.ok("ADD ActiveFilter priority 1 filterName gone filterType socket", "DONE", "DONE")
    assert "no socketFilter gone" in await client.err("COMMIT")


async def test_a_user_map_may_come_after_what_names_it(face: Face) -> None:
    """A map waits for the COMMIT of the server's context; that of a service below it comes first."""
    client = await face.client()
    await client.ok("CONFIG SERVER", "ADD Usermap nodes", "DONE", "CONFIG IMAP-Proxy", "CONFIG mappingData")
    await client.ok("SET userMap nodes", "DONE", "COMMIT", "COMMIT")
    assert face.directory.settings.service("imapProxyMappingData").userMap == "nodes"


async def test_what_a_program_read_it_may_send_back(face: Face) -> None:
    """Programs send every parameter anew; a name that has stood there since its object was removed is no new one."""
    client, other = await face.client(), await face.client()
    await other.ok(*LDAP)
    await client.ok("UPDATE Domain example.test", "ADD Account gone password Long-enough-1", "COMMIT")
    stale = ["SET ldapSyncConnectorName office", "SET catchAllAccountName gone"]
    await client.ok("SET postmasterAccount gone", *stale, "COMMIT")
    await other.ok("REMOVE ldapConnector office", "COMMIT")
    await client.ok("UPDATE Domain example.test", "REMOVE Account gone")
    await client.ok("SET postmasterAccount gone", *stale, "SET customerReference x", "COMMIT", "UPDATE Domain example.test")
    assert (await client.show())["customerReference"] == '"x"'
    await client.ok("SET ldapSyncConnectorName others")
    assert await client.err("COMMIT") == "ldapSyncConnectorName: there is no ldapConnector others"


async def test_a_setting_of_the_server_may_be_sent_back_too(face: Face) -> None:
    client, other = await face.client(), await face.client()
    await other.ok(*LDAP)
    settings = face.directory.settings
    await settings.set("imap", "userdbConnectorName", "office", "test")
    await other.ok("REMOVE ldapConnector office", "COMMIT")
    await settings.set("imap", "userdbConnectorName", "office", "test")
    await client.ok("CONFIG SERVER", "CONFIG IMAP", "SET userdbConnectorName office", "COMMIT")
    with pytest.raises(InvalidValueError):
        await settings.set("imap", "userdbConnectorName", "others", "test")
