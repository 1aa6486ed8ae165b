"""What the DNS says about this server and its domains, asked the way the server asks.

Invariants: all of it takes a bounded time; where the DNS does not answer, that is one warning and no guess; names of which none can
be public are not asked for.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Any

import psutil

from mailstead.cli.finding import OK, WARNING, Finding
from mailstead.delivery.host import host_name
from mailstead.directory.service import Directory
from mailstead.dns.answer import Answer, MxRecord, Status
from mailstead.dns.resolver import Resolver
from mailstead.settings.declarations import OBJECT_KINDS

SECONDS = 15.0
MAX_DOMAINS = 100
RESERVED = ("test", "example", "invalid", "localhost", "local", "internal", "lan", "home.arpa", "localdomain")
_LOOK = "look at /etc/resolv.conf, or CONFIG DNR and LIST Nameservers in the administration protocol"


def is_public(name: str) -> bool:
    """Whether a name can be in the public DNS."""
    labels = name.lower().rstrip(".").split(".")
    if len(labels) < 2 or ".".join(labels[-2:]) in ("example.com", "example.net", "example.org", "home.arpa"):
        return False
    return labels[-1] not in RESERVED


def name_checks(directory: Directory) -> list[Finding]:
    """All of them. Blocking, SECONDS at most."""
    settings = directory.settings
    own = host_name(settings)
    domains = [domain.key for domain in directory.domains() if domain.enabled]
    public = [name for name in domains if is_public(name)]
    if not is_public(own) and not public:
        return [Finding(OK, "dns", f"{own} and {len(domains)} domains are no public names; nothing to ask")]

    async def ask() -> list[Finding]:
        resolver = Resolver()
        try:
            resolver.configure(settings.service("dnr"), settings.objects.all(OBJECT_KINDS["nameserver"], "service"))
            async with asyncio.timeout(SECONDS):
                return await check_names(resolver, own, public[:MAX_DOMAINS])
        except TimeoutError:
            return [Finding(WARNING, "dns", f"the DNS did not answer all within {SECONDS:.0f} seconds", _LOOK)]
        except ValueError as error:
            return [Finding(WARNING, "dns", f"the name servers cannot be used: {error}", _LOOK)]
        finally:
            await resolver.close()

    return asyncio.run(ask())


async def check_names(resolver: Any, own: str, domains: Sequence[str]) -> list[Finding]:
    """Own name with its addresses and theirs back, and of each domain who takes its mail and who may send it."""
    found: list[Finding] = []
    addresses: set[str] = set()
    if is_public(own):
        ipv4, ipv6 = await asyncio.gather(resolver.a(own), resolver.aaaa(own))
        if Status.FAILED in (ipv4.status, ipv6.status):
            return [Finding(WARNING, "dns", f"no name server tells about {own}: {ipv4.reason or ipv6.reason}", _LOOK)]
        addresses = {str(record) for answer in (ipv4, ipv6) for record in answer.records}
        found += await _own_name(resolver, own, addresses)
    else:
        found.append(
            Finding(WARNING, "dns", f"{own} is no public name, and others may refuse mail from it",
                    "set server.serverName to the name of this host in the DNS")
        )  # fmt: skip
    known = addresses | _local_addresses()
    for findings in await asyncio.gather(*(_domain(resolver, name, own, known) for name in domains)):
        found += findings
    return found


async def _own_name(resolver: Any, own: str, addresses: set[str]) -> list[Finding]:
    if not addresses:
        return [Finding(WARNING, "dns", f"{own} has no address", f"publish an A (and AAAA) record for {own}")]
    wrong = []
    for address in sorted(addresses):
        answer: Answer = await resolver.ptr(address)
        if answer.status is Status.FAILED:
            continue
        if own not in [str(name).rstrip(".").lower() for name in answer.records]:
            wrong.append(f"{address} ({', '.join(map(str, answer.records)) or 'no name'})")
    if wrong:
        fix = f"have whoever gave you the address set its PTR record to {own}; many servers refuse mail otherwise"
        return [Finding(WARNING, "dns", f"the name of {', '.join(wrong)} is not {own}", fix)]
    return [Finding(OK, "dns", f"{own} has {', '.join(sorted(addresses))}, and they have its name")]


async def _domain(resolver: Any, name: str, own: str, known: set[str]) -> list[Finding]:
    mx, txt, dmarc = await asyncio.gather(resolver.mx(name), resolver.txt(name), resolver.txt(f"_dmarc.{name}"))
    if mx.status is Status.FAILED:
        return [Finding(WARNING, "dns", f"no name server tells about {name}: {mx.reason}", _LOOK)]
    if mx.status is Status.NO_DOMAIN:
        return [Finding(WARNING, "dns", f"the domain {name} does not exist", "register it, or DISABLE it here")]
    found = await _mail_hosts(resolver, mx, name, own, known)
    policies = [record for record in txt.records if isinstance(record, bytes) and record.lower().startswith(b"v=spf1")]
    if txt.status is not Status.FAILED:
        if not policies:
            found.append(Finding(WARNING, "dns", f"{name} has no SPF record", f'publish for {name}: TXT "v=spf1 mx -all"'))
        elif len(policies) > 1:
            fix = "leave one: more count as none (RFC 7208)"
            found.append(Finding(WARNING, "dns", f"{name} has {len(policies)} SPF records", fix))
    if dmarc.status in (Status.NO_DATA, Status.NO_DOMAIN):
        fix = f'publish for _dmarc.{name}: TXT "v=DMARC1; p=none; rua=mailto:postmaster@{name}"'
        found.append(Finding(WARNING, "dns", f"{name} has no DMARC record", fix))
    return found or [Finding(OK, "dns", f"{name}: MX, SPF and DMARC are there")]


async def _mail_hosts(resolver: Any, mx: Answer, name: str, own: str, known: set[str]) -> list[Finding]:
    hosts = [record.host for record in mx.records if isinstance(record, MxRecord) and record.host]
    if not hosts:
        return [Finding(WARNING, "dns", f"{name} has no MX record", f"publish for {name}: MX 10 {own}.")]
    if own in hosts:
        return []
    for host in hosts[:10]:
        answers = await asyncio.gather(resolver.a(host), resolver.aaaa(host))
        if known & {str(record) for answer in answers for record in answer.records}:
            return []
    fix = f"if mail of {name} is to come here directly, publish: MX 10 {own}."
    return [Finding(WARNING, "dns", f"mail of {name} goes to {', '.join(hosts[:5])}, which is not known to be this server", fix)]


def _local_addresses() -> set[str]:
    found = set()
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            try:
                found.add(str(ipaddress.ip_address(one.address.partition("%")[0])))
            except ValueError:
                continue
    return found
