"""Privileges, service manager, lock file, metrics port."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mailstead.observe.metrics import SnapshotWriter, store_commits
from mailstead.process import metrics_server
from mailstead.process.application import ListenerSpec, StartError
from mailstead.process.binding import bind_or_explain
from mailstead.process.system import drop_privileges, lock_data_directory, notify, watchdog_interval
from mailstead.transport.sockets import AddressRefusedError, check_address
from tests.ports import free_port

_DROP = """
import os, socket, sys
from pathlib import Path
from mailstead.process.forked import Forked
from mailstead.process.system import drop_privileges, give_up_low_ports
drop_privileges("nobody", Path(sys.argv[1]), core_dumps=len(sys.argv) > 2)
sock = socket.socket(); sock.bind(("127.0.0.1", 0))
low = socket.socket(); low.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
for port in range(1000, 1020):
    try:
        low.bind(("127.0.0.1", port)); break
    except PermissionError: sys.exit("no right")
    except OSError: continue
print(os.getuid(), os.getgroups() != [0], [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")][0])
try: os.setuid(0); print("root again")
except PermissionError: print("no way back")
def child():
    give_up_low_ports()
    print([l.split()[1] for l in open("/proc/self/status") if l.startswith(("CapEff", "CapPrm"))])
    print("of", os.stat("/proc/self/fd").st_uid)  # what the kernel lets nobody look into belongs to root
    return 7
status = Forked(child).wait(10)
print(status)
"""


@pytest.mark.parametrize("core_dumps", [False, True])
def test_only_the_right_to_low_ports_is_left_and_children_lose_even_that(core_dumps: bool) -> None:
    if os.geteuid() != 0:  # nothing to drop: nothing happens
        drop_privileges("nobody", Path("/"))
        return
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        command = [sys.executable, "-c", _DROP, directory, *(["core dumps"] if core_dumps else [])]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "cannot" in result.stderr:
        pytest.fail(result.stderr)
    first, after, child, looked_into_by, status = result.stdout.splitlines()
    uid, groups, capabilities = first.split()
    assert int(uid) > 0
    assert groups == "True"
    assert int(capabilities, 16) == 1 << 10
    assert after == "no way back"
    assert child == str(["0" * 16] * 2)
    assert looked_into_by == f"of {uid if core_dumps else 0}"
    assert status == "7"


def test_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notify("READY=1")  # without a manager: nothing
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1\nSTATUS=Serving")
        assert sock.recv(100) == b"READY=1\nSTATUS=Serving"
    notify("STOPPING=1")  # the manager is gone: no error
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    assert watchdog_interval() == 30.0


def test_lock_names_the_process_that_holds_it(tmp_path: Path) -> None:
    fd = lock_data_directory(tmp_path)
    with pytest.raises(StartError, match=rf"another Mailstead \(process {os.getpid()}\) is running"):
        lock_data_directory(tmp_path)
    os.close(fd)
    os.close(lock_data_directory(tmp_path))


def test_a_lock_whose_directory_cannot_be_written_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "run" / "prepared").mkdir(parents=True)  # what cannot be removed as a file, for root neither
    with pytest.raises(StartError, match="no right to write"):
        lock_data_directory(tmp_path)
    (tmp_path / "run" / "prepared").rmdir()
    os.close(lock_data_directory(tmp_path))


def test_listener_addresses_that_cannot_be_used() -> None:
    for address, words in (
        ("fe80::1", "link-local"), ("::ffff:192.0.2.1", "write 192.0.2.1 instead"), ("mail.example", "not an IP address"),
    ):  # fmt: skip
        with pytest.raises(AddressRefusedError, match=words):
            check_address(address)
    with pytest.raises(StartError, match="does not have the address"):
        bind_or_explain(ListenerSpec(1, "imap", "192.0.2.1", 0))


def test_both_families_share_a_port() -> None:
    port = free_port()
    (first,) = bind_or_explain(ListenerSpec(1, "imap", "::", port))
    sockets = bind_or_explain(ListenerSpec(2, "imap", "0.0.0.0", port), 3)
    assert len({sock.fileno() for sock in sockets}) == 3
    for sock in (first, *sockets):
        sock.close()


async def test_metrics_are_served_on_loopback(tmp_path: Path) -> None:
    store_commits.inc()
    SnapshotWriter(tmp_path, "w0").write()
    server = await metrics_server.start(tmp_path, 0)
    assert server is not None
    port = server.sockets[0].getsockname()[1]
    answers = []
    for request in (b"GET /metrics HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n", b"POST /metrics HTTP/1.1\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request + b"Host: x\r\n\r\n")
        answers.append(await asyncio.wait_for(reader.read(), 60))
        writer.close()
    assert answers[0].startswith(b"HTTP/1.1 200")
    assert b"mailstead_store_commits_total" in answers[0]
    assert answers[1].startswith(b"HTTP/1.1 404")
    assert answers[2].startswith(b"HTTP/1.1 405")
    assert await metrics_server.start(tmp_path, port) is None
    server.close()
