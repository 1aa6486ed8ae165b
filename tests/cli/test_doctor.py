"""Faults of an installation that a newcomer meets: doctor finds each, and what it says to do puts it right."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import resource
import shutil
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from mailstead.directory import Actor, Directory
from mailstead.process import certificates
from mailstead.process.system import lock_data_directory
from tests.cli.conftest import StartDemo, command

Rows = list[dict[str, str]]


def of(data: Path, subject: str) -> Rows:
    """Findings of a subject, without those that ask for nothing."""
    found = json.loads(command("doctor", "--config", str(data), "--offline", "--json").output)["findings"]
    assert all(row["fix"] for row in found if row["severity"] != "ok"), found
    return [row for row in found if row["subject"] == subject and row["severity"] != "ok"]


def make_account(data: Path, name: str) -> None:
    directory = Directory.open(data)
    asyncio.run(directory.create_account("example.test", name, "secret-1", actor=Actor.system("test")))
    directory.close()


def accounts(data: Path) -> set[str]:
    directory = Directory.open(data)
    try:
        return {account.name for domain in directory.domains() for account in directory.accounts(domain.id)}
    finally:
        directory.close()


@pytest.mark.parametrize("fault", ["missing", "empty", "header", "pages"])
def test_a_damaged_system_database_comes_back_as_doctor_and_fsck_say(data: Path, tmp_path: Path, fault: str) -> None:
    make_account(data, "anna")
    home, new, path = tmp_path / "backups", tmp_path / "new", data / "index" / "system.db"
    assert command("backup", "create", "-c", str(data), str(home)).exit_code == 0
    octets = bytearray(path.read_bytes())
    for side in ("system.db-wal", "system.db-shm"):
        (path.parent / side).unlink(missing_ok=True)
    if fault == "missing":
        path.unlink()
    elif fault == "empty":
        path.write_bytes(b"")
    else:
        for place in [0] if fault == "header" else range(4096, len(octets), 4096):
            octets[place : place + 64] = b"\xff" * 64
        path.write_bytes(octets)
    fix = "`mailstead restore server BACKUPS --to NEW`, remove index/system.db-wal and index/system.db-shm, `cp -p NEW/"
    (row,) = of(data, "settings")
    assert row["severity"] == "problem" and fix in row["fix"]
    checked = command("fsck", "-c", str(data))
    assert checked.exit_code == 2 and fix in checked.output and "\nclean" not in checked.output
    assert path.exists() == (fault != "missing"), "neither made anything"
    said = command("run", "-c", str(data), "--workers", "0")
    assert said.exit_code != 0 and "doctor` says what to do" in said.output + said.stderr

    assert command("restore", "server", str(home), "--to", str(new)).exit_code == 0
    for side in ("system.db-wal", "system.db-shm"):
        (path.parent / side).unlink(missing_ok=True)
    shutil.copy2(new / "index" / "system.db", path)
    assert of(data, "settings") == of(data, "database") == []
    assert command("fsck", "-c", str(data)).exit_code == 0
    assert "anna" in accounts(data)


def test_an_older_schema_is_told_and_left_as_it_is(data: Path) -> None:
    def number() -> int:
        connection = apsw.Connection(str(data / "index" / "system.db"))
        try:
            return int(connection.execute("SELECT max(number) FROM migration").fetchone()[0])  # type: ignore[index]
        finally:
            connection.close()

    newest = number()
    connection = apsw.Connection(str(data / "index" / "system.db"))
    connection.execute("DELETE FROM migration WHERE number = ?; DROP TABLE history_member", (newest,))
    connection.close()
    for _ in range(2):  # the first look has changed nothing
        (row,) = of(data, "database")
        assert f"has schema {number()} of {newest}" in row["text"] and "next start brings it up to date" in row["fix"]
    assert number() < newest
    make_account(data, "anna")  # as the server's start does
    assert of(data, "database") == []


def test_certificates_that_ended_or_have_not_begun(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data / "certs" / "default.pem"

    class Shifted(datetime.datetime):
        days = 0

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.now(tz) + datetime.timedelta(days=cls.days)

    moved = SimpleNamespace(datetime=Shifted, timedelta=datetime.timedelta, UTC=datetime.UTC)
    for days, words, fix in ((-20, "expired", "put a new certificate"), (20, "not valid before", "whether the clock is right")):
        Shifted.days = days
        with monkeypatch.context() as then:
            then.setattr(certificates, "datetime", moved)
            certificates.self_signed(path, ["mail.example.test"], 10)
        (row,) = of(data, "certificate")
        assert row["severity"] == "problem" and words in row["text"] and fix in row["fix"], row
    certificates.self_signed(path, ["mail.example.test"], 100)
    assert [row["severity"] for row in of(data, "certificate")] == ["warning"]  # nobody has signed it


def test_a_clock_that_was_set_back(data: Path) -> None:
    path = data / "index" / "system.db"
    assert not any("after what the clock says" in row["text"] for row in of(data, "clock"))
    os.utime(path, (time.time() + 3 * 86_400,) * 2)
    (row,) = [row for row in of(data, "clock") if "after what the clock says" in row["text"]]
    assert row["severity"] == "problem" and f"{path} was written 3 days after" in row["text"] and "set the clock" in row["fix"]


def test_ports_of_metrics_and_listeners_that_another_program_has(data: Path) -> None:
    with socket.socket() as metrics, socket.socket() as imap:
        for sock in (metrics, imap):
            sock.bind(("127.0.0.1", 0))
            sock.listen()
        mine, theirs = metrics.getsockname()[1], imap.getsockname()[1]
        assert command("setting", "set", "server", "metricsPort", str(mine), "-c", str(data)).exit_code == 0
        assert command("listener", "add", "imap", f"127.0.0.1:{theirs}", "-c", str(data)).exit_code == 0
        rows = of(data, "ports")
        (told,) = [row for row in rows if str(mine) in row["text"]]
        assert told["severity"] == "warning" and "setting set server metricsPort" in told["fix"]
        assert told["text"] == f"cannot listen on 127.0.0.1:{mine} for the metrics: another program is using the port"
        (told,) = [row for row in rows if f"127.0.0.1:{theirs}" in row["text"]]
        assert told["severity"] == "problem" and "ss -ltnp" in told["fix"]
    assert command("setting", "set", "server", "metricsPort", "0", "-c", str(data)).exit_code == 0
    assert not any(str(port) in row["text"] for row in of(data, "ports") for port in (mine, theirs))


def test_little_room_for_data_logs_and_backups(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("backup", "create", "-c", str(data), str(tmp_path / "backups")).exit_code == 0
    (data / "logs").mkdir(exist_ok=True)
    real, apart = os.stat, {str(tmp_path / "backups"): 77, str(data / "logs"): 78}

    def stat(path: str | Path, **how: object) -> object:
        found = real(path, **how)  # type: ignore[arg-type]
        device = apart.get(str(path))
        return found if device is None else SimpleNamespace(st_dev=device, st_uid=found.st_uid, st_mode=found.st_mode)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=40 << 30, free=90 << 20))
    rows = of(data, "disk")
    assert [row["text"] for row in rows] == [
        "90 MB of 40.0 GB free", "90 MB of 40.0 GB free for backups", "90 MB of 40.0 GB free for log files",
    ]  # fmt: skip
    assert [row["severity"] for row in rows] == ["problem"] * 3
    for row, words in zip(rows, ("setting set server retentionDays", "mailstead backup purge", "fileCount"), strict=True):
        assert words in row["fix"]


def test_the_limit_of_files_is_that_of_the_running_server(demo: StartDemo) -> None:
    server = demo(1)
    pid = int((server.data / "run" / "mailstead.lock").read_text())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (900, 900))
    (row,) = of(server.data, "open files")
    assert "at most 900" in row["text"] and "LimitNOFILE=" in row["fix"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_the_log_that_belongs_to_another(data: Path) -> None:
    os.close(lock_data_directory(data))  # makes run/
    segment = data / "log" / "w0" / "0000000000000001.mlog"
    segment.parent.mkdir()
    segment.write_bytes(b"")
    assert of(data, "rights") == []
    os.chown(segment, 65_534, 65_534)
    (row,) = of(data, "rights")
    assert row["severity"] == "problem" and str(segment) in row["text"] and row["fix"] == f"chown -R root {data}"


def names_of(data: Path) -> list[str]:
    return [row["text"] for row in of(data, "names")]


def test_names_in_settings_that_lead_nowhere(data: Path) -> None:
    """What may come after its name is taken without it, and told until it is there."""
    assert names_of(data) == []
    assert command("listener", "add", "imap", "127.0.0.1:2143", "listenerDomain=gone.test", "-c", str(data)).exit_code == 0
    for context, name, value in (
        ("server", "primaryDomain", "gone.test"),
        ("server", "caBundlePath", "certs/authorities.pem"),
        ("imapProxyMappingData", "userMap", "nodes"),
    ):
        assert command("setting", "set", context, name, value, "-c", str(data)).exit_code == 0
    refused = command("setting", "set", "imap", "userdbConnectorName", "office", "-c", str(data))
    assert refused.exit_code != 0 and "there is no ldapConnector office" in refused.output
    directory = Directory.open(data)
    asyncio.run(directory.settings.set_account_default("welcomeMessageFileName", "welcome.txt", "test"))
    directory.close()
    assert sorted(names_of(data)) == [
        "imap 127.0.0.1:2143: listenerDomain names gone.test: there is no such domain",
        "imapProxyMappingData: userMap names nodes: there is no such usermap",
        "server: caBundlePath names certs/authorities.pem: it cannot be read: no such file or directory",
        "server: primaryDomain names gone.test: there is no such domain",
        "the server: welcomeMessageFileName names welcome.txt: it cannot be read: no such file or directory",
    ]
    directory = Directory.open(data)
    asyncio.run(directory.create_domain("gone.test", actor=Actor.system("test")))
    directory.close()
    (data / "certs" / "authorities.pem").write_bytes((data / "certs" / "default.pem").read_bytes())
    (data / "templates").mkdir(exist_ok=True)
    (data / "templates" / "welcome.txt").write_text("Welcome")
    assert command("setting", "reset", "imapProxyMappingData", "userMap", "-c", str(data)).exit_code == 0
    assert names_of(data) == []


def test_authorities_of_client_certificates_that_are_missing(data: Path) -> None:
    words = ("-c", str(data), "imap", "127.0.0.1:2143")
    assert command("listener", "add", *words, "certFile=certs/default.pem").exit_code == 0
    assert not [row for row in of(data, "certificate") if "caFile" in row["text"]]
    assert command("listener", "set", *words, "requestClientAuth=yes", "caFile=certs/clients.pem").exit_code == 0
    (told,) = [row for row in of(data, "certificate") if "caFile" in row["text"]]
    assert told["severity"] == "problem" and "imap 127.0.0.1:2143: cannot read the caFile" in told["text"]
    (data / "certs" / "clients.pem").write_bytes((data / "certs" / "default.pem").read_bytes())
    assert not [row for row in of(data, "certificate") if "caFile" in row["text"]]
