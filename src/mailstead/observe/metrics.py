"""Counters and histograms of one process, and their sum over all processes.

Invariants: every family is declared here, so that names are stable; a hot path holds a ready child and pays one
`inc`; the sum over the processes never falls when one of them restarts (its last snapshot is its base).

How: each process writes its samples to `<run>/metrics/<process>.mp` every other second when they changed; whoever
answers the scrape (the background process) adds up the files. Processes are named by their stable writer name, so
there are as many files as processes.
"""

from __future__ import annotations

import asyncio
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry(auto_describe=False)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LONG_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 900, 3600, 14_400, 86_400)
_SIZES = (1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"mailstead_{name}", text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"mailstead_{name}", text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
    return Histogram(f"mailstead_{name}", text, labels, registry=REGISTRY, buckets=tuple(buckets))


connections_total = _counter("connections", "Connections admitted", "service")
connections_refused = _counter("connections_refused", "Connections refused before the greeting", "service")
connections_open = _gauge("connections_open", "Connections open now", "service")
tls_handshakes = _counter("tls_handshakes", "TLS handshakes", "service", "result")
logins = _counter("logins", "Login attempts", "service", "result")
faults = _counter("faults", "Errors of our own", "module")
build_info = _gauge("build_info", "Always 1; the labels tell the release", "version", "python")
filesystem_size_bytes = _gauge("filesystem_size_bytes", "Size of the file system of a directory", "directory")
filesystem_avail_bytes = _gauge("filesystem_avail_bytes", "What the server can still write there", "directory")
certificate_expiration = _gauge(
    "certificate_expiration_timestamp_seconds", "When the certificate of a listener ends, unix time; 0: it cannot be read", "file"
)

smtp_messages = _counter("smtp_messages", "Messages at the end of data", "result")
smtp_recipients = _counter("smtp_recipients", "Recipients offered", "result")
smtp_message_bytes = _histogram("smtp_message_bytes", "Size of accepted messages", _SIZES)
smtp_accept_seconds = _histogram("smtp_accept_seconds", "End of data to reply", _SECONDS)

imap_commands = _counter("imap_commands", "IMAP commands", "command", "result")
managesieve_commands = _counter("managesieve_commands", "ManageSieve commands", "command", "result")
pop3_commands = _counter("pop3_commands", "POP3 commands", "command", "result")

deliveries = _counter("deliveries", "Local deliveries", "result")
queue_entries = _gauge("queue_entries", "Outbound queue entries", "state")
queue_attempt_seconds = _histogram("queue_attempt_seconds", "Duration of an outbound attempt", _LONG_SECONDS)
queue_delivery_seconds = _histogram("queue_delivery_seconds", "Time from acceptance to the next host", _LONG_SECONDS)
queue_attempts = _counter("queue_attempts", "Outbound attempts", "result")
bounces = _counter("bounces", "Bounces and delay notices written", "kind")

search_messages_read = _counter("search_messages_read", "Messages that text searches read, because the index could not tell")
search_jobs = _gauge("search_jobs", "Messages and accounts that the search index has yet to take in")

store_commits = _counter("store_commits", "Log syncs")
store_commit_seconds = _histogram("store_commit_seconds", "Duration of a log sync", _SECONDS)
store_batch_records = _histogram("store_batch_records", "Records per log sync", (1, 2, 4, 8, 16, 32, 64, 128, 256))
store_bytes = _counter("store_bytes", "Bytes appended to the log")


class ServiceMetrics(NamedTuple):
    """The connection metrics of one service, ready to be counted."""

    admitted: Counter
    refused: Counter
    open: Gauge
    handshakes: Counter
    failed_handshakes: Counter


@cache
def service_metrics(service: str) -> ServiceMetrics:
    """Children of the connection families; looking labels up costs a microsecond each."""
    return ServiceMetrics(
        connections_total.labels(service),
        connections_refused.labels(service),
        connections_open.labels(service),
        tls_handshakes.labels(service, "ok"),
        tls_handshakes.labels(service, "failed"),
    )


class _Family(msgspec.Struct, array_like=True):
    name: str
    kind: str
    text: str
    samples: list[tuple[str, dict[str, str], float]]


_HEADER = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Family]).decode


def _families(metrics: Iterable[Metric]) -> list[_Family]:
    return [
        _Family(m.name, m.type, m.documentation, [(s.name, dict(s.labels), float(s.value)) for s in m.samples]) for m in metrics
    ]


def _add(total: dict[str, _Family], families: Iterable[_Family], *, gauges: bool = True) -> None:
    for family in families:
        if not gauges and family.kind == "gauge":
            continue
        known = total.get(family.name)
        if known is None:
            total[family.name] = _Family(family.name, family.kind, family.text, list(family.samples))
            continue
        index = {(name, tuple(sorted(labels.items()))): i for i, (name, labels, _v) in enumerate(known.samples)}
        for name, labels, value in family.samples:
            at = index.get((name, tuple(sorted(labels.items()))))
            if at is None:
                known.samples.append((name, labels, value))
            else:
                known.samples[at] = (name, labels, known.samples[at][2] + value)


def _read(path: Path) -> list[_Family]:
    for _attempt in range(3):  # a second look where the first met a write
        try:
            data = path.read_bytes()
            length, checksum = _HEADER.unpack_from(data)
            content = data[_HEADER.size : _HEADER.size + length]
            if zlib.crc32(content) == checksum:
                return _decode(content)
        except (OSError, struct.error, msgspec.DecodeError):
            break
    return []  # absent, or written by another version: counting starts anew


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.pwrite(fd, _HEADER.pack(len(content), zlib.crc32(content)) + content, 0)
    finally:
        os.close(fd)


def settle(directory: Path) -> None:
    """Called once when the node starts: what was open in processes of the last run is open no more."""
    for path in directory.glob("*.mp"):
        try:
            _write(path, _encode([family for family in _read(path) if family.kind != "gauge"]))
        except OSError:
            continue  # not ours to change; its owner will overwrite it


class SnapshotWriter:
    """Writes this process's samples, on top of what its predecessor of the same name had counted.

    The file is overwritten in place: replacing it would make the file system flush it each time, beside the log.
    """

    def __init__(self, directory: Path, process: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / f"{process}.mp"
        self._base = _read(self._path)
        self._last = b""

    def write(self) -> None:
        """Write now, if anything changed. A failure is left for the next time (metrics never stop mail)."""
        total: dict[str, _Family] = {}
        _add(total, _families(REGISTRY.collect()))
        _add(total, self._base, gauges=False)
        content = _encode(list(total.values()))
        if content == self._last:
            return
        try:
            _write(self._path, content)
        except OSError:
            return
        self._last = content

    async def run(self, interval: float = 2.0) -> None:
        """Write every `interval` seconds until cancelled, and once more then."""
        try:
            while True:
                self.write()
                await asyncio.sleep(interval)
        finally:
            self.write()


class _Sum(Collector):
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        total: dict[str, _Family] = {}
        for path in sorted(self._directory.glob("*.mp")):
            _add(total, _read(path))
        for family in total.values():
            metric = Metric(family.name, family.text, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, labels, value)
            yield metric


def totals(directory: Path) -> list[tuple[str, dict[str, str], float]]:
    """Name, labels and value of every sample, summed over all processes. Blocking."""
    total: dict[str, _Family] = {}
    for path in sorted(directory.glob("*.mp")):
        _add(total, _read(path))
    return [sample for family in total.values() for sample in family.samples]


def exposition(directory: Path) -> bytes:
    """The sum over all processes in the Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Sum(directory))
    return prometheus_client.generate_latest(registry)
