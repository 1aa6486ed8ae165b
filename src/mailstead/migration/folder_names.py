"""Which of our folders a folder of another server becomes.

Invariants: a name given here is valid here, is in no namespace of others, and belongs to one folder of the source; the
same folder gets the same name in every round (`known`).

Folders with a special use become ours of that use (RFC 6154), also where only their usual name tells it. A character that
no name may have here is replaced: `/` inside a level, which other servers allow, by U+2215 (a slash to look at); `*`,
`%` and control characters by `_`. What two folders would share gets a number.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailstead.mailbox.base import OTHER_USERS, PUBLIC_FOLDERS
from mailstead.mailbox.model import Folder
from mailstead.mailbox.names import MAX_LEVEL_OCTETS, MAX_LEVELS, canonical
from mailstead.mailbox.special_names import TRANSLATIONS

SLASH = "\u2215"
_USES = ("\\drafts", "\\sent", "\\trash", "\\junk", "\\archive")
_VIEWS = frozenset(("\\all", "\\flagged", "\\important"))
"""RFC 6154, RFC 8457: such folders show messages that lie elsewhere."""
_USUAL = {
    "drafts": "\\drafts", "draft": "\\drafts", "sent": "\\sent", "sent items": "\\sent", "sent messages": "\\sent",
    "sent mail": "\\sent", "sent-mail": "\\sent", "trash": "\\trash", "deleted items": "\\trash", "deleted messages": "\\trash",
    "bin": "\\trash", "junk": "\\junk", "junk e-mail": "\\junk", "junk email": "\\junk", "junk mail": "\\junk", "spam": "\\junk",
    "bulk mail": "\\junk", "archive": "\\archive", "archives": "\\archive", "gesendete elemente": "\\sent",
    "gesendete objekte": "\\sent", "gelöschte elemente": "\\trash", "gelöschte objekte": "\\trash", "junk-e-mail": "\\junk",
    "éléments envoyés": "\\sent", "éléments supprimés": "\\trash", "courrier indésirable": "\\junk",
    "elementos enviados": "\\sent", "elementos eliminados": "\\trash", "correo no deseado": "\\junk",
    "posta inviata": "\\sent", "posta eliminata": "\\trash", "posta indesiderata": "\\junk",
}  # fmt: skip
for _words in TRANSLATIONS.values():
    for _use, _word in zip(("\\drafts", "\\sent", "\\trash", "\\junk", "\\archive"), _words, strict=True):
        _USUAL.setdefault(_word.lower(), _use)
_forbidden = re.compile(r"[\x00-\x1f\x7f*%\ud800-\udfff]").sub


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """A folder there: `raw` is what names it in the source, `levels` are Unicode, `attributes` lower case."""

    raw: bytes
    levels: tuple[str, ...]
    attributes: frozenset[str] = frozenset()
    subscribed: bool = False

    @property
    def name(self) -> str:
        return "/".join(self.levels)


@dataclass(frozen=True, slots=True)
class Plan:
    """`source` becomes `local`."""

    source: SourceFolder
    local: str


def ignored(folder: SourceFolder, patterns: Iterable[str]) -> bool:
    """Whether the folder or one above it is named by a pattern (`*` and `?` as in file names, in any case)."""
    name = folder.name.lower()
    above = [name[:end] for end in range(1, len(name) + 1) if end == len(name) or name[end] == "/"]
    return any(fnmatch.fnmatchcase(part, pattern.strip("/").lower()) for pattern in patterns for part in above)


def plan(
    sources: Sequence[SourceFolder], ours: Sequence[Folder], known: Mapping[bytes, str], ignore: Iterable[str] = ()
) -> tuple[list[Plan], list[str]]:
    """Folders to be copied with their names here, and sentences for the operator."""
    patterns = tuple(ignore)
    uses = {folder.special_use.lower(): folder.name for folder in ours if folder.special_use}
    plans: list[Plan] = []
    notes: list[str] = []
    wanted: list[SourceFolder] = []
    for source in sources:
        if ignored(source, patterns):
            notes.append(f"{source.name}: left out, as asked")
        elif source.attributes & _VIEWS and not source.attributes & set(_USES):
            notes.append(f"{source.name}: left out, it shows messages of other folders")
        else:
            wanted.append(source)
    chosen = {source.raw: known[source.raw] for source in wanted if source.raw in known}
    used = set(known.values())
    special = _special(wanted, uses, chosen, used)
    used |= set(special.values())
    for source in wanted:
        local = chosen.get(source.raw)
        if local is None:
            local = special.get(source.raw) or _free(_local_name(source.levels), used)
            used.add(local)
            if local != canonical(source.name):
                notes.append(f"{source.name}: becomes {local}")
        plans.append(Plan(source, local))
    return plans, notes


def _special(
    wanted: Sequence[SourceFolder], uses: Mapping[str, str], chosen: Mapping[bytes, str], used: set[str]
) -> dict[bytes, str]:
    """Names of folders with a special use; the first of each use has it, those that say so before those so named."""
    out: dict[bytes, str] = {}
    taken = {use for use, name in uses.items() if name in used}
    for named in (False, True):
        for source in wanted:
            if source.raw in chosen or source.raw in out:
                continue
            found = [use for use in _USES if use in source.attributes]
            if named:
                found = [_USUAL.get(source.levels[-1].lower(), "")] if len(source.levels) <= 2 else []
                if len(source.levels) == 2 and source.levels[0].upper() != "INBOX":
                    found = []
            for use in found:
                if use in uses and use not in taken:
                    taken.add(use)
                    out[source.raw] = uses[use]
                    break
    return out


def _local_name(levels: Sequence[str]) -> str:
    clean = [_level(level) for level in levels]
    if len(clean) > MAX_LEVELS:
        clean = [*clean[: MAX_LEVELS - 1], _cut(SLASH.join(clean[MAX_LEVELS - 1 :]), MAX_LEVEL_OCTETS)]
    name = canonical("/".join(clean))
    top, slash, below = name.partition("/")
    if top in (OTHER_USERS, PUBLIC_FOLDERS):
        name = f"{top} (2){slash}{below}"
    return name


def _level(level: str) -> str:
    text = unicodedata.normalize("NFC", _forbidden("_", level)).replace("/", SLASH)
    return _cut(text, MAX_LEVEL_OCTETS) or "_"


def _cut(text: str, octets: int) -> str:
    return text.encode()[:octets].decode("utf-8", "ignore")


def _free(name: str, used: set[str]) -> str:
    """The name, or with a number where another folder of the source has it."""
    if name not in used:
        return name
    number = 2
    above, slash, last = name.rpartition("/")
    while True:
        candidate = f"{above}{slash}{_cut(last, MAX_LEVEL_OCTETS - 8)} ({number})"
        if candidate not in used:
            return candidate
        number += 1
