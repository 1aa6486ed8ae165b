"""Flags as clients write them and as a view keeps them (bits of `mailbox.model`).

Invariants: system flags are recognised in any case and written in the RFC's; \\Recent is never set and is ignored
when a client names it; an unknown system flag is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailstead.imap.grammar import BadSyntax
from mailstead.mailbox.model import SYSTEM_FLAGS
from mailstead.store.keywords import Keywords

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


def names_of(bits: int, keywords: Keywords) -> list[str]:
    """The flag names that `bits` stand for in a view with `keywords`."""
    return [name for name, bit in _NAMES if bits & bit] + keywords.names(bits)


class FlagTexts(dict[int, bytes]):
    """Rendered flag lists by bits, made on first use: `texts[3]` is `(\\Seen \\Answered)`."""

    def __init__(self, keywords: Keywords) -> None:
        super().__init__()
        self.keywords = keywords

    def __missing__(self, bits: int) -> bytes:
        text = b"(" + " ".join(names_of(bits, self.keywords)).encode("utf-8") + b")"
        if len(self) > 4096:
            self.clear()
        self[bits] = text
        return text
