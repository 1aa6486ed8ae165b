"""`mailstead config`: to a file, what a file would change, and making it so."""

from __future__ import annotations

import asyncio
import socket
import stat
import time
import tomllib
from pathlib import Path

from mailstead.directory.service import Directory
from mailstead.identity.passwords import verify
from mailstead.restoring.labels import BackupLabels
from mailstead.settings.actor import Actor
from tests.cli.conftest import StartDemo, command


def test_an_export_of_a_new_server_says_what_it_is(data: Path) -> None:
    text = command("config", "export", "-c", str(data)).output
    assert command("config", "export", "-c", str(data), "-").output == text
    values = tomllib.loads(text)
    assert values["services"]["server"]["serverName"] == "mail.example.test"
    assert [one["address"] for one in values["listeners"] if one["service"] == "cli"] == [
        "0.0.0.0:7000", "0.0.0.0:7001", "[::]:7000", "[::]:7001",
    ]  # fmt: skip
    assert [one["enable"] for one in values["listeners"] if one["service"] == "ftpBackup"] == [False, False]
    assert [one["priority"] for one in values["objects"]["logRule"]] == [500, 1000]
    assert len(values["objects"]["socketFilter"]) == 7
    assert values["administrators"][0]["password"] == "(secret)"
    assert "accounts" not in values["domains"][0]
    assert "accounts" not in values["complete"]
    assert "argon2" not in text


def test_every_setting_stands_in_the_whole_export(data: Path, tmp_path: Path) -> None:
    text = command("config", "export", "-c", str(data), "--all").output
    assert "# maxErrors = 20" in text
    assert "# Wrong commands in a session before it is dropped; 0 = unlimited" in text
    file = tmp_path / "all.toml"
    file.write_text(text)
    assert command("config", "diff", "-c", str(data), str(file)).output == "Nothing differs.\n"


def test_a_file_with_secrets_is_for_its_owner(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "whole.toml"
    assert command("config", "export", "-c", str(data), str(file), "--secrets", "--accounts").exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "$argon2id$" in file.read_text()
    assert 'name = "postmaster"' in file.read_text()
    plain = tmp_path / "plain.toml"
    command("config", "export", "-c", str(data), str(plain))
    assert stat.S_IMODE(plain.stat().st_mode) == 0o640


def test_labels_of_backups_are_no_configuration(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    directory = Directory.open(data)
    labels = BackupLabels(directory)
    actor = Actor.system("test")
    asyncio.run(labels.add("monday", actor=actor))
    asyncio.run(labels.add("tuesday", "example.test", actor=actor))
    assert command("config", "export", "-c", str(data), str(file)).output == f"Wrote {file}.\n"
    assert command("config", "import", "-c", str(data), str(file), "--yes").output == "Nothing differs.\n"
    directory.poll()
    assert [one.name for one in labels.labels(actor=actor)] == ["monday"]
    assert [one.name for one in labels.labels("example.test", actor=actor)] == ["tuesday"]
    directory.close()


def test_a_change_is_shown_asked_for_and_made(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "part.toml"
    file.write_text('[services.imap]\nmaxErrors = 9\n[[domains]]\nname = "second.example"\n')
    shown = command("config", "diff", "-c", str(data), str(file))
    assert shown.exit_code == 1
    assert shown.output == "~ services.imap.maxErrors: 20 (default) -> 9\n+ domain second.example\n"
    refused = command("config", "import", "-c", str(data), str(file), input="n\n")
    assert refused.exit_code == 1
    tried = command("config", "import", "-c", str(data), str(file), "--dry-run")
    assert "none was kept" in tried.output
    assert command("config", "diff", "-c", str(data), str(file)).exit_code == 1
    made = command("config", "import", "-c", str(data), str(file), "--yes")
    assert made.exit_code == 0, made.output
    assert "2 changes made" in made.output
    assert command("config", "diff", "-c", str(data), str(file)).exit_code == 0
    directory = Directory.open(data)
    try:
        assert directory.settings.service("imap").maxErrors == 9
        assert directory.domain_by_name("second.example") is not None
    finally:
        directory.close()


def test_a_mistake_changes_nothing(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[services.imap]\nmaxErrors = 9\nmaxErors = 1\n[services.pop3]\nallowStartTLS = "perhaps"\n')
    result = command("config", "import", "-c", str(data), str(file), "--yes")
    assert result.exit_code == 2
    assert command("config", "diff", "-c", str(data), str(file)).exit_code == 2
    assert "line 3: services.imap has no setting 'maxErors'; is maxErrors meant?" in result.output
    assert "line 5: services.pop3: allowStartTLS: expected true or false" in result.output
    assert "maxErrors" not in command("setting", "list", "-c", str(data), "imap", "--changed").output


def test_an_export_moves_a_server_with_its_accounts_and_passwords(data: Path, tmp_path: Path) -> None:
    command("user", "add", "-c", str(data), "anna@example.test", input="anna-secret-1\nanna-secret-1\n")
    file, again = tmp_path / "whole.toml", tmp_path / "again.toml"
    command("config", "export", "-c", str(data), str(file), "--secrets", "--accounts")
    other = tmp_path / "other"
    command(
        "init", str(other), "--hostname", "mx.other.test", "--domain", "other.test", "--admin-password", "administrator",
    )  # fmt: skip
    made = command("config", "import", "-c", str(other), str(file), "--yes")
    assert made.exit_code == 0, made.output
    command("config", "export", "-c", str(other), str(again), "--secrets", "--accounts")
    assert again.read_text() == file.read_text()
    directory = Directory.open(other)
    try:
        account = directory.account_by_address("anna@example.test")
        assert account is not None
        credentials = directory.credentials(account.id)
        assert credentials is not None
        assert verify("anna-secret-1", credentials.password)
    finally:
        directory.close()


def test_a_running_server_follows_an_import_at_once(demo: StartDemo, tmp_path: Path) -> None:
    server = demo(workers=2)
    file = tmp_path / "part.toml"
    port = server.port(2143)
    extra = server.port(2143) + 1
    file.write_text(
        '[services.imap]\ngreetingsText = "hello from a file"\n'
        f'[[listeners]]\nservice = "imap"\naddress = "127.0.0.1:{extra}"\n'
    )
    made = command("config", "import", "-c", str(server.data), str(file), "--yes")
    assert made.exit_code == 0, made.output
    assert all("hello from a file" in greeting(port) for _connection in range(8)), "a worker has not heard of it"
    until = time.monotonic() + 60
    while True:
        try:
            assert "hello from a file" in greeting(extra)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.1)
    assert command("config", "diff", "-c", str(server.data), str(file)).exit_code == 0


def greeting(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), 60) as sock:
        return sock.recv(1000).decode()
