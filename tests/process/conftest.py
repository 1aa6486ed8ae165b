"""A supervisor as a real process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 300.0
"""A start takes a second or two; a machine that is busy with other things may take this long."""
PATIENCE = 60.0
"""As long as a condition is waited for; it is looked at all the time, so this costs only where it never holds."""


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Poll until true; fails after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("did not happen in time")


def said_by(popen: subprocess.Popen[str], word: str, seconds: float = START_SECONDS) -> None:
    """Read the output of a process to the line that begins with `word`; the process is killed where it does not come in time."""
    timer = threading.Timer(seconds, popen.kill)
    timer.start()
    lines = []
    assert popen.stdout is not None
    try:
        for line in popen.stdout:
            lines.append(line)
            if line.startswith(word):
                return
    finally:
        timer.cancel()
    raise AssertionError("".join(lines) or f"no word within {seconds:g} seconds")


@dataclass
class Running:
    """A supervisor that runs."""

    data: Path
    port: int
    popen: subprocess.Popen[str]

    def dial(self, port: int = 0) -> tuple[socket.socket, str]:
        """Connect and read the greeting."""
        sock = socket.create_connection(("127.0.0.1", port or self.port), PATIENCE)
        sock.settimeout(PATIENCE)
        return sock, sock.recv(1000).decode()

    def configure(self, **settings: object) -> None:
        """Replace the application's configuration."""
        temporary = self.data / "echo.new"
        temporary.write_text(json.dumps(settings))
        os.replace(temporary, self.data / "echo.json")

    def children(self) -> dict[str, int]:
        """Process ids by name."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
                name = path.with_name("comm").read_text().strip()
            except OSError:
                continue
            if name.startswith("mailstead ") and os.fsencode(self.data) in words:
                found[name.removeprefix("mailstead ")] = int(path.parent.name)
        return found

    def stop(self) -> int:
        """Gracefully; the exit status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(PATIENCE)


Launch = Callable[..., Running]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a supervisor with the echo application and wait until it is ready."""
    started: list[Running] = []

    def go(workers: int = 2, *, limits: dict[str, object] | None = None, expect: str = "ready") -> Running:
        data = tmp_path / f"data{len(started)}"
        data.mkdir()
        port = free_port()
        (data / "echo.json").write_text(
            json.dumps(
                {
                    "listeners": [{"id": 1, "service": "echo", "host": "127.0.0.1", "port": port}],
                    "limits": limits or {},
                }
            )
        )
        popen = subprocess.Popen(
            [sys.executable, "-m", "tests.process.run_supervisor", str(data), str(workers)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running = Running(data, port, popen)
        started.append(running)
        said_by(popen, expect)
        return running

    yield go
    for running in started:
        if running.popen.poll() is None:
            running.popen.kill()
            running.popen.wait()
        wait_for(lambda running=running: not running.children())
