"""Subdomains of an import: none is left below a domain that is not there (DOM-04).

Invariants: looked at when everything else is done, so the order of domains in a file does not matter; a subdomain that was
without its parent before, and of which the file says nothing else, stops no import.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from mailstead.directory.configuration.comparing import Difference
from mailstead.directory.configuration.parsing import ConfigurationError
from mailstead.directory.configuration.schema import DOMAIN_NODE
from mailstead.directory.service import Directory

TABLE, NAME = "settings", "parentDomain"


def refuse_orphans(directory: Directory, before: Collection[int], differences: Sequence[Difference]) -> None:
    """Refuse subdomains that the differences, once made, leave without their parent; `before`: ids of those that had none
    already. Raises ConfigurationError with the line of each, 0 where the file does not say it."""
    said = dict(_said(differences))
    mistakes = []
    for domain in directory.orphans():
        above = directory.domain_settings(domain.id).parentDomain
        if domain.id in said:
            mistakes.append((said[domain.id], f"domain {domain.name}: {NAME}: the domain {above} does not exist"))
        elif domain.id not in before:
            mistakes.append((0, f"the domain {above} cannot go: {domain.name} is below it"))
    if mistakes:
        raise ConfigurationError(sorted(mistakes))


def _said(differences: Sequence[Difference]) -> Iterator[tuple[int, int]]:
    """Id of each domain that the file puts below another than before, and the line."""
    for one in differences:
        node = one.path[-1] if one.added is None else one.added
        if node.type is not DOMAIN_NODE or one.removed is not None:
            continue
        if one.added is not None and NAME in node.tables.get(TABLE, {}):
            yield node.number, node.lines.get(f"{TABLE}.{NAME}", node.lines.get("", 0))
        elif one.added is None and (one.table, one.name) == (TABLE, NAME):
            yield node.number, one.line
