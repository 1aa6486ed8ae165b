"""Where a recipient's mail goes: the relay list (SMO-03, RFC 5321 5.1, RFC 7505).

Invariants: the list is in the order of attempts; A addresses of a preference stand before its AAAA addresses; no entry
leads back to this server, nor does any that is not preferred over it; "nowhere, for good" and "cannot say now" are
told apart.

1. Smart host as an address: that address (IPv6 whatever ``ipv6`` says).
2. Smart host as a name, or the recipient's domain: its MX; none: its A addresses with preferences 1, 2, 3... in the
   order of the answer, then, if ``ipv6``, its AAAA addresses behind them.
3. MX found: the A addresses of each target, its AAAA addresses only if ``ipv6``; targets of equal preference in random
   order.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from typing import Any, Protocol

from mailstead.dns.answer import Answer, MxRecord, Status

MAX_HOSTS = 16
MAX_TARGETS = 32
OwnAddress = Callable[[str, int], bool]
Transport = Callable[[str], tuple[str, int] | None]
"""Host and port that take the mail of a route; None for the usual way."""
Shuffle = Callable[[MutableSequence[Any]], None]


class Lookups(Protocol):
    """What is needed of the resolver."""

    async def query(self, name: str, rdtype: str) -> Answer:
        """See dns.resolver.Resolver."""


@dataclass(frozen=True, slots=True)
class Target:
    """``host`` is the name it was found by (the address itself for a literal)."""

    host: str
    address: str
    port: int
    preference: int = 0


def no_transport(_route: str) -> None:
    """Every route goes the usual way."""


class Unroutable(Exception):
    """No target; ``status`` is an enhanced code whose class says whether it may change."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


def literal_address(name: str) -> str | None:
    """The address of ``[192.0.2.1]``, ``[IPv6:2001:db8::1]``, ``[2001:db8::1]``, or a bare IPv4 address; else None."""
    text = name.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        if text[:5].lower() == "ipv6:":
            text = text[5:]
    elif ":" in text:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None  # a name


async def relay_list(
    resolver: Lookups,
    name: str,
    port: int,
    *,
    ipv6: bool,
    is_own: OwnAddress,
    shuffle: Shuffle = random.shuffle,
) -> list[Target]:
    """Targets for ``name`` (a domain, a smart host, or an address literal). Raises Unroutable."""
    address = literal_address(name)
    if address is not None:
        targets = [Target(address, address, port)]
    elif name.startswith("["):
        raise Unroutable("5.1.2", f"{name} is no address of a kind that is known here")
    else:
        targets = await _by_name(resolver, name, port, ipv6, shuffle)
    return _without_ourselves(targets, name, is_own)[:MAX_TARGETS]


async def _by_name(resolver: Lookups, name: str, port: int, ipv6: bool, shuffle: Shuffle) -> list[Target]:
    answer = await resolver.query(name, "MX")
    if answer.failed:
        raise Unroutable("4.4.3", f"the MX records of {name} cannot be looked up: {answer.reason}")
    if answer.status is Status.NO_DOMAIN:
        raise Unroutable("5.1.2", f"there is no domain {name}")
    if answer.found:
        return await _by_mx(resolver, name, answer.mx, port, ipv6, shuffle)
    found: list[Target] = []
    answers = [await resolver.query(name, "A")]
    if ipv6:
        answers.append(await resolver.query(name, "AAAA"))
    for part in answers:
        for address in part.texts:
            if _possible(address):
                found.append(Target(name, address, port, len(found) + 1))
    if found:
        return found
    if any(part.failed for part in answers):
        raise Unroutable("4.4.3", f"the addresses of {name} cannot be looked up: {answers[0].reason or answers[-1].reason}")
    raise Unroutable("5.1.2", f"{name} has neither MX nor address records")


async def _by_mx(resolver: Lookups, name: str, records: list[MxRecord], port: int, ipv6: bool, shuffle: Shuffle) -> list[Target]:
    hosts = [record for record in records if record.host]
    if not hosts:
        raise Unroutable("5.1.10", f"{name} takes no mail (null MX)")
    shuffle(hosts)
    hosts.sort(key=lambda record: record.preference)
    hosts = hosts[:MAX_HOSTS]
    types = ("A", "AAAA") if ipv6 else ("A",)
    questions = [(rank, record, rdtype) for record in hosts for rank, rdtype in enumerate(types)]
    answers = await asyncio.gather(*(resolver.query(record.host, rdtype) for _, record, rdtype in questions))
    ranked = sorted(zip(questions, answers, strict=True), key=lambda pair: (pair[0][1].preference, pair[0][0]))
    found = [
        Target(record.host, address, port, record.preference)
        for (_, record, _), answer in ranked
        for address in answer.texts
        if _possible(address)
    ]
    if found:
        return found
    if any(answer.failed for answer in answers):
        raise Unroutable("4.4.3", f"the addresses of the MX hosts of {name} cannot be looked up")
    raise Unroutable("5.4.4", f"no MX host of {name} has an address that can be used")


def _possible(address: str) -> bool:
    """False for addresses nobody can be at."""
    ip = ipaddress.ip_address(address)
    return not (ip.is_unspecified or ip.is_multicast or address == "255.255.255.255")


def _without_ourselves(targets: list[Target], name: str, is_own: OwnAddress) -> list[Target]:
    own = [target.preference for target in targets if is_own(target.address, target.port)]
    if not own:
        return targets
    better = [target for target in targets if target.preference < min(own)]
    if not better:
        raise Unroutable("5.4.6", f"mail for {name} loops back to this server")
    return better
