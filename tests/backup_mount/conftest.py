"""A server that runs as processes, an administrator's session over the socket, and mounts of it."""

from __future__ import annotations

import asyncio
import ftplib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstead.backup_mount.mount_point import detach, mounted
from mailstead.backup_mount.requirements import what_is_missing
from mailstead.directory import Actor, Directory
from tests.cli.conftest import Demo, StartDemo, command, demo

__all__ = ["demo"]
ADMIN = Actor.system("test")
PASSWORD = "administrator-1"
PROMPT = re.compile(rb"<[A-Za-z0-9-]*#?> \Z")


def _usable() -> str:
    """Why nothing can be mounted here, "" where it can."""
    missing = what_is_missing()
    if missing:
        return missing
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error.strerror}"
    return ""


NO_FUSE = _usable()


class Session:
    """A session of the administration protocol in the context FTP-BACKUP."""

    def __init__(self, port: int, name: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._read()
        for line in (f"USER {name}", PASSWORD, "CONFIG SERVER", "CONFIG FTP-BACKUP"):
            self.send(line)

    def _read(self) -> str:
        data = b""
        while not PROMPT.search(data):
            part = self._socket.recv(65_536)
            assert part, data
            data += part
        return data.decode().rpartition("\r\n")[0]

    def send(self, line: str) -> str:
        """A command; the reply without the prompt."""
        self._socket.sendall(line.encode() + b"\r\n")
        return self._read()

    def ok(self, line: str) -> str:
        """A command that must succeed."""
        reply = self.send(line)
        assert reply.rpartition("\n")[2].startswith("+OK"), reply
        return reply

    def err(self, line: str) -> str:
        """A command that must be refused."""
        reply = self.send(line).rpartition("\n")[2]
        assert reply.startswith("-ERR"), reply
        return reply

    def mount(self, point: Path, words: str = "") -> Path:
        """Mount, and where."""
        self.ok(f'FILESYSTEM mount "{point}" {words}')
        return point

    def close(self) -> None:
        self._socket.close()


class Server:
    """A demonstration with an FTP listener; domains example.test (alice, bob) and other.test (carol)."""

    def __init__(self, running: Demo) -> None:
        self.demo = running
        self.data = running.data
        self.ftp_port = running.port(2143) + 5000
        directory = Directory.open(self.data)

        async def furnish() -> None:
            if directory.domain_by_name("other.test") is not None:
                return
            await directory.create_admin("chief", PASSWORD, actor=ADMIN, everything=True)
            await directory.create_admin("delegate", PASSWORD, actor=ADMIN)
            await directory.grant("delegate", "backupDomain", "example.test", actor=ADMIN)
            await directory.grant("delegate", "manageFTPBackup", None, actor=ADMIN)
            await directory.create_domain("other.test", actor=ADMIN)
            await directory.create_account("other.test", "carol", "wonder-land-1", actor=ADMIN)

        asyncio.run(furnish())
        directory.close()
        place = ("-c", str(self.data))
        assert command("listener", "add", *place, "ftpBackup", f"127.0.0.1:{self.ftp_port}").exit_code == 0
        services = "processing smtpIncoming smtpOutgoing pop3 imap managesieve cli ftpBackup"
        assert command("setting", "set", *place, "server", "services", services).exit_code == 0

    def session(self, name: str = "chief") -> Session:
        return Session(self.demo.port(7000), name)

    def ftp(self, name: str = "chief") -> ftplib.FTP:
        """A client that is logged in."""
        end = time.monotonic() + 60
        while True:
            try:
                client = ftplib.FTP(timeout=60, encoding="utf-8")
                client.connect("127.0.0.1", self.ftp_port)
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.1)
        client.login(name, PASSWORD)
        return client

    def mount_process(self, point: Path) -> int:
        """The id of the process that serves a mount point."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"mailstead.process.mount_helper" in words and os.fsencode(point) in words:
                return int(path.parent.name)
        raise AssertionError("no such process")


@pytest.fixture
def server(demo: StartDemo) -> Iterator[Server]:
    if NO_FUSE:
        pytest.skip(NO_FUSE)
    running = demo(1)
    yield Server(running)
    for left in mounted(running.data):
        detach(Path(left))
