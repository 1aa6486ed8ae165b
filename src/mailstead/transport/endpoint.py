"""What a connection needs to know about the listener it arrived on.

Invariants: an `Endpoint` is shared by every connection of one listener in one process; replacing `ssl_context` or
`admission` on it (reload) affects connections accepted from then on and never the established ones.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mailstead.transport.connection import Connection


class Lease(Protocol):
    """The right to be connected; given back exactly once when the connection ends."""

    def release(self) -> None:
        """Give the slots back. Calling it again does nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection was not admitted; `reason` is a short English phrase fit for a 421 reply and the log."""

    reason: str


class Admission(Protocol):
    """Flow and access control of a listener (features LIS-03 to LIS-05)."""

    def admit(self, endpoint: Endpoint, peer_ip: str, now: float) -> Lease | Refusal:
        """Admit or refuse `peer_ip` at `now` (seconds of the wall clock); never blocks."""


#: Values of `Endpoint.proxy_protocol` (feature LIS-08).
PROXY_V1 = "allowV1"
PROXY_V2 = "allowV2"
PROXY_OPTIONAL = "isOptional"


@dataclass(slots=True, eq=False)
class Endpoint:
    """One listener of one service as a process sees it. Times are seconds; 0 for `idle_timeout` means never."""

    service: str
    address: str = "127.0.0.1"
    port: int = 0
    implicit_tls: bool = False
    ssl_context: ssl.SSLContext | None = None
    idle_timeout: float = 300.0
    proxy_protocol: frozenset[str] = frozenset()
    proxy_timeout: float = 5.0
    handshake_timeout: float = 10.0
    admission: Admission | None = None
    max_errors: int = 20
    max_auth_errors: int = 5
    listener_domain: str = ""
    submission: bool = False
    connections: set[Connection] = field(default_factory=set, repr=False)
