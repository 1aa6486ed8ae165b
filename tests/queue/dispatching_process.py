"""A process that fills a queue and works on it, and kills itself at a named point (see test_crash.py).

Arguments: data directory, name server port, host port, messages to accept, point (or '-'), how many times it passes
the point before. Writes a line per acknowledged message ("acknowledged ADDRESS") and a file with each report; ends when
the queue is empty.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from mailstead.dns.resolver import Resolver
from mailstead.dns.servers import NameServer
from mailstead.queue.dispatcher import Dispatcher
from mailstead.queue.report import SystemMessage
from mailstead.store.service import Store
from tests.queue.harness import SEGMENT, FakeSettings, enqueue, until, waiting


class Killer:
    def __init__(self, point: str, passes: int) -> None:
        self.point = point
        self.left = passes

    def __call__(self, point: str) -> None:
        if point == self.point:
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1


async def main(data: str, dns: str, port: str, count: str, point: str, passes: str) -> None:
    store = await Store.open(Path(data), "d0", segment_size=SEGMENT)
    settings = FakeSettings(
        smtpOutgoing={"remotePort": int(port), "maxConnectionsPerDomain": 4},
        processing={"schedInterval": 1, "maxSchedInterval": 5},
    )
    reports = Path(data) / "reports"
    reports.mkdir(exist_ok=True)

    async def submit(message: SystemMessage) -> bool:
        (reports / f"{os.getpid()}-{len(list(reports.iterdir()))}").write_bytes(message.octets)
        return True

    for number in range(int(count)):
        await enqueue(store, [f"u{number}@there.test"])
        print(f"acknowledged u{number}@there.test", flush=True)
    resolver = Resolver([NameServer("127.0.0.1", int(dns))])
    dispatcher = Dispatcher(store, settings, resolver, submit, "out.here.test", probe=Killer(point, int(passes)))
    running = asyncio.create_task(dispatcher.run())
    await until(lambda: not waiting(store), 100)
    await dispatcher.stop()
    await running
    await store.close()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
