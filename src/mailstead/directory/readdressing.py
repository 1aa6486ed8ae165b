"""Rows of a domain that comes under another name: the addresses of its old name in them (BKP-01).

Invariants: only what is an address by its kind is changed: members of groups and lists, and the administrators of lists; what
people wrote as they liked (settings, texts) stays as it was and is counted, so that it can be told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.directory.address import address_key, domain_key, split_address
from mailstead.directory.object_rows import ObjectRow

ADMIN = "adminEmail"
_FREE_TEXT = {"setting": "value", "content": "value", "object": "attributes", "recipient": "attributes"}
"""Table, and the column that may hold addresses among other things."""


@dataclass(slots=True)
class Readdressed:
    """``changed``: addresses that follow the domain; ``left``: settings and texts that name the old one still."""

    changed: int = 0
    left: int = 0

    def words(self, old: str, new: str) -> list[str]:
        """What is to be told of it."""
        said = []
        if self.changed:
            said.append(
                f"renamed: {self.changed} addresses of {old} to {new} (members of groups and lists, administrators of lists)"
            )
        if self.left:
            said.append(f"WARNING: {self.left} settings or texts name addresses of {old} and stay as they were")
        return said


def readdress(rows: Sequence[ObjectRow], old: Collection[str], new: str, count: Readdressed) -> list[ObjectRow]:
    """Rows with addresses of the domains ``old`` (keys) as those of the domain ``new``; a member that is there under the new
    address already does not come twice. Adds to ``count``."""
    if not old:
        return list(rows)
    mention = re.compile("@(?:" + "|".join(map(re.escape, sorted(old))) + r")(?![\w-]|\.\w)", re.IGNORECASE)

    def follow(address: str) -> str:
        parts = split_address(address)
        return f"{parts[0]}@{new}" if parts is not None and domain_key(parts[1]) in old else address

    taken: set[tuple[Any, str]] = set()
    for table, row in rows:
        if table == "member" and follow(row["address"]) == row["address"]:
            taken.add((row["recipient_id"], address_key(row["address"]) or row["address"]))
    found: list[ObjectRow] = []
    for table, row in rows:
        if table == "member" and (address := follow(row["address"])) != row["address"]:
            count.changed += 1
            key = address_key(address) or address
            if (row["recipient_id"], key) in taken:
                continue
            taken.add((row["recipient_id"], key))
            row = {**row, "address": address, "key": key}
        elif table == "recipient":
            attributes = json.loads(row["attributes"])
            admin = str(attributes.get(ADMIN) or "")
            if (address := follow(admin)) != admin:
                count.changed += 1
                row = {**row, "attributes": json.dumps({**attributes, ADMIN: address}, ensure_ascii=False)}
        if table in _FREE_TEXT and mention.search(str(row[_FREE_TEXT[table]])):
            count.left += 1
        found.append((table, row))
    return found


def names_left(rows: Sequence[ObjectRow], here: Collection[str]) -> tuple[str, set[str]]:
    """The names of a domain's rows whose keys are not among ``here``: as they are told, the main one first, and the keys."""
    names = [row for table, row in rows if table == "domain_name" and row["key"] not in here]
    told = [str(row["name"]) for row in sorted(names, key=lambda row: (not row["main"], row["key"]))]
    return ", ".join(told), {str(row["key"]) for row in names}


__all__ = ["Readdressed", "names_left", "readdress"]
