"""Comparators and match types (RFC 5228 section 2.7, RFC 4790, RFC 5231).

Invariants: matching a pattern is at most pattern times text, whatever its wildcards, and ``tick`` is called on the way, so
that the caller may end it; ASCII letters alone have a case for
``i;ascii-casemap``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_DIGITS = re.compile(r"[0-9]+").match
#: ``i;ascii-numeric``: what does not begin with a digit is greater than every number (RFC 4790 section 9.1.1).
_INFINITE = 1 << 4096


def folded(text: str, comparator: str) -> str:
    """``text`` as it is compared."""
    return text.translate(_UPPER) if comparator == "i;ascii-casemap" else text


def numeric(text: str) -> int:
    """The number at the start of a text."""
    found = _DIGITS(text)
    return int(found[0][:1000]) if found else _INFINITE


def ordering(left: str, right: str, comparator: str) -> int:
    """-1, 0 or 1."""
    if comparator == "i;ascii-numeric":
        one, two = numeric(left), numeric(right)
        return (one > two) - (one < two)
    a, b = folded(left, comparator).encode("utf-8", "surrogateescape"), folded(right, comparator).encode("utf-8", "surrogateescape")
    return (a > b) - (a < b)


def related(order: int, relation: str) -> bool:
    """Whether an ordering satisfies gt, ge, lt, le, eq or ne."""
    return {
        "gt": order > 0, "ge": order >= 0, "lt": order < 0, "le": order <= 0, "eq": order == 0, "ne": order != 0,
    }[relation.lower()]  # fmt: skip


def _pieces(pattern: str) -> list[list[str | None]]:
    """What stands between the stars: characters, None for ``?``; a backslash takes the next as it is."""
    pieces: list[list[str | None]] = [[]]
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "\\" and at + 1 < len(pattern):
            at += 1
            pieces[-1].append(pattern[at])
        elif sign == "*":
            pieces.append([])
        else:
            pieces[-1].append(None if sign == "?" else sign)
        at += 1
    return pieces


def _fits(piece: list[str | None], text: str, at: int) -> bool:
    return all(sign is None or text[at + offset] == sign for offset, sign in enumerate(piece))


def _nothing() -> None:
    """The ``tick`` of who has time."""


def wildcard(pattern: str, text: str, comparator: str, tick: Callable[[], None] = _nothing) -> list[str] | None:
    """What the wildcards of a ``:matches`` stand for, the shortest for each in turn; None where it does not match."""
    shown = text
    pieces = _pieces(folded(pattern, comparator))
    text = folded(text, comparator)
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        if len(first) != len(text) or not _fits(first, text, 0):
            return None
        return [shown[at] for at, sign in enumerate(first) if sign is None]
    if len(first) + len(last) > len(text) or not _fits(first, text, 0) or not _fits(last, text, len(text) - len(last)):
        return None
    found = [shown[at] for at, sign in enumerate(first) if sign is None]
    at, end = len(first), len(text) - len(last)
    for number, piece in enumerate(pieces[1:-1]):
        if not number % 64:
            tick()
        start = _find(piece, text, at, end, tick)
        if start < 0:
            return None
        found.append(shown[at:start])
        found += [shown[start + offset] for offset, sign in enumerate(piece) if sign is None]
        at = start + len(piece)
    found.append(shown[at:end])
    found += [shown[end + offset] for offset, sign in enumerate(last) if sign is None]
    return found


def _find(piece: list[str | None], text: str, at: int, end: int, tick: Callable[[], None]) -> int:
    """The first place of a piece in ``text[at:end]``, -1 for none."""
    if None not in piece:
        return text.find("".join(sign for sign in piece if sign is not None), at, end)
    for start in range(at, end - len(piece) + 1):
        if not start % 64:
            tick()
        if _fits(piece, text, start):
            return start
    return -1


def matches(
    kind: str, relation: str, comparator: str, text: str, key: str, tick: Callable[[], None] = _nothing
) -> list[str] | None:
    """Whether a text matches a key, by ``:is``, ``:contains``, ``:matches`` or ``:value``: what wildcards stand for (nothing,
    for most), or None."""
    if kind == "matches":
        return wildcard(key, text, comparator, tick)
    if kind == "value":
        return [] if related(ordering(text, key, comparator), relation) else None
    if kind == "contains":
        return [] if folded(key, comparator) in folded(text, comparator) else None
    return [] if ordering(text, key, comparator) == 0 else None
