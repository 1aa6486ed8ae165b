"""Figures of what the server stands on: its release, the file systems it writes to, the certificates it shows.

Invariants: they come from one process of the node, so that their sum over the processes is right; a file system that does not
answer (a backup over the network) holds nothing else up, and has no figure until it does; what is not there or not in use any
more has none either.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import threading
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import Gauge

from mailstead import __version__
from mailstead.observe.log import get_logger
from mailstead.observe.metrics import build_info, certificate_expiration, filesystem_avail_bytes, filesystem_size_bytes
from mailstead.process.certificates import CertificateError, leaf
from mailstead.settings import Settings, SystemDatabaseError
from mailstead.settings.references import NOTHING
from mailstead.store.backup.hold import last_repository
from mailstead.store.backup.repository import REPOSITORY

log = get_logger("SERVER")

SECONDS = 15.0


class HostMetrics:
    """One per background process; ``services`` are those with listeners of its workers, ``run`` looks until cancelled."""

    def __init__(self, data_dir: Path, settings: Settings, services: Sequence[str]) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._services = services
        self._looks: dict[str, threading.Thread] = {}
        self._certificates: set[str] = set()

    async def run(self) -> None:
        """Look every quarter of a minute; settings that cannot be read are asked for again the next time."""
        build_info.labels(__version__, platform.python_version()).set(1)
        while True:
            self._look("data", self._data_dir)
            self._look("backup", None)
            try:
                self._look("log", self._data_dir / str(self._settings.service("log").path or "logs"))
                await self._look_at_certificates()
            except SystemDatabaseError as error:
                log.error("figures of the machine put off", reason=str(error))
            await asyncio.sleep(SECONDS)

    def _look(self, name: str, path: Path | None) -> None:
        before = self._looks.get(name)
        if before is not None and before.is_alive():
            _forget(name)
            return
        self._looks[name] = thread = threading.Thread(target=self._measure, args=(name, path), name=f"room {name}", daemon=True)
        thread.start()

    def _measure(self, name: str, path: Path | None) -> None:
        try:
            status = os.statvfs(path or self._repository())
        except OSError:
            _forget(name)
            return
        filesystem_size_bytes.labels(name).set(status.f_blocks * status.f_frsize)
        filesystem_avail_bytes.labels(name).set(status.f_bavail * status.f_frsize)

    def _repository(self) -> Path:
        """Raises OSError where there is none: below a mount point without its disk lies another file system."""
        path = last_repository(self._data_dir / "index")
        if path is None:
            raise FileNotFoundError
        os.stat(path / REPOSITORY)
        return path

    async def _look_at_certificates(self) -> None:
        files = {one.certFile for one in self._settings.running_listeners(self._services)} - set(NOTHING)
        ends = await asyncio.to_thread(lambda: {name: _end(self._data_dir / name) for name in files})
        for name in self._certificates - files:
            _remove(certificate_expiration, name)
        for name, end in ends.items():
            certificate_expiration.labels(name).set(end)
        self._certificates = files


def _end(path: Path) -> float:
    try:
        return leaf(path).not_valid_after_utc.timestamp()
    except CertificateError:
        return 0.0


def _forget(directory: str) -> None:
    _remove(filesystem_size_bytes, directory)
    _remove(filesystem_avail_bytes, directory)


def _remove(gauge: Gauge, label: str) -> None:
    with contextlib.suppress(KeyError):  # it had no figure
        gauge.remove(label)
