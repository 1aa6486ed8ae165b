"""Storages, statistics, tasks, indexes, migrations, traces, figures as JSON, over the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tarfile
import time
from collections.abc import Iterator

import apsw
import pytest

from mailstead.admin_cli.contexts import tasks
from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient
from mailstead.delivery.service import Delivery
from mailstead.directory.accounting import DAY, LOGINS, SENT, Accounting
from mailstead.mailbox.model import NewMessage
from mailstead.observe.receipt import Authenticated
from mailstead.store.upkeep import Upkeep
from tests.admin_cli.conftest import ADMIN, Client, Face

MESSAGE = b"From: a@b.test\r\nSubject: x\r\nMessage-ID: <one@b.test>\r\n\r\nbody\r\n"
DOMAIN = "UPDATE Domain example.test"


async def fill(face: Face, count: int = 3) -> int:
    """Messages in alice's INBOX; her id."""
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    inbox = await face.mailbox.folder(account.id, "INBOX")
    assert inbox is not None
    await face.mailbox.append(inbox, [NewMessage(MESSAGE + b"%d\r\n" % number) for number in range(count)])
    return account.id


async def test_storage_information_and_storages(face: Face) -> None:
    await fill(face)
    client = await face.client()
    for path in (("CONFIG SERVER",), ("BACK", DOMAIN)):
        await client.ok(*path)
        body = await client.ok("SHOW StorageInformation")
        rows = body[1:-1]
        assert body[0] == "" and body[-1] == "" and rows[-1].startswith("total mailboxes=2 messages=3 ")
        assert any(row.startswith("shard-0 mailboxes=2 messages=3 mailKB=1 ") for row in rows)
        assert any("log-w0" in row and "file:///" in row for row in await client.ok("SHOW StorageInformation details"))
        storages = await client.items("LIST Storages")
        assert {row.split()[0] for row in storages} >= {"shard-0", "log-w0"}
    await client.ok("BACK", "CONFIG SERVER")
    assert [row.split()[0] for row in await client.items("LIST Storages matchingURI *queue-0*")] == ["queue-0"]


async def test_storage_statistics_can_be_switched_off(face: Face) -> None:
    await fill(face)
    client = await face.client()
    await client.ok("CONFIG SERVER")
    shown = await client.show("SHOW StorageStatistics details average raw mboxDetails mboxReset")
    assert shown["messages"] == "3" and shown["mailbox alice@example.test"].startswith("3 messages, ")
    assert int(shown["average size of a message (octets)"]) == len(MESSAGE) + 3
    await client.ok("DISABLE StorageStatistics")
    assert "switched off" in await client.err("SHOW StorageStatistics")
    await client.ok("ENABLE detailed mbox StorageStatistics")
    assert (await client.show("SHOW StorageStatistics"))["messages"] == "3"


async def test_a_read_lock_holds_compaction_and_is_listed(face: Face) -> None:
    client = await face.client()
    await client.ok("CONFIG SERVER")
    assert "until READUNLOCK" in (await client.send("READLOCK Storages"))[0]
    assert (face.services.data_dir / "run" / "readlock.json").exists()
    assert any(row.startswith("readlock") for row in await client.rows("LIST activeStorageTransactions"))
    assert "locked" in await client.err("COMPACT ServerStorage forced")
    assert "already" in await client.err("READLOCK Storages")
    await client.ok("READUNLOCK Storages")
    assert await client.rows("LIST activeStorageTransactions") == []
    assert "not locked" in await client.err("READUNLOCK Storages")
    await client.ok("COMPACT ServerStorage forced")
    body = await client.ok("COMPACT attach")
    assert body[-2:] == ["state: done", ""] and any(line.startswith("compaction is done") for line in body)
    assert "none is under way" in await client.err("COMPACT abort")


async def test_a_compaction_asked_for_during_one_is_done_after_it(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs compact domain after domain without waiting; what the later ones asked for is done too."""
    gate, rounds, thorough = asyncio.Event(), 0, 0
    whole = Upkeep.thorough

    async def round_once(upkeep: Upkeep) -> list[str]:
        nonlocal rounds
        await gate.wait()
        rounds += 1
        return []

    @contextlib.contextmanager
    def counted(upkeep: Upkeep) -> Iterator[None]:
        nonlocal thorough
        thorough += 1
        with whole(upkeep):
            yield

    monkeypatch.setattr(tasks, "START_SECONDS", 0.0)
    monkeypatch.setattr(Upkeep, "run_once", round_once)
    monkeypatch.setattr(Upkeep, "thorough", counted)
    await face.directory.create_domain("other.test", actor=ADMIN)
    client = await face.client()
    assert "begun" in (await client.ok(DOMAIN, "COMPACT All"))[0]
    await client.ok("BACK", "UPDATE Domain other.test", "COMPACT All")
    assert "once more" in (await client.ok("COMPACT All forced"))[0]
    gate.set()
    body = await client.ok("COMPACT attach")
    assert body[-2:] == ["state: done", ""]
    assert (rounds, thorough) == (2, 1)


async def test_invalid_messages_are_looked_for_in_accounts_that_a_wildcard_matches(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply has what was found where that is soon, as programs that send this take it to have."""
    monkeypatch.setattr(tasks, "START_SECONDS", 60.0)
    await fill(face)
    await face.directory.create_account("example.test", "bob", "builder-1-x", actor=ADMIN)
    client = await face.client()
    body = await client.ok(DOMAIN, "FINDINVALIDMSG *")
    assert any(line.startswith("2 mailboxes, 3 messages") for line in body) and body[-2:] == ["state: done", ""]
    body = await client.ok("FINDINVALIDMSG al* alice purge")
    assert any(line.startswith("1 mailboxes, 3 messages") for line in body) and body[-2:] == ["state: done", ""]
    assert await client.ok("FINDINVALIDMSG attach") == body
    assert "no account" in await client.err("FINDINVALIDMSG z*")


async def test_scan_finds_a_damaged_message_and_purges_it(face: Face) -> None:
    owner = await fill(face)
    client = await face.client()
    await client.ok(DOMAIN)
    assert "nothing to show" in await client.err("SCAN peek 1")
    await client.ok("SCAN ALL verbose")
    body = await client.ok("SCAN attach")
    assert any(line.startswith("2 mailboxes, 3 messages, 0 invalid messages, 0 wrong counters") for line in body), body
    segment = next(path for path in (face.services.data_dir / "log" / "w0").glob("*.mlog") if MESSAGE in path.read_bytes())
    octets = bytearray(segment.read_bytes())
    octets[octets.index(b"body\r\n1\r\n")] ^= 0xFF
    with segment.open("r+b") as stream:
        stream.write(octets)
    await client.ok("FINDINVALIDMSG alice")
    body = await client.ok("FINDINVALIDMSG attach")
    (invalid,) = [line for line in body if line.startswith("invalid: ")]
    assert invalid.startswith("invalid: alice@example.test: INBOX, uid 2, Message-ID "), invalid
    assert "one@b.test" in invalid
    assert any("fsck --repair" in line for line in body)
    assert face.mailbox.usage(owner)[1] == 3
    await client.ok("FINDINVALIDMSG alice purge")
    assert any(line == "1 messages removed" for line in await client.ok("FINDINVALIDMSG attach"))
    assert face.mailbox.usage(owner)[1] == 2
    for line in ("SCAN Account alice", "SCAN PublicFolders", "SCAN DomainContainer", "SCAN Storage usid shard-0 usid log-w0"):
        await client.ok(line)
        assert (await client.ok("SCAN peek 20"))[-2] == "state: done"
    assert "no storage" in await client.err("SCAN Storage usid nowhere")
    assert "does not exist" in await client.err("SCAN Account nobody")


async def test_repair_puts_counters_right_beside_the_running_server(face: Face) -> None:
    """STO-01: what quotas and clients go by is right again at once, and numbers that clients know never come twice."""
    owner = await fill(face)
    usage = face.mailbox.usage(owner)
    inbox = await face.mailbox.folder(owner, "INBOX")
    assert inbox is not None
    index = apsw.Connection(str(face.services.data_dir / "index" / "shard-0.db"))
    index.execute("UPDATE folder SET messages = 99, unseen = 7, size = 5, uidnext = 2, modseq = 1 WHERE id = ?", (inbox.id,))
    index.execute("UPDATE account SET size = 1, messages = 2 WHERE id = ?", (owner,))
    client = await face.client()
    await client.ok(DOMAIN, "SCAN ALL")
    body = await client.ok("SCAN attach")
    assert "REPAIR puts the counters right, beside the running server" in body, body
    await client.ok("REPAIR Accounts alice")
    body = await client.ok("REPAIR attach")
    assert body[-2] == "state: done" and "2 counters put right" in body, body
    assert f"alice@example.test: INBOX: 3 messages, 3 unseen, {usage[0]} octets now" in body
    assert f"alice@example.test: use is 3 messages, {usage[0]} octets now" in body
    assert any("fsck" in line and "server stopped" in line for line in body)
    assert face.mailbox.usage(owner) == usage
    await face.mailbox.append(inbox, [NewMessage(MESSAGE)])
    row = index.execute("SELECT messages, unseen, uidnext, modseq FROM folder WHERE id = ?", (inbox.id,)).fetchone()
    assert row is not None and row[:2] == (4, 4) and row[2] > 5 and row[3] > 3
    index.close()
    await client.ok("REPAIR Accounts alice skip-stage-3")
    assert "no counter had to be put right" in await client.ok("REPAIR attach")


async def test_repair_says_what_to_do_and_has_mail_indexed_anew(face: Face) -> None:
    await fill(face)
    client = await face.client()
    await client.ok(DOMAIN)
    reply = await client.send("REPAIR Accounts alice")
    assert reply[-1].startswith("+OK") and any("fsck --repair" in line for line in reply)
    assert (await client.ok("REPAIR attach"))[-2] == "state: done"
    await client.ok("BACK", "CONFIG SERVER", "CONFIG PROCESSING")
    jobs = await client.show("SHOW SearchIndexJobs")
    assert jobs["accounts"] == "1" and jobs["messages"] == "3"
    assert any(row.startswith("alice@example.test") for row in await client.rows("SHOW UserJobStats detailed"))
    statistics = await client.show("SHOW Statistics")
    assert statistics["queue.waiting"] == "0"


async def test_an_aborted_scan_ends(face: Face) -> None:
    await fill(face)
    client = await face.client()
    await client.ok(DOMAIN, "SCAN ALL")
    reply = await client.send("SCAN abort")
    body = await client.ok("SCAN peek 1")
    assert body[-2] == ("state: aborted" if reply[-1].startswith("+OK") else "state: done")


async def test_index_information(face: Face) -> None:
    await fill(face)
    client = await face.client()
    await client.ok(DOMAIN)
    assert (await client.show("SHOW SearchIndexInformation"))["pending"] == "3"
    assert any(row.startswith("alice@example.test/INBOX") for row in await client.rows("SHOW SearchIndexInformation allfolders"))
    assert (await client.show("SHOW SortIndexInformation"))["pending"] == "0"
    assert (await client.show("SHOW ConversationIndexInformation diag details") or True)
    await client.ok("UPDATE Account alice")
    assert (await client.show("SHOW SearchIndexInformation diag"))["messages"] == "3"
    rows = await client.rows("SHOW SearchIndexInformation folder INBOX")
    assert len(rows) == 1 and rows[0].split(" | ")[0].strip() == "INBOX"
    assert "does not exist" in await client.err("SHOW SearchIndexInformation folder Nowhere")
    assert (await client.show("SHOW CalendarSearchIndexInformation"))["pending"] == "0"
    for line in (
        "PURGE calendarMetadata", "PURGE calendarMetadata folder Calendar", "PURGE caldav sharedProperties",
        "PURGE caldav inviteMessages", "PURGE caldav propertiesForFolder Calendar", "RESET ldapAssociation",
        "RESET messageMetadata attachments allfolders", "RESET messageMetadata calendar folder INBOX Sent",
        "RESET messageConversationIds",
    ):  # fmt: skip
        assert (await client.send(line))[0] and (await client.send(line))[-1].startswith("+OK"), line
    for line in (
        "IMPORTCONTACTS file contacts.vcf folder Contacts duplicatesPolicy ignore",
        "REPAIR contacts in folder Contacts remove invalid bday", "REPAIR contacts in folder Contacts remove duplicates",
    ):  # fmt: skip
        assert "contacts" in await client.err(line)


async def test_domain_lists_and_what_is_not_kept(face: Face) -> None:
    await fill(face)
    client = await face.client()
    await client.ok(DOMAIN)
    rows = await client.rows("LIST DomainObjectsInfo a*")
    columns = re.split(r"\s*\|\s*", rows[0])
    assert len(rows) == 1 and columns[:2] == ["alice", "account"] and columns[3] == "3"
    assert await client.rows("LIST SearchFolders details") == []
    for line in (
        "PURGEMAPIPROPS onMessages dryrun a*", "UPGRADE Storage", "PURGE disposableMetadata", "RESET maintenanceDate",
        "REMOVE TmpSearchFolders all", "DISABLE traceLog NODB", "SHOW DisposableMetadataInformation",
    ):  # fmt: skip
        assert (await client.send(line))[-1].startswith("+OK"), line
    for line, words in (
        ("SYNCCONTACTS", "contacts"), ("ENABLE traceLog Account alice allfolders", "not traced"),
        ("RESET ldapSynchronization", "LDAP"),
        ("ENABLE traceLog NODB", "not traced"), ("COMPACT All splitAfter 100 into x", "not split"), ("RECOVER attach", "none"),
        ("PURGEMAPIPROPS abort", "none"), ("SCAN ALL recoverTo alice", "UNDELETE"),
    ):  # fmt: skip
        assert words in await client.err(line), line


async def test_ghosts_and_recover(face: Face) -> None:
    client = await face.client()
    await client.ok(DOMAIN, "REMOVE Account alice")
    assert await client.rows("LIST Ghosts") == ["alice"] and await client.rows("LIST Ghosts b*") == []
    assert "alice@example.test can be brought back" in await client.ok("RECOVER accounts dryrun")
    assert "alice@example.test is back" in await client.ok("RECOVER accounts setpassword wonder-land-2")
    assert await client.rows("LIST Accounts") == ["alice"] and await client.rows("LIST Ghosts") == []
    await client.ok("REMOVE Account alice")
    assert (await client.send("REMOVE GHOSTS a*"))[0] == "1 mailboxes removed"
    assert await client.rows("LIST Ghosts") == []
    await face.directory.create_domain("other.test", actor=ADMIN)
    await face.directory.disable_domain("other.test", actor=ADMIN)
    await face.directory.delete_domain("other.test", actor=ADMIN)
    assert "other.test can be brought back" in await client.ok("RECOVER domain other.test dryrun")
    assert any("other.test is back" in line for line in await client.ok("RECOVER domain other.test"))
    assert "was deleted" in await client.err("RECOVER domain other.test")


async def test_purge_of_all_folders_of_a_domain(face: Face) -> None:
    await fill(face)
    client = await face.client()
    await client.ok(DOMAIN)
    assert (await client.send("PURGE account folders INBOX older than 1 days"))[0] == "0 messages removed"
    assert (await client.send("PURGE account folders INBOX"))[0] == "3 messages removed"
    assert (await client.send("PURGE public folders News"))[0] == "0 messages removed"


async def test_migrate_is_begun_listed_shown_and_ended(face: Face) -> None:
    client = await face.client()
    await client.ok(DOMAIN)
    start = "MIGRATE account alice remoteHost 127.0.0.1 remotePort 9 remoteUser a remotePass 'p w' ignoreFolders (Trash Spam)"
    await client.ok(f"{start} overrideQuota yes verbose yes")
    assert "under way" in await client.err(start)
    assert any(row.startswith("alice") and "a@127.0.0.1:9" in row for row in await client.rows("MIGRATE LIST"))
    assert any("waiting" in line for line in await client.ok("MIGRATE PEEK alice 1"))
    assert (await client.send("MIGRATE ABORT alice"))[0].startswith("1 migrations ended")
    assert any("aborted" in line for line in await client.ok("MIGRATE ATTACH alice"))
    assert (await client.send("MIGRATE ABORT"))[0].startswith("0 migrations ended")
    assert "yes or no" in await client.err(f"{start} structureOnly maybe")


async def test_json_query(face: Face) -> None:
    await fill(face)
    client = await face.client()
    await client.ok("ENTER JSONQUERY")
    found = json.loads("\n".join(await client.ok("QUERY /domains")))
    (domain,) = found["domains"]
    assert domain["name"] == "example.test" and domain["enabled"] and domain["messages"] == 3 and domain["accounts"] == 1
    alice = next(box for box in domain["mailboxes"] if box["name"] == "alice@example.test")
    assert alice["sizeOctets"] == domain["sizeOctets"] == 3 * (len(MESSAGE) + 3)
    assert "/domains" in await client.err("QUERY /nothing")


async def test_cipher_suites_are_decoded(face: Face) -> None:
    client = await face.client()
    await client.ok("ENTER TRACER")
    rows = await client.rows("DECODE CIPHERSUITE 0xC02F")
    assert len(rows) == 1 and "ECDHE-RSA-AES128-GCM-SHA256" in rows[0] and "TLSv1.2" in rows[0]
    assert any("ECDHE-ECDSA-AES256-GCM-SHA384" in row for row in await client.rows("DECODE CIPHERSUITE ECDHE+AESGCM"))
    assert "names no cipher" in await client.err("DECODE CIPHERSUITE NOSUCHCIPHER")
    for line in ("ENABLE WEBDAV TRACE FOR USER a@b.test INTO f", "ENABLE CALENDAR AUDIT FOR USER .* INTO FILE f"):
        assert "does not have" in await client.err(line)
    await client.ok("DISABLE WEBDAV TRACE", "DISABLE HTTPC TRACE", "DISABLE CALENDAR AUDIT")


async def test_cluster_certificates_backups_connectors(face: Face) -> None:
    client = await face.client()
    await client.ok("CONFIG SERVER", "CONFIG CLUSTER")
    assert (await client.show("SHOW STATUS"))["runMode"] == "standAlone"
    assert "stands alone" in await client.err("JOIN key runMode backEnd via 10.0.0.1:7000 waitSync")
    for line in ("LIST userMap cache", "LIST hostDefinition cache", "LIST configSynchronizers"):
        assert await client.rows(line) == []
    for line in ("UPDATE userMap cache", "UPDATE hostDefinition cache 10.0.0.1", "UPDATE config x", "SHOW configSynchronizer x"):
        assert "stands alone" in await client.err(line)
    await client.ok("BACK", "CONFIG CERTS")
    assert "certFile" in await client.err("GENERATE letsencrypt hostname mail.example.test terms accept contact a@b.test")
    assert "none to revoke" in await client.err("REVOKE letsencrypt hostname mail.example.test")
    await client.ok("BACK", "CONFIG FTP-BACKUP")
    assert await client.rows("LIST BACKUPS") == [] and await client.rows("FILESYSTEM status") == []
    assert "no backup label monday" in await client.err("FILESYSTEM mount /mnt since monday domain example.test publicFolder")
    assert "no such folder" in await client.err("FILESYSTEM mount /mnt domain example.test publicFolder Board")
    assert "only run/" in await client.err(f"FILESYSTEM mount {face.services.data_dir}/index noremoved domain example.test")
    assert "nothing is mounted" in await client.err("FILESYSTEM unmount /mnt")
    assert "absolute" in await client.err("FILESYSTEM status mnt")
    assert "label" in await client.err("REMOVE BACKUP monday from domain example.test")
    assert (await client.send("PURGE BACKUPS"))[0] == "0 labels forgotten"
    await client.ok("BACK", "CONFIG USERDB", "SET defaultZoomConnector z", "RESET defaultZoomConnector")
    await client.ok("RESET defaultTeamsConnector")
    assert (await client.show())["defaultZoomConnector"] == '""'


async def test_smtp_filters_are_kept(face: Face) -> None:
    client = await face.client()
    await client.ok("CONFIG SERVER")
    reply = await client.text("UPDATE SmtpFilters", 'event connect {\n  context (peer "x") {}\n.dot\n}')
    assert reply[-1].startswith("+OK")
    await client.ok("COMMIT", "CONFIG SERVER")
    shown = await client.ok("SHOW SmtpFilters")
    assert shown[0] == "event connect {" and "..dot" in shown
    (face.services.data_dir / "filters.script").write_text("event quit {}\n")
    await client.ok("UPDATE SmtpFilters filters.script", "SHOW SmtpFilters kept.script")
    assert (face.services.data_dir / "kept.script").read_text().startswith("event quit")
    assert "cannot be read" in await client.err("UPDATE SmtpFilters nowhere")


async def test_help_of_all_contexts_in_a_file(face: Face) -> None:
    client = await face.client()
    await client.ok("ENTER DEBUG", "EXEC listCliHelp /tmp/../etc/cliHelp.txt")
    text = (face.services.data_dir / "run" / "help-cliHelp.txt").read_text()
    assert "MIGRATE ATTACH <accountName>" in text and "The commands of the context PROCESSING <server-processing#> are:" in text
    await client.ok("QUIT DEBUG")
    assert client.prompt == "<#> "


async def test_a_bundle_for_support(face: Face) -> None:
    client = await face.client()
    bootstrap = face.services.data_dir / "mailstead.toml"
    assert "does not exist" in await client.err("SAVE supportInfo")
    bootstrap.write_text('data_dir = "."\nnode = "n1"\nengine = "sqlite"\nshards = 1\n')
    written = (await client.send("SAVE supportInfo"))[0].removeprefix("written to ")
    with tarfile.open(written) as archive:
        assert "mailstead-support/doctor.json" in archive.getnames()
    await client.ok("SAVE supportInfo run/mine.tar.gz")
    assert "cannot be written" in await client.err("SAVE supportInfo run/mine.tar.gz")


async def deliver(face: Face, size: int) -> None:
    delivery = Delivery(face.services.store, face.directory, face.mailbox)
    address = "alice@example.test"
    found = face.directory.resolve(address)
    octets = MESSAGE + b"x" * size
    message = AcceptedMessage(
        "m1", address, [EnvelopeRecipient(address, found)], b"Received: test\r\n", octets, len(octets), int(time.time()),
        auth=Authenticated(address, "PLAIN"),
    )  # fmt: skip
    await delivery.accept(message)
    await delivery.close()


async def test_accounting_by_day(face: Face) -> None:
    now = time.time()
    face.directory.accounting._clock = lambda: now  # no midnight comes between
    await deliver(face, 5000)
    await deliver(face, 5000)
    await face.directory.accounting.flush()
    old = Accounting(face.directory.database, lambda: 10 * DAY * 365.0)
    old.count(face.domain_id, LOGINS, 7)
    await face.directory.accounting.flush()
    today = time.strftime("%d %b %Y", time.gmtime(now))
    client = await face.client()
    (row,) = await client.rows(f'SHOW AccountingStatistics since "{today}"')
    columns = re.split(r"\s*\|\s*", row)
    assert columns == [today, "example.test", "2", "10", "2", "10", "0"]
    await client.ok(DOMAIN)
    assert len(await client.rows(f'SHOW AccountingStatistics since "{today}" until "{today}"')) == 1
    assert await client.rows('SHOW AccountingStatistics until "20 Jun 2018"') == []
    assert "is no day" in await client.err("SHOW AccountingStatistics since yesterday")


async def test_figures_are_kept_when_they_cannot_be_written(face: Face) -> None:
    accounting = face.directory.accounting
    accounting.count(face.domain_id, SENT, octets=10)
    write = face.directory.database.write

    async def broken(operation: object) -> None:
        raise OSError("no")

    face.directory.database.write = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(OSError, match="no"):
        await accounting.flush()
    face.directory.database.write = write  # type: ignore[method-assign]
    await asyncio.gather(accounting.flush(), accounting.flush())
    assert [(one.sent, one.sent_octets) for one in accounting.days(face.domain_id)] == [(1, 10)]


async def test_who_has_no_right_does_not_see_it(face: Face) -> None:
    await face.directory.create_admin("small", "small-secret-1", actor=ADMIN)
    await face.directory.grant("small", "manageAccounts", actor=ADMIN, domain="example.test")
    client: Client = await face.client("small", "small-secret-1")
    assert "unknown command" in await client.err("ENTER TRACER")
    assert "unknown command" in await client.err("ENTER DEBUG")
    await client.ok("ENTER JSONQUERY", "QUERY /domains", "BACK", DOMAIN, "MIGRATE LIST")
    for line in ("SCAN ALL", "COMPACT All", "LIST Storages", "LIST Ghosts", "RECOVER accounts"):
        assert "unknown command" in await client.err(line), line
