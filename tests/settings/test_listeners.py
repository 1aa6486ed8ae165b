"""Listeners and access rules: what is refused, what decides."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.settings import InvalidValueError, Settings
from mailstead.settings.ip_set import IpSet, address_number


@pytest.mark.parametrize(
    "address",
    ["[fe80::1]:143", "[fe80::1%eth0]:143", "[::ffff:192.0.2.1]:143", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536",
     "host.test:143", "::1:143", "224.0.0.1:143", ":143", "[::1]:-1", "127.0.0.1:２５"],
)  # fmt: skip
async def test_bad_addresses_are_refused(stored: Settings, address: str) -> None:
    with pytest.raises(InvalidValueError, match="address"):
        await stored.add_listener("imap", address, {}, "test")
    assert stored.listeners("imap") == []


async def test_listeners_are_added_changed_and_removed(stored: Settings) -> None:
    made = await stored.add_listener("imap", "[0:0::1]:2143", {"sslEnable": "yes", "maxConnections": "65535"}, "test")
    assert (made.host, made.port, made.address) == ("::1", 2143, "[::1]:2143")
    assert (made.sslEnable, made.maxConnections, made.idleTimeout, made.peerMaxConnections) == (True, 65_535, 1800, 20)
    for service in ("imap", "pop3"):
        with pytest.raises(InvalidValueError, match="already"):
            await stored.add_listener(service, "[::1]:2143", {}, "test")
    moved = await stored.update_listener("imap", "[::1]:2143", {"address": "127.0.0.1:2144", "enable": "no"}, "test")
    assert (moved.id, moved.address, moved.enable, moved.sslEnable) == (made.id, "127.0.0.1:2144", False, True)
    with pytest.raises(InvalidValueError, match="maxConnections"):
        await stored.update_listener("imap", "127.0.0.1:2144", {"maxConnections": "0"}, "test")
    await stored.remove_listener("imap", "127.0.0.1:2144", "test")
    assert stored.listeners("imap") == []
    with pytest.raises(InvalidValueError, match="no listener"):
        await stored.remove_listener("imap", "127.0.0.1:2144", "test")


async def test_a_stored_value_that_is_not_allowed_any_more_gives_way_to_the_default(stored: Settings) -> None:
    """A newer OpenSSL may know a cipher no more; its listener must be served all the same, and can be put right."""
    made = await stored.add_listener("imap", "127.0.0.1:2143", {"maxConnections": "7"}, "test")
    attributes = '{"cipherSuite": "OF-YESTERDAY", "maxConnections": "7", "idleTimeout": "many"}'
    stored.database.write_sync(lambda t: t.execute("UPDATE listener SET attributes = ?", (attributes,)))
    stored.listener_rows.forget()
    (found,) = stored.listeners("imap")
    assert (found.cipherSuite, found.idleTimeout, found.maxConnections) == (made.cipherSuite, made.idleTimeout, 7)
    changed = await stored.update_listener("imap", "127.0.0.1:2143", {"cipherSuite": "HIGH"}, "test")
    assert changed.cipherSuite == "HIGH"


async def test_tls_from_the_first_octet_needs_a_certificate(stored: Settings) -> None:
    without = {"sslEnable": "yes", "certFile": "none"}
    for attributes in (without, {"sslEnable": "yes", "CERTFILE": ""}):
        with pytest.raises(InvalidValueError, match="certFile: a listener with sslEnable=yes needs a certificate"):
            await stored.add_listener("imap", "127.0.0.1:2143", attributes, "test")
    assert stored.listeners("imap") == []
    await stored.add_listener("imap", "127.0.0.1:2143", {"certFile": "none"}, "test")
    with pytest.raises(InvalidValueError, match="needs a certificate"):
        await stored.update_listener("imap", "127.0.0.1:2143", {"sslEnable": "yes"}, "test")
    made = await stored.update_listener("imap", "127.0.0.1:2143", {"sslEnable": "yes", "enable": "no"}, "test")
    assert not made.enable
    with pytest.raises(InvalidValueError, match="needs a certificate"):
        await stored.update_listener("imap", "127.0.0.1:2143", {"enable": "yes"}, "test")
    made = await stored.update_listener("imap", "127.0.0.1:2143", {"enable": "yes", "certFile": "certs/default.pem"}, "test")
    assert (made.enable, made.sslEnable) == (True, True)


async def test_first_rule_by_priority_decides_listener_before_service_before_global(stored: Settings) -> None:
    listener = await stored.add_listener("imap", "127.0.0.1:2143", {}, "test")
    on = {"enable": "yes"}
    await stored.add_access_rule("global", "deny", "203.0.113.0/24", on, "test")
    await stored.add_access_rule("imap", "deny", "192.0.2.0/255.255.255.0", {**on, "priority": "900"}, "test")
    await stored.add_access_rule("imap", "allow", "192.0.2.7", {**on, "priority": "10", "maxConnections": "3"}, "test")
    await stored.add_access_rule("imap", "allow", "2001:db8::-2001:db8::ff", on, "test", listener_id=listener.id)
    await stored.add_access_rule("imap", "deny", "2001:db8::/32", on, "test")
    await stored.add_access_rule("imap", "deny", "0.0.0.0-254.255.255.255", {"priority": "1"}, "test")  # not enabled

    def decision(peer: str) -> str:
        rule = stored.access("imap", listener.id, peer)
        return rule.action if rule is not None else "none"

    assert [decision(peer) for peer in ("192.0.2.7", "192.0.2.8", "::ffff:192.0.2.8", "198.51.100.1")] == [
        "allow", "deny", "deny", "none",
    ]  # fmt: skip
    assert [decision(peer) for peer in ("2001:db8::7", "2001:db8:1::7", "203.0.113.9")] == ["allow", "deny", "deny"]
    rule = stored.access("imap", listener.id, "192.0.2.7")
    assert rule is not None
    assert (rule.limits.maxConnections, rule.limits.peerMaxConnections) == (3, 0)
    await stored.update_access_rule("imap", "allow", "192.0.2.7", {"enable": "no"}, "test")
    assert decision("192.0.2.7") == "deny"
    await stored.remove_access_rule("imap", "deny", "192.0.2.0/24", "test")
    assert decision("192.0.2.8") == "none"


async def test_bad_rules_are_refused(stored: Settings) -> None:
    for action, ip_set, attributes in (
        ("maybe", "192.0.2.1", {}),
        ("deny", "192.0.2.1", {"maxConnections": "1"}),
        ("allow", "192.0.2.1", {"priority": "1001"}),
        ("allow", "192.0.2.9-192.0.2.1", {}),
        ("allow", "192.0.2.0/255.0.255.0", {}),
        ("allow", "192.0.2.1-::1", {}),
    ):
        with pytest.raises(InvalidValueError):
            await stored.add_access_rule("imap", action, ip_set, attributes, "test")
    await stored.add_access_rule("imap", "deny", "192.0.2.0/24", {}, "test")
    with pytest.raises(InvalidValueError, match="already exists"):
        await stored.add_access_rule("imap", "deny", "192.0.2.0/255.255.255.0", {}, "test")


v4 = st.integers(0, 2**32 - 1)
v6 = st.integers(0, 2**128 - 1)


@given(st.one_of(st.tuples(st.just(4), v4, v4, v4), st.tuples(st.just(6), v6, v6, v6)))
def test_a_range_holds_exactly_what_lies_between(numbers: tuple[int, int, int, int]) -> None:
    version, one, two, probe = numbers
    make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    first, last = min(one, two), max(one, two)
    parsed = IpSet.parse(f"{make(first)}-{make(last)}")
    assert ((version, probe) in parsed) == (first <= probe <= last)
    assert IpSet.parse(str(parsed)) == parsed


@given(v4, st.integers(0, 32), v4)
def test_bits_and_mask_mean_the_same_network(base: int, bits: int, probe: int) -> None:
    network = ipaddress.ip_network(f"{ipaddress.IPv4Address(base)}/{bits}", strict=False)
    by_bits, by_mask = (
        IpSet.parse(f"{ipaddress.IPv4Address(base)}/{bits}"),
        IpSet.parse(f"{network.network_address}/{network.netmask}"),
    )
    assert by_bits == by_mask
    assert (str(ipaddress.IPv4Address(probe)) in by_bits) == (ipaddress.IPv4Address(probe) in network)
    assert IpSet.parse(str(by_bits)) == by_bits


@given(st.text(max_size=80))
def test_any_text_is_a_set_or_a_refusal(text: str) -> None:
    for parse in (IpSet.parse, address_number):
        try:
            parse(text)
        except InvalidValueError:
            pass
