"""PARTIAL ranges (RFC 9394 section 3): ``1:100`` counts results from the oldest, ``-1:-100`` from the newest.

Invariants: a range names places among results, 1 for the first; the ends may be in either order; places beyond the
results name nothing and are no error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailstead.imap.grammar import MAX_NUMBER, Arguments, BadSyntax

_range = re.compile(rb"(-?)([1-9][0-9]{0,9}):(-?)([1-9][0-9]{0,9})").match


@dataclass(frozen=True, slots=True)
class Partial:
    """Results number `low` to `high`, counted from the end where `from_end`."""

    low: int
    high: int
    from_end: bool

    def text(self) -> bytes:
        """As a response shows it."""
        sign = b"-" * self.from_end
        return b"%b%d:%b%d" % (sign, self.low, sign, self.high)

    def bounds(self, total: int) -> tuple[int, int]:
        """[start, end) among `total` results in rising order."""
        if self.from_end:
            return max(total - self.high, 0), max(total - self.low + 1, 0)
        return min(self.low - 1, total), min(self.high, total)

    def of_ranges(self, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The same of the positions in sorted, half-open ranges."""
        start, end = self.bounds(sum(high - low for low, high in ranges))
        found = []
        before = 0
        for low, high in ranges:
            first, last = low + max(start - before, 0), min(low + end - before, high)
            if first < last:
                found.append((first, last))
            before += high - low
        return found


def parse(arguments: Arguments) -> Partial:
    """The range at the cursor. Raises BadSyntax."""
    found = _range(arguments.text, arguments.pos)
    if found is None or found[1] != found[3]:
        raise BadSyntax("Invalid PARTIAL range")
    low, high = sorted((int(found[2]), int(found[4])))
    if high > MAX_NUMBER:
        raise BadSyntax("Invalid PARTIAL range")
    arguments.pos = found.end()
    return Partial(low, high, bool(found[1]))
