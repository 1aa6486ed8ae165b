"""Shared counters: exact over processes, reclaimed after death, bounded."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import integers, sampled_from

from mailstead.process.shared_table import Claim, SharedTable, TableError

spawn = multiprocessing.get_context("fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    table = tmp_path / "shared.table"
    SharedTable.create(table, slots=256).close()
    return table


def _hammer(path: Path, process: int, rounds: int, limit: int, outcome: Path) -> None:
    table = SharedTable(path, process)
    won = 0
    for _ in range(rounds):
        if table.acquire(b"many", limit):
            won += 1
        if table.claim([Claim(b"rate", limit, 3600.0)], 1000.0) < 0:
            won += 1_000_000
    outcome.write_text(str(won))


def test_limits_are_exact_over_four_processes(path: Path, tmp_path: Path) -> None:
    processes = [spawn.Process(target=_hammer, args=(path, n + 1, 500, 777, tmp_path / f"outcome{n}")) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    won = sum(int((tmp_path / f"outcome{n}").read_text()) for n in range(4))
    assert divmod(won, 1_000_000) == (777, 777)
    assert SharedTable(path, 0).held(b"many") == 777


def test_dead_process_gives_back_exactly_what_it_held(path: Path) -> None:
    def child() -> None:
        table = SharedTable(path, 3)
        for _ in range(5):
            table.acquire(b"key", 0)
        os.kill(os.getpid(), signal.SIGKILL)

    table = SharedTable(path, 1)
    assert table.acquire(b"key", 0)
    process = spawn.Process(target=child)
    process.start()
    process.join(60)
    assert table.held(b"key") == 6
    assert SharedTable(path, 0).reclaim(3) == 5
    assert table.held(b"key") == 1


def test_claims_pass_together_or_not_at_all(path: Path) -> None:
    table = SharedTable(path, 1)
    claims = [Claim(b"wide", 10), Claim(b"narrow", 1), Claim(b"rate", 10, 60.0)]
    assert table.claim(claims, 5.0) == -1
    assert table.claim(claims, 5.0) == 1
    assert (table.held(b"wide"), table.hits(b"rate", 60.0, 5.0)) == (1, 1)
    table.release(b"narrow")
    assert table.claim(claims, 5.0) == -1


def test_rate_windows_begin_anew(path: Path) -> None:
    table = SharedTable(path, 1)
    assert [table.hit(b"k", 60.0, at) for at in (100.0, 130.0, 159.9, 160.0)] == [1, 2, 3, 1]
    assert table.claim([Claim(b"k", 1, 60.0)], 161.0) == 0
    assert table.claim([Claim(b"k", 1, 60.0)], 221.0) == -1
    table.forget(b"k")
    assert table.hits(b"k", 60.0, 222.0) == 0


def test_releasing_more_than_held_changes_nothing(path: Path) -> None:
    one, two = SharedTable(path, 1), SharedTable(path, 2)
    assert one.acquire(b"k", 1)
    two.release(b"k")
    assert one.held(b"k") == 1
    assert not two.acquire(b"k", 1)


def test_slots_of_a_claim_are_given_back(path: Path) -> None:
    table, slots = SharedTable(path, 1), []
    assert table.claim([Claim(b"a", 2), Claim(b"rate", 2, 60.0), Claim(b"b", 2)], 5.0, slots) == -1
    assert len(slots) == 2
    table.release_slots(slots)
    assert (table.held(b"a"), table.held(b"b"), table.hits(b"rate", 60.0, 5.0)) == (0, 0, 1)


def test_full_table_refuses_rather_than_forgets_what_is_held(path: Path) -> None:
    table = SharedTable(path, 1)
    keys = [str(n).encode() for n in range(2000)]
    held = [key for key in keys if table.acquire(key, 1)]
    assert 200 <= len(held) <= 256
    assert all(table.held(key) == 1 for key in held)
    for key in held:
        table.release(key)
    assert table.acquire(b"fresh", 1)


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 8192)
    with pytest.raises(TableError):
        SharedTable(path, 1)


class Model(RuleBasedStateMachine):
    """Two processes' views against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name) / "t"
        SharedTable.create(path, slots=64).close()
        self.tables = [SharedTable(path, 1), SharedTable(path, 2)]
        self.held = {(p, k): 0 for p in (0, 1) for k in b"abc"}

    @rule(process=integers(0, 1), key=sampled_from(b"abc"), limit=integers(0, 3))
    def acquire(self, process: int, key: int, limit: int) -> None:
        total = self.held[0, key] + self.held[1, key]
        passes = limit == 0 or total < limit
        assert self.tables[process].acquire(bytes([key]), limit) == passes
        self.held[process, key] += passes

    @rule(process=integers(0, 1), key=sampled_from(b"abc"))
    def release(self, process: int, key: int) -> None:
        self.tables[process].release(bytes([key]))
        self.held[process, key] = max(0, self.held[process, key] - 1)

    @rule(process=integers(0, 1))
    def die(self, process: int) -> None:
        assert self.tables[0].reclaim(process + 1) == sum(self.held[process, k] for k in b"abc")
        for key in b"abc":
            self.held[process, key] = 0

    @invariant()
    def counts_agree(self) -> None:
        for key in b"abc":
            assert self.tables[1].held(bytes([key])) == self.held[0, key] + self.held[1, key]

    def teardown(self) -> None:
        for table in self.tables:
            table.close()
        self.directory.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
