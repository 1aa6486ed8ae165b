"""Rights on folders (RFC 4314) and how they come down a tree of folders (feature SHR-01).

Invariants: rights are strings of the letters of RFC 4314 in the order of ``ALL_RIGHTS``; the owner has them all.  An
identifier's entry counts for the folder and all below it, until an entry of the same identifier further down takes its
place, an empty one too.  What all of a reader's identifiers give together counts, less what negative entries take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.model import ALL_RIGHTS

#: Permission sets of SHR-01.
VIEWER = "lrs"
CONTRIBUTOR = "lrsip"
EDITOR = "lrswiptek"
MASTER = ALL_RIGHTS
PERMISSION_SETS: Mapping[str, str] = {
    "viewer": VIEWER,
    "contributor": CONTRIBUTOR,
    "editor": EDITOR,
    "master": MASTER,
}

#: RFC 4314 section 2.1.1: the obsolete rights of RFC 2086.
_VIRTUAL = {"c": "kx", "d": "ted"}

Entries = Mapping[str, Mapping[str, str]]
"""Folder name ("" for the whole account) to identifier to rights."""


class UnknownRight(MailboxError):
    """A letter that is no right."""


def normalize(letters: str) -> str:
    """Rights in order, obsolete ones translated. Raises UnknownRight."""
    wanted: set[str] = set()
    for letter in letters:
        if letter in ALL_RIGHTS:
            wanted.add(letter)
        elif letter in _VIRTUAL:
            wanted.update(set(_VIRTUAL[letter]) & set(ALL_RIGHTS))
        else:
            raise UnknownRight(f"there is no right {letter!r}")
    return ordered(wanted)


def ordered(letters: Iterable[str]) -> str:
    """The letters that are rights, in order."""
    have = set(letters)
    return "".join(letter for letter in ALL_RIGHTS if letter in have)


def levels(name: str) -> list[str]:
    """Where entries for a folder may stand, the nearest first: ``a/b`` gives ``a/b``, ``a``, ``""``."""
    found = []
    while name:
        found.append(name)
        name = name.rpartition("/")[0]
    found.append("")
    return found


def entries_at(entries: Entries, name: str) -> dict[str, str]:
    """Identifier to rights as they stand for one folder, empty ones left out."""
    found: dict[str, str] = {}
    for level in levels(name):
        for identifier, rights in entries.get(level, {}).items():
            found.setdefault(identifier, rights)
    return {identifier: rights for identifier, rights in found.items() if rights}


def effective(entries: Entries, name: str, identifiers: Iterable[str]) -> str:
    """What a reader with these identifiers may do with a folder."""
    given: set[str] = set()
    taken: set[str] = set()
    at = entries_at(entries, name)
    for identifier in identifiers:
        given.update(at.get(identifier, ""))
        taken.update(at.get(f"-{identifier}", ""))
    return ordered(given - taken)
