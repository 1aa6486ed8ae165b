"""The FTP backup face over real services on loopback sockets of both families."""

from __future__ import annotations

import asyncio
import ftplib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from mailstead.ftp_backup.server import FtpServer
from mailstead.ftp_backup.services import FtpServices
from mailstead.identity.administrators import AdministratorLogin
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.process.certificates import TlsSettings, build_context, self_signed
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.listener import serve
from tests.restoring.conftest import ADMIN, DOMAIN, Place, close_place, open_place

T = TypeVar("T")
PASSWORD = "administrator-1"


@dataclass
class Face:
    place: Place
    ports: dict[str, int]

    def client(self, host: str = "127.0.0.1", name: str = "root", *, tls: bool = False) -> ftplib.FTP:
        """A client that is logged in. Blocking: for a thread."""
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client: ftplib.FTP = ftplib.FTP_TLS(context=context, timeout=60, encoding="utf-8")
        else:
            client = ftplib.FTP(timeout=60, encoding="utf-8")
        client.connect(host, self.ports[host])
        client.login(name, PASSWORD)
        return client


async def apart(work: Callable[..., T], *arguments: object) -> T:
    """Run a blocking client beside the server."""
    return await asyncio.to_thread(work, *arguments)


async def serving(place: Place, certificates: Path) -> tuple[Face, list[Callable[[], object]]]:
    """Serve on both families; returns what ends it."""
    await place.directory.create_admin("root", PASSWORD, actor=ADMIN, everything=True)
    await place.directory.create_admin("delegate", PASSWORD, actor=ADMIN)
    await place.directory.create_admin("nobody", PASSWORD, actor=ADMIN)
    await place.directory.grant("delegate", "backupDomain", DOMAIN, actor=ADMIN)
    authenticator = Authenticator(place.directory, place.directory.settings, LocalGuard())
    services = FtpServices(place.directory, place.directory.settings, AdministratorLogin(authenticator), place.mailbox, place.store)
    server = FtpServer(services)
    certificate = certificates / "certificate.pem"
    self_signed(certificate, ["localhost", "127.0.0.1"])
    context = build_context(TlsSettings(cert_file=str(certificate)))
    ports: dict[str, int] = {}
    ends: list[Callable[[], object]] = []
    for host in ("127.0.0.1", "::1"):
        endpoint = Endpoint("ftpBackup", host, ssl_context=context)
        listening = await serve(endpoint, server.connection)
        ports[host] = endpoint.port
        ends.append(listening.close)
        ends.append(lambda one=endpoint: [connection.abort() for connection in list(one.connections)])  # type: ignore[misc]
    return Face(place, ports), ends


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    place = await open_place(tmp_path / "data", create=True)
    found, ends = await serving(place, tmp_path)
    yield found
    for end in ends:
        end()
    await asyncio.sleep(0)
    await close_place(place)


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Face]:
    """Another server, that has a domain of another name only."""
    (tmp_path / "second").mkdir()
    place = await open_place(tmp_path / "other", create=True)
    await place.directory.delete_domain(DOMAIN, actor=ADMIN, keep_copy=False)
    await place.directory.create_domain(DOMAIN, actor=ADMIN)
    found, ends = await serving(place, tmp_path / "second")
    await place.directory.delete_domain(DOMAIN, actor=ADMIN, keep_copy=False)
    yield found
    for end in ends:
        end()
    await asyncio.sleep(0)
    await close_place(place)
