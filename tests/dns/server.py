"""A name server for tests: UDP and TCP on one loopback port, zones given as a dict.

    async with NameServerForTests({("example.test", "MX"): ["10 mx.example.test."], ...}) as server:
        resolver = Resolver([server.entry])

Keys are (name, type); values are lists of record texts in zone-file form. A name that has any record exists
(NOERROR without answers for other types); other names are NXDOMAIN. ``("x", "CNAME")`` is followed inside the zone
data unless ``chase`` is off. Special values of a key: "SERVFAIL", "REFUSED", "TIMEOUT" (no answer), "TRUNCATE" (the
UDP answer is empty with TC; the list under the key ``(name, type + "/tcp")`` is served over TCP). ``queries`` lists
what was asked as (name, type, "udp" or "tcp"). The zone may be changed at any time. ``settings_word`` is the text
for the setting ``dnr.nameservers``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from mailstead.dns.servers import NameServer

SPECIAL = ("SERVFAIL", "REFUSED", "TIMEOUT", "TRUNCATE")


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, owner: NameServerForTests) -> None:
        self.owner = owner

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = self.owner.answer(data, "udp")
        if answer is not None:
            self.transport.sendto(answer, addr)


class NameServerForTests:
    def __init__(self, zone: dict[tuple[str, str], Any], *, ttl: int = 300, chase: bool = True, address: str = "127.0.0.1") -> None:
        self.zone = zone
        self.ttl = ttl
        self.chase = chase
        self.address = address
        self.port = 0
        self.queries: list[tuple[str, str, str]] = []

    @property
    def entry(self) -> NameServer:
        return NameServer(self.address, self.port)

    @property
    def settings_word(self) -> str:
        return f"{self.address}:{self.port}"

    async def __aenter__(self) -> NameServerForTests:
        loop = asyncio.get_running_loop()
        while True:
            self._tcp = await asyncio.start_server(self._serve, self.address, 0)
            self.port = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(self.address, self.port))
                return self
            except OSError:  # somebody has this port for UDP
                self._tcp.close()

    async def __aexit__(self, *_exc: object) -> None:
        self._udp.close()
        self._tcp.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                answer = self.answer(await reader.readexactly(size), "tcp")
                if answer is None:
                    break
                writer.write(len(answer).to_bytes(2, "big") + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, data: bytes, way: str) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        rdtype = dns.rdatatype.to_text(question.rdtype)
        self.queries.append((name, rdtype, way))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        for _ in range(20):
            found = self.zone.get((name, rdtype))
            if found == "TRUNCATE":
                if way == "udp":
                    response.flags |= dns.flags.TC
                    return response.to_wire()
                found = self.zone[(name, f"{rdtype}/tcp")]
            if found == "TIMEOUT":
                return None
            if isinstance(found, str) and found in SPECIAL:
                response.set_rcode(dns.rcode.from_text(found))
                return response.to_wire()
            alias = self.zone.get((name, "CNAME"))
            if found is not None:
                response.answer.append(dns.rrset.from_text(name + ".", self.ttl, "IN", rdtype, *found))
                return response.to_wire(max_size=65_535)
            if alias is None:
                break
            response.answer.append(dns.rrset.from_text(name + ".", self.ttl, "IN", "CNAME", alias[0]))
            if not self.chase:
                return response.to_wire()
            name = alias[0].rstrip(".").lower()
        if not any(known == name or known.endswith("." + name) for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()
