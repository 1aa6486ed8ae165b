"""Figures of the release, of disks and of certificates, as who scrapes the metrics sees them."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailstead import __version__
from mailstead.observe.metrics import SnapshotWriter
from mailstead.process import host_metrics
from mailstead.process.application import ProcessContext
from mailstead.process.certificates import self_signed
from mailstead.process.installation import Plan, create, standard_listeners
from mailstead.process.node import Node
from mailstead.settings import Settings, SystemDatabaseError
from mailstead.store.backup.create import create_backup
from mailstead.store.backup.repository import Repository
from tests.ports import free_port

DAY = 86_400
Samples = dict[tuple[str, str], float]
Scrape = Callable[[], Awaitable[Samples]]


@pytest.fixture
async def scrape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scrape]:
    monkeypatch.setattr(host_metrics, "SECONDS", 0.1)
    port = free_port()
    plan = Plan(
        "mail.example.test", "example.test", "admin", "administrator", accounts=[("postmaster", None)],
        listeners=standard_listeners(), settings=[("server", "metricsPort", str(port))],
    )  # fmt: skip
    await asyncio.to_thread(create, tmp_path / "data", plan)
    node = Node(ProcessContext(tmp_path / "data", "b0", 1, "single", 1, lambda: None, lambda reason: None))
    await node.prepare()
    await node.start()
    writer = SnapshotWriter(tmp_path / "data" / "run" / "metrics", "b0")

    async def read() -> Samples:
        writer.write()
        reader, stream = await asyncio.open_connection("127.0.0.1", port)
        stream.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 60)
        stream.close()
        families = text_string_to_metric_families(answer.partition(b"\r\n\r\n")[2].decode())
        return {(one.name, ",".join(one.labels.values())): one.value for family in families for one in family.samples}

    yield read
    await node.stop()


async def until(read: Scrape, holds: Callable[[Samples], bool]) -> Samples:
    async with asyncio.timeout(60):
        while True:
            found = await read()
            if holds(found):
                return found
            await asyncio.sleep(0.05)


async def test_release_disks_and_certificates(scrape: Scrape, tmp_path: Path) -> None:
    end = ("mailstead_certificate_expiration_timestamp_seconds", "certs/default.pem")
    size, room = (("mailstead_filesystem_size_bytes", name) for name in ("data", "log")), "mailstead_filesystem_avail_bytes"
    found = await until(scrape, lambda one: end in one and all((room, name) in one for name in ("data", "log")))
    assert [__version__ in labels.split(",") for name, labels in found if name == "mailstead_build_info"] == [True]
    assert 3600 * DAY < found[end] - time.time() < 3651 * DAY
    total = shutil.disk_usage(tmp_path).total
    assert [found[one] for one in size] == [total, total]
    assert 0 < found[room, "data"] <= total
    assert (room, "backup") not in found

    await asyncio.to_thread(self_signed, tmp_path / "data" / "certs" / "default.pem", ["mail.example.test"], 5)
    await until(scrape, lambda one: one[end] - time.time() < 6 * DAY)
    (tmp_path / "data" / "certs" / "default.pem").write_text("torn")
    await until(scrape, lambda one: one[end] == 0)


async def test_the_disk_of_the_last_backup(scrape: Scrape, tmp_path: Path) -> None:
    def backup() -> None:
        repository = Repository.create(tmp_path / "backup", None)
        repository.lock()
        create_backup(tmp_path / "data", repository)
        repository.close()

    room = ("mailstead_filesystem_avail_bytes", "backup")
    await asyncio.to_thread(backup)
    assert (await until(scrape, lambda one: room in one))[room] > 0
    (tmp_path / "backup").rename(tmp_path / "unplugged")
    await until(scrape, lambda one: room not in one)


async def test_settings_that_cannot_be_read_for_a_moment_end_nothing(
    scrape: Scrape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end would be that of the process, and of what the process does for mail."""
    room, failed = ("mailstead_filesystem_avail_bytes", "log"), asyncio.Event()
    await until(scrape, lambda one: room in one)
    real = Settings.listeners

    def listeners(settings: Settings, service: str) -> object:
        if not failed.is_set():
            failed.set()
            raise SystemDatabaseError("the database is busy")
        return real(settings, service)

    monkeypatch.setattr(Settings, "listeners", listeners)
    await asyncio.wait_for(failed.wait(), 60)
    await asyncio.to_thread(self_signed, tmp_path / "data" / "certs" / "default.pem", ["mail.example.test"], 5)
    end = ("mailstead_certificate_expiration_timestamp_seconds", "certs/default.pem")
    await until(scrape, lambda one: one[end] - time.time() < 6 * DAY)
