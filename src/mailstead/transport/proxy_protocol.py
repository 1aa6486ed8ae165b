"""PROXY protocol header, versions 1 and 2 (feature LIS-08).

Invariants: never more than `MAX_HEADER` octets are waited for; an address is taken from a header only when it is
well-formed and of the family it claims; a header is either wholly consumed or refused.

How: `parse` is a pure function of the octets so far. None means "more octets are needed".
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from mailstead.transport.endpoint import PROXY_OPTIONAL, PROXY_V1, PROXY_V2

SIGNATURE_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_PREFIX_V1 = b"PROXY "
_MAX_V1 = 107
#: 16 octets of fixed head and addresses and TLVs; real headers stay far below.
MAX_HEADER = 16 + 4096

ALLOW_ALL = frozenset({PROXY_V1, PROXY_V2})


class ProxyError(Exception):
    """The header is missing, malformed or of a version that is not allowed."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """`length` octets were the header (0: there was none). `source` None: keep the socket's own addresses."""

    length: int
    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None


def normalise(values: frozenset[str]) -> frozenset[str]:
    """Replace allowAll by the versions it stands for."""
    if "allowAll" in values:
        return (values - {"allowAll"}) | ALLOW_ALL
    return values


def parse(data: bytes, allowed: frozenset[str]) -> ProxyHeader | None:
    """The header at the start of `data`, None if incomplete. Raises ProxyError."""
    if data.startswith(SIGNATURE_V2) or (data and SIGNATURE_V2.startswith(data)):
        return _version_2(data, allowed)
    if data.startswith(_PREFIX_V1) or (data and _PREFIX_V1.startswith(data)):
        return _version_1(data, allowed)
    if not data:
        return None
    if PROXY_OPTIONAL in allowed:
        return ProxyHeader(0)
    raise ProxyError("no PROXY header")


def _version_1(data: bytes, allowed: frozenset[str]) -> ProxyHeader | None:
    if PROXY_V1 not in allowed:
        if PROXY_OPTIONAL in allowed and len(data) >= len(_PREFIX_V1):
            return ProxyHeader(0)
        if len(data) < len(_PREFIX_V1):
            return None
        raise ProxyError("PROXY version 1 is not allowed here")
    end = data.find(b"\r\n", 0, _MAX_V1)
    if end < 0:
        if len(data) >= _MAX_V1 or b"\n" in data:
            raise ProxyError("PROXY version 1 line without end")
        return None
    words = data[:end].split(b" ")
    if len(words) >= 2 and words[1] == b"UNKNOWN":
        return ProxyHeader(end + 2)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProxyError("malformed PROXY version 1 line")
    family = 4 if words[1] == b"TCP4" else 6
    source = (_address(words[2], family), _port(words[4]))
    destination = (_address(words[3], family), _port(words[5]))
    return ProxyHeader(end + 2, source, destination)


def _address(word: bytes, family: int) -> str:
    try:
        address = ipaddress.ip_address(word.decode("ascii"))
    except ValueError:  # UnicodeDecodeError is one
        raise ProxyError("malformed address in PROXY header") from None
    if address.version != family:
        raise ProxyError("address of the other family in PROXY header")
    return _text(address)


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address).partition("%")[0]


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or int(word) > 65535:
        raise ProxyError("malformed port in PROXY header")
    return int(word)


def _version_2(data: bytes, allowed: frozenset[str]) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    if PROXY_V2 not in allowed:
        raise ProxyError("PROXY version 2 is not allowed here")
    version_command, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    if version_command >> 4 != 2 or version_command & 15 > 1:
        raise ProxyError("unknown PROXY version or command")
    if 16 + length > MAX_HEADER:
        raise ProxyError("PROXY header too long")
    if len(data) < 16 + length:
        return None
    whole = ProxyHeader(16 + length)
    if version_command & 15 == 0:  # LOCAL: the proxy speaks for itself (health check)
        return whole
    if family == 0x11:
        layout = "!4s4sHH"
    elif family == 0x21:
        layout = "!16s16sHH"
    else:  # unspecified, UDP or UNIX: the real addresses are kept, as the specification wants
        return whole
    if length < struct.calcsize(layout):
        raise ProxyError("PROXY header shorter than its addresses")
    source, destination, source_port, destination_port = struct.unpack_from(layout, data, 16)
    return ProxyHeader(
        whole.length,
        (_text(ipaddress.ip_address(source)), source_port),
        (_text(ipaddress.ip_address(destination)), destination_port),
    )
