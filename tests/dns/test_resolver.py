"""The resolver against a name server on loopback (SMO-20)."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.dns.answer import MxRecord, Status, TlsaRecord
from mailstead.dns.cache import AnswerCache
from mailstead.dns.resolver import Resolver
from mailstead.dns.servers import NameServer, configured_servers, parse_server, system_servers
from mailstead.settings.declarations import OBJECT_KINDS
from mailstead.settings.objects import NamedObject
from tests.dns.server import NameServerForTests

ZONE = {
    ("example.test", "MX"): ["20 Backup.example.test.", "10 mx.example.test."],
    ("mx.example.test", "A"): ["192.0.2.1", "192.0.2.2"],
    ("mx.example.test", "AAAA"): ["2001:db8::1"],
    ("null.test", "MX"): ["0 ."],
    ("www.example.test", "CNAME"): ["mx.example.test."],
    ("txt.example.test", "TXT"): ['"v=spf1 " "-all"', '"other"'],
    ("_25._tcp.mx.example.test", "TLSA"): ["3 1 1 abababababababababababababababababababababababababababababababab"],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["mx.example.test."],
    ("broken.test", "A"): "SERVFAIL",
    ("silent.test", "A"): "TIMEOUT",
    ("big.test", "TXT"): "TRUNCATE",
    ("big.test", "TXT/tcp"): ['"' + "x" * 200 + str(i) + '"' for i in range(50)],
    ("xn--bcher-kva.test", "MX"): ["5 mx.example.test."],
    ("a.loop.test", "CNAME"): ["b.loop.test."],
    ("b.loop.test", "CNAME"): ["a.loop.test."],
}


async def test_records_of_every_type() -> None:
    async with NameServerForTests(dict(ZONE)) as server:
        resolver = Resolver([server.entry], timeout=60)
        assert (await resolver.mx("Example.TEST")).mx == [MxRecord(10, "mx.example.test"), MxRecord(20, "backup.example.test")]
        assert sorted((await resolver.a("mx.example.test")).texts) == ["192.0.2.1", "192.0.2.2"]
        assert (await resolver.aaaa("mx.example.test.")).texts == ["2001:db8::1"]
        assert (await resolver.mx("null.test")).mx == [MxRecord(0, "")]
        assert sorted((await resolver.txt("txt.example.test")).octets) == [b"other", b"v=spf1 -all"]
        assert (await resolver.tlsa("mx.example.test")).tlsa == [TlsaRecord(3, 1, 1, b"\xab" * 32)]
        assert (await resolver.ptr("192.0.2.1")).texts == ["mx.example.test"]
        assert (await resolver.mx("bücher.test")).mx == [MxRecord(5, "mx.example.test")]
        with pytest.raises(ValueError):
            await resolver.query("example.test", "HINFO")


async def test_missing_name_missing_type_and_failure_are_told_apart() -> None:
    async with NameServerForTests(dict(ZONE)) as server:
        resolver = Resolver([server.entry], timeout=60)
        assert (await resolver.a("nowhere.test")).status is Status.NO_DOMAIN
        assert (await resolver.a("example.test")).status is Status.NO_DATA
        broken = await resolver.a("broken.test")
        assert broken.failed and "SERVFAIL" in broken.reason
        assert (await Resolver([server.entry], timeout=0.1, retries=1).a("silent.test")).failed
        assert (await resolver.a("not a name")).status is Status.NO_DOMAIN


async def test_timeout_doubles_with_each_retry() -> None:
    async with NameServerForTests(dict(ZONE)) as server:
        resolver = Resolver([server.entry], timeout=0.05, retries=2)
        begin = time.monotonic()
        assert (await resolver.a("silent.test")).failed
        assert time.monotonic() - begin >= 0.34
        assert len(server.queries) == 3


async def test_alias_is_followed_by_the_server_or_by_us() -> None:
    for chase in (True, False):
        async with NameServerForTests(dict(ZONE), chase=chase) as server:
            answer = await Resolver([server.entry], timeout=60).a("www.example.test")
            assert sorted(answer.texts) == ["192.0.2.1", "192.0.2.2"]
            assert answer.canonical == "mx.example.test"


async def test_alias_loop_fails() -> None:
    for chase in (True, False):
        async with NameServerForTests(dict(ZONE), chase=chase) as server:
            assert (await Resolver([server.entry], timeout=60).a("a.loop.test")).failed


async def test_truncated_answer_is_fetched_over_tcp() -> None:
    async with NameServerForTests(dict(ZONE)) as server:
        assert len((await Resolver([server.entry], timeout=60).txt("big.test")).octets) == 50
        assert [way for *_, way in server.queries] == ["udp", "tcp"]


async def test_second_server_answers_where_the_first_cannot() -> None:
    good = {("example.test", "A"): ["192.0.2.9"]}
    async with NameServerForTests({("example.test", "A"): "SERVFAIL"}) as bad, NameServerForTests(good) as server:
        assert (await Resolver([bad.entry, server.entry], timeout=60).a("example.test")).texts == ["192.0.2.9"]


async def test_answers_are_kept_for_their_time_also_negative_ones() -> None:
    async with NameServerForTests(dict(ZONE)) as server:
        resolver = Resolver([server.entry], timeout=60)
        for _ in range(3):
            await resolver.mx("example.test")
            await resolver.a("nowhere.test")
            await resolver.a("broken.test")
        assert len(server.queries) == 3
        resolver.empty_cache()
        await resolver.mx("EXAMPLE.test.")
        assert len(server.queries) == 4


async def test_equal_questions_are_asked_once_and_survive_a_cancelled_asker() -> None:
    async with NameServerForTests(dict(ZONE)) as server:
        resolver = Resolver([server.entry], timeout=60)
        first = asyncio.create_task(resolver.mx("example.test"))
        others = [asyncio.create_task(resolver.mx("example.test")) for _ in range(20)]
        await asyncio.sleep(0)
        first.cancel()
        answers = await asyncio.gather(*others)
        assert all(len(answer.mx) == 2 for answer in answers)
        assert len(server.queries) == 1


async def test_number_of_records_is_bounded() -> None:
    zone = {("many.test", "MX/tcp"): [f"{i} h{i}.many.test." for i in range(1000)], ("many.test", "MX"): "TRUNCATE"}
    async with NameServerForTests(zone) as server:
        assert len((await Resolver([server.entry], timeout=60).mx("many.test")).mx) == 200


async def test_settings_are_taken() -> None:
    async with NameServerForTests(dict(ZONE)) as server:
        dnr = SimpleNamespace(nameservers=(server.settings_word,), timeout=60, retries=0, cacheSize=10)
        resolver = Resolver.from_settings(dnr)
        assert (await resolver.mx("example.test")).found
        with pytest.raises(ValueError):
            resolver.configure(SimpleNamespace(nameservers=("nonsense",), timeout=60, retries=0, cacheSize=10))
        assert resolver.servers == [server.entry]


async def test_name_server_objects_stand_before_the_setting() -> None:
    kind = OBJECT_KINDS["nameserver"]

    def declared(priority: str, **attributes: str) -> NamedObject:
        return NamedObject(int(priority), kind, priority, {"priority": priority, **attributes})

    dnr = SimpleNamespace(nameservers=("192.0.2.1",), timeout=60, retries=0, cacheSize=10)
    resolver = Resolver.from_settings(dnr)
    resolver.configure(dnr, [declared("1", address="[2001:db8::1]:5353", timeout="7"), declared("2", address="192.0.2.2")])
    assert resolver.servers == [NameServer("2001:db8::1", 5353, 7.0, None), NameServer("192.0.2.2", 53, None, None)]
    with pytest.raises(ValueError):
        resolver.configure(dnr, [declared("1")])
    assert len(resolver.servers) == 2
    resolver.configure(dnr)
    assert resolver.servers == [NameServer("192.0.2.1")]


async def test_garbage_from_a_server_is_a_failure_not_an_error() -> None:
    class Garbage(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: object) -> None:
            self.transport.sendto(data[:2] + b"\xff" * 40, addr)  # type: ignore[attr-defined]

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Garbage, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        assert (await Resolver([NameServer("127.0.0.1", port)], timeout=0.1, retries=0).a("example.test")).failed
    finally:
        transport.close()


def test_server_words() -> None:
    assert parse_server("192.0.2.1") == NameServer("192.0.2.1", 53)
    assert parse_server("192.0.2.1:5353") == NameServer("192.0.2.1", 5353)
    assert parse_server("2001:db8::1") == NameServer("2001:db8::1", 53)
    assert parse_server("[2001:db8::1]:5353") == NameServer("2001:db8::1", 5353)
    assert configured_servers(("192.0.2.1",)) == [NameServer("192.0.2.1")]


@given(st.text(max_size=30))
def test_any_word_is_a_server_or_a_value_error(word: str) -> None:
    try:
        parse_server(word)
    except ValueError:
        pass


def test_system_servers(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "resolv.conf"
    path.write_text("# comment\nsearch example.test\nnameserver 192.0.2.1\nnameserver rubbish\nnameserver ::1\n")
    assert system_servers(path) == [NameServer("192.0.2.1"), NameServer("::1")]
    assert system_servers(path.with_name("absent")) == [NameServer("127.0.0.1")]


def test_cache_is_bounded_and_forgets() -> None:
    from mailstead.dns.answer import Answer

    cache = AnswerCache(2)
    for number in range(3):
        cache.put(Answer(f"n{number}", "A", Status.FOUND, ("192.0.2.1",), ttl=10), 0.0)
    assert len(cache) == 2
    assert cache.get("A", "n0", 1.0) is None
    assert cache.get("A", "n2", 9.9) is not None
    assert cache.get("A", "n2", 10.0) is None
