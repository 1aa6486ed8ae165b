"""Serving connections on a listening socket.

Invariants: an endpoint's `port` is the one its clients see; closing the server leaves its connections alone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.sockets import BACKLOG, bind


async def serve(endpoint: Endpoint, factory: Callable[[Endpoint], Connection], sock: socket.socket | None = None) -> asyncio.Server:
    """Accept on `sock` (or on the endpoint's address; port 0 is replaced by the one given) until closed."""
    if sock is None:
        sock = bind(endpoint.address, endpoint.port)
    endpoint.port = sock.getsockname()[1]
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: factory(endpoint), sock=sock, backlog=BACKLOG)
