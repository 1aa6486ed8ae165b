"""kill -9 in the middle of administration: each COMMIT is there whole or not at all, and every answered one is there."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mailstead.directory import Directory
from mailstead.process.installation import ListenerPlan, Plan, create
from tests.ports import free_port

PASSWORD = "admin-secret-1"
OPEN = {"maxIntervalConnections": "0", "peerMaxIntervalConnections": "0"}
ROUNDS = 6


def _start(data: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mailstead", "run", "--config", str(data), "--workers", "1"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as probe:
            if probe.recv(1024):
                return server
        assert server.poll() is None
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def _kill(server: subprocess.Popen[bytes]) -> None:
    """All processes of the node at once: they are one session of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait(60)


class _Session:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.read(b"<login> ")
        self.send("USER admin", b"<password> ")
        self.send(PASSWORD)

    def read(self, end: bytes = b"#> ") -> bytes:
        data = b""
        while not data.endswith(end):
            part = self.socket.recv(65536)
            if not part:
                raise ConnectionError
            data += part
        return data

    def send(self, line: str, end: bytes = b"#> ") -> bytes:
        self.socket.sendall(line.encode() + b"\r\n")
        return self.read(end)


def _work(port: int, first: int, answered: list[int]) -> int:
    """Domains with a postmaster and settings, one COMMIT each, until the server dies; the number of the last one begun."""
    number = first
    with contextlib.suppress(OSError):
        session = _Session(port)
        while True:
            session.send(f"CREATE Domain name d{number}.test domainLocation /d{number} postmasterPassword {PASSWORD}")
            session.send("SET groupwareSupport no")
            if b"+OK" not in session.send("COMMIT"):
                raise AssertionError("refused")
            answered.append(number)
            number += 1
    return number


def _kill_after(server: subprocess.Popen[bytes], answered: list[int], enough: int, seconds: float) -> None:
    """Kill the node's processes so many seconds after so many answers; at the latest after a time in which there were none."""
    end = time.monotonic() + 120
    while len(answered) < enough and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(seconds)
    os.killpg(server.pid, signal.SIGKILL)


@pytest.mark.timeout(900)
def test_commits_are_whole_after_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    port = free_port()
    plan = Plan(
        "localhost", "first.test", "admin", PASSWORD, accounts=[("postmaster", None)],
        listeners=[ListenerPlan("cli", f"127.0.0.1:{port}", OPEN)], settings=[("server", "metricsPort", "0")],
    )  # fmt: skip
    create(data, plan)
    answered: list[int] = []
    begun = 0
    rng = random.Random(7)
    for round_ in range(ROUNDS):
        server = _start(data, port)
        # After some answers and a while of chance: a slow machine gives as many.
        killer = threading.Thread(target=_kill_after, args=(server, answered, len(answered) + round_ % 3, rng.uniform(0, 0.4)))
        killer.start()
        begun = _work(port, begun, answered) + 1
        killer.join()
        _kill(server)
    assert len(answered) >= ROUNDS
    directory = Directory.open(data)
    try:
        there = {domain.name: domain for domain in directory.domains()}
        for number in answered:
            assert f"d{number}.test" in there
        for domain in there.values():
            if domain.name == "first.test":
                continue
            assert directory.account_by_address(f"postmaster@{domain.name}") is not None
            settings = directory.settings.explicit("domainConfig", domain.id)
            assert settings["groupwareSupport"] == "no" and settings["domainLocation"] == f"/{domain.name.split('.')[0]}"
        orphans = directory.database.query("SELECT count(*) FROM account WHERE domain_id NOT IN (SELECT id FROM domain)")
        assert orphans == [(0,)]
    finally:
        directory.close()
