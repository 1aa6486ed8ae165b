"""PROXY headers: what is taken, what is refused, and that no input breaks the parser."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis.strategies import binary, integers, ip_addresses, lists, tuples

from mailstead.transport.proxy_protocol import (
    MAX_HEADER,
    SIGNATURE_V2,
    ProxyError,
    ProxyHeader,
    normalise,
    parse,
)

BOTH = frozenset({"allowV1", "allowV2"})
OPTIONAL = BOTH | {"isOptional"}


def version_2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE_V2 + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


@given(ip_addresses(), ip_addresses(), integers(0, 65535), integers(0, 65535))
def test_version_1_gives_the_addresses(source: object, destination: object, one: int, two: int) -> None:
    first, second = ipaddress.ip_address(str(source)), ipaddress.ip_address(str(destination))
    line = f"PROXY TCP{first.version} {first} {second} {one} {two}\r\n".encode()
    line = line.replace(b"TCP6", b"TCP6")
    if first.version != second.version:
        with pytest.raises(ProxyError):
            parse(line, BOTH)
        return
    header = parse(line + b"EHLO", BOTH)
    assert header is not None
    assert header.length == len(line)
    assert header.source is not None
    assert header.source[1] == one
    assert ipaddress.ip_address(header.source[0]) in (first, getattr(first, "ipv4_mapped", None))


@given(tuples(binary(min_size=16, max_size=16), binary(min_size=16, max_size=16)), lists(binary(max_size=40)))
def test_version_2_skips_extensions(addresses: tuple[bytes, bytes], extensions: list[bytes]) -> None:
    body = b"".join(addresses) + struct.pack("!HH", 1000, 25)
    body += b"".join(b"\xe0" + struct.pack("!H", len(part)) + part for part in extensions)
    data = version_2(1, 0x21, body)
    header = parse(data + b"rest", BOTH)
    assert header is not None
    assert header.length == len(data)
    assert header.source is not None
    assert header.source[1] == 1000


@given(binary(max_size=200))
def test_any_octets_are_parsed_awaited_or_refused(data: bytes) -> None:
    for start in (b"", SIGNATURE_V2, b"PROXY ", b"PROXY TCP4 "):
        for allowed in (BOTH, OPTIONAL, frozenset({"allowV1"}), frozenset({"allowV2", "isOptional"})):
            try:
                header = parse(start + data, allowed)
            except ProxyError:
                continue
            assert header is None or 0 <= header.length <= len(start + data)


@given(integers(0, 60))
def test_any_prefix_of_a_header_waits(cut: int) -> None:
    one = b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n"
    two = version_2(1, 0x11, b"\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x05\x00\x06")
    for whole in (one, two):
        if cut < len(whole):
            assert parse(whole[:cut], OPTIONAL) is None
        assert parse(whole, BOTH) == ProxyHeader(len(whole), ("192.0.2.1", 5), ("192.0.2.2", 6))


def test_local_and_unknown_keep_the_sockets_addresses() -> None:
    assert parse(version_2(0, 0, b""), BOTH) == ProxyHeader(16)
    assert parse(version_2(1, 0x31, bytes(216)), BOTH) == ProxyHeader(16 + 216)
    assert parse(b"PROXY UNKNOWN anything at all\r\n", BOTH) == ProxyHeader(31)


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -5 6\r\n",
        b"PROXY TCP4 2001:db8::1 192.0.2.2 5 6\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        b"PROXY TCP4 192.0.2.1\n",
        version_2(2, 0x11, bytes(12)),
        version_2(1, 0x11, bytes(11)),
        version_2(1, 0x21, bytes(12)),
        SIGNATURE_V2 + b"\x21\x11\xff\xff",
        SIGNATURE_V2 + b"\x11\x11\x00\x0c" + bytes(12),
        b"EHLO client.example\r\n",
    ],
)
def test_malformed_headers_are_refused(data: bytes) -> None:
    with pytest.raises(ProxyError):
        parse(data, BOTH)


def test_versions_are_allowed_one_by_one() -> None:
    one, two = b"PROXY UNKNOWN\r\n", version_2(0, 0, b"")
    with pytest.raises(ProxyError):
        parse(one, frozenset({"allowV2"}))
    with pytest.raises(ProxyError):
        parse(two, frozenset({"allowV1"}))
    assert parse(b"EHLO x\r\n", OPTIONAL) == ProxyHeader(0)
    assert normalise(frozenset({"allowAll", "isOptional"})) == OPTIONAL
    assert MAX_HEADER >= 16 + 216 + 520
