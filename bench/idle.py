"""Many idling IMAP sessions: memory, and how soon a new message is told to a thousand sessions of one mailbox.

    python -m bench.idle [--connections 10000] [--watchers 1000]

Needs a limit on open files above the number of connections (ulimit -n). Latency runs from the last octet of an APPEND to the
EXISTS that each watcher receives; the clients run in this process, so their work is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from bench.compare import start
from bench.generator import server_cpu, server_memory
from bench.scenarios import Target

BATCH = 100


class Idler(asyncio.Protocol):
    """Logs in, opens the INBOX and idles; notes when EXISTS comes."""

    def __init__(self, user: str) -> None:
        self._user = user
        self._told = b""
        self.idling = asyncio.get_running_loop().create_future()
        self.heard: asyncio.Future[float] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(b"a LOGIN %b secret\r\nb SELECT INBOX\r\nc IDLE\r\n" % self._user.encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.idling.done():
            if b"EXISTS" in data and self.heard is not None and not self.heard.done():
                self.heard.set_result(time.perf_counter())
            return
        self._told += data
        if b"\r\n+ " in self._told:
            self._told = b""
            self.idling.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.idling.done():
            self.idling.set_exception(ConnectionResetError(self._told[-200:]))


async def idlers(target: Target, count: int, users: range) -> list[Idler]:
    assert target.imap
    loop = asyncio.get_running_loop()
    made: list[Idler] = []
    for begin in range(0, count, BATCH):
        some = [Idler(target.user(users[number % len(users)])) for number in range(begin, min(count, begin + BATCH))]
        await asyncio.gather(*[loop.create_connection(lambda one=one: one, *target.imap) for one in some])  # type: ignore[misc]
        await asyncio.gather(*[one.idling for one in some])
        made += some
    return made


async def fan_out(target: Target, watchers: list[Idler], user: int, rounds: int) -> list[float]:
    """Milliseconds from an APPEND to each watcher's EXISTS."""
    assert target.imap
    reader, writer = await asyncio.open_connection(*target.imap)
    writer.write(b"a LOGIN %b secret\r\n" % target.user(user).encode())
    while not (await reader.readline()).startswith(b"a "):
        pass
    latencies: list[float] = []
    for _ in range(rounds):
        heard = [asyncio.get_running_loop().create_future() for _ in watchers]
        for one, future in zip(watchers, heard, strict=True):
            one.heard = future
        began = time.perf_counter()
        writer.write(b"b APPEND INBOX {24+}\r\nSubject: hear, hear\r\n\r\nx\r\n")
        while not (await reader.readline()).startswith(b"b "):
            pass
        latencies += [(at - began) * 1000 for at in await asyncio.wait_for(asyncio.gather(*heard), 30)]
        await asyncio.sleep(0.2)
    writer.close()
    return latencies


async def measure(target: Target, connections: int, count: int) -> str:
    empty = server_memory(target.pids)
    watchers = await idlers(target, count, range(501, 502))
    await asyncio.sleep(1)
    some = server_memory(target.pids)
    cpu = server_cpu(target.pids)
    latencies = sorted(await fan_out(target, watchers, 501, 20))
    cpu = (server_cpu(target.pids) - cpu) / len(latencies) * 1e6
    others = await idlers(target, connections - count, range(1, 501))
    await asyncio.sleep(1)
    full = server_memory(target.pids)
    again = sorted(await fan_out(target, watchers, 501, 10))
    assert all(one.idling.done() for one in others)
    return (
        f"memory {empty / 1e6:.0f} MB without, {some / 1e6:.0f} with {count}, {full / 1e6:.0f} MB with {connections} sessions "
        f"({(full - empty) / connections / 1000:.1f} KB each); told to {count}: p50 {statistics.median(latencies):.1f}, "
        f"p99 {latencies[int(len(latencies) * 0.99)]:.1f}, longest {latencies[-1]:.1f} ms, {cpu:.0f} us CPU each; beside "
        f"{connections}: p50 {statistics.median(again):.1f}, p99 {again[int(len(again) * 0.99)]:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--base", type=int, default=25000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailstead-bench-") as scratch:
        process, target = start(Path(scratch) / "data", args.base, 2)
        try:
            print(uvloop.run(measure(target, args.connections, args.watchers)))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    main()
