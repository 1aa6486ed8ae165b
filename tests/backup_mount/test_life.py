"""How long a mount lives, and that nobody else suffers from it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from mailstead.backup_mount.mount_point import mounted
from tests.backup_mount.conftest import Server
from tests.backup_mount.test_mount import INBOX, run
from tests.cli.conftest import command
from tests.cli.test_backup import client_of, fill


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def gone(process: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_mounts_end_with_the_server_also_while_somebody_reads(server: Server) -> None:
    fill(client_of(server.demo), 1)
    session = server.session()
    points = [session.mount(server.data / f"run/m{number}") for number in range(2)]
    processes = [server.mount_process(point) for point in points]
    descriptor = os.open(points[0] / "example.test/domain.json", os.O_RDONLY)
    assert server.demo.stop() == 0
    assert mounted(server.data) == []
    wait_until(lambda: all(map(gone, processes)))
    with contextlib.suppress(OSError):  # nobody is there any more to close it for
        os.close(descriptor)
    assert list(points[0].iterdir()) == []


def test_a_killed_process_of_a_mount(server: Server) -> None:
    fill(client_of(server.demo), 3)
    session = server.session()
    point = session.mount(server.data / "run/backup-mount")
    os.kill(server.mount_process(point), signal.SIGKILL)
    wait_until(lambda: "SIGKILL" in session.ok("FILESYSTEM status"))
    assert mounted(server.data) == [] and not os.path.ismount(point)
    session.mount(point)
    assert len(list((point / INBOX).iterdir())) == 3
    assert "SIGKILL" not in session.ok("FILESYSTEM status")
    session.ok(f"FILESYSTEM unmount {point}")
    assert client_of(server.demo).select("INBOX") == ("OK", [b"3"])


def test_a_server_that_is_killed_leaves_nothing_and_the_next_one_cleans(server: Server) -> None:
    session = server.session()
    point = session.mount(server.data / "run/backup-mount")
    process = server.mount_process(point)
    children = [child.pid for child in psutil.Process(server.demo.popen.pid).children()]
    for child in children:
        os.kill(child, signal.SIGSTOP)  # nobody of the server takes away what is left
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: gone(process))
    server.demo.popen.kill()
    server.demo.popen.wait()
    for child in children:
        os.kill(child, signal.SIGKILL)
    assert mounted(server.data) == [str(point)]
    again = subprocess.Popen(
        [sys.executable, "-m", "mailstead", "run", "-c", str(server.data), "--workers", "1"], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: mounted(server.data) == [], 300)
    finally:
        again.send_signal(signal.SIGTERM)
        assert again.wait(60) == 0


def test_a_mount_that_stands_still_holds_nobody(server: Server) -> None:
    fill(client_of(server.demo), 2)
    session = server.session()
    point = session.mount(server.data / "run/backup-mount")
    process = server.mount_process(point)
    os.kill(process, signal.SIGSTOP)
    reader = subprocess.Popen(["ls", point / INBOX], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    fill(client_of(server.demo), 2)
    assert client_of(server.demo).select("INBOX") == ("OK", [b"4"])
    other = session.mount(server.data / "run/other")
    assert len(list((other / INBOX).iterdir())) == 4
    assert session.ok("FILESYSTEM status").count("| mounted") == 2
    assert "all files belong" in command("doctor", "-c", str(server.data)).output
    assert server.demo.stop() == 0
    assert mounted(server.data) == []
    wait_until(lambda: gone(process))
    reader.wait(60)


def test_reading_while_mail_arrives(server: Server, tmp_path: Path) -> None:
    client = client_of(server.demo)
    fill(client, 50)
    point = server.session().mount(server.data / "run/backup-mount")
    stop = threading.Event()
    arrived = [50]

    def deliver() -> None:
        while not stop.is_set():
            fill(client, 1)
            arrived[0] += 1

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        number = 0
        while number < 5 or arrived[0] < 56:  # until mail has come in between
            number += 1
            before = arrived[0]
            run("cp", "-r", point / INBOX, tmp_path / f"copy{number}")
            files = list((tmp_path / f"copy{number}").iterdir())
            assert len(files) >= before
            assert all(path.read_bytes().endswith(b"xx\r\n") for path in files)
    finally:
        stop.set()
        thread.join()
    wait_until(lambda: len(list((point / INBOX).iterdir())) == arrived[0])
    client.select("INBOX")
    client.store("1:*", "+FLAGS", "\\Deleted")
    client.expunge()
    wait_until(lambda: not list((point / INBOX).iterdir()))
