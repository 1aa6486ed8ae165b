"""doctor's findings with what to do, and the bundle for support, from which every secret is gone."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw
import pytest
from cryptography import x509

from mailstead.cli import check_host, check_names, check_store
from mailstead.cli.check_certificates import key_fault, names_host
from mailstead.cli.check_names import check_names as names
from mailstead.cli.finding import OK, PROBLEM, WARNING, Finding
from mailstead.cli.support_secrets import Cleaner
from mailstead.directory import Actor, Directory
from mailstead.dns.answer import Answer, MxRecord, Status
from mailstead.migration.service import MigrationService
from mailstead.process.certificates import self_signed
from mailstead.settings.declaration import Kind
from mailstead.settings.declarations import OBJECT_KINDS, SERVICE_CONTEXTS
from mailstead.settings.objects import new_object_id
from tests.cli.conftest import command

ADMIN = Actor.system("test")


def found(data: Path, *more: str) -> list[dict[str, str]]:
    result = command("doctor", "--config", str(data), "--offline", "--json", *more)
    document = json.loads(result.output)
    assert (document["worst"] == "problem") == (result.exit_code == 1)
    return list(document["findings"])


def of(rows: Iterable[dict[str, str]], subject: str) -> list[dict[str, str]]:
    return [row for row in rows if row["subject"] == subject]


def test_findings_as_json_and_every_one_says_what_to_do(data: Path) -> None:
    rows = found(data)
    assert {row["subject"] for row in rows} >= {
        "disk", "rights", "open files", "server", "settings", "index", "ports", "certificate", "memory", "clock", "versions",
        "database", "left over", "logs",
    }  # fmt: skip
    assert all(row["fix"] for row in rows if row["severity"] == "problem"), rows
    text = command("doctor", "--config", str(data), "--offline").output
    assert "         do: " in text


def test_a_subdomain_whose_parent_is_gone_is_told_with_what_to_do(data: Path) -> None:
    directory = Directory.open(data)
    asyncio.run(directory.create_domain("above.test", actor=ADMIN))
    for name in ("a.above.test", "b.above.test"):
        asyncio.run(directory.create_domain(name, actor=ADMIN))
        asyncio.run(directory.set_domain_setting(name, "parentDomain", "above.test", actor=ADMIN))
    asyncio.run(directory.set_domain_setting("b.above.test", "activateWithoutParent", "yes", actor=ADMIN))
    directory.close()
    assert of(found(data), "subdomains") == []
    directory = Directory.open(data)
    asyncio.run(directory.delete_domain("above.test", actor=ADMIN))
    directory.close()
    (told,) = of(found(data), "subdomains")
    assert told["severity"] == "warning"
    assert told["text"] == "a.above.test is below above.test, which is not there: nobody logs in and no mail is taken"
    enable = "and ENABLE Domain name above.test, or SET activateWithoutParent yes in a.above.test"
    assert told["fix"] == f"`mailstead undelete domain above.test`, {enable}"
    directory = Directory.open(data)
    asyncio.run(directory.erase_deleted("domain", "above.test", actor=ADMIN))
    directory.close()
    (told,) = of(found(data), "subdomains")
    assert told["fix"] == "`mailstead domain add above.test`, or SET activateWithoutParent yes in a.above.test"


def test_rights_and_certificates_that_are_wrong_come_with_a_remedy(data: Path) -> None:
    pem, index = data / "certs" / "default.pem", data / "index"
    good = pem.read_bytes()
    os.chmod(pem, 0o644)
    os.chmod(data, 0o755)
    os.chmod(index / "system.db", 0o400)
    rows = found(data)
    assert all(row["fix"] for row in rows if row["severity"] != "ok"), rows
    rights = of(rows, "rights")
    assert any(f"{index / 'system.db'} are closed" in row["text"] and row["fix"] == f"chmod -R u+rwX {data}" for row in rights)
    assert any("open to every user" in row["text"] and row["fix"] == f"chmod o-rwx {data}" for row in rights)
    assert f"chmod 600 {pem}" in of(rows, "certificate")[0]["fix"]
    os.chmod(index / "system.db", 0o600)
    os.chmod(data, 0o500)
    assert any(row["text"].startswith(f"{data} are closed") for row in of(found(data), "rights"))
    os.chmod(data, 0o700)
    for octets in (b"nonsense", good[: len(good) // 2]):
        pem.write_bytes(octets)
        (row,) = of(found(data), "certificate")
        assert row["severity"] == "problem" and str(pem) in row["fix"], row
    pem.unlink()
    assert str(pem) in of(found(data), "certificate")[0]["fix"]
    (index / "queue-0.db").unlink(missing_ok=True)
    assert all(row["fix"] for row in found(data) if row["severity"] != "ok")


def test_values_that_are_not_allowed_any_more_are_named(data: Path) -> None:
    directory = Directory.open(data)
    directory.settings.set_sync("imap", "maxErrors", "7", ADMIN)

    def spoil(transaction: Any) -> None:
        transaction.execute("UPDATE setting SET value = 'many' WHERE name = 'imap.maxErrors'")
        bad = json.dumps({"cipherSuite": "OF-YESTERDAY"})
        transaction.execute("UPDATE listener SET attributes = ? WHERE service = 'imap' AND port = 143", (bad,))

    directory.settings.database.write_sync(spoil)
    directory.close()
    rows = [row for row in of(found(data), "settings") if row["severity"] == "warning"]
    assert any(row["text"].startswith("imap: maxErrors: 'many'") and "setting reset imap maxErrors" in row["fix"] for row in rows)
    assert any("OF-YESTERDAY" in row["text"] and "listener set imap" in row["fix"] for row in rows), rows


def test_a_damaged_database_and_old_leavings(data: Path) -> None:
    shard = data / "index" / "queue-0.db"
    if not shard.exists():
        shard = data / "index" / "system.db"
    old = data / "run" / "x.part"
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 200_000,) * 2)
    (data / "run" / "readlock.json").write_text(json.dumps({"0": time.time() - 7200}))
    rows = found(data)
    assert of(rows, "left over")[0]["severity"] == "warning" and "x.part" in of(rows, "left over")[0]["text"]
    assert "READUNLOCK" in of(rows, "storages")[0]["fix"]
    damaged = data / "index" / "shard-77.db"
    apsw.Connection(str(damaged)).execute("CREATE TABLE version (number INTEGER); INSERT INTO version VALUES (999)")
    garbage = data / "index" / "shard-78.db"
    garbage.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    (data / "logs").mkdir()
    rows = found(data)
    assert any("has schema 999" in row["text"] and row["severity"] == "problem" for row in of(rows, "database"))
    assert any("shard-78.db" in row["text"] and "fsck" in row["fix"] for row in of(rows, "database"))


def test_much_log_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "everything.txt").write_bytes(b"x" * 3000)
    monkeypatch.setattr(check_store, "MUCH_LOG", 2000)
    (row,) = check_store._log_files(tmp_path, counted=False)
    assert row.severity == WARNING and "fileCount" in row.fix


def test_certificates_are_for_the_server_and_have_their_key(tmp_path: Path) -> None:
    one, other = tmp_path / "one.pem", tmp_path / "other.pem"
    self_signed(one, ["mail.example.test", "*.wild.test"])
    self_signed(other, ["other.test"])
    certificate = x509.load_pem_x509_certificate(one.read_bytes())
    assert names_host(certificate, "MAIL.example.test") and names_host(certificate, "a.wild.test")
    assert not names_host(certificate, "a.b.wild.test") and not names_host(certificate, "example.test")
    assert key_fault(one) == ""
    begin = "-----BEGIN PRIVATE KEY-----"
    mixed = one.read_text().split(begin)[0] + begin + other.read_text().split(begin)[1]
    one.write_text(mixed)
    assert key_fault(one) == "the key does not belong to the certificate"


class FakeDns:
    """Answers from a table; what is not in it does not exist."""

    def __init__(self, table: dict[tuple[str, str], tuple[Any, ...]], failing: bool = False) -> None:
        self.table, self.failing = table, failing

    async def _answer(self, name: str, rdtype: str) -> Answer:
        if self.failing:
            return Answer(name, rdtype, Status.FAILED, reason="nobody answers")
        records = self.table.get((name, rdtype))
        return Answer(name, rdtype, Status.FOUND if records else Status.NO_DATA, records or ())

    async def a(self, name: str) -> Answer:
        return await self._answer(name, "A")

    async def aaaa(self, name: str) -> Answer:
        return await self._answer(name, "AAAA")

    async def mx(self, name: str) -> Answer:
        return await self._answer(name, "MX")

    async def txt(self, name: str) -> Answer:
        return await self._answer(name, "TXT")

    async def ptr(self, name: str) -> Answer:
        return await self._answer(name, "PTR")


async def test_names_in_the_dns() -> None:
    own = "mail.firm.com"
    table: dict[tuple[str, str], tuple[Any, ...]] = {
        (own, "A"): ("192.0.2.1",), ("192.0.2.1", "PTR"): ("mail.firm.com",), ("firm.com", "MX"): (MxRecord(10, own),),
        ("firm.com", "TXT"): (b"v=spf1 mx -all",), ("_dmarc.firm.com", "TXT"): (b"v=DMARC1; p=none",),
        ("other.com", "MX"): (MxRecord(5, "mx.elsewhere.com"),), ("other.com", "TXT"): (b"v=spf1 a", b"v=spf1 mx"),
        ("mx.elsewhere.com", "A"): ("198.51.100.9",),
    }  # fmt: skip
    good = await names(FakeDns(table), own, ["firm.com"])
    assert [one.severity for one in good] == [OK, OK]
    told = [one.text for one in await names(FakeDns(table), own, ["other.com", "bare.com"])]
    assert any("goes to mx.elsewhere.com" in text for text in told) and any("2 SPF records" in text for text in told)
    assert any("bare.com has no MX" in text for text in told) and any("bare.com has no SPF" in text for text in told)
    del table["192.0.2.1", "PTR"]
    odd = (await names(FakeDns(table), own, []))[0]
    assert odd.severity == WARNING and "PTR" in odd.fix
    offline = await names(FakeDns({}, failing=True), own, ["firm.com"])
    assert len(offline) == 1 and "no name server tells" in offline[0].text


def test_reserved_names_are_not_asked_for(data: Path) -> None:
    assert not check_names.is_public("mail.example.test") and not check_names.is_public("localhost")
    assert not check_names.is_public("a.example.org") and check_names.is_public("mail.firm.com")


def test_the_clock_is_read_without_rights() -> None:
    row = check_host._clock()
    assert isinstance(row, Finding) and row.severity in (OK, WARNING) and row.severity != PROBLEM
    assert bool(row.fix) == (row.severity == WARNING)


# -- the bundle ------------------------------------------------------------------------------------------------------------


def plant(data: Path) -> list[str]:
    """Set every secret there is; the values."""
    planted: list[str] = []

    def fresh() -> str:
        planted.append(f"S3cr3t-{len(planted):03d}-vAlue-long-enough-for-keys")
        return planted[-1]

    directory = Directory.open(data)
    try:
        settings = directory.settings
        for context in SERVICE_CONTEXTS.values():
            for setting in context.settings:
                if setting.kind is Kind.SECRET:
                    settings.set_sync(context.name, setting.name, fresh(), ADMIN)
        for kind in OBJECT_KINDS.values():
            secret = [setting for setting in kind.context.settings if setting.secret]
            if kind.name == "staticParam":
                secret = [kind.context.setting("value")]
            if secret:
                attributes = {setting.name: fresh() for setting in secret}
                attributes[kind.context.setting(kind.key).name] = "planted"
                settings.database.write_sync(
                    lambda t, k=kind, a=attributes: t.execute(  # type: ignore[misc]
                        "INSERT INTO object (id, kind, scope, scope_id, key, attributes) VALUES (?, ?, 'service', 0, ?, ?)",
                        (new_object_id(), k.name, "planted", json.dumps(a)),
                    )
                )
        hashes = [str(row[0]) for table in ("account", "admin") for row in settings.database.query(f"SELECT password FROM {table}")]
        planted += [one for one in hashes if one]
    finally:
        directory.close()
    return planted


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {
            one.name.removeprefix("mailstead-support/"): archive.extractfile(one).read()  # type: ignore[union-attr]
            for one in archive.getmembers()
        }


def test_no_secret_is_in_the_bundle(data: Path, tmp_path: Path) -> None:
    planted = plant(data)
    assert len(planted) >= 8
    key = (next((data / "certs").glob("*.pem"))).read_text()
    logs = data / "logs"
    logs.mkdir()
    lines = [f"2026-01-05T09:12:44.083Z h error SERVER: odd thing said {one} and {json.dumps(one)}\n" for one in planted]
    lines += [key, 'x password="never told" token=abcdefg Authorization: Basic-dXNlcg\n', "kept line account=alice@example.test\n"]
    (logs / "everything.txt").write_text("".join(lines))
    target = tmp_path / "bundle.tar.gz"
    result = command("support", "--config", str(data), "--offline", str(target))
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    found = members(target)
    assert found.keys() >= {
        "configuration.toml", "mailstead.toml", "doctor.json", "versions.json", "system.json", "store.json", "metrics.txt",
        "logs/everything.txt",
    }  # fmt: skip
    everything = b"\n".join(found.values()).decode()
    for one in [*planted, "never told", "abcdefg", "Basic-dXNlcg", "BEGIN PRIVATE KEY", key.split("PRIVATE KEY-----")[1][:40]]:
        assert one not in everything, one
    assert "kept line account=alice@example.test" in everything and "[removed]" in found["logs/everything.txt"].decode()
    assert "could not be gathered" not in everything
    assert json.loads(found["store.json"])["domains"] == 1 and "apsw" in json.loads(found["versions.json"])["libraries"]
    assert json.loads(found["doctor.json"])["findings"] and "[domains.settings]" in found["configuration.toml"].decode()
    again = command("support", "--config", str(data), "--offline", str(target))
    assert again.exit_code == 1 and "cannot be written" in again.output


def test_words_that_are_no_secrets_stay() -> None:
    clean = Cleaner(["hunter22", 'quo"ted'])
    assert clean('password=hunter22 x="quo\\"ted" passwordExpires = yes minimumPasswordLength = 8') == (
        'password=[removed] x="[removed]" passwordExpires = yes minimumPasswordLength = 8'
    )
    assert clean("clusterKey = \"\"") == 'clusterKey = ""'


def test_what_is_derived_deleted_or_sealed_is_a_secret_too(data: Path, tmp_path: Path) -> None:
    secret: list[str] = []
    directory = Directory.open(data)
    settings = directory.settings

    async def fill() -> None:
        for name in ("gone", "stays"):
            await directory.create_account("example.test", name, f"pass of {name} 1", actor=ADMIN)
        account = directory.account_by_address("stays@example.test")
        assert account is not None
        await MigrationService(directory, data).start(
            account.id, host="imap.test", port=993, user="anna", password="word of elsewhere", actor=ADMIN
        )
        for name in ("gone", "stays"):
            row = settings.database.query_row("SELECT password, scram FROM account WHERE name = ?", (name,))
            assert row is not None
            secret.append(row[0])
            for _salt, _iterations, stored_key, server_key in json.loads(row[1]).values():  # each alone, as a debugging line has it
                secret.extend((stored_key, server_key))
        gone = directory.account_by_address("gone@example.test")
        assert gone is not None
        await directory.delete_account(gone.id, actor=ADMIN)

    asyncio.run(fill())
    directory.close()
    assert len(secret) >= 6
    secret.append("word of elsewhere")
    master = (data / "keys" / "master.key").read_bytes()
    secret += [master.hex(), base64.b64encode(master).decode()]
    pem = (data / "certs" / "default.pem").read_text().partition("PRIVATE KEY-----\n")[2].splitlines()
    secret += [pem[0], pem[1]]
    known = len(secret)
    forms = [
        "Authorization: Basic {}", "Authorization: Bearer {}", "'authorization': 'Bearer {}'", "X-API-Key: {}", "apiKey={}",
        "api_key: {}", 'bindPass="{}"', "private_key = '{}'", "secretAnswer={}", "clientSecret: '{}'", 'password="quo\\"{}"',
        "ldap://cn=admin:{}@ldap.test/", "AUTH PLAIN {}", "a1 AUTHENTICATE PLAIN {}", 'a2 LOGIN anna "{}"', "PASS {}",
        "{{SSHA512}}{}", "SCRAM-SHA-256$4096:{}", "$1$salt$hash{}", "$apr1$salt${}",
    ]  # fmt: skip
    secret += [f"Un{number:02d}knownS3cretOf20chars+" for number in range(len(forms))]
    lines = [f"said {one} here" for one in secret[:known]]
    lines += [form.format(one) for form, one in zip(forms, secret[known:], strict=True)]
    (data / "logs").mkdir()
    (data / "logs" / "everything.txt").write_text("\n".join([*lines, "kept passed=yes password=yes AUTH PLAIN", "PASS, it said"]))
    target = tmp_path / "bundle.tar.gz"
    assert command("support", "--config", str(data), "--offline", str(target)).exit_code == 0
    found = members(target)
    everything = b"\n".join(found.values()).decode()
    assert [one for one in secret if one in everything] == []
    assert "kept passed=yes password=yes AUTH PLAIN\nPASS, it said" in everything


def test_secrets_of_very_many_accounts_take_no_longer() -> None:
    secrets = [f"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ${number:032x}" for number in range(200_000)]
    text = "2026-01-05T09:12:44.083Z h information IMAP: logged in account=alice@example.test\n" * 20_000
    began = time.thread_time()
    assert Cleaner(secrets)(f"{text}x {secrets[77]} y") == f"{text}x [removed] y"
    assert time.thread_time() - began < 300
