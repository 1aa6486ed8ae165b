"""Logging of a running node as an administrator sets it: live in every process, files, the security log, lines of other servers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory
from mailstead.observe.syslog_line import encode
from mailstead.process.installation import ListenerPlan, Plan, create
from tests.ports import free_port
from tests.process.conftest import START_SECONDS, wait_for

PASSWORD = "admin-secret-1"
ADMIN = Actor.system("test")
OPEN = {"maxIntervalConnections": "0", "peerMaxIntervalConnections": "0"}


class Server:
    """A node of two workers and its background process."""

    def __init__(self, data: Path, imap: int, log: int) -> None:
        self.data, self.imap, self.log = data, imap, log
        self.logs = data / "logs"
        command = [
            sys.executable, "-m", "mailstead", "run", "--config", str(data), "--workers", "2",
            "--log-file", str(data / "stream.txt"),
        ]  # fmt: skip
        self.popen = subprocess.Popen(command, start_new_session=True)
        self.directory = Directory.open(data)
        wait_for(lambda: self.greets(), START_SECONDS)

    def greets(self) -> bool:
        assert self.popen.poll() is None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.imap), 60) as probe:
            probe.settimeout(60)
            return bool(probe.recv(1024))
        return False

    def dial(self, password: str) -> str:
        """A login over IMAP; the reply. Each connection may meet another worker."""
        with socket.create_connection(("127.0.0.1", self.imap), 60) as sock:
            sock.settimeout(60)
            sock.recv(2000)
            sock.sendall(f"a LOGIN alice@example.test {password}\r\n".encode())
            return sock.recv(2000).decode()

    def set(self, context: str, name: str, value: str) -> None:
        self.directory.settings.set_sync(context, name, value, ADMIN)

    def text(self, name: str) -> str:
        path = self.logs / name
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.wait(60) == 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    data = tmp_path / "data"
    imap, log = free_port(), free_port()
    create(data, Plan(
        "mail.example.test", "example.test", "admin", PASSWORD, accounts=[("postmaster", None), ("alice", "wonder-land-1")],
        listeners=[ListenerPlan("imap", f"127.0.0.1:{imap}", dict(OPEN))], shards=1,
    ))  # fmt: skip
    directory = Directory.open(data)
    directory.settings.set_sync("imap", "plainConnAllowLogin", "yes", ADMIN)
    directory.settings.set_sync("server", "guardPeerFailures", "0", ADMIN)
    directory.close()
    running = Server(data, imap, log)
    yield running
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.popen.pid, signal.SIGKILL)
    running.popen.wait(30)
    running.directory.close()


def add_log_listener(server: Server) -> None:
    import asyncio

    address = f"127.0.0.1:{server.log}"
    for row in server.directory.settings.listeners("log"):
        asyncio.run(server.directory.settings.remove_listener("log", row.address, ADMIN))
    asyncio.run(server.directory.settings.add_listener("log", address, {"enable": "yes"}, ADMIN))


def test_logging_of_a_running_node(server: Server) -> None:
    assert "OK" in server.dial("wonder-land-1")
    wait_for(lambda: "IMAP[w" in server.text("everything.txt"))
    line = r"mail\.example\.test information IMAP\[w\d\]: login session=\S+ account=alice@example\.test"
    assert re.search(line, server.text("everything.txt"))

    # Levels are live in both workers, as soon as these have heard of it.
    server.set("imap", "logLevel", "1")
    server.set("log", "enableSecurityLog", "yes")

    def silent() -> bool:
        """Whether eight logins, which meet both workers, leave no line any more."""
        before = server.text("everything.txt").count("IMAP[")
        for _ in range(8):
            assert "NO" in server.dial("wrong")
        return server.text("everything.txt").count("IMAP[") == before

    wait_for(silent)
    lines = wait_for(lambda: found if len(found := server.text("security.txt").splitlines()) >= 8 else None)
    for line in lines:
        fields = r"login failed session=\S+ login=alice@example\.test reason=.* peer=127\.0\.0\.1"
        assert re.fullmatch(rf"\S+Z mail\.example\.test SECURITY\[IMAP\]: {fields}", line)
    server.directory.settings.database.poll()
    server.set("imap", "logLevel", "15")
    wait_for(lambda: "NO" in server.dial("wrong") and "login failed" in server.text("everything.txt"))

    # Files that someone moved away are made anew after SIGUSR1, and at once.
    (server.logs / "everything.txt").rename(server.logs / "moved.txt")
    (server.data / "stream.txt").rename(server.data / "stream.old")
    server.popen.send_signal(signal.SIGUSR1)
    wait_for(lambda: (server.data / "stream.txt").exists())
    assert "OK" in server.dial("wonder-land-1")
    wait_for(lambda: "login" in server.text("everything.txt"))
    wait_for(lambda: "login" in (server.data / "stream.txt").read_text())

    # Lines of another server.
    add_log_listener(server)
    wait_for(lambda: "the log listens" in server.text("everything.txt"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for text in ("hello\nFORGED LINE", "second"):
            other.sendto(encode("2026-01-05T09:12:44.083Z", "front", 4, "SMTP-IN", "w0", text), ("127.0.0.1", server.log))
        other.sendto(b"\xff" * 900, ("127.0.0.1", server.log))
        other.sendto(b"", ("127.0.0.1", server.log))
    text = wait_for(lambda: found if "second" in (found := server.text("default.txt")) else "")
    assert text.splitlines() == [
        "2026-01-05T09:12:44.083Z front warning SMTP-IN[127.0.0.1]: hello\\x0aFORGED LINE",
        "2026-01-05T09:12:44.083Z front warning SMTP-IN[127.0.0.1]: second",
    ]

    # An orderly stop writes all that was said.
    for _ in range(5):
        assert "OK" in server.dial("wonder-land-1")
    before = server.text("everything.txt").count(": login session")
    server.stop()
    assert server.text("everything.txt").count(": login session") >= max(before, 6)
    assert (server.data / "stream.txt").read_text().count('"event":"login"') >= 6


def test_strangers_are_dropped_before_they_cost_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    from mailstead.process import log_listener
    from mailstead.process.log_listener import Receiver

    monkeypatch.setattr(log_listener, "LINES_PER_SECOND", 0.0)

    class Kept:
        lines: list[str] = []

        def put_remote(self, line: object, peer: str) -> None:
            self.lines.append(peer)

    class Rule:
        action = "deny"

    class Access:
        def access(self, service: str, listener: int, peer: str) -> Rule | None:
            assert (service, listener) == ("log", 7)
            return Rule() if peer == "192.0.2.66" else None

    kept = Kept()
    receiver = Receiver(kept, Access(), 7)  # type: ignore[arg-type]
    good = encode("2026-01-05T09:12:44.083Z", "h", 8, "IMAP", "w0", "x")
    for _ in range(int(log_listener.BURST) + 500):
        receiver.datagram_received(good, ("192.0.2.1", 1))
    receiver.datagram_received(good, ("192.0.2.66", 1))
    receiver.datagram_received(b"<999>nonsense", ("192.0.2.2", 1))
    receiver.datagram_received(good + b"x" * 9000, ("192.0.2.2", 1))
    assert receiver.dropped["denied"] == 1 and receiver.dropped["malformed"] == 2 and receiver.dropped["too many"] == 500
    assert len(kept.lines) == receiver.taken == log_listener.BURST
    for number in range(log_listener.MAX_PEERS + 50):
        receiver.datagram_received(good, (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1))
    assert len(receiver._peers) <= log_listener.MAX_PEERS
    receiver.report()
    assert not any(receiver.dropped.values())
