"""A certificate of a throw-away authority, and serving on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from mailstead.process.certificates import TlsSettings, build_context, self_signed
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.listener import serve
from mailstead.transport.tls import ServerContext
from tests.transport.echo_face import Echo


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here runs on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate with its key."""
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    self_signed(path, ["mail.example.test", "127.0.0.1"])
    return path


@pytest.fixture
def server_context(certificate: Path) -> ServerContext:
    context = build_context(TlsSettings(str(certificate)))
    assert context is not None
    return context


@pytest.fixture
def client_context(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


Start = Callable[..., "asyncio.Future[Endpoint]"]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Serve `Echo` (or another face) on a loopback port; returns the endpoint."""
    servers: list[asyncio.Server] = []
    endpoints: list[Endpoint] = []
    Echo.seen = []

    async def go(face: type[Connection] = Echo, **options: object) -> Endpoint:
        endpoint = Endpoint("echo", **options)  # type: ignore[arg-type]
        servers.append(await serve(endpoint, face))
        endpoints.append(endpoint)
        return endpoint

    yield go  # type: ignore[misc]
    for server in servers:
        server.close()
    for endpoint in endpoints:
        for connection in list(endpoint.connections):
            connection.abort()
    await asyncio.sleep(0)
