"""The timer wheel: what it holds, and what it lets go of."""

from __future__ import annotations

import asyncio
import gc
import weakref

from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint


async def test_a_closed_connection_leaves_memory_at_once() -> None:
    """A server with many short connections and a long idle time must not keep them until that time is over."""
    loop = asyncio.get_running_loop()
    made: list[weakref.ref[Connection]] = []
    endpoint = Endpoint("test", idle_timeout=3600)

    def make() -> Connection:
        connection = Connection(endpoint)
        made.append(weakref.ref(connection))
        return connection

    server = await loop.create_server(make, "127.0.0.1", 0)
    for _ in range(20):
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(60):
        while len(made) < 20 or any(ref() for ref in made):
            gc.collect()
            await asyncio.sleep(0.01)
    server.close()
    assert len(made) == 20
    assert not any(ref() for ref in made)
