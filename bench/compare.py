"""Measures this server, and peers beside it in the same run, and prints ratios and CPU per operation.

    python -m bench.compare                       # starts a server of its own in a temporary directory
    python -m bench.compare --peer NAME,smtp=HOST:PORT,imap=HOST:PORT,pop3=HOST:PORT,pids=1:2 --scenarios smtp_2k,imap_login

A peer needs users user0001@bench.test to user1000@bench.test with password secret and a cheap hash, plain logins on loopback,
and no limit on connections from one address. Runs take turns; the medians count.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.generator import run, server_cpu, server_memory
from bench.scenarios import SCENARIOS, Target


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def peer(text: str) -> Target:
    name, *pairs = text.split(",")
    values = dict(pair.split("=", 1) for pair in pairs)
    places = {key: address(values[key]) if key in values else None for key in ("smtp", "imap", "pop3")}
    return Target(name, **places, pids=[int(pid) for pid in values.get("pids", "").split(":") if pid])


def start(
    directory: Path, base: int, workers: int, settings: Sequence[tuple[str, str, str]] = ()
) -> tuple[subprocess.Popen[bytes], Target]:
    """A server of our own."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("serve.py")),
        str(directory),
        "--base",
        str(base),
        "--workers",
        str(workers),
    ]
    command += [word for setting in settings for word in ("--set", *setting)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    target = Target("mailstead", ("127.0.0.1", base + 25), ("127.0.0.1", base + 143), ("127.0.0.1", base + 110), [process.pid])
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", base + 143), timeout=1).close()
            return process, target
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def measure(target: Target, name: str, seconds: float) -> dict[str, float]:
    cpu = server_cpu(target.pids)
    result = run(SCENARIOS[name](target, seconds))
    cpu = server_cpu(target.pids) - cpu
    operations = max(1, result.operations)
    return {
        "ops_s": result.operations / result.seconds,
        "p50_ms": result.percentile(0.5),
        "p99_ms": result.percentile(0.99),
        "cpu_us": cpu / operations * 1e6,
        "generator_us": result.cpu / operations * 1e6,
        "errors": result.errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", default=[], type=peer)
    parser.add_argument("--scenarios", default="*")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--base", type=int, default=19000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    chosen = [name for name in SCENARIOS if any(fnmatch.fnmatch(name, pattern) for pattern in args.scenarios.split(","))]
    with tempfile.TemporaryDirectory(prefix="mailstead-bench-") as scratch:
        process, ours = start(Path(scratch) / "data", args.base, args.workers)
        try:
            for name in chosen:
                medians: dict[str, dict[str, float]] = {}
                runs: dict[str, list[dict[str, float]]] = {}
                for _ in range(args.runs):
                    for target in (ours, *args.peer):
                        runs.setdefault(target.name, []).append(measure(target, name, args.seconds))
                for target, records in runs.items():
                    medians[target] = {key: statistics.median(record[key] for record in records) for key in records[0]}
                    line = medians[target]
                    times = medians["mailstead"]["ops_s"] / line["ops_s"]
                    ratio = f"  ours is x{times:.2f}" if target != "mailstead" else ""
                    print(
                        f"{name:16} {target:16} {line['ops_s']:9.0f}/s"
                        f"  p50 {line['p50_ms']:7.2f}  p99 {line['p99_ms']:7.2f} ms"
                        f"  {line['cpu_us']:8.0f} us CPU (generator {line['generator_us']:.0f})"
                        f"  errors {line['errors']:.0f}{ratio}",
                        flush=True,
                    )
            print(f"memory (PSS) at the end: {server_memory(ours.pids) / 1e6:.0f} MB")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            os.sync()


if __name__ == "__main__":
    main()
