"""The order in which domains become active (DOM-03), kept right inside a transaction.

Invariants: no commit leaves a subdomain with an activation level below its parent's; a parent's new name is the one its
subdomains know it by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mailstead.directory.address import domain_key
from mailstead.settings.database import Row, Transaction
from mailstead.settings.declaration import InvalidValueError
from mailstead.settings.declarations import DOMAIN

LEVEL = "activationLevel"
MOST_NAMED = 20
_VALUE = "SELECT value FROM setting WHERE scope = 'domainConfig' AND scope_id = ? AND name = ?"


def named_subdomains(names: Sequence[str]) -> str:
    """`: a.example b.example` for a sentence on subdomains, not more than `MOST_NAMED`; "" without one."""
    shown = " ".join([*names[:MOST_NAMED], *(["..."] if len(names) > MOST_NAMED else [])])
    return f": {shown}" if shown else ""


def left_without_parent(count: int, names: Sequence[str]) -> str:
    """What is said of subdomains (DOM-04) that stay when their parent is deleted: how many, and the names that may be told."""
    have, verb = ("1 subdomain has", "is") if count == 1 else (f"{count} subdomains have", "are")
    return f"{have} no parent now, and {verb} active with activateWithoutParent only{named_subdomains(names)}"


def level_of(transaction: Transaction, domain_id: int) -> int:
    """The activation level of a domain."""
    text = transaction.value(_VALUE, (domain_id, LEVEL))
    setting = DOMAIN.setting(LEVEL)
    value = setting.default if text is None else setting.parse(str(text))
    assert isinstance(value, int)
    return value


def check_levels(transaction: Transaction, domains: Iterable[int]) -> None:
    """Refuse what would have a subdomain come before its parent. Raises InvalidValueError."""
    for domain_id in domains:
        row = transaction.row("SELECT id, name FROM domain WHERE id = ?", (domain_id,))
        if row is None:
            continue
        above = transaction.value(_VALUE, (domain_id, "parentDomain"))
        parent = transaction.row(
            "SELECT d.id, d.name FROM domain_name n JOIN domain d ON d.id = n.domain_id WHERE n.key = ?",
            (domain_key(str(above)) if above else None,),
        )
        if parent is not None:
            _compare(transaction, parent, row)
        for child in _below(transaction, domain_id):
            _compare(transaction, row, child)


def rename_parent(transaction: Transaction, domain_id: int, name: str) -> None:
    """Let the subdomains of a domain know it by its new name; run before it has it."""
    for child in _below(transaction, domain_id):
        transaction.execute(
            "UPDATE setting SET value = ? WHERE scope = 'domainConfig' AND scope_id = ? AND name = 'parentDomain'", (name, child[0])
        )


def _below(transaction: Transaction, domain_id: int) -> list[Row]:
    """(id, name) of the subdomains of a domain."""
    keys = {str(row[0]) for row in transaction.execute("SELECT key FROM domain_name WHERE domain_id = ?", (domain_id,))}
    rows = transaction.execute(
        "SELECT d.id, d.name, s.value FROM setting s INDEXED BY setting_of_domains JOIN domain d ON d.id = s.scope_id "
        "WHERE s.scope = 'domainConfig' AND s.name = 'parentDomain' AND s.value <> ''"
    )
    return [row[:2] for row in rows if domain_key(row[2]) in keys]


def _compare(transaction: Transaction, above: Row, below: Row) -> None:
    first, second = level_of(transaction, above[0]), level_of(transaction, below[0])
    if second < first:
        text = f"{LEVEL}: {below[1]} has {second}, and would come before {above[1]}, its parent, which has {first}"
        raise InvalidValueError(text)
