"""Where mail comes from: host, port, security, and who asks for it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

SECURITY = ("auto", "tls", "starttls", "none")


@dataclass(frozen=True, slots=True)
class Remote:
    """Where mail comes from. `host` may be an address in square brackets; `security`: `auto` is TLS on port 993, else
    STARTTLS where it is offered; `verify`: whether the certificate must be good (never for `auto` without port 993)."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    security: str = "auto"
    verify: bool = True

    def address(self) -> str:
        """The host without brackets. Raises ValueError where it is neither a name nor an address."""
        return host_address(self.host)


def host_address(host: str) -> str:
    """A host name, or the address out of `[...]`. Raises ValueError."""
    host = host.strip()
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.ip_address(host[1:-1].removeprefix("IPv6:")))
    if ":" in host:
        raise ValueError(f"{host[:80]!r}: an IPv6 address is written in square brackets")
    if not host or len(host) > 255 or re.search(r"[\s/@\x00-\x1f]", host):
        raise ValueError(f"{host[:80]!r} is no host")
    return host
