"""Mixed load for as long as MAILSTEAD_SOAK_SECONDS says (an hour by default): memory stays flat, nothing is refused."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from bench.compare import start
from bench.generator import Load, Result, Script, pop3_line, pop3_multi, run, server_memory
from bench.scenarios import SCENARIOS, Count, Target

ROUND = ("smtp_2k", "imap_flags", "smtp_2k_newconn", "imap_env", "imap_login", "smtp_50k")


def empty(target: Target) -> Load:
    """POP3 clients that take everything away, so that mailboxes do not grow for ever."""
    assert target.pop3
    numbers = iter(range(101, 211))

    def script(number: int, count: Count) -> Script:
        box = next(numbers, 101)
        yield f"USER {target.user(box)}\r\n".encode(), pop3_line
        yield f"PASS {target.password}\r\n".encode(), pop3_line
        yield b"LIST\r\n", pop3_multi
        yield b"".join(b"DELE %d\r\n" % n for n in range(1, 20_001)) + b"NOOP\r\n", lambda data: data.endswith(b"+OK\r\n")
        yield b"QUIT\r\n", pop3_line
        count()

    return Load(target.pop3, script, pop3_line, lambda reply: False, 4, 8)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_memory_is_flat_under_mixed_load(tmp_path: Path) -> None:
    length = float(os.environ.get("MAILSTEAD_SOAK_SECONDS", "3600"))
    process, target = start(tmp_path / "data", 21_000, 2)
    memory: list[int] = []
    totals: dict[str, Result] = {}
    try:
        end = time.monotonic() + length
        while time.monotonic() < end:
            for name in ROUND:
                result = run(SCENARIOS[name](target, 3.0))
                totals[name] = result
                assert result.operations > 0, name
                assert result.errors == 0, name
            run(empty(target))
            time.sleep(2)
            # The mapped part of the index is the page cache's, and bounded (64 MB a file).
            memory.append(server_memory(target.pids, "Pss_Anon:"))
            print(f"{len(memory):4} {memory[-1] / 1e6:7.1f} MB  smtp {totals['smtp_2k'].operations / 3:.0f}/s", flush=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    settled = memory[len(memory) // 4 :]
    half = len(settled) // 2
    first, last = max(settled[: half or 1]), max(settled[half:])
    assert last < first * 1.1 + 10e6, [round(octets / 1e6) for octets in memory]
