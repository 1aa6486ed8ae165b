"""Sets of IP addresses as access rules write them (LIS-04).

Invariants:
- A set is one contiguous range of one family; a mask with holes is refused.
- An IPv4-mapped IPv6 peer is looked up as the IPv4 address it is, so that no rule can be passed by.

Forms: `10.0.0.1`, `10.0.0.1-10.0.0.9`, `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, the same in IPv6, `[...]` brackets allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from mailstead.settings.declaration import InvalidValueError

MAX_LENGTH = 200


@dataclass(frozen=True, slots=True)
class IpSet:
    """Addresses `first`..`last` (as numbers) of IP `version`."""

    version: int
    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> IpSet:
        """The set that a text describes. Raises InvalidValueError."""
        source = text.strip().replace("[", "").replace("]", "")
        if not source or len(text) > MAX_LENGTH:
            raise InvalidValueError("ipSet: expected an address, a range a-b, net/mask or net/bits")
        try:
            if "-" in source:
                return cls._range(source)
            if "/" in source:
                network = ipaddress.ip_network(_checked_mask(source), strict=False)
                return cls(network.version, int(network.network_address), int(network.broadcast_address))
            address = ipaddress.ip_address(source)
            return cls(address.version, int(address), int(address))
        except ValueError as error:
            raise InvalidValueError(f"ipSet: {text[:80]!r} is not an address, range or network: {error}") from error

    @classmethod
    def _range(cls, source: str) -> IpSet:
        low, _, high = source.partition("-")
        first, last = ipaddress.ip_address(low.strip()), ipaddress.ip_address(high.strip())
        if first.version != last.version:
            raise ValueError("both ends must be of one IP version")
        if int(first) > int(last):
            raise ValueError("the first address is above the last")
        return cls(first.version, int(first), int(last))

    def __contains__(self, address: object) -> bool:
        if isinstance(address, str):
            version, number = address_number(address)
        elif isinstance(address, tuple):
            version, number = address
        else:
            return False
        return version == self.version and self.first <= number <= self.last

    def __str__(self) -> str:
        make: Callable[[int], object] = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        first, last = make(self.first), make(self.last)
        if self.first == self.last:
            return str(first)
        size = self.last - self.first + 1
        if size & (size - 1) == 0 and self.first % size == 0:
            return f"{first}/{(32 if self.version == 4 else 128) - size.bit_length() + 1}"
        return f"{first}-{last}"


def _checked_mask(source: str) -> str:
    """`net/mask` for IPv6 is turned into bits, and a host mask (0.0.0.255) refused as the mistake it is."""
    net, _, mask = source.partition("/")
    net, mask = net.strip(), mask.strip()
    if mask.isascii() and mask.isdigit():
        return f"{net}/{mask}"
    number = ipaddress.ip_address(mask)
    width = 32 if number.version == 4 else 128
    if number.version != ipaddress.ip_address(net).version:
        raise ValueError("network and mask must be of one IP version")
    inverted = int(number) ^ ((1 << width) - 1)
    if inverted & (inverted + 1):
        raise ValueError("the mask has holes")
    return f"{net}/{width - inverted.bit_length()}"


def address_number(text: str) -> tuple[int, int]:
    """(version, number) of a peer's address; zone ids dropped, IPv4-mapped taken as IPv4. Raises InvalidValueError."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError as error:
        raise InvalidValueError(f"{text[:80]!r} is not an IP address") from error
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)


def check_bind_address(host: str) -> str:
    """Canonical form of a listener's address. Raises InvalidValueError for fe80::/64 and IPv4-mapped ones (LIS-02)."""
    try:
        address = ipaddress.ip_address(host.strip().strip("[]"))
    except ValueError as error:
        raise InvalidValueError(f"address: {host[:80]!r} is not an IP address") from error
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None or address.is_link_local:
            raise InvalidValueError(f"address: link-local addresses (fe80::/64) are not supported: {address}")
        if address.ipv4_mapped is not None:
            raise InvalidValueError(f"address: IPv4-mapped addresses are not supported: {address}")
    if address.is_multicast:
        raise InvalidValueError(f"address: cannot listen on the multicast address {address}")
    return str(address)


def split_host_port(text: str) -> tuple[str, int]:
    """`127.0.0.1:25` or `[::1]:25` into host and port; the host is checked as a bind address."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5:
        raise InvalidValueError(f"address: expected address:port, got {text[:80]!r}")
    if ":" in host and not (host.startswith("[") and host.endswith("]")) and host != "::":
        raise InvalidValueError(f"address: write the IPv6 address in brackets: [{host[:60]}]:{port}")
    if not 0 < int(port) <= 65_535:
        raise InvalidValueError(f"address: the port must be 1 to 65535, not {int(port)}")
    return check_bind_address(host), int(port)
