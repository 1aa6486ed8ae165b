"""The supervisor as a real process with real sockets."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.process.conftest import PATIENCE, ROOT, START_SECONDS, Launch, wait_for


def test_killed_worker_comes_back_and_its_backlog_survives(launch: Launch) -> None:
    server = launch(workers=1)
    assert [p.name for p in server.data.glob("loaded-*")] == ["loaded-w0"]  # by the supervisor, for all workers
    sock, greeting = server.dial()
    pid = int(greeting.split()[1])
    os.kill(pid, signal.SIGSTOP)
    waiting = socket.create_connection(("127.0.0.1", server.port), 60)  # in the backlog, accepted by nobody
    waiting.settimeout(PATIENCE)
    os.kill(pid, signal.SIGKILL)
    answer = waiting.recv(100).decode().split()
    assert answer[0] == "hello"
    assert int(answer[1]) != pid
    sock.close()
    waiting.close()
    background = server.children()["b0"]
    os.kill(background, signal.SIGKILL)
    wait_for(lambda: server.children().get("b0", background) != background)
    assert [p.name for p in server.data.glob("prepared-*")] == ["prepared-b0"]  # once, not at each restart
    assert server.stop() == 0


def test_limits_hold_to_the_unit_over_four_workers(launch: Launch) -> None:
    server = launch(workers=4, limits={"connections": 10})
    held, refused, workers = [], 0, set()
    for _ in range(30):
        sock, greeting = server.dial()
        if greeting.startswith("hello"):
            held.append(sock)
            workers.add(greeting.split()[1])
        else:
            assert greeting == "421 too many connections\r\n"
            refused += 1
            sock.close()
    assert (len(held), refused) == (10, 20)
    assert len(workers) > 1
    # What a killed worker held is given back: exactly its connections are free again.
    victim = workers.pop()
    os.kill(int(victim), signal.SIGKILL)
    wait_for(lambda: len(server.children()) == 5 and int(victim) not in server.children().values())
    lost = 0
    for sock in held:
        sock.settimeout(0.5)
        try:
            lost += sock.recv(1) == b""
        except TimeoutError:
            pass
        except ConnectionResetError:
            lost += 1
    assert 0 < lost < 10
    again = []
    for _ in range(lost + 5):
        sock, greeting = server.dial()
        if greeting.startswith("hello"):
            again.append(sock)
        else:
            sock.close()
    assert len(again) == lost
    for sock in held + again:
        sock.close()
    assert server.stop() == 0


def test_graceful_stop_lets_the_open_transaction_finish(launch: Launch) -> None:
    server = launch()
    idle, _ = server.dial()
    busy, _ = server.dial()
    busy.sendall(b"slow\r\n")
    assert busy.recv(100) == b"wait\r\n"
    server.popen.send_signal(signal.SIGTERM)
    assert idle.recv(100) == b"bye\r\n"
    got = b""
    while part := busy.recv(100):
        got += part
    assert got == b"done\r\nbye\r\n"
    assert server.popen.wait(PATIENCE) == 0
    assert sorted(p.name for p in server.data.glob("stopped-*")) == ["stopped-b0", "stopped-w0", "stopped-w1"]


def test_reload_keeps_connections(launch: Launch) -> None:
    server = launch()
    sock, _ = server.dial()
    server.popen.send_signal(signal.SIGHUP)

    def reloaded() -> bool:
        fresh, greeting = server.dial()
        fresh.close()
        return greeting.startswith("reloaded")

    wait_for(reloaded)
    sock.sendall(b"still here")
    assert sock.recv(100) == b"still here"
    sock.close()


def test_a_log_file_that_cannot_be_opened_anew_ends_nothing(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").mkdir()
    monkeypatch.setenv("MAILSTEAD_LOG_FILE", str(tmp_path / "logs" / "main.log"))
    server = launch(workers=1)
    sock, greeting = server.dial()
    os.rename(tmp_path / "logs", tmp_path / "old")
    kept = tmp_path / "old" / "main.log"
    server.popen.send_signal(signal.SIGHUP)
    wait_for(lambda: kept.read_text().count("the former destination stays") >= 3)  # supervisor, background, worker
    pid = int(greeting.split()[1])
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: server.children().get("w0", pid) != pid)
    fresh, greeting = server.dial()
    assert int(greeting.split()[1]) != pid
    sock.close()
    fresh.close()
    assert server.stop() == 0


def test_listeners_come_and_go_at_run_time(launch: Launch) -> None:
    server = launch()
    sock, _ = server.dial()
    second = free_port()
    server.configure(listeners=[{"id": 2, "service": "echo", "host": "127.0.0.1", "port": second}])

    def moved() -> bool:
        try:
            server.dial()[0].close()
        except OSError:
            return True
        return False

    wait_for(moved)
    fresh, greeting = server.dial(second)
    assert greeting.startswith("hello")
    sock.sendall(b"old session")
    assert sock.recv(100) == b"old session"
    sock.close()
    fresh.close()
    assert server.stop() == 0


def test_a_listener_may_widen_its_address_on_the_same_port(launch: Launch) -> None:
    server = launch()
    server.configure(listeners=[{"id": 1, "service": "echo", "host": "0.0.0.0", "port": server.port}])

    def everywhere() -> bool:
        try:
            socket.create_connection(("127.0.0.2", server.port), 5).close()
        except OSError:
            return False
        return True

    wait_for(everywhere)
    assert server.stop() == 0


def test_port_in_use_is_said_clearly(launch: Launch) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = launch_on(launch, port)
    assert server == f"error: cannot listen on 127.0.0.1:{port} for echo: another program is using the port"


def launch_on(launch: Launch, port: int) -> str:
    running = launch()
    running.stop()
    (running.data / "prepared-b0").unlink()
    running.configure(listeners=[{"id": 1, "service": "echo", "host": "127.0.0.1", "port": port}])
    return run_again(running.data)


def run_again(data: object) -> str:
    return ended(started_again(data))


def started_again(data: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.process.run_supervisor", str(data), "1"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> str:
    """What a server that does not start says."""
    said, _ = process.communicate(timeout=START_SECONDS)
    assert process.returncode == 1
    return said.strip()


def opened_by(pid: int) -> set[str]:
    """The files that a process has open."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(path))
    return found


def test_second_instance_is_refused(launch: Launch) -> None:
    server = launch()
    text = run_again(server.data)
    assert text == f"error: another Mailstead (process {server.popen.pid}) is running on {server.data}"
    sock, _ = server.dial()
    sock.close()


def test_start_error_of_a_process_stops_the_node_with_its_words(launch: Launch) -> None:
    server = launch()
    server.stop()
    (server.data / "prepared-b0").unlink()
    (server.data / "damaged").touch()
    assert run_again(server.data) == "error: the data directory is damaged"


def test_process_that_keeps_dying_ends_the_start(launch: Launch) -> None:
    server = launch()
    server.stop()
    (server.data / "prepared-b0").unlink()
    (server.data / "broken").touch()
    assert re.fullmatch(r"error: process (b0|w0) does not start; the log says why", run_again(server.data))


def test_children_leave_when_the_supervisor_is_killed(launch: Launch) -> None:
    server = launch()
    assert sorted(server.children()) == ["b0", "w0", "w1"]
    server.popen.kill()
    server.popen.wait()
    wait_for(lambda: not server.children())


def test_no_second_server_while_a_child_of_a_killed_one_lives(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    server = launch(workers=1)
    busy, _ = server.dial()
    busy.sendall(b"slow until\r\n")
    assert busy.recv(100) == b"wait\r\n"
    server.popen.kill()
    server.popen.wait()
    text = run_again(server.data)
    assert text == f"error: processes that a killed Mailstead (process {server.popen.pid}) left are running on {server.data}"
    monkeypatch.setenv("PATIENCE", "60")
    (server.data / "prepared-b0").unlink()
    (server.data / "damaged").touch()
    again = started_again(server.data)
    wait_for(lambda: str(server.data / "run" / "mailstead.lock") in opened_by(again.pid))
    (server.data / "over").touch()
    assert ended(again) == "error: the data directory is damaged"  # it waited, and got as far as that
    assert not server.children()
    busy.close()


def test_children_keep_nothing_of_the_supervisor(launch: Launch) -> None:
    server = launch(workers=2)
    children = server.children()
    listening = {
        f"socket:[{line.split()[9]}]"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].split(":")[1], 16) == server.port
    }
    held: dict[str, list[str]] = {}

    def handed_over() -> bool:  # a worker may be about to take its socket yet
        for name, pid in children.items():
            with contextlib.suppress(FileNotFoundError):
                held[name] = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        return {name: len(listening.intersection(held[name])) for name in held} == {"b0": 0, "w0": 1, "w1": 1}

    wait_for(handed_over)
    assert all(any("mailstead.lock" in target for target in targets) for targets in held.values())  # but for this
    assert all(os.getpgid(pid) == pid for pid in children.values())
