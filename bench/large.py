"""Fifty messages of 50 MB at once, and small ones beside them: memory gained, and the latency of the small ones.

python -m bench.large [--count 50] [--size 50000000]
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
import threading
import time
from pathlib import Path

import uvloop

from bench.compare import start
from bench.generator import run, server_memory
from bench.scenarios import Target, smtp


async def pour(target: Target, number: int, size: int) -> None:
    """One large message; raises AssertionError where it is refused."""
    assert target.smtp
    reader, writer = await asyncio.open_connection(*target.smtp)
    await reader.readline()
    writer.write(f"HELO bench\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<{target.user(300 + number)}>\r\nDATA\r\n".encode())
    for expected in (b"250", b"250", b"250", b"354"):
        line = await reader.readline()
        assert line.startswith(expected), line
    writer.write(b"Subject: large\r\n\r\n")
    piece = (b"0123456789abcdef" * 4 + b"\r\n") * 1000
    for _ in range(size // len(piece)):
        writer.write(piece)
        await writer.drain()
    writer.write(b".\r\n")
    line = await reader.readline()
    assert line.startswith(b"250"), line
    writer.close()


async def pour_all(target: Target, count: int, size: int) -> None:
    await asyncio.gather(*[pour(target, number, size) for number in range(count)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--size", type=int, default=50_000_000)
    parser.add_argument("--base", type=int, default=24000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailstead-bench-") as scratch:
        process, target = start(Path(scratch) / "data", args.base, 2, settings=[("smtpIncoming", "maxDataSize", "102400")])
        try:
            run(smtp(target, 2048, 10, 2.0))
            before = peak = server_memory(target.pids)
            done = threading.Event()
            failure: list[BaseException] = []

            def large() -> None:
                try:
                    uvloop.run(pour_all(target, args.count, args.size))
                except BaseException as error:
                    failure.append(error)
                done.set()

            started = time.monotonic()
            threading.Thread(target=large, daemon=True).start()
            latencies: list[float] = []
            while not done.is_set():
                result = run(smtp(target, 2048, 1, 1.0))
                latencies += result.latencies
                peak = max(peak, server_memory(target.pids))
            seconds = time.monotonic() - started
            if failure:
                raise failure[0]
            latencies.sort()
            p99 = latencies[int(len(latencies) * 0.99)] * 1000 if latencies else 0.0
            print(
                f"{args.count} x {args.size / 1e6:.0f} MB in {seconds:.1f} s; memory {before / 1e6:.0f} -> {peak / 1e6:.0f} MB "
                f"(+{(peak - before) / 1e6:.0f}); small messages beside: {len(latencies)}, p99 {p99:.1f} ms"
            )
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    main()
