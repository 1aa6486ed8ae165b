"""What an administrator may not do it can neither see nor do (ADM-01): every permission alone, and every one missing."""

from __future__ import annotations

import pytest

from mailstead.directory import Actor
from mailstead.mailbox.model import NewMessage
from mailstead.settings.database import Transaction
from mailstead.settings.permissions import DOMAIN_PERMISSIONS, SERVER_FORM, SERVER_PERMISSIONS
from tests.admin_cli.conftest import PASSWORD, Client, Face, Refused

SYSTEM = Actor.system("test")
DOMAIN = ("UPDATE Domain example.test",)
ACCOUNT = (*DOMAIN, "UPDATE Account alice")
SERVER = ("CONFIG SERVER",)
LIST = "ADD List l password secret-1-x adminEmail a@b.test"

# Way there, commands, what must be held to bring them to their end.
ON_DOMAIN: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [
    (DOMAIN, ("ADD Account n password secret-1-x", "COMMIT"), ("createAccounts",)),
    (DOMAIN, ("REMOVE Account alice",), ("removeAccounts",)),
    (ACCOUNT, ("SET name alicia", "COMMIT"), ("manageAccountsNaming",)),
    (ACCOUNT, ("ADD Alias al", "COMMIT"), ("manageAccountsNaming",)),
    (ACCOUNT, ("SET password other-secret-2", "COMMIT"), ("changeAccountsPassword",)),
    (ACCOUNT, ("SET customerReference x", "COMMIT"), ("manageAccounts",)),
    (ACCOUNT, ("INHERIT SETTINGS FROM domainDefaults", "COMMIT"), ("changeAccountsClass",)),
    (ACCOUNT, ("CONFIG Quotas", "SET totalMessageSize 5", "DONE", "COMMIT"), ("manageFoldersQuotas",)),
    (ACCOUNT, ("CONFIG Limits", "SET services (imap)", "DONE", "COMMIT"), ("manageAccountServices",)),
    (ACCOUNT, ("CONFIG Limits", "SET minimumPasswordLength 9", "DONE", "COMMIT"), ("managePasswordPolicy",)),
    (ACCOUNT, ("CONFIG Limits", "SET webmailAttCount 9", "DONE", "COMMIT"), ("manageWebmailLimits",)),
    (ACCOUNT, ("CONFIG Limits", "SET enableSharing no", "DONE", "COMMIT"), ("manageSharing",)),
    (ACCOUNT, ("CONFIG SendRecvRestrictions", "SET enableSendRestrictions yes", "DONE", "COMMIT"),
     ("manageSendReceiveRestrictions",)),
    (ACCOUNT, ("CONFIG ContactInfo", "SET firstName A", "DONE", "COMMIT"), ("manageAccountsContactInformation",)),
    (ACCOUNT, ("CONFIG WebmailData", "SET pageSize 20", "DONE", "COMMIT"), ("manageAccountsWebmailOptions",)),
    (DOMAIN, ("ADD accountClass gold", "COMMIT"), ("createAccountClasses",)),
    (DOMAIN, ("ADD Group g", "COMMIT"), ("createGroups",)),
    (DOMAIN, (LIST, "COMMIT"), ("createMailLists",)),
    (DOMAIN, ("CONFIG PUBLIC-FOLDER", "ADD Mbox News"), ("createPublicFolder",)),
    (DOMAIN, ("CONFIG PUBLIC-FOLDER", "CONFIG QUOTAS", "SET totalMessageSize 5", "DONE", "COMMIT"), ("managePublicFoldersQuotas",)),
    (DOMAIN, ("ADD Alias example.net", "COMMIT"), ("manageDomainAliases",)),
    (DOMAIN, ("SET catchAllType disabled", "COMMIT"), ("manageCatchAll",)),
    (DOMAIN, ("SET services (imap)", "COMMIT"), ("manageDomainServices",)),
    (DOMAIN, ("SET customerReference x", "COMMIT"), ("manageDomainConfig",)),
    (DOMAIN, ("CONFIG adminLimits", "SET maxAccounts 9", "COMMIT"), ("manageDomainAdminLimits",)),
    (DOMAIN, ("CONFIG accountDefaultQuotas", "SET totalMessageSize 5", "DONE", "COMMIT"), ("manageDomainConfig",)),
    (DOMAIN, ("CONFIG MIGRATIONDATA", "SET enable no", "DONE", "COMMIT"), ("manageAutomaticMigration",)),
    (DOMAIN, ("CONFIG FILTERS", "ADD Whitelist a@b.test", "COMMIT"), ("manageDomainFilters",)),
    ((), ("DISABLE Domain example.test",), ("deactivateDomain",)),
]  # fmt: skip
ON_SERVER: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [
    ((), ("CREATE Domain name n.test domainLocation /n postmasterPassword secret-1-x", "COMMIT"), ("activateAnyDomain",)),
    (SERVER, ("SET serverName x.test", "COMMIT"), ("manageServerConfig",)),
    ((), ("ENTER AACL", "LIST admin-users"), ("manageAdminACL",)),
    ((), ("ENTER QUEUE", "LIST"), ("manageProcessing",)),
    *((SERVER, (f"CONFIG {word}", "SET logLevel 7", "COMMIT"), (permission,)) for word, permission in (
        ("IMAP", "manageIMAP"), ("POP3", "managePOP3"), ("SMTP-INCOMING", "manageSMTPIn"), ("SMTP-OUTGOING", "manageSMTPOut"),
        ("CLI", "manageCLI"), ("WEBMAIL", "manageWebMail"), ("WEBADMIN", "manageWebAdmin"), ("FTP-BACKUP", "manageFTPBackup"),
        ("DNR", "manageDNR"), ("LOG", "manageLog"), ("REPORT", "manageReporting"), ("RPOP", "manageRPOP"),
        ("POP3-Proxy", "managePOP3Proxy"), ("IMAP-Proxy", "manageIMAPProxy"), ("WEBMAIL-Proxy", "manageWebmailProxy"),
        ("USERDB", "manageAuthentication"), ("FILTERS", "manageServerFilters"),
    )),
    (SERVER, ("CONFIG IMAP", "ADD Listener 127.0.0.1:10143", "COMMIT"), ("manageIMAP",)),
    (SERVER, ("CONFIG IMAP", "STOP Service", "COMMIT"), ("manageIMAP",)),
]  # fmt: skip


async def _login(face: Face, name: str) -> Client:
    return await face.client(name)


async def _done(client: Client, commands: tuple[str, ...]) -> bool:
    try:
        await client.ok(*commands)
    except Refused:
        return False
    return True


async def _holder(face: Face, name: str, on_domain: set[str], on_server: set[str]) -> Client:
    await face.directory.create_admin(name, PASSWORD, actor=SYSTEM)
    for permission in sorted(on_domain):
        await face.directory.grant(name, permission, "example.test", actor=SYSTEM)
    for permission in sorted(on_server):
        await face.directory.grant(name, permission, actor=SYSTEM)
    return await _login(face, name)


@pytest.mark.parametrize(("way", "commands", "needed"), ON_DOMAIN, ids=lambda value: " ".join(value)[:70])
async def test_on_a_domain(face: Face, way: tuple[str, ...], commands: tuple[str, ...], needed: tuple[str, ...]) -> None:
    without = await _holder(face, "without", set(DOMAIN_PERMISSIONS) - set(needed), set())
    await without.ok(*way)
    assert not await _done(without, commands)
    # What only shows the way there, and what is needed.
    way_permissions = {"manageAccountRecovery", "managePublicFolder"} | set(needed)
    only = await _holder(face, "only", way_permissions, set())
    await only.ok(*way)
    assert await _done(only, commands)


@pytest.mark.parametrize(("way", "commands", "needed"), ON_SERVER, ids=lambda value: " ".join(value)[:70])
async def test_on_the_server(face: Face, way: tuple[str, ...], commands: tuple[str, ...], needed: tuple[str, ...]) -> None:
    without = await _holder(face, "without", set(), set(SERVER_PERMISSIONS) - set(needed))
    await without.ok(*way)
    assert not await _done(without, commands)
    only = await _holder(face, "only", set(), set(needed))
    await only.ok(*way)
    assert await _done(only, commands)


@pytest.mark.parametrize("permission", sorted(DOMAIN_PERMISSIONS))
async def test_a_right_on_one_domain_shows_no_other(face: Face, permission: str) -> None:
    await face.directory.create_domain("other.test", actor=SYSTEM)
    client = await _holder(face, "one", {permission}, set())
    assert [row.split()[0] for row in await client.rows("LIST AllDomains")] == ["example.test"]
    for line in ("UPDATE Domain", "SHOW Domain", "DISABLE Domain", "DELETE Domain name"):
        reason = await client.err(f"{line} other.test")
        assert "does not exist" in reason or "unknown command" in reason
    assert await client.rows("SEARCH Object @example.test") is not None
    assert "does not exist" in await client.err("SEARCH Object @other.test")
    help_lines = await client.ok("HELP")
    assert not any(line.startswith(("ENTER AACL", "CREATE Domain", "CONFIG SERVER", "ENTER QUEUE")) for line in help_lines)


async def test_denied_on_one_domain_beats_the_right_on_any(face: Face) -> None:
    client = await _holder(face, "most", set(), set(SERVER_FORM.values()))
    await client.ok(*DOMAIN, "BACK")
    for permission in DOMAIN_PERMISSIONS:
        await face.directory.deny("most", permission, "example.test", actor=SYSTEM)
    client = await _login(face, "most")
    assert "does not exist" in await client.err("UPDATE Domain example.test")


async def _message(face: Face, owner: int, folder: str) -> None:
    place = await face.mailbox.folder(owner, folder) or await face.mailbox.create_folder(owner, folder)
    await face.mailbox.append(place, [NewMessage(b"Subject: x\r\n\r\nbody\r\n")])


async def test_purging_all_domains_asks_for_the_right_on_each(face: Face) -> None:
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    await _message(face, account.id, "Trash")
    await _message(face, face.domain_id, "News")
    client = await _holder(face, "wide", set(), {"manageAccountsOnAnyDomain"})
    assert (await client.send("PURGE public folders News"))[-1].startswith("-ERR")
    await face.directory.deny("wide", "manageAccounts", "example.test", actor=SYSTEM)
    await face.directory.grant("wide", "manageGroupsOnAnyDomain", actor=SYSTEM)
    client = await _login(face, "wide")
    assert (await client.send("PURGE account folders Trash"))[0] == "0 messages removed"


async def test_purging_all_domains_is_held_to_what_each_allows(face: Face) -> None:
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    await _message(face, account.id, "Private")
    client = await _holder(face, "wide", set(), {"manageAccountsOnAnyDomain"})
    assert "may not be purged" in await client.err("PURGE account folders Private")


async def test_kinds_of_objects_without_a_right_are_not_found_either(face: Face) -> None:
    """Who manages groups alone does not learn of accounts by a search, a look-up, or figures."""
    await face.directory.create_group("example.test", "team", actor=SYSTEM)
    await face.directory.create_list("example.test", "talk", actor=SYSTEM)
    client = await _holder(face, "groups", {"manageGroups"}, set())
    found = await client.rows("SEARCH Object @example.test")
    assert [row.split()[0] for row in found] == ["team@example.test"]
    assert "does not exist" in await client.err("LOOKUP Index Object alice@example.test")
    assert await client.rows("LIST premiumAccounts") == []
    assert "does not exist" in await client.err("SET premiumAccountAddons name alice@example.test addons (outlook)")
    figures = "\n".join(await client.ok("ENTER JSONQUERY", "QUERY /domains"))
    assert "example.test" in figures and "alice" not in figures and "talk" not in figures


async def test_a_search_finds_what_is_behind_a_thousand_names_of_others(face: Face) -> None:
    def others(transaction: Transaction) -> None:
        transaction.executemany(
            "INSERT INTO address (domain_id, local, name, kind, object_id, main, expires) "
            "VALUES (?, 'info', 'info', 'account', ?, 1, 0)",
            [(-1 - number, -1 - number) for number in range(1200)],
        )

    face.directory.database.write_sync(others)
    await face.directory.create_domain("zoo.test", actor=SYSTEM)
    await face.directory.create_account("zoo.test", "info", actor=SYSTEM)
    await face.directory.create_admin("keeper", PASSWORD, actor=SYSTEM)
    await face.directory.grant("keeper", "manageAccounts", "zoo.test", actor=SYSTEM)
    client = await _login(face, "keeper")
    assert [row.split()[0] for row in await client.rows("SEARCH Object info")] == ["info@zoo.test"]


async def test_what_needs_a_right_on_the_server_is_there_in_a_domain_too(face: Face) -> None:
    client = await _holder(face, "keeper", set(), {"restoreAnyDomain", "manageAccountsOnAnyDomain"})
    await client.ok(*DOMAIN)
    assert "was deleted" in await client.err("RECOVER domain gone.test")


async def test_the_configuration_shown_has_only_domains_that_are_seen(face: Face) -> None:
    await face.directory.create_domain("other.test", actor=SYSTEM)
    client = await _holder(face, "keeper", {"manageAccounts"}, {"manageServerConfig"})
    text = "\n".join(await client.ok("CONFIG SERVER", "SHOW Config"))
    assert "example.test" in text and "other.test" not in text
    assert "manageServerConfig" not in text, "who has which right is shown to who manages rights"
    root = await face.client()
    text = "\n".join(await root.ok("CONFIG SERVER", "SHOW Config"))
    assert "other.test" in text and "manageServerConfig" in text


async def test_who_lost_its_rights_while_it_sent_a_text_has_lost_them(face: Face) -> None:
    client = await _holder(face, "keeper", {"manageDomainConfig"}, set())
    await client.ok(*DOMAIN)
    client.writer.write(b"ESET appenderHtml\r\n")
    assert (await client.reader.readline()).startswith(b"+OK: ")
    await face.directory.delete_admin("keeper", actor=SYSTEM)
    reply = await client.send("some text\r\n.")
    assert reply[0].startswith("-ERR: ") and client.prompt == ""


async def test_a_program_is_named_by_who_has_every_right(face: Face) -> None:
    """The server runs it: who may let it run anything may do anything on the machine."""
    client = await _holder(face, "migrator", {"manageAutomaticMigration"}, {"manageServerConfig"})
    way = (*DOMAIN, "CONFIG MIGRATIONDATA")
    await client.ok(*way)
    assert "every right" in await client.err("SET migrationCommand /bin/true")
    await client.ok("BACK", "BACK")
    root = await face.client()
    await root.ok(*way, "SET migrationCommand /bin/true", "DONE", "COMMIT")
    await client.ok(*way, "SET enableMigrationCommand yes", "DONE", "COMMIT")
