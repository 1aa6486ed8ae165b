"""The resolver of a process (SMO-20): A, AAAA, MX, NS, TXT, PTR and TLSA through recursive servers.

Invariants: a look-up never raises and ends within the sum of its timeouts; equal look-ups at the same time are one;
an answer has at most MAX_RECORDS records and MAX_CHAIN aliases; a failure is remembered for a few seconds only, so
that a storm of look-ups for a dead zone costs one.

How: each round asks every server once, in order, with the timeout of that round, which doubles (RFC 1035 7.2);
truncated answers are fetched over TCP; SERVFAIL and REFUSED let the next server try. Each query has its own socket,
so its own random port, and its own random id (RFC 5452).
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Iterable, Sequence
from typing import Any

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename

from mailstead.dns.answer import Answer, MxRecord, Record, Status, TlsaRecord
from mailstead.dns.cache import AnswerCache
from mailstead.dns.servers import NameServer, configured_servers, object_servers
from mailstead.message.addresses import ascii_domain
from mailstead.settings.objects import NamedObject

MAX_RECORDS = 200
MAX_TXT_OCTETS = 64 * 1024
MAX_CHAIN = 10
MAX_TTL = 86_400
MAX_NEGATIVE_TTL = 3600
NEGATIVE_TTL = 60
FAILURE_TTL = 5
MAX_IN_FLIGHT = 1000
TYPES = frozenset(("A", "AAAA", "MX", "NS", "TXT", "PTR", "TLSA"))
_UDP_PAYLOAD = 1232


class NoAnswer(Exception):
    """No server gave an answer that can be used; the text says why."""


class Resolver:
    """``timeout`` in seconds for the first round, doubled per retry; ``cache_size`` per record type."""

    def __init__(
        self,
        servers: Sequence[NameServer] | None = None,
        *,
        timeout: float = 5.0,
        retries: int = 3,
        cache_size: int = 1000,
    ) -> None:
        self.servers = list(servers) if servers is not None else configured_servers(())
        self.timeout = timeout
        self.retries = retries
        self._cache = AnswerCache(cache_size)
        self._running: dict[tuple[str, str], asyncio.Task[Answer]] = {}
        self._places = asyncio.Semaphore(MAX_IN_FLIGHT)

    @classmethod
    def from_settings(cls, dnr: Any) -> Resolver:
        """From the settings context ``dnr``. Raises ValueError where a server cannot be read."""
        resolver = cls([])
        resolver.configure(dnr)
        return resolver

    def configure(self, dnr: Any, nameservers: Sequence[NamedObject] = ()) -> None:
        """Take changed settings; the cache goes. `nameservers`, objects of that kind, stand before the setting of that name.
        Raises ValueError, and keeps the former servers then."""
        self.servers = object_servers(nameservers) or configured_servers(dnr.nameservers)
        self.timeout = float(dnr.timeout)
        self.retries = int(dnr.retries)
        self._cache = AnswerCache(int(dnr.cacheSize))

    def empty_cache(self) -> None:
        self._cache.clear()

    # -- look-ups ----------------------------------------------------------------------------------------------

    async def query(self, name: str, rdtype: str) -> Answer:
        """Records of ``name`` (U-labels allowed). Raises ValueError for a type that is not in TYPES only."""
        if rdtype not in TYPES:
            raise ValueError(f"record type {rdtype!r} is not looked up")
        host = ascii_domain(name.removesuffix("."))
        if host is None or host.startswith("["):
            return Answer(name, rdtype, Status.NO_DOMAIN, reason="not a domain name")
        kept = self._cache.get(rdtype, host, time.monotonic())
        if kept is not None:
            return kept
        key = (rdtype, host)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._look_up(host, rdtype))
            task.add_done_callback(lambda _task: self._running.pop(key, None))
        # One asker giving up must not take the answer from the others.
        return await asyncio.shield(task)

    async def a(self, name: str) -> Answer:
        return await self.query(name, "A")

    async def aaaa(self, name: str) -> Answer:
        return await self.query(name, "AAAA")

    async def mx(self, name: str) -> Answer:
        """MX records by preference."""
        return await self.query(name, "MX")

    async def txt(self, name: str) -> Answer:
        return await self.query(name, "TXT")

    async def tlsa(self, host: str, port: int = 25) -> Answer:
        """TLSA records of a TCP service (RFC 6698 3)."""
        return await self.query(f"_{port}._tcp.{host}", "TLSA")

    async def ptr(self, address: str) -> Answer:
        """Names of an address. Raises ValueError where it is none."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        return await self.query(ip.reverse_pointer, "PTR")

    async def close(self) -> None:
        """Give up what runs."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # -- asking ------------------------------------------------------------------------------------------------

    async def _look_up(self, host: str, rdtype: str) -> Answer:
        async with self._places:
            answer = await self._follow(host, rdtype)
        self._cache.put(answer, time.monotonic())
        return answer

    async def _follow(self, host: str, rdtype: str) -> Answer:
        """Ask, and ask again for the alias where a server gives the alias alone (RFC 1034 5.2.2)."""
        name, ttl, authentic = host, MAX_TTL, True
        for _ in range(MAX_CHAIN):
            try:
                response = await self._ask(name, rdtype)
                chain = response.resolve_chaining()
            except (NoAnswer, dns.exception.DNSException) as error:
                reason = _why(error)
                return Answer(host, rdtype, Status.FAILED, ttl=FAILURE_TTL, reason=reason)
            authentic = authentic and bool(response.flags & dns.flags.AD)
            ttl = min(ttl, chain.minimum_ttl)
            canonical = _text(chain.canonical_name)
            if chain.answer is not None:
                records = tuple(_records(chain.answer, rdtype))
                status = Status.FOUND if records else Status.NO_DATA
                return Answer(host, rdtype, status, records, canonical, authentic, max(ttl, 1))
            if response.rcode() == dns.rcode.NXDOMAIN or canonical == name:
                negative = min(ttl, MAX_NEGATIVE_TTL) if response.authority else NEGATIVE_TTL
                status = Status.NO_DOMAIN if response.rcode() == dns.rcode.NXDOMAIN else Status.NO_DATA
                return Answer(host, rdtype, status, (), canonical, authentic, max(negative, 1))
            name = canonical
        return Answer(host, rdtype, Status.FAILED, ttl=FAILURE_TTL, reason="the chain of aliases is too long")

    async def _ask(self, name: str, rdtype: str) -> Any:
        """A response that answers (NOERROR or NXDOMAIN). Raises NoAnswer with the last reason."""
        query = dns.message.make_query(name + ".", rdtype, use_edns=0, payload=_UDP_PAYLOAD, flags=dns.flags.RD | dns.flags.AD)
        last = NoAnswer("no name server is configured")
        servers = list(self.servers)
        rounds = 1 + max([self.retries, *(server.retries or 0 for server in servers)])
        for turn in range(rounds):
            spoke = True
            for server in servers:
                if turn > (self.retries if server.retries is None else server.retries):
                    continue
                wait = (self.timeout if server.timeout is None else server.timeout) * 2**turn
                try:
                    response = await self._exchange(query, server, wait)
                except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
                    # ValueError: dnspython's word for some malformed records.
                    last = NoAnswer(f"{server.address}: {_why(error)}")
                    spoke = False
                    continue
                code = response.rcode()
                if code in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                    return response
                last = NoAnswer(f"{server.address} answered {dns.rcode.to_text(code)}")
            if spoke:
                break  # asking the same servers again at once would change nothing
        raise last

    @staticmethod
    async def _exchange(query: Any, server: NameServer, wait: float) -> Any:
        """One question to one server, over TCP too where the answer was cut; an old server may know no EDNS."""
        async with asyncio.timeout(wait):
            response, _ = await dns.asyncquery.udp_with_fallback(
                query, server.address, port=server.port, timeout=wait, ignore_unexpected=True, ignore_errors=True
            )
            if response.rcode() == dns.rcode.FORMERR and query.edns >= 0:
                plain = dns.message.make_query(query.question[0].name, query.question[0].rdtype)
                response, _ = await dns.asyncquery.udp_with_fallback(
                    plain, server.address, port=server.port, timeout=wait, ignore_unexpected=True, ignore_errors=True
                )
        return response


def _why(error: Exception) -> str:
    """What an administrator reads of an error."""
    if isinstance(error, TimeoutError | dns.exception.Timeout):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:200] or type(error).__name__


def _text(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)).lower()


def _records(rrset: Iterable[Any], rdtype: str) -> list[Record]:
    """Plain records of an answer, at most MAX_RECORDS."""
    records: list[Record] = []
    octets = 0
    for rdata in rrset:
        if len(records) >= MAX_RECORDS:
            break
        if rdtype in ("A", "AAAA"):
            records.append(str(ipaddress.ip_address(rdata.address)))
        elif rdtype == "MX":
            host = "" if rdata.exchange == dns.name.root else _text(rdata.exchange)
            records.append(MxRecord(int(rdata.preference), host))
        elif rdtype in ("NS", "PTR"):
            records.append(_text(rdata.target))
        elif rdtype == "TXT":
            text = b"".join(rdata.strings)
            octets += len(text)
            if octets > MAX_TXT_OCTETS:
                break
            records.append(text)
        else:
            records.append(TlsaRecord(int(rdata.usage), int(rdata.selector), int(rdata.mtype), bytes(rdata.cert)))
    if rdtype == "MX":
        records.sort(key=lambda record: (record.preference, record.host) if isinstance(record, MxRecord) else (0, ""))
    return records
