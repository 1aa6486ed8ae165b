"""Sockets that accept.

Invariants: every listening socket is made with IPPROTO_TCP (with protocol 0 asyncio leaves Nagle's algorithm on,
and pipelined replies wait 40 ms for a delayed acknowledgement); an IPv6 socket never takes IPv4 connections.
"""

from __future__ import annotations

import ipaddress
import socket

BACKLOG = 1024


class AddressRefusedError(ValueError):
    """An address that cannot be a listener's (feature LIS-02)."""


def check_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The parsed bind address. Raises AddressRefusedError for names, fe80::/64 and IPv4-mapped addresses."""
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        parsed = ipaddress.ip_address(bare)
    except ValueError:
        raise AddressRefusedError(f"{address!r} is not an IP address; a listener needs one (0.0.0.0 or [::] for all)") from None
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            raise AddressRefusedError(f"{address} is an IPv4-mapped address; write {parsed.ipv4_mapped} instead")
        if parsed.is_link_local:
            raise AddressRefusedError(f"{address} is a link-local address (fe80::/64), which a listener cannot use")
    return parsed


def bind(address: str, port: int, *, reuse_port: bool = False, listen: bool = True) -> socket.socket:
    """A bound (and listening) non-blocking socket. Raises AddressRefusedError or OSError."""
    parsed = check_address(address)
    family = socket.AF_INET6 if parsed.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((str(parsed), port))
        if listen:
            sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
