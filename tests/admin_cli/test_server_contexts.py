"""What the contexts of the server say and do where an administrator would be led astray: traces, files, later parts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from mailstead.admin_cli.contexts import save
from tests.admin_cli.conftest import ADMIN, Client, Face


async def _level(client: Client, service: str) -> str:
    await client.ok("CONFIG SERVER", f"CONFIG {service}")
    shown = await client.show("SHOW ATTR logLevel")
    await client.ok("BACK", "BACK")
    return shown["logLevel"]


async def test_an_execution_trace_gives_the_levels_back(face: Face) -> None:
    client = await face.client()
    await client.ok("CONFIG SERVER", "CONFIG IMAP", "SET logLevel 3", "COMMIT", "CONFIG POP3", "SET logLevel 7", "COMMIT", "BACK")
    await client.ok("DISABLE ExecutionTrace")
    assert await _level(client, "IMAP") == "3", "there was no trace to end"
    await client.ok("ENABLE ExecutionTrace", "ENABLE ExecutionTrace")
    assert [await _level(client, name) for name in ("IMAP", "POP3", "SMTP-INCOMING", "CLI")] == ["31"] * 4
    await client.ok("CONFIG SERVER", "CONFIG POP3", "SET logLevel 1", "COMMIT", "BACK")
    await client.ok("DISABLE ExecutionTrace")
    assert [await _level(client, name) for name in ("IMAP", "POP3", "SMTP-INCOMING", "CLI")] == ["3", "1", "15", "15"]


async def test_a_saved_configuration_is_found_again(face: Face) -> None:
    client = await face.client()
    default = (face.services.data_dir / "run" / "mailstead-config.toml").resolve()
    assert await client.send("SAVE CONFIG") == [f"+OK: written to {default}"], "programs take the first line for the status"
    (line,) = await client.ok("SAVE CONFIG kept/mine.toml")
    (written,) = (face.services.data_dir / "kept").glob("mine.toml.*")
    assert line == f"written to {written.resolve()}" and written.read_text().startswith("# Configuration")


async def test_two_files_are_saved_within_a_second(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "time", SimpleNamespace(strftime=lambda *_: "20300101120000"))
    client = await face.client()
    lines = [(await client.ok("SAVE CONFIG mine.toml"))[0] for _ in range(3)]
    written = [Path(line.removeprefix("written to ")) for line in lines]
    assert len(set(written)) == 3
    assert all(path.name.startswith("mine.toml.20300101120000") and path.read_text().startswith("# Conf") for path in written)


async def test_later_parts_say_precisely_what_is_missing(face: Face) -> None:
    client = await face.client()
    await client.ok("CONFIG SERVER", "CONFIG CERTS")
    generate = "GENERATE letsencrypt hostname mail.example.test terms"
    assert "this release does not order certificates" in await client.err(f"{generate} accept contact a@example.test")
    assert "SSLCONTROL" in await client.err(f"{generate} yes")
    assert "terms: expected accept or yes" in await client.err(f"{generate} no")
    assert "none to revoke" in await client.err("REVOKE letsencrypt hostname mail.example.test")
    await client.ok("BACK", "CONFIG CLUSTER")
    assert "this release has no cluster" in await client.err("JOIN key runMode frontEnd")
    await client.ok("BACK", "BACK", "ENTER QUEUE", "ENTER QUARANTINE")
    assert await client.rows("LIST") == []
    assert "no LIST FILTER yet" in await client.err("DELIVER lastFilter")
    assert await client.rows("LIST FILTER sender=a size>1K") == []
    assert await client.ok("DELETE lastFilter") == ["0 messages"]
    assert "does not exist in the quarantine" in await client.err("LIST ID 7")
    assert "size: expected" in await client.err("LIST FILTER size>many")


async def test_whoever_has_the_log_has_not_the_databases(face: Face) -> None:
    """A path of the log leads to no file of the server's own, and a rule to no other directory."""
    client = await face.client()
    await client.ok("ENTER AACL", "ADD admin-user name logger password logger-secret-1")
    await client.ok("GRANT permission (manageLog)", "DONE", "DONE")
    logger = await face.client("logger", "logger-secret-1")
    await logger.ok("CONFIG SERVER", "CONFIG LOG")
    for path in ("index", "/etc", "../elsewhere", "."):
        assert "expected a directory under the data directory" in await logger.err(f"SET path {path}")
    await logger.ok("ADD Rule 100")
    assert "expected a file name" in await logger.err("SET fileName ../certs/default.pem")
    assert "from 100 to 2097151, or 0, KB" in await logger.err("SET fileSize 5")
    await logger.ok("SET fileName imap.txt module managesieve fileSize 0 fileTime 600", "DONE", "SET path mail/logs", "COMMIT")
    assert any("100 to 2097151, or 0, KB" in line for line in await logger.ok("CONFIG LOG", "UPDATE Rule 100", "HELP"))


async def test_reporting_keeps_what_is_set_and_says_what_may_be_set(face: Face) -> None:
    """REP-01, REP-02: the service comes later, its attributes are kept and checked."""
    client = await face.client()
    await client.ok("CONFIG SERVER", "CONFIG REPORT")
    await client.ok("SET SNMPEnable yes SNMPCommunity public-1 DomainEnable yes reportingInterval 848")
    for refused in ("reportingInterval 0", "reportingInterval 849", "DomainObjectEnable maybe", "SNMPSentTrapsToAllManagers 7"):
        assert refused.split()[0] in await client.err(f"SET {refused}")
    await client.ok("ADD SNMPTrapDestination 192.0.2.7:162", "ADD Listener 127.0.0.1:30161", "COMMIT", "COMMIT", "CONFIG REPORT")
    shown = await client.show()
    assert shown["SNMPEnable"] == "yes" and shown["reportingInterval"] == "848" and shown["SNMPCommunity"] == '"********"'
    assert await client.items("LIST SNMPTrapDestinations") == ["192.0.2.7:162"]
    assert (await client.rows("LIST Listeners"))[0].startswith("127.0.0.1:30161")
    await client.ok("START Service", "COMMIT")
    assert "reporting" in (await client.show("SHOW ATTR services"))["services"]


async def test_what_waits_for_done_is_shown_and_server_rights_hold_on_domains(face: Face) -> None:
    """ADM-01: the effective view is what will be after DONE, with what a server permission gives on a domain."""
    client = await face.client()
    await client.ok("ENTER AACL", "ADD admin-group helpers", "GRANT permission (changeAccountsPassword) domain example.test")
    await client.ok("DENY permission (manageLog)")
    view = "SHOW effective-permissions"
    assert await client.ok(view) == ["", "Effective permissions:", "manageLog (deny)", ""]
    assert "changeAccountsPassword (grant)" in await client.ok(f"{view} domain example.test")
    assert 'Permissions on Domain "example.test":' in await client.ok("SHOW")
    await client.ok("DONE", "ADD admin-user jun password jun-secret-1", "ADD parent-group helpers")
    assert await client.rows("LIST parents") == ["helpers"] and 'parent group "helpers"' in await client.ok("SHOW")
    await client.ok("GRANT permission (manageLog manageAccountsOnAnyDomain)")
    await client.ok("DENY permission (removeAccounts) domain example.test")
    assert "manageLog (grant)" in await client.ok(view)
    shown = await client.ok(f"{view} domain example.test")
    assert shown[2:-1] == ["changeAccountsPassword (grant)", "manageAccounts (grant)", "removeAccounts (deny)"]
    await client.ok("DONE", "UPDATE admin-user jun")
    assert await client.ok(f"{view} domain example.test") == shown
    assert "does not exist" in await client.err("REMOVE parent-group nothing")
    await client.ok("REVOKE permission (removeAccounts) domain example.test", "REMOVE parent-group helpers")
    assert (await client.ok(f"{view} domain example.test"))[2:-1] == ["manageAccounts (grant)"]
    assert await client.rows("LIST parents") == []
    assert "is not in the group helpers" in await client.err("REMOVE parent-group helpers")
    await client.ok("BACK", "UPDATE admin-user jun")
    assert await client.ok(f"{view} domain example.test") == shown, "BACK drops what waited"
    await client.ok("BACK", "UPDATE admin-group helpers")
    assert "cannot be in itself" in await client.err("ADD parent-group helpers")


async def test_the_first_retry_comes_before_the_longest_wait(face: Face) -> None:
    """SMO-06: schedInterval below maxSchedInterval, whichever of them is set."""
    client = await face.client()
    await client.ok("CONFIG SERVER", "CONFIG PROCESSING", "SET schedInterval 28800")
    assert await client.err("COMMIT") == "schedInterval: schedInterval must be below maxSchedInterval"
    await client.ok("SET maxSchedInterval 28801", "COMMIT", "CONFIG PROCESSING")
    shown = await client.show()
    assert (shown["schedInterval"], shown["maxSchedInterval"]) == ("28800", "28801")
    await client.ok("SET maxSchedInterval 600")
    assert "must be below" in await client.err("COMMIT")
    await client.ok("SET schedInterval 300", "COMMIT", "CONFIG PROCESSING")
    assert (await client.show())["maxSchedInterval"] == "600"


async def test_what_leads_nowhere_is_told_at_once(face: Face) -> None:
    client = await face.client()
    assert "no domain at /var/nowhere" in await client.err("ENABLE Domain domainLocation /var/nowhere")
    await client.ok("CONFIG SERVER", "CONFIG IMAP")
    assert "1 to 65535, not 70000" in await client.err("ADD Listener 127.0.0.1:70000")
    assert "1 to 65535, not 0" in await client.err("ADD Listener 127.0.0.1:0")
    await client.ok("BACK", "CONFIG CLI")
    (note,) = await client.ok("STOP Service")
    assert "`mailstead setting` at the machine" in note
    await client.ok("BACK")


async def test_contexts_of_earlier_releases_do_what_they_did(face: Face) -> None:
    client = await face.client()
    assert not any("COMMANDS" in line or "MIGRATION -" in line for line in await client.ok("HELP"))
    await client.ok("ENTER COMMANDS")
    assert client.prompt == "<commands#> "
    await client.ok("STOP SERVICE pop3")
    assert "pop3" not in face.directory.settings.service("server").services
    await client.ok("START SERVICE name POP3")
    assert "pop3" in face.directory.settings.service("server").services
    assert "no service" in await client.err("START SERVICE nothing")
    assert "cannot be stopped" in await client.err("STOP SERVICE cli")
    await client.ok("FORCE QUEUE")
    assert (await client.ok("VIEW QUEUE"))[1] == "The list of messages in the queue:"
    await client.ok("BACK", "ENTER REPORTING")
    shown = await client.ok("VIEW COUNTERS all")
    assert "queueMessages = 0" in shown and any(line.startswith("example.test ") for line in shown)
    assert not any(line.startswith("example.test ") for line in await client.ok("VIEW COUNTERS others"))
    assert "queueMessages = 0" not in await client.ok("VIEW COUNTERS domain")
    await client.ok("BACK", "ENTER MIGRATION", "SHOW MigrationStatus", "BACK")
    await face.directory.create_admin("helper", "administrator-1", actor=ADMIN)
    helper = await face.client("helper", "administrator-1")
    await helper.ok("ENTER COMMANDS")
    assert not any(word in line for line in await helper.ok("HELP") for word in ("Service", "QUEUE", "COUNTERS"))
    for line in ("STOP Service pop3", "FORCE QUEUE", "VIEW QUEUE", "VIEW COUNTERS all"):
        assert "permission" in await helper.err(line), line
