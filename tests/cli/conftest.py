"""Data directories and servers as an operator makes them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailstead.cli.main import main
from tests.ports import free_offset

PASSWORD = "mailstead-demo"
PATIENCE = 60.0
"""As long as a server is waited for, in seconds; it costs only where it never does what it should."""


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
        return self.popen.wait(PATIENCE)


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
        timer = threading.Timer(300, popen.kill)
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
                found.popen.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                found.popen.kill()
                found.popen.wait()
