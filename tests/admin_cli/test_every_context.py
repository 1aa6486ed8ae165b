"""A walk through the whole tree: HELP, SHOW and every LIST of every context answer; SET of every listed attribute works."""

from __future__ import annotations

import re

import pytest

from tests.admin_cli.conftest import Client, Face

SERVICES = (
    "LOG", "CLI", "RPOP", "SMTP-INCOMING", "SMTP-OUTGOING", "PROCESSING", "POP3", "IMAP", "MANAGESIEVE", "WEBMAIL", "WEBADMIN",
    "FTP-BACKUP", "DNR", "REPORT", "POP3-Proxy", "IMAP-Proxy", "WEBMAIL-Proxy", "USERDB", "MOBILITY", "CLUSTER",
    "InitialAccountSettings", "AUTODISCOVERY", "CALLOG", "SECURITY", "JOBLOG", "MAILBOXAPI", "SRVLOG", "PERMISSIONS", "FILTERS",
)  # fmt: skip
CONTROLLED = (
    "CLI", "SMTP-INCOMING", "POP3", "IMAP", "WEBMAIL", "WEBADMIN", "FTP-BACKUP", "POP3-Proxy", "IMAP-Proxy", "WEBMAIL-Proxy",
)  # fmt: skip
DOMAIN = "UPDATE Domain example.test"
ACCOUNT = (DOMAIN, "UPDATE Account alice")
PATHS: list[tuple[str, ...]] = [
    (),
    ("ENTER AACL",),
    ("ENTER AACL", "UPDATE admin-user admin"),
    ("ENTER AACL", "ADD admin-group g"),
    ("ENTER TRACER",),
    ("ENTER JSONQUERY",),
    ("ENTER DEBUG",),
    ("CONFIG SERVER",),
    ("CONFIG SERVER", "CONFIG CERTS"),
    *(("CONFIG SERVER", f"CONFIG {word}") for word in SERVICES),
    *(("CONFIG SERVER", f"CONFIG {word}", "CONFIG AccessControl") for word in CONTROLLED),
    *(("CONFIG SERVER", f"CONFIG {word}-Proxy", f"CONFIG {part}") for word in ("POP3", "IMAP", "WEBMAIL")
      for part in ("connectionData", "mappingData")),
    ("CONFIG SERVER", "CONFIG SMTP-INCOMING", "CONFIG mappingData"),
    ("CONFIG SERVER", "CONFIG IMAP", "CONFIG AccessControl", "ADD AllowRule 10.0.0.0/8"),
    ("CONFIG SERVER", "CONFIG IMAP", "ADD Listener 127.0.0.1:10143"),
    ("CONFIG SERVER", "CONFIG IMAP", "ADD Listener 127.0.0.1:10143", "CONFIG SSLCONTROL"),
    ("CONFIG SERVER", "CONFIG IMAP", "ADD Listener 127.0.0.1:10143", "ADD AllowRule 10.0.0.1"),
    ("CONFIG SERVER", "CONFIG LOG", "ADD Listener 127.0.0.1:2000"),
    ("CONFIG SERVER", "CONFIG LOG", "ADD Rule 17"),
    ("CONFIG SERVER", "CONFIG DNR", "ADD Nameserver priority 3"),
    ("CONFIG SERVER", "CONFIG USERDB", "ADD ldapConnector name l ldapUri ldap://ldap.example.test"),
    ("CONFIG SERVER", "CONFIG USERDB", "ADD oauthConnector name o mode oidc"),
    ("CONFIG SERVER", "CONFIG AUTODISCOVERY", "CONFIG defaultUrls"),
    ("CONFIG SERVER", "CONFIG FILTERS", "ADD SocketFilter name s address inet://127.0.0.1:1 protocolFile f.afsl"),
    ("CONFIG SERVER", "CONFIG FILTERS", "ADD ScriptFilter name s file f.sieve"),
    ("CONFIG SERVER", "CONFIG FILTERS", "ADD ActiveFilter priority 3 filterName s filterType script"),
    ("CONFIG SERVER", "CONFIG FILTERS", "ADD IntegratedFilter name i type externalCommand command /bin/true"),
    ("CONFIG SERVER", "ADD smsConnector s"),
    ("CONFIG SERVER", "ADD smsConnector s", "CONFIG Auth"),
    ("CONFIG SERVER", "ADD Usermap u"),
    ("CREATE Domain name c.test domainLocation /d postmasterPassword secret-1-x",),
    ("CREATE Subdomain prefix sub parentDomain example.test postmasterPassword secret-1-x",),
    (DOMAIN,),
    *((DOMAIN, f"CONFIG {word}") for word in (
        "MIGRATIONDATA", "FILTERS", "adminLimits", "accountDefaultFilters", "accountDefaultLimits", "folderRcptDefaultLimits",
        "autodiscovery", "accountDefaultQuotas", "accountDefaultSendRecvRestrictions", "accountDefaultWebmailAdvertising",
        "PUBLIC-FOLDER", "PERMISSIONS", "initialAccountSettings",
    )),
    (DOMAIN, "CONFIG PUBLIC-FOLDER", "CONFIG QUOTAS"),
    (DOMAIN, "CONFIG autodiscovery", "CONFIG Urls"),
    (DOMAIN, "CONFIG autodiscovery", "ADD HostNameResolver mail.example.test domain example.test"),
    (DOMAIN, "CONFIG autodiscovery", "ADD HostNameResolver mail.example.test", "CONFIG SSLCONTROL"),
    (DOMAIN, "CONFIG FILTERS", "ADD Preset p"),
    (DOMAIN, "CONFIG FILTERS", "ADD Preset p", "ADD Filter f"),
    (DOMAIN, "ADD accountClass gold"),
    *((DOMAIN, "ADD accountClass gold", f"CONFIG {word}") for word in (
        "Filters", "Quotas", "Limits", "SendRecvRestrictions", "WebmailAdvertising",
    )),
    ACCOUNT,
    *((*ACCOUNT, f"CONFIG {word}") for word in (
        "WebmailData", "Filters", "Quotas", "Limits", "SendRecvRestrictions", "ContactInfo", "WebmailAdvertising",
    )),
    (DOMAIN, "ADD Group g"),
    (DOMAIN, "ADD Group g", "CONFIG FILTERS"),
    (DOMAIN, "ADD FolderRcpt f"),
    (DOMAIN, "ADD FolderRcpt f", "CONFIG LIMITS"),
    (DOMAIN, "ADD FolderRcpt f", "CONFIG FILTERS"),
    (DOMAIN, "ADD List l password secret-1-x adminEmail a@b.test"),
    *((DOMAIN, "ADD List l password secret-1-x adminEmail a@b.test", f"CONFIG {word}") for word in (
        "WEBMAILDATA", "FILTERS", "QUOTAS", "LIMITS",
    )),
    (DOMAIN, "ADD List l password secret-1-x adminEmail a@b.test", "ADD User u@b.test name U"),
]  # fmt: skip
SHOWN_ONLY = ("name", "accountClassName", "parentDomain", "address", "priority", "ipSet", "admin", "postmasterAccount", "state")
PROMPT = re.compile(r"<[A-Za-z0-9-]*#> \Z")
SILENT = re.compile(r"internal error")


async def _plain_commands(client: Client) -> list[str]:
    """Commands of HELP that need no argument, without those that leave or change something."""
    found = []
    for line in await client.ok("HELP"):
        form = line.split(" - ")[0]
        if form.startswith(("LIST ", "SHOW")) and not re.search(r"(?<!\[)<", re.sub(r"\[[^\]]*\]", "", form)):
            found.append(re.sub(r"\s*\[[^\]]*\]", "", form).strip())
    return found


@pytest.mark.parametrize("path", PATHS, ids=" > ".join)
async def test_context_answers(face: Face, path: tuple[str, ...]) -> None:
    client = await face.client()
    await client.ok(*path)
    assert PROMPT.match(client.prompt)
    depth = client.prompt.strip("<#> ").count("-") + 1 if path else 0
    assert depth >= len(path) - sum(step.startswith("CONFIG SERVER") for step in path[1:])
    for line in await _plain_commands(client):
        reply = await client.send(line)
        assert reply[-1].startswith(("+OK: ", "-ERR: ")) and not SILENT.search(reply[-1]), (line, reply)
        if line == "SHOW" and any("[inherited from " in shown for shown in reply):
            assert any(form.startswith("RESET <attr>") for form in await client.ok("HELP")), "what is inherited can be so again"
        assert not any(part.startswith(("+OK:", "-ERR:")) for part in reply[:-1])
    for name, value in (await client.show()).items() if (await client.send("SHOW"))[-1].startswith("+OK") else ():
        text = value.split(" [")[0]
        if name in SHOWN_ONLY or "*" in text:
            continue
        reply = await client.send(f"SET {name} {text}")
        assert not SILENT.search(reply[-1]) and reply[-1].startswith("+OK"), (name, text, reply)
    for _ in path:
        await client.ok("BACK")
    assert client.prompt == "<#> "
