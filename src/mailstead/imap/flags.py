"""Flags as clients write them and as a view keeps them (bits of `mailbox.model`).

Invariants: system flags are recognised in any case and written in the RFC's; \\Recent is never set and is ignored
when a client names it; an unknown system flag is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mailstead.imap.grammar import BadSyntax
from mailstead.mailbox.model import KEYWORD_SHIFT, SYSTEM_FLAGS

_SYSTEM = {name.upper(): name for name in SYSTEM_FLAGS}
_NAMES = tuple(SYSTEM_FLAGS.items())
MAX_KEYWORD = 100


def normalise(names: Iterable[str]) -> tuple[str, ...]:
    """Flag names as the mailbox service takes them, without repeats. Raises BadSyntax for an unknown \\flag."""
    out: dict[str, None] = {}
    for name in names:
        if name.startswith("\\"):
            upper = name.upper()
            known = _SYSTEM.get(upper)
            if known is not None:
                out[known] = None
            elif upper != "\\RECENT":
                raise BadSyntax(f"Unknown system flag {name[:40]}")
        elif len(name) > MAX_KEYWORD:
            raise BadSyntax("Keyword too long")
        else:
            out[name] = None
    return tuple(out)


def names_of(bits: int, keywords: Sequence[str]) -> list[str]:
    """The flag names that `bits` stand for in a view with `keywords`."""
    names = [name for name, bit in _NAMES if bits & bit]
    bits >>= KEYWORD_SHIFT
    index = 0
    while bits:
        if bits & 1 and index < len(keywords):
            names.append(keywords[index])
        bits >>= 1
        index += 1
    return names


def bit_of(name: str, keywords: Sequence[str]) -> int:
    """The bit of a flag in a view with `keywords`, 0 where the view has no such keyword. Case is ignored."""
    system = _SYSTEM.get(name.upper())
    if system is not None:
        return SYSTEM_FLAGS[system]
    lowered = name.lower()
    for index, keyword in enumerate(keywords):
        if keyword.lower() == lowered:
            return 1 << (KEYWORD_SHIFT + index)
    return 0


class FlagTexts(dict[int, bytes]):
    """Rendered flag lists by bits, made on first use: `texts[3]` is `(\\Seen \\Answered)`."""

    def __init__(self, keywords: Sequence[str]) -> None:
        super().__init__()
        self.keywords = list(keywords)

    def __missing__(self, bits: int) -> bytes:
        text = b"(" + " ".join(names_of(bits, self.keywords)).encode("utf-8") + b")"
        if len(self) > 4096:
            self.clear()
        self[bits] = text
        return text
