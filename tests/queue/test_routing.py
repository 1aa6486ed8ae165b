"""The relay list (SMO-02, SMO-03)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.dns.answer import Answer, MxRecord, Record, Status
from mailstead.queue.routing import Target, Unroutable, literal_address, relay_list

Zone = dict[tuple[str, str], list[Record]]


class Names:
    def __init__(self, zone: Zone, failing: tuple[tuple[str, str], ...] = ()) -> None:
        self.zone = zone
        self.failing = failing

    async def query(self, name: str, rdtype: str) -> Answer:
        if (name, rdtype) in self.failing:
            return Answer(name, rdtype, Status.FAILED, reason="SERVFAIL")
        if (name, rdtype) in self.zone:
            return Answer(name, rdtype, Status.FOUND, tuple(self.zone[name, rdtype]))
        known = any(key == name for key, _ in self.zone)
        return Answer(name, rdtype, Status.NO_DATA if known else Status.NO_DOMAIN)


MX: Zone = {
    ("d.test", "MX"): [MxRecord(10, "a.test"), MxRecord(10, "b.test"), MxRecord(20, "c.test")],
    ("a.test", "A"): ["192.0.2.1"],
    ("a.test", "AAAA"): ["2001:db8::1"],
    ("b.test", "A"): ["192.0.2.2"],
    ("b.test", "AAAA"): ["2001:db8::2"],
    ("c.test", "A"): ["192.0.2.3"],
    ("c.test", "AAAA"): ["2001:db8::3"],
}


async def routes(
    zone: Zone, name: str, *, ipv6: bool = False, own: str = "", failing: tuple[tuple[str, str], ...] = ()
) -> list[str]:
    targets = await relay_list(
        Names(zone, failing), name, 25, ipv6=ipv6, is_own=lambda address, port: address == own, shuffle=lambda _hosts: None
    )
    return [target.address for target in targets]


async def status(zone: Zone, name: str, **options: object) -> str:
    with pytest.raises(Unroutable) as caught:
        await routes(zone, name, **options)  # type: ignore[arg-type]
    return caught.value.status


async def test_a_stands_before_aaaa_of_equal_preference() -> None:
    assert await routes(MX, "d.test") == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert await routes(MX, "d.test", ipv6=True) == [
        "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "192.0.2.3", "2001:db8::3",
    ]  # fmt: skip


async def test_without_mx_addresses_are_numbered_in_the_order_of_the_answer() -> None:
    zone: Zone = {("d.test", "A"): ["192.0.2.9", "192.0.2.1"], ("d.test", "AAAA"): ["2001:db8::9"]}
    targets = await relay_list(Names(zone), "d.test", 26, ipv6=True, is_own=lambda *_: False)
    assert targets == [
        Target("d.test", "192.0.2.9", 26, 1),
        Target("d.test", "192.0.2.1", 26, 2),
        Target("d.test", "2001:db8::9", 26, 3),
    ]
    assert await routes(zone, "d.test") == ["192.0.2.9", "192.0.2.1"]


async def test_v6_only_targets_need_the_setting_but_a_literal_does_not() -> None:
    zone: Zone = {("d.test", "MX"): [MxRecord(1, "m.test")], ("m.test", "AAAA"): ["2001:db8::1"]}
    assert await status(zone, "d.test") == "5.4.4"
    assert await routes(zone, "d.test", ipv6=True) == ["2001:db8::1"]
    assert await routes({}, "[2001:db8::7]") == ["2001:db8::7"] == await routes({}, "[IPv6:2001:db8::7]")
    assert await routes({}, "[192.0.2.7]") == ["192.0.2.7"] == await routes({}, "192.0.2.7")


async def test_equal_hosts_change_places() -> None:
    seen = {(await relay_list(Names(MX), "d.test", 25, ipv6=False, is_own=lambda *_: False))[0].address for _ in range(60)}
    assert seen == {"192.0.2.1", "192.0.2.2"}


async def test_failures_are_told_apart() -> None:
    assert await status({}, "d.test") == "5.1.2"
    assert await status({("d.test", "TXT"): [b"x"]}, "d.test") == "5.1.2"
    assert await status({("d.test", "MX"): [MxRecord(0, "")]}, "d.test") == "5.1.10"
    assert await status(MX, "d.test", failing=(("d.test", "MX"),)) == "4.4.3"
    assert await status({("d.test", "MX"): [MxRecord(1, "x.test")]}, "d.test") == "5.4.4"
    assert await status({("d.test", "MX"): [MxRecord(1, "x.test")]}, "d.test", failing=(("x.test", "A"),)) == "4.4.3"
    assert await status({("d.test", "TXT"): [b"x"]}, "d.test", failing=(("d.test", "A"),)) == "4.4.3"
    assert await status({}, "[x:y]") == "5.1.2"


async def test_one_host_without_answer_does_not_hide_the_others() -> None:
    assert await routes(MX, "d.test", failing=(("a.test", "A"),)) == ["192.0.2.2", "192.0.2.3"]


async def test_only_hosts_better_than_ourselves_remain() -> None:
    assert await routes(MX, "d.test", own="192.0.2.3") == ["192.0.2.1", "192.0.2.2"]
    assert await status(MX, "d.test", own="192.0.2.1") == "5.4.6"
    assert await status({}, "[192.0.2.1]", own="192.0.2.1") == "5.4.6"


async def test_impossible_addresses_and_endless_lists_are_cut() -> None:
    zone: Zone = {("d.test", "A"): ["0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1"]}
    assert await routes(zone, "d.test") == ["192.0.2.1"]
    many: Zone = {("d.test", "MX"): [MxRecord(i, f"h{i}.test") for i in range(100)]}
    many |= {(f"h{i}.test", "A"): [f"192.0.2.{j}" for j in range(1, 20)] for i in range(100)}
    assert len(await routes(many, "d.test")) == 32


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_name(text: str) -> None:
    literal_address(text)
