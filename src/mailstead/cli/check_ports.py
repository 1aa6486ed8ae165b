"""Ports: whether listeners and metrics can have theirs, or the running server does."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import psutil

from mailstead.cli.check_directory import server_process
from mailstead.cli.finding import OK, PROBLEM, WARNING, Finding
from mailstead.process.application import ListenerSpec
from mailstead.process.binding import refusals
from mailstead.settings.listeners import ListenerSettings

END_IT = "end the other program that has the port (`ss -ltnp` as root names it), or move or disable the listener"
FREE_METRICS = "`mailstead setting set server metricsPort` to another port (0: none), and start the server anew"


def _server_listens_on(data_dir: Path) -> set[tuple[str, int]] | None:
    """Host and port of every socket that the server's processes accept on; None where the system does not tell."""
    try:
        pid = server_process(data_dir)
        server = psutil.Process(pid)
        found: set[tuple[str, int]] = set()
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ended meanwhile
                for one in process.net_connections(kind="tcp"):
                    if one.status == psutil.CONN_LISTEN:
                        found.add((str(ipaddress.ip_address(one.laddr.ip)), one.laddr.port))
        return found
    except (OSError, ValueError, psutil.Error):
        return None


def held_ports(data_dir: Path, listeners: list[ListenerSettings], metrics: int) -> Iterator[Finding]:
    """While the server runs; ``metrics``: the port of the metrics, 0 for none."""
    enabled = [listener for listener in listeners if listener.enable]
    if not enabled:
        yield Finding(WARNING, "ports", "no listener is enabled", "`mailstead listener add`")
        return
    held = _server_listens_on(data_dir)
    if held is None:
        yield Finding(WARNING, "ports", "cannot see what the running server listens on", "ask as root")
        return
    idle = [one for one in enabled if (str(ipaddress.ip_address(one.host)), one.port) not in held]
    for listener in idle:
        text = f"{listener.service} {listener.address}: the running server does not listen there; its log says why"
        yield Finding(PROBLEM, "ports", text, END_IT)
    if metrics and ("127.0.0.1", metrics) not in held:
        yield Finding(WARNING, "ports", f"127.0.0.1:{metrics}: the running server does not serve its metrics there", FREE_METRICS)
    if not idle:
        yield Finding(OK, "ports", f"{len(enabled)} listeners, held by the running server")


def free_ports(listeners: list[ListenerSettings], metrics: int) -> Iterator[Finding]:
    """While it does not."""
    enabled = [listener for listener in listeners if listener.enable]
    if not enabled:
        yield Finding(WARNING, "ports", "no listener is enabled", "`mailstead listener add`")
    refused = refusals(ListenerSpec(found.id, found.service, found.host, found.port) for found in enabled)
    for one in refused:
        yield Finding(PROBLEM, "ports", str(one), END_IT)
    if metrics:
        for one in refusals([ListenerSpec(0, "the metrics", "127.0.0.1", metrics)]):
            yield Finding(WARNING, "ports", str(one), FREE_METRICS)
    if not refused:
        yield Finding(OK, "ports", f"{len(enabled)} listeners can be bound")
