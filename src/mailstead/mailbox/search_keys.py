"""The keys of a search: a tree of values that knows no protocol.

Invariants: keys are immutable; `conjunction` means what its keys mean together, and is never dearer than they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailstead.message.index import STORED_FIELDS


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class Flags:
    """Flag bits: of those in `mask` exactly those in `want` are set."""

    mask: int
    want: int


@dataclass(frozen=True, slots=True)
class Among:
    """Half-open ranges of positions, sorted and disjoint."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Number:
    """`low` <= column < `high`, where `column` is size, date or saved (unix seconds), mid or thread; None is no bound."""

    column: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class SentDay:
    """The day that the Date field names, in its own zone, as days since 1970: `low` <= day < `high`."""

    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Modseq:
    """A modseq of at least `low`."""

    low: int


@dataclass(frozen=True, slots=True)
class Header:
    """A header field called `name` (lower case) contains `text`; an empty text asks whether it exists. `fuzzy` finds
    more (RFC 6203)."""

    name: bytes
    text: str
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """The text parts contain `text`; with `headers` the header fields count, too. `fuzzy` finds more (RFC 6203)."""

    text: str
    headers: bool
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    """What the key does not find."""

    key: Key


@dataclass(frozen=True, slots=True)
class And:
    """What all keys find."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """What any key finds."""

    keys: tuple[Key, ...]


Key = All | Flags | Among | Number | SentDay | Modseq | Header | Text | Not | And | Or


def cost(key: Key) -> int:
    """How dear a key is, for the order of evaluation."""
    if isinstance(key, All | Among):
        return 0
    if isinstance(key, Flags | Modseq):
        return 1
    if isinstance(key, Number):
        return 10
    if isinstance(key, SentDay):
        return 12
    if isinstance(key, Header):
        return 20 if key.name.upper() in STORED_FIELDS else 100
    if isinstance(key, Text):
        return 1000
    if isinstance(key, Not):
        return cost(key.key)
    return sum(map(cost, key.keys))


def conjunction(keys: Iterable[Key]) -> Key:
    """One key for all, with flag tests made one and the cheap ones first."""
    mask = want = 0
    rest: list[Key] = []
    for key in keys:
        if isinstance(key, Not) and isinstance(key.key, Flags) and key.key.mask.bit_count() == 1:
            key = Flags(key.key.mask, key.key.mask ^ key.key.want)
        if isinstance(key, Flags):
            if (want ^ key.want) & mask & key.mask:
                return Not(All())
            mask |= key.mask
            want |= key.want
        elif not isinstance(key, All):
            rest.append(key)
    if mask:
        rest.append(Flags(mask, want))
    if not rest:
        return All()
    if len(rest) == 1:
        return rest[0]
    return And(tuple(sorted(rest, key=cost)))
