"""`mailstead migrate` beside a running server, from a real Dovecot."""

from __future__ import annotations

import imaplib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import PASSWORD, StartDemo, command
from tests.migration.conftest import dovecot, text  # noqa: F401
from tests.oracle.dovecot import PASSWORD as THEIRS
from tests.oracle.dovecot import Dovecot


def fill(server: Dovecot, user: str, count: int) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", server.port)
    client.login(user, THEIRS)
    for number in range(count):
        assert client.append("INBOX", r"(\Seen)", '"17-Jul-1996 02:44:25 -0700"', text(number, 30_000))[0] == "OK"
    return client


def subjects(port: int, user: str) -> list[bytes]:
    client = imaplib.IMAP4("127.0.0.1", port, timeout=60)
    client.login(user, PASSWORD)
    count = int(client.select("INBOX", readonly=True)[1][0])  # type: ignore[arg-type]
    rows = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if count else []
    client.logout()
    return [row[1].strip() for row in rows if isinstance(row, tuple)]


def test_mailboxes_come_over_and_a_killed_background_process_goes_on(
    demo: StartDemo,
    dovecot: Dovecot,  # noqa: F811
    tmp_path: Path,
) -> None:
    fill(dovecot, "clione", 1500)
    fill(dovecot, "clitwo", 3)
    server = demo(2)
    data = str(server.data)
    file = tmp_path / "bulk.csv"
    file.write_text(
        "address,host,port,user,password\n"
        f"alice@example.test,127.0.0.1,{dovecot.port},clione,{THEIRS}\n"
        f"bob@example.test,127.0.0.1,{dovecot.port},clitwo,{THEIRS}\n"
        f"nobody@example.test,127.0.0.1,{dovecot.port},x,{THEIRS}\n"
        "bob@example.test,127.0.0.1,many\n"
    )
    result = command("migrate", "bulk", "-c", data, str(file), "--security", "none")
    assert result.exit_code == 1
    assert "Begun 2 migrations, refused 2." in result.output
    assert "line 4: the account nobody@example.test does not exist" in result.output
    assert "line 5: expected address, host" in result.output
    background = next(child for child in psutil.Process(server.popen.pid).children() if child.name() == "mailstead b0")
    end = time.monotonic() + 60
    while not subjects(server.port(2143), "alice@example.test"):  # a machine that is busy may see the first and the last at once
        assert time.monotonic() < end
    os.kill(background.pid, signal.SIGKILL)
    result = command("migrate", "attach", "-c", data, "alice@example.test")
    assert result.exit_code == 0, result.output
    assert "INBOX: 1500 there, 1500 taken, 1500 in the folder here" in result.output
    assert subjects(server.port(2143), "alice@example.test") == [b"Subject: n%d" % n for n in range(1500)]
    result = command("migrate", "list", "-c", data)
    assert f"alice@example.test\tclione@127.0.0.1:{dovecot.port}\t" in result.output
    assert result.output.count("done: ") == 2


def test_a_continuous_migration_is_finished_or_aborted(demo: StartDemo, dovecot: Dovecot) -> None:  # noqa: F811
    client = fill(dovecot, "clithree", 2)
    server = demo(0)
    data = str(server.data)
    words = ("--host", "127.0.0.1", "--port", str(dovecot.port), "--user", "clithree", "--password", THEIRS)
    assert command("migrate", "start", "-c", data, "bob@example.test", *words, "--continuous").exit_code == 0
    assert command("migrate", "attach", "-c", data, "bob@example.test").output.splitlines()[-1].startswith("resting, round 1")
    assert "is under way" in command("migrate", "start", "-c", data, "bob@example.test", *words).output
    client.append("INBOX", "", None, text(7))
    assert command("migrate", "finish", "-c", data, "bob@example.test").exit_code == 0
    result = command("migrate", "attach", "-c", data, "bob@example.test")
    while "done" not in result.output.splitlines()[-1]:
        assert result.exit_code == 0, result.output
        result = command("migrate", "attach", "-c", data, "bob@example.test")
    assert len(subjects(server.port(2143), "bob@example.test")) == 3
    assert "no continuous migration" in command("migrate", "finish", "-c", data, "bob@example.test").output
    assert command("migrate", "start", "-c", data, "bob@example.test", *words, "--continuous").exit_code == 0
    assert "Aborted 1." in command("migrate", "abort", "-c", data, "--all").output
    end = time.monotonic() + 60
    while "aborted" not in command("migrate", "list", "-c", data).output:
        assert time.monotonic() < end
    assert "state" not in command("migrate", "peek", "-c", data, "bob@example.test", "--seconds", "0.5").output


@pytest.mark.parametrize("words", [("abort",), ("abort", "a@example.test", "--all"), ("peek", "nobody@example.test")])
def test_what_makes_no_sense_is_said(data: Path, words: tuple[str, ...]) -> None:
    result = command("migrate", words[0], "-c", str(data), *words[1:])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")


def test_what_was_exported_is_imported_beside_a_running_server(demo: StartDemo, tmp_path: Path) -> None:
    server = demo(2)
    data = str(server.data)
    client = imaplib.IMAP4("127.0.0.1", server.port(2143), timeout=60)
    client.login("alice@example.test", PASSWORD)
    client.create("Work/2024")
    for number in range(5):
        client.append("Work/2024", r"(\Flagged)", '"17-Jul-1996 02:44:25 -0700"', text(number, 400_000 if number == 3 else 0))
    for form in ("maildir", "mbox"):
        target = tmp_path / form
        assert command("export", "-c", data, str(target), "--format", form, "--account", "alice@example.test").exit_code == 0
        source = str(target / "alice@example.test")
        for expected in ("Took 5 of 5 messages", "Took 0 of 5 messages"):
            result = command("import", form, "-c", data, "bob@example.test", source, "--folder", f"From {form}")
            assert result.exit_code == 0, result.output
            assert expected in result.output
        other = imaplib.IMAP4("127.0.0.1", server.port(2143), timeout=60)
        other.login("bob@example.test", PASSWORD)
        assert other.select(f'"From {form}/Work/2024"', readonly=True) == ("OK", [b"5"])
        rows = other.fetch("4", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]
        assert rows[0][1] == text(3, 400_000)  # type: ignore[index]
        assert b"\\Flagged" in rows[0][0] and b"17-Jul-1996 09:44:25 +0000" in rows[0][0]  # type: ignore[index]
        other.logout()
    result = command("import", "maildir", "-c", data, "bob@example.test", str(tmp_path / "mbox"))
    assert (result.exit_code, "holds no Maildir" in result.output) == (1, True)
