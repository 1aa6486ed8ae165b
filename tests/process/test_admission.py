"""Access rules and flow limits of listener, service and server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailstead.process.admission import FlowControl, HeldLease, Level, Limits
from mailstead.process.shared_table import SharedTable
from mailstead.settings.access import AccessRule, AccessRules
from mailstead.settings.declaration import Snapshot
from mailstead.settings.declarations import ACCESS_LIMITS
from mailstead.settings.ip_set import IpSet
from mailstead.transport.endpoint import Endpoint, Refusal

ENDPOINT = Endpoint("smtpIncoming")


@pytest.fixture
def table(tmp_path: Path) -> SharedTable:
    return SharedTable.create(tmp_path / "t", slots=1024, process=1)


def make_rules(*rows: tuple[str, str, int, dict[str, int]]) -> AccessRules:
    return AccessRules(
        AccessRule(
            number, "smtpIncoming", 0, action == "allow", IpSet.parse(ip_set), True, priority,
            Snapshot({**ACCESS_LIMITS.defaults(), **limits}),
        )
        for number, (action, ip_set, priority, limits) in enumerate(rows, 1)
    )  # fmt: skip


NONE = make_rules()


def admit(control: FlowControl, peer: str, now: float = 1000.0) -> Any:
    answer = control.admit(ENDPOINT, peer, now)
    return answer.reason if isinstance(answer, Refusal) else answer


def test_peer_limit_is_for_one_address(table: SharedTable) -> None:
    control = FlowControl(table, [Level("l", NONE, Limits(peer_connections=2))])
    first = admit(control, "192.0.2.1")
    assert isinstance(first, HeldLease)
    assert isinstance(admit(control, "192.0.2.1"), HeldLease)
    assert admit(control, "192.0.2.1") == "too many connections from your address"
    assert isinstance(admit(control, "192.0.2.2"), HeldLease)
    first.release()
    first.release()
    assert isinstance(admit(control, "192.0.2.1"), HeldLease)
    assert admit(control, "192.0.2.1") == "too many connections from your address"


def test_interval_limits_count_admitted_connections(table: SharedTable) -> None:
    control = FlowControl(table, [Level("l", NONE, Limits(interval_connections=3, interval=60.0))])
    answers = [admit(control, f"192.0.2.{n}", 1000.0 + n) for n in range(5)]
    assert [isinstance(a, HeldLease) for a in answers] == [True, True, True, False, False]
    assert isinstance(admit(control, "192.0.2.9", 1060.0), HeldLease)


def test_deny_and_allow_by_priority(table: SharedTable) -> None:
    rules = make_rules(("deny", "192.0.2.0/24", 500, {}), ("allow", "192.0.2.7", 100, {}), ("deny", "2001:db8::/32", 1, {}))
    control = FlowControl(table, [Level("l", rules)])
    assert admit(control, "192.0.2.8") == "access denied"
    assert isinstance(admit(control, "192.0.2.7"), HeldLease)
    assert admit(control, "2001:db8::1") == "access denied"
    assert admit(control, "not an address") == "access denied"


def test_allow_rule_of_the_listener_decides_alone(table: SharedTable) -> None:
    listener = Level("l", make_rules(("allow", "10.0.0.0/8", 500, {"peerMaxConnections": 2})), Limits(connections=1))
    service = Level("s", make_rules(("deny", "0.0.0.0/0", 1000, {})))
    control = FlowControl(table, [listener, service])
    assert isinstance(admit(control, "10.0.0.1"), HeldLease)
    assert isinstance(admit(control, "10.0.0.1"), HeldLease)
    assert admit(control, "10.0.0.1") == "too many connections from your address"
    assert admit(control, "192.0.2.1") == "access denied"


def test_refusal_by_the_service_counts_nothing_at_the_listener(table: SharedTable) -> None:
    control = FlowControl(table, [Level("l", NONE, Limits(connections=5)), Level("s", NONE, Limits(peer_connections=1))])
    assert isinstance(admit(control, "192.0.2.1"), HeldLease)
    for _ in range(10):
        assert admit(control, "192.0.2.1") == "too many connections from your address"
    assert table.held(b"0l") == 1
