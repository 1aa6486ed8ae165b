"""Data directories and servers as an operator makes them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailstead.cli.main import main

PASSWORD = "mailstead-demo"


def command(*words: str, input: str | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, list(words), input=input)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A fresh data directory of example.test, without listeners that need rights."""
    path = tmp_path / "data"
    result = command(
        "init", str(path), "--hostname", "mail.example.test", "--domain", "example.test",
        "--admin-password", "administrator", "--shards", "2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return path


@dataclass
class Demo:
    """A demonstration that runs."""

    popen: subprocess.Popen[str]
    data: Path
    offset: int
    banner: str

    def port(self, standard: int) -> int:
        """The port that stands for the demonstration's standard one."""
        return standard + self.offset

    def stop(self) -> int:
        """Ctrl-C; the exit status."""
        self.popen.send_signal(signal.SIGINT)
        return self.popen.wait(30)


def free_offset() -> int:
    """An offset whose ports are free, below those that the system gives to outgoing connections."""
    for offset in range(8_000 + os.getpid() % 1000 * 7, 25_000, 997):
        try:
            for port in (2525, 2587, 2465, 2143, 2993, 2110, 2995, 4190, 7000, 7001):
                with socket.socket() as sock:
                    sock.bind(("127.0.0.1", port + offset))
        except OSError:
            continue
        return offset
    raise AssertionError("no free ports")


StartDemo = Callable[..., Demo]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[StartDemo]:
    """Start the demonstration and wait for its word that it is ready."""
    running: list[Demo] = []

    def start(workers: int = 2, data: Path | None = None, offset: int = 0) -> Demo:
        data = data or tmp_path / "demo"
        offset = offset or free_offset()
        popen = subprocess.Popen(
            [sys.executable, "-m", "mailstead", "demo", "--data", str(data), "--workers", str(workers),
             "--port-offset", str(offset)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        timer = threading.Timer(100, popen.kill)
        timer.start()
        lines: list[str] = []
        assert popen.stdout is not None
        for line in popen.stdout:
            lines.append(line)
            if line.startswith("Ready"):
                break
        timer.cancel()
        assert lines and lines[-1].startswith("Ready"), "".join(lines)
        found = Demo(popen, data, offset, "".join(lines))
        running.append(found)
        return found

    yield start
    for found in running:
        if found.popen.poll() is None:
            found.popen.terminate()
            try:
                found.popen.wait(30)
            except subprocess.TimeoutExpired:
                found.popen.kill()
                found.popen.wait()
