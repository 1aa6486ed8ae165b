"""`mailstead backup` and `restore server` beside a running server, as an operator types them."""

from __future__ import annotations

import asyncio
import imaplib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mailstead.cli.data_directory import opened
from mailstead.directory import Actor
from mailstead.directory.model import RecipientEdit
from tests.cli.conftest import PASSWORD, Demo, StartDemo, command

ALICE = "alice@example.test"
NEWS = "news@example.test"


def client_of(server: Demo, address: str = ALICE) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", server.port(2143), timeout=60)
    client.login(address, PASSWORD)
    return client


def run(*words: str, status: int = 0) -> str:
    result = command(*words)
    assert result.exit_code == status, result.output
    return result.output


def fill(client: imaplib.IMAP4, count: int, size: int = 1000) -> None:
    for number in range(count):
        text = f"Subject: m{number}\r\nMessage-ID: <{number}@t>\r\n\r\n" + "x" * size + "\r\n"
        assert client.append("INBOX", "(\\Flagged)", "", text.encode())[0] == "OK"


def test_a_running_server_is_backed_up_and_another_made_of_it(demo: StartDemo, tmp_path: Path) -> None:
    server = demo(2)
    client = client_of(server)
    fill(client, 20)
    home, new, phrase = tmp_path / "backups", tmp_path / "new", tmp_path / "phrase"
    phrase.write_text("a long secret sentence\n")
    key = ("--passphrase-file", str(phrase))
    assert "encrypted only with" in run("backup", "create", "-c", str(server.data), str(home), *key, status=1)
    said = run("backup", "create", "-c", str(server.data), str(home), "--encrypt", *key, "--label", "one")
    assert "Backup one:" in said
    assert "WARNING" not in said
    fill(client, 1)
    said = run("backup", "create", "-c", str(server.data), str(home), *key)
    assert "one\t" in run("backup", "list", str(home), *key)
    assert run("backup", "list", str(home)).startswith("one\n")
    assert "whole" in run("backup", "verify", str(home), *key)
    said = run("restore", "server", str(home), "one", "--to", str(new), *key)
    assert "next UIDs were raised by 131072" in said
    assert "clean" in said
    assert server.stop() == 0
    # The restored one serves in the place of the other.
    server.data.rename(tmp_path / "old")
    new.rename(server.data)
    again = subprocess.Popen(
        [sys.executable, "-m", "mailstead", "run", "-c", str(server.data), "--workers", "1"], stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 300
        while True:
            try:
                client = client_of(server)
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.1)
        assert client.select("INBOX") == ("OK", [b"20"])
        assert client.response("UIDNEXT")[1] == [b"131093"]
        assert client.fetch("20", "(FLAGS)")[1][0] == b"20 (FLAGS (\\Flagged))"
        fill(client, 1)
    finally:
        again.send_signal(signal.SIGTERM)
        assert again.wait(60) == 0
    assert "Removed one" in run("backup", "purge", str(home), "--keep", "1")
    assert "whole" in run("backup", "verify", str(home), *key)


def test_a_backup_that_is_killed_leaves_none_and_hinders_none(demo: StartDemo, tmp_path: Path) -> None:
    server = demo(1)
    client = client_of(server)
    fill(client, 30, 200_000)
    home = tmp_path / "backups"
    run("backup", "create", "-c", str(server.data), str(home), "--label", "first")
    fill(client, 30, 200_000)
    words = [sys.executable, "-m", "mailstead", "backup", "create", "-c", str(server.data), str(home), "--rate", "1", "--full"]
    for pause in (0.8, 1.5, 2.5):
        child = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(pause)
        assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert run("backup", "list", str(home)).count("\n") == 1
    assert "whole" in run("backup", "verify", str(home))
    run("backup", "create", "-c", str(server.data), str(home), "--label", "second")
    assert "whole" in run("backup", "verify", str(home))
    run("backup", "purge", str(home), "--keep", "2")
    assert "whole" in run("backup", "verify", str(home))
    assert list((home / "tmp").iterdir()) == []
    run("restore", "server", str(home), "--to", str(tmp_path / "new"))
    assert server.stop() == 0


def test_lists_come_back_with_their_domain_and_by_themselves(demo: StartDemo, tmp_path: Path) -> None:
    server = demo(2)
    place = ("-c", str(server.data))
    home = tmp_path / "backups"

    async def make() -> None:
        with opened(server.data) as directory:
            news = await directory.create_list("example.test", "news", [ALICE], adminEmail=ALICE, actor=Actor.system("test"))
            await directory.edit_recipient(news.id, RecipientEdit(password=PASSWORD), actor=Actor.system("test"))

    asyncio.run(make())
    client = client_of(server, NEWS)
    fill(client, 3)
    client.create("Digests")
    client.append("Digests", "(\\Seen kw)", "", b"Subject: d\r\nMessage-ID: <d@t>\r\n\r\nx\r\n")
    run("backup", "create", *place, str(home))
    assert client.delete("Digests")[0] == "OK"
    said = run("restore", "folder", str(home), NEWS, "Digests", "--into", "Then", *place)
    assert said == f"{NEWS}: 1 messages restored, 0 are there; 1 folders made\n"
    assert client.select("Then") == ("OK", [b"1"])
    said = run("restore", "message", str(home), NEWS, "--message-id", "<1@t>", "--into", "Digests", *place)
    assert said == f"{NEWS}: 1 messages restored, 0 are there; 1 folders made\n"
    said = run("restore", "domain", str(home), "example.test", "--to", "copy.test", *place)
    assert "news@copy.test: 4 messages restored, 0 are there" in said
    assert "renamed: 2 addresses of example.test to copy.test" in said
    client = client_of(server, "news@copy.test")
    assert client.select("INBOX") == ("OK", [b"3"])
    run("domain", "delete", *place, "--yes", "--no-copy", "example.test")
    assert f"{NEWS}: 4 messages restored, 0 are there" in run("restore", "domain", str(home), "example.test", *place)
    client = client_of(server, NEWS)
    assert client.select("Digests") == ("OK", [b"1"])
    assert b"kw" in imaplib.ParseFlags(client.fetch("1", "(FLAGS)")[1][0])  # type: ignore[arg-type]
    assert server.stop() == 0


def test_parts_are_restored_into_the_running_server(demo: StartDemo, tmp_path: Path) -> None:
    server = demo(2)
    client = client_of(server)
    client.create("Work")
    for number in range(5):
        client.append("Work", "(\\Flagged)", "", f"Subject: w{number}\r\nMessage-ID: <w{number}@t>\r\n\r\nx\r\n".encode())
    home = tmp_path / "backups"
    run("backup", "create", "-c", str(server.data), str(home), "--label", "one")
    client.select("Work")
    client.store("1:5", "+FLAGS", "(\\Deleted)")
    client.expunge()
    place = ("-c", str(server.data))
    said = run("restore", "message", str(home), ALICE, "--message-id", "<w3@t>", *place)
    assert said == f"{ALICE}: 1 messages restored, 0 are there\n"
    client.noop()
    assert client.fetch("1", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1] == b"Subject: w3\r\n\r\n"
    said = run("restore", "folder", str(home), ALICE, "Work", *place)
    assert said == f"{ALICE}: 4 messages restored, 1 are there\n"
    assert run("restore", "account", str(home), ALICE, "--to", "copy@example.test", *place).startswith("copy@example.test: made")
    copy = imaplib.IMAP4("127.0.0.1", server.port(2143), timeout=60)
    copy.login("copy@example.test", PASSWORD)
    assert copy.select("Work") == ("OK", [b"5"])
    assert command("domain", "delete", *place, "--yes", "--no-copy", "example.test").exit_code == 0
    assert "example.test: made, with" in run("restore", "domain", str(home), "example.test", *place)
    assert client_of(server).select("Work") == ("OK", [b"5"])
    assert not [path for path in (server.data / "tmp").iterdir() if path.name.startswith("restore")]
    assert server.stop() == 0
