"""Patterns of domains and addresses, as restrictions and sending limits have them (RST-01, QTA-04).

Invariants: matching takes time linear in the address for each pattern with wildcards, and one look for all those without;
case does not count, nor whether a domain is written as U-label or A-label.

A pattern with ``@`` stands for addresses, one without for domains; ``*`` is any run of characters, ``?`` any one. ``<>`` is the
null sender.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from mailstead.directory.address import domain_key

NULL_SENDER = "<>"
_WILD = frozenset("*?[")


class AddressPatterns:
    """Compiled patterns."""

    __slots__ = ("_addresses", "_domains", "_wild_addresses", "_wild_domains")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._addresses: set[str] = set()
        self._domains: set[str] = set()
        self._wild_addresses: list[re.Pattern[str]] = []
        self._wild_domains: list[re.Pattern[str]] = []
        for given in patterns:
            pattern = given.strip().lower()
            local, at, domain = pattern.rpartition("@")
            if not domain:
                continue
            if _WILD & set(pattern):
                compiled = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
                (self._wild_addresses if at else self._wild_domains).append(compiled)
            elif at and local:
                self._addresses.add(f"{local}@{_key(domain)}")
            else:
                (self._addresses if pattern == NULL_SENDER else self._domains).add(_key(domain))

    def match(self, address: str) -> bool:
        """Whether one of them stands for an address ("" or ``<>``: the null sender)."""
        local, _, domain = (address or NULL_SENDER).lower().rpartition("@")
        domain = _key(domain)
        if domain in self._domains and local:
            return True
        whole = f"{local}@{domain}" if local else domain
        if whole in self._addresses:
            return True
        return any(one.match(whole) for one in self._wild_addresses) or (
            bool(local) and any(one.match(domain) for one in self._wild_domains)
        )


def _key(domain: str) -> str:
    return domain_key(domain) or domain.lower()
