"""Load over real sockets, in one process of its own: SMTP, IMAP and POP3 clients as plain protocol callbacks.

Each client sends its next octets when the reply to the last ones is whole. Nothing is parsed that is not needed to know
that, so that the generator costs less than the server; what it costs is reported beside the result.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import uvloop

#: Octets to send, and a test whether the reply is complete.
Step = tuple[bytes, Callable[[bytes], bool]]
Script = Iterator[Step]


@dataclass
class Result:
    """Operations done, seconds, latencies in seconds, errors, CPU seconds of the generator."""

    operations: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    cpu: float = 0.0

    def percentile(self, share: float) -> float:
        """A latency in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


def smtp_done(replies: int) -> Callable[[bytes], bool]:
    """Whether that many SMTP replies have come."""

    def done(data: bytes) -> bool:
        return sum(1 for line in data.split(b"\r\n")[:-1] if line[3:4] == b" ") >= replies

    return done


def tagged(tag: bytes) -> Callable[[bytes], bool]:
    """Whether the tagged reply has come."""
    needle = b"\r\n" + tag + b" "

    def done(data: bytes) -> bool:
        return data.endswith(b"\r\n") and (data.startswith(needle[2:]) or needle in data[-4096:])

    return done


def pop3_line(data: bytes) -> bool:
    return data.endswith(b"\r\n")


def pop3_multi(data: bytes) -> bool:
    return data.startswith(b"-") or data.endswith(b"\r\n.\r\n")


class Client(asyncio.Protocol):
    """Runs a script; ``bad`` says whether a reply is an error."""

    def __init__(
        self, script: Script, greeting: Callable[[bytes], bool], bad: Callable[[bytes], bool], done: Callable[[int], None]
    ) -> None:
        self.script, self.bad, self.done = script, bad, done
        self.complete = greeting
        self.received = bytearray()
        self.errors = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's is not a subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        self.received += data
        reply = bytes(self.received)
        if not self.complete(reply):
            return
        if self.bad(reply):
            self.errors += 1
        self.received.clear()
        try:
            octets, self.complete = next(self.script)
        except StopIteration:
            self.transport.close()
            return
        self.transport.write(octets)

    def connection_lost(self, exc: Exception | None) -> None:
        self.done(self.errors + (1 if exc else 0))


@dataclass
class Load:
    """``script(number, count)`` yields the steps of connection ``number``, calling ``count()`` after each operation."""

    address: tuple[str, int]
    script: Callable[[int, Callable[[], None]], Script]
    greeting: Callable[[bytes], bool]
    bad: Callable[[bytes], bool]
    connections: int
    seconds: float


async def _run(load: Load) -> Result:
    result = Result()
    loop = asyncio.get_running_loop()
    stop = time.perf_counter() + load.seconds

    async def keep(number: int) -> None:
        while time.perf_counter() < stop:
            ended: asyncio.Future[int] = loop.create_future()
            last = [time.perf_counter()]

            def count(last: list[float] = last) -> None:
                now = time.perf_counter()
                result.operations += 1
                result.latencies.append(now - last[0])
                last[0] = now

            def bounded(script: Script) -> Script:
                for step in script:
                    yield step
                    if time.perf_counter() >= stop:
                        return

            script = bounded(load.script(number, count))
            await loop.create_connection(lambda s=script, e=ended: Client(s, load.greeting, load.bad, e.set_result), *load.address)
            result.errors += await ended

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[keep(number) for number in range(load.connections)])
    result.seconds, result.cpu = time.perf_counter() - started, time.process_time() - cpu
    return result


def run(load: Load) -> Result:
    """Run a load to its end in this process."""
    return uvloop.run(_run(load))


def server_cpu(roots: list[int]) -> float:
    """CPU seconds of the processes and all below them."""
    tick = os.sysconf("SC_CLK_TCK")
    parents: dict[int, list[int]] = {}
    times: dict[int, float] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry))
            times[int(entry)] = (int(fields[11]) + int(fields[12])) / tick
    total, waiting = 0.0, list(roots)
    while waiting:
        pid = waiting.pop()
        total += times.get(pid, 0.0)
        waiting += parents.get(pid, [])
    return total


def server_memory(roots: list[int], field: str = "Pss:") -> int:
    """Octets of memory of the processes and all below them; ``Pss_Anon:`` leaves mapped files out."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                continue
    total, waiting = 0, list(roots)
    while waiting:
        pid = waiting.pop()
        waiting += parents.get(pid, [])
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next((int(line.split()[1]) * 1024 for line in file if line.startswith(field)), 0)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total
