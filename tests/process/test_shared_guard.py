"""Failed logins and locks over several processes' views of the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailstead.process.shared_guard import SharedGuard, SharedLocks
from mailstead.process.shared_table import SharedTable


@pytest.fixture
def tables(tmp_path: Path) -> tuple[SharedTable, SharedTable]:
    first = SharedTable.create(tmp_path / "t", slots=1024, process=1)
    return first, SharedTable(tmp_path / "t", 2)


def guards(tables: tuple[SharedTable, SharedTable]) -> list[SharedGuard]:
    found = [SharedGuard(table) for table in tables]
    for guard in found:
        guard.configure(peer_failures=5, account_failures=8, interval=600.0)
    return found


def test_failures_in_one_process_block_in_the_other(tables: tuple[SharedTable, SharedTable]) -> None:
    one, two = guards(tables)
    for _ in range(4):
        one.failed("192.0.2.1", "alice")
    assert not two.blocked("192.0.2.1", "bob")
    two.failed("192.0.2.1", "bob")
    assert one.blocked("192.0.2.1", "carol")
    assert not one.blocked("192.0.2.2", "carol")


def test_ipv6_peers_are_counted_by_their_network(tables: tuple[SharedTable, SharedTable]) -> None:
    one, two = guards(tables)
    for number in range(5):
        one.failed(f"2001:db8::{number}", "alice")
    assert two.blocked("2001:db8::ffff", "x")
    assert not two.blocked("2001:db8:0:1::1", "x")


def test_owner_of_an_attacked_account_still_gets_in(tables: tuple[SharedTable, SharedTable]) -> None:
    one, two = guards(tables)
    one.succeeded("198.51.100.7", "Alice")
    for number in range(8):
        two.failed(f"203.0.113.{number}", "alice ")
    assert one.blocked("203.0.113.99", "alice")
    assert not two.blocked("198.51.100.7", "alice")


def test_loopback_is_exempt_from_the_peers_limit_only(tables: tuple[SharedTable, SharedTable]) -> None:
    one, _two = guards(tables)
    for _ in range(8):
        one.failed("127.0.0.1", "alice")
    assert not one.blocked("127.0.0.1", "bob")
    assert one.blocked("127.0.0.1", "alice")


def test_exclusive_lock_holds_over_processes_and_is_freed_by_death(tables: tuple[SharedTable, SharedTable]) -> None:
    one, two = (SharedLocks(table, "pop3") for table in tables)
    assert one.acquire(7)
    assert not two.acquire(7)
    assert two.acquire(8)
    tables[1].reclaim(1)
    assert two.acquire(7)
    assert [SharedLocks(tables[0], "imap").acquire(7, limit=2) for _ in range(3)] == [True, True, False]
