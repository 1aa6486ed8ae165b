"""A certificate of a throw-away authority, and serving on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
import trustme
import uvloop

from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.listener import serve
from mailstead.transport.tls import ServerContext, remember_server_name
from tests.transport.echo_face import Echo

authority = trustme.CA()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here runs on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def server_context() -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mail.example.test", "127.0.0.1").configure_cert(context)
    context.sni_callback = remember_server_name
    context.channel_binding = b"bound"
    return context


@pytest.fixture
def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


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
