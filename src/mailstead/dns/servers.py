"""Name servers: from settings (SMO-20), else from the system.

A word of the setting is ``address``, ``address:port`` or ``[v6 address]:port``; an IPv6 address without a port may
stand bare.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailstead.settings.objects import NamedObject

MAX_SERVERS = 11


@dataclass(frozen=True, slots=True)
class NameServer:
    """``timeout`` (seconds, of the first query) and ``retries`` override the resolver's where not None."""

    address: str
    port: int = 53
    timeout: float | None = None
    retries: int | None = None


def parse_server(word: str) -> NameServer:
    """One word of the setting. Raises ValueError."""
    word = word.strip()
    port = 53
    if word.startswith("["):
        address, closing, rest = word[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            raise ValueError(f"not a name server: {word!r}")
        tail = rest[1:]
    elif word.count(":") == 1:
        address, _, tail = word.partition(":")
    else:
        address, tail = word, ""
    if tail:
        if not tail.isascii() or not tail.isdigit() or not 0 < int(tail) < 65_536:
            raise ValueError(f"not a port: {tail!r}")
        port = int(tail)
    return NameServer(str(ipaddress.ip_address(address)), port)


def system_servers(path: Path = Path("/etc/resolv.conf")) -> list[NameServer]:
    """The servers of resolv.conf in order; the local host where it names none (resolv.conf(5))."""
    found: list[NameServer] = []
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        lines = []  # no file: as an empty one
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                ipaddress.ip_address(words[1])
            except ValueError:
                continue  # a word we cannot use; the C resolver skips it too
            found.append(NameServer(words[1]))
    return found[:MAX_SERVERS] or [NameServer("127.0.0.1")]


def object_servers(objects: Sequence[NamedObject]) -> list[NameServer]:
    """The servers of `nameserver` objects, in their order; what an object does not set is the resolver's. Raises ValueError."""
    result = []
    for found in objects:
        server = parse_server(found.values.address)
        explicit = found.attributes
        timeout = float(found.values.timeout) if "timeout" in explicit else None
        retries = int(found.values.retries) if "retries" in explicit else None
        result.append(NameServer(server.address, server.port, timeout, retries))
    return result[:MAX_SERVERS]


def configured_servers(words: Iterable[str]) -> list[NameServer]:
    """The servers of the setting ``nameservers``, the system's where it is empty. Raises ValueError."""
    return [parse_server(word) for word in words][:MAX_SERVERS] or system_servers()
