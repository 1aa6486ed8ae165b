"""Metrics: the sum over processes, and restarts."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailstead.observe import metrics


def value(directory: Path, sample: str, **labels: str) -> float:
    for family in text_string_to_metric_families(metrics.exposition(directory).decode()):
        for found in family.samples:
            if found.name == sample and found.labels == labels:
                return float(found.value)
    return 0.0


def test_processes_add_up_and_a_restart_takes_nothing_away(tmp_path: Path) -> None:
    first, second = metrics.SnapshotWriter(tmp_path, "w0"), metrics.SnapshotWriter(tmp_path, "w1")
    metrics.logins.labels("test", "ok").inc(3)
    metrics.connections_open.labels("test").set(2)
    first.write()
    second.write()
    assert value(tmp_path, "mailstead_logins_total", service="test", result="ok") == 6
    assert value(tmp_path, "mailstead_connections_open", service="test") == 4
    again = metrics.SnapshotWriter(tmp_path, "w0")
    again.write()
    assert value(tmp_path, "mailstead_logins_total", service="test", result="ok") == 9
    assert value(tmp_path, "mailstead_connections_open", service="test") == 4


def test_what_was_open_in_the_last_run_is_open_no_more(tmp_path: Path) -> None:
    metrics.logins.labels("last run", "ok").inc(2)
    metrics.connections_open.labels("last run").set(5)
    metrics.SnapshotWriter(tmp_path, "w7").write()
    metrics.settle(tmp_path)
    assert value(tmp_path, "mailstead_logins_total", service="last run", result="ok") == 2
    assert value(tmp_path, "mailstead_connections_open", service="last run") == 0


def test_histograms_add_up(tmp_path: Path) -> None:
    metrics.smtp_message_bytes.observe(2000)
    for name in ("w0", "w1"):
        metrics.SnapshotWriter(tmp_path, name).write()
    assert value(tmp_path, "mailstead_smtp_message_bytes_count") >= 2
    assert value(tmp_path, "mailstead_smtp_message_bytes_bucket", le="4096.0") >= 2


def test_damaged_snapshot_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "w9.mp").write_bytes(b"\xff\x00")
    metrics.store_commits.inc()
    metrics.SnapshotWriter(tmp_path, "w0").write()
    assert value(tmp_path, "mailstead_store_commits_total") >= 1


def test_unwritable_directory_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = metrics.SnapshotWriter(tmp_path, "w0")
    writer._path = Path("/proc/nowhere/w0.mp")
    writer.write()
