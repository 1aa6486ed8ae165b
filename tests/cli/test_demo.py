"""The demonstration, with real clients over real sockets."""

from __future__ import annotations

import asyncio
import imaplib
import os
import poplib
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mailstead.directory.service import Directory
from mailstead.settings import Actor
from tests.cli.conftest import PASSWORD, StartDemo, command
from tests.ports import free_port


def imap(port: int, host: str = "127.0.0.1") -> imaplib.IMAP4:
    client = imaplib.IMAP4(host, port, timeout=60)
    client.login("alice@example.test", PASSWORD)
    return client


def append(client: imaplib.IMAP4, subject: str) -> None:
    status, _ = client.append("INBOX", "", imaplib.Time2Internaldate(time.time()), f"Subject: {subject}\r\n\r\nx\r\n".encode())
    assert status == "OK"


@pytest.mark.parametrize("workers", [0, 2])
def test_demo_serves_keeps_its_data_and_stops(demo: StartDemo, workers: int) -> None:
    server = demo(workers)
    for title in ("SMTP ", "submission ", "submission, TLS", "IMAP ", "IMAP, TLS", "POP3 ", "POP3, TLS"):
        assert title in server.banner
    assert "alice@example.test  bob@example.test  (password mailstead-demo)" in server.banner
    for words in ("swaks --server", "curl --url smtp://", "imap://127.0.0.1"):
        assert words in server.banner
    client = imap(server.port(2143), "::1")
    append(client, "kept")
    client.logout()
    context = ssl.create_default_context(cafile=str(server.data / "certs" / "default.pem"))
    tls = imaplib.IMAP4_SSL("localhost", server.port(2993), ssl_context=context, timeout=60)
    tls.login("alice@example.test", PASSWORD)
    assert tls.select("INBOX")[1] == [b"1"]
    pop = poplib.POP3("127.0.0.1", server.port(2110), timeout=60)
    pop.user("alice@example.test")
    pop.pass_(PASSWORD)
    assert pop.stat()[0] == 1
    pop.quit()
    assert server.stop() == 0
    again = demo(workers, server.data, server.offset)
    client = imap(again.port(2143))
    assert client.select("INBOX")[1] == [b"1"]
    client.logout()
    assert again.stop() == 0


def test_mail_travels_from_submission_to_the_mailbox(demo: StartDemo) -> None:
    server = demo(2)
    context = ssl.create_default_context(cafile=str(server.data / "certs" / "default.pem"))
    with smtplib.SMTP("127.0.0.1", server.port(2587), timeout=60) as smtp:
        smtp.starttls(context=context)
        smtp.login("bob@example.test", PASSWORD)
        smtp.sendmail("bob@example.test", ["alice@example.test"], "Subject: by submission\r\n\r\nx\r\n")
    with smtplib.SMTP_SSL("localhost", server.port(2465), context=context, timeout=60) as smtp:
        smtp.login("bob@example.test", PASSWORD)
        smtp.sendmail("bob@example.test", ["alice@example.test"], "Subject: by TLS\r\n\r\nx\r\n")
    with smtplib.SMTP("::1", server.port(2525), timeout=60) as smtp:
        smtp.sendmail("you@example.org", ["alice@example.test"], "Subject: from outside\r\n\r\nx\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail("you@example.org", ["someone@example.net"], "Subject: relay\r\n\r\nx\r\n")
    client = imap(server.port(2143))
    assert client.select("INBOX")[1] == [b"3"]
    client.logout()
    assert server.stop() == 0


def test_the_log_follows_a_message_out(demo: StartDemo) -> None:
    server = demo(1)
    # The name server of this machine may be one that never answers.
    for name, value in (("nameservers", f"127.0.0.1:{free_port()}"), ("timeout", "1"), ("retries", "0")):
        assert command("setting", "set", "--config", str(server.data), "dnr", name, value).exit_code == 0
    with smtplib.SMTP("127.0.0.1", server.port(2587)) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.login("alice@example.test", PASSWORD)
        client.sendmail("alice@example.test", ["bob@example.test", "x@nowhere.invalid"], "Subject: out\r\n\r\nx\r\n")
    log = server.data / "mailstead.log"
    eventually(lambda: "SMTP-OUT: attempt" in log.read_text())
    assert server.stop() == 0
    lines = log.read_text().splitlines()
    (taken,) = [line for line in lines if "SMTP-IN: message " in line]
    (tried,) = [line for line in lines if "SMTP-OUT: attempt " in line]
    assert 'to="bob@example.test x@nowhere.invalid"' in taken
    entry = taken.split(" entry=")[1].split()[0]
    assert f" message={entry} recipient=x@nowhere.invalid " in tried
    assert lines[-1].split(" SERVER: ")[1] == "stopped process=main clean=True"


def test_acknowledged_mail_survives_the_death_of_every_process(demo: StartDemo) -> None:
    server = demo(2)
    client = imap(server.port(2143))
    for number in range(5):
        append(client, str(number))
    children = subprocess.run(["pgrep", "-P", str(server.popen.pid)], capture_output=True, text=True, check=True).stdout.split()
    assert len(children) == 3
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    client = imap(server.port(2143))  # waits in the backlog until a worker is back
    assert client.select("INBOX")[1] == [b"5"]
    client.logout()
    assert server.stop() == 0


def test_log_is_opened_anew_after_a_rotation(demo: StartDemo) -> None:
    server = demo(1)
    log = server.data / "mailstead.log"
    log.rename(server.data / "mailstead.log.1")
    server.popen.send_signal(signal.SIGUSR1)
    end = time.monotonic() + 60
    while not log.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert server.stop() == 0
    assert "stopping" in log.read_text()


def test_second_instance_and_taken_port_are_refused(demo: StartDemo) -> None:
    server = demo(1)
    run = [sys.executable, "-m", "mailstead", "run", "--config", str(server.data)]
    second = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert second.returncode == 1
    refusal = f"Error: another Mailstead (process {server.popen.pid}) is running on {server.data}"
    assert second.stderr.splitlines()[-1] == refusal  # root is warned first
    other = subprocess.run(
        [*run[:3], "demo", "--data", str(server.data.parent / "other"), "--port-offset", str(server.offset), "--workers", "1"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert other.returncode == 1
    assert "another program is using the port" in other.stderr
    doctor = command("doctor", "--config", str(server.data))
    assert "held by the running server" in doctor.output


@pytest.mark.parametrize("workers", [0, 1])
def test_doctor_names_the_listeners_that_the_running_server_does_not_have(demo: StartDemo, workers: int) -> None:
    server = demo(workers)
    doctor = ("doctor", "--config", str(server.data))
    assert "20 listeners, held by the running server" in command(*doctor).output
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert command("listener", "add", "--config", str(server.data), "imap", address).exit_code == 0
        eventually(lambda: "another program is using the port" in (server.data / "mailstead.log").read_text())
        result = command(*doctor)
    assert result.exit_code == 1
    assert f"problem  ports: imap {address}: the running server does not listen there" in result.output
    assert result.output.count("  ports: ") == 1
    if workers:  # a single process tries again at the next change only
        eventually(lambda: "21 listeners, held by the running server" in command(*doctor).output)
    assert server.stop() == 0


def test_an_offset_for_a_demo_that_exists_is_told_to_be_without_effect(demo: StartDemo) -> None:
    server = demo(1)
    words = [sys.executable, "-m", "mailstead", "demo", "--data", str(server.data), "--workers", "1", "--port-offset"]
    told = f"--port-offset counts for a new directory only: {server.data} exists and keeps its ports; --data names another.\n"
    for offset, expected in ((server.offset + 1, told), (server.offset + 60, told), (server.offset, "")):
        other = subprocess.run([*words, str(offset)], capture_output=True, text=True, timeout=300, check=False)
        assert other.returncode == 1
        assert other.stderr.startswith(f"{expected}Error: another Mailstead")
    assert server.stop() == 0


def test_changed_password_and_deleted_account_hold_in_every_worker(demo: StartDemo) -> None:
    server = demo(4)
    user = ("--config", str(server.data), "alice@example.test")
    for _ in range(12):
        imap(server.port(2143)).logout()
    assert command("user", "passwd", *user, "--password", "another password").exit_code == 0
    for _ in range(12):
        with pytest.raises(imaplib.IMAP4.error):
            imap(server.port(2143))
    client = imaplib.IMAP4("127.0.0.1", server.port(2143), timeout=60)
    client.login("alice@example.test", "another password")
    append(client, "last")
    assert command("domain", "delete", "--config", str(server.data), "--yes", "--no-copy", "example.test").exit_code == 0
    end = time.monotonic() + 60
    while "mail of a deleted account removed" not in (server.data / "mailstead.log").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert server.stop() == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_settings_act_on_the_running_server(demo: StartDemo, workers: int) -> None:
    server = demo(workers)
    held = imap(server.port(2143))
    directory = Directory.open(server.data)
    actor = Actor.system("test")
    address = f"127.0.0.1:{server.port(2143)}"
    try:
        asyncio.run(directory.settings.update_listener("imap", address, {"peerMaxConnections": "1"}, actor))
        eventually(lambda: refused(server.port(2143)))
        held.noop()
        asyncio.run(directory.settings.update_listener("imap", address, {"enable": "no"}, actor))
        eventually(lambda: not connects(server.port(2143)))
        held.noop()
        attributes = {"enable": "yes", "peerMaxConnections": "50"}
        asyncio.run(directory.settings.update_listener("imap", address, attributes, actor))
        eventually(lambda: connects(server.port(2143)))
        imap(server.port(2143)).logout()
        asyncio.run(directory.settings.remove_listener("imap", address, actor))
        eventually(lambda: not connects(server.port(2143)))
        asyncio.run(directory.settings.add_listener("imap", address, {}, actor))
        eventually(lambda: connects(server.port(2143)))
        assert connects(server.port(2110))
    finally:
        directory.close()
    held.logout()
    assert server.stop() == 0
    assert "error" not in (server.data / "mailstead.log").read_text()


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 60).close()
    except OSError:
        return False
    return True


def refused(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 60) as sock:
        sock.settimeout(60)
        return sock.recv(100).startswith(b"* BYE")


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        offset = port - 2143
        if not 0 < offset <= 50_000:
            pytest.skip("the system gave a port that no demonstration has")
        result = command("demo", "--data", str(tmp_path / "demo"), "--port-offset", str(offset))
    assert result.exit_code != 0
    assert f"127.0.0.1:{port}: another program is using the port; --port-offset" in result.output
    assert not (tmp_path / "demo").exists()
