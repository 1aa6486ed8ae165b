"""Keywords of an account, and how many of them fit into the flags of a message.

Invariants: a keyword's number never changes and never names another; the flags of a message are one integer that means the
same in every row, copy and log record of the account; an account has at most ``MAX_KEYWORDS``, a message ``MAX_PER_MESSAGE``.

The first ``BIT_KEYWORDS`` keywords of an account have a bit each. Which of the others a message has is a *set*, numbered in
the order in which sets come up, and the number stands in the bits above. So a message with a hundred kinds of labels costs
no more than one without, and whoever copies rows need not know of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mailstead.store.shard import Shard

KEYWORD_SHIFT = 5
BIT_KEYWORDS = 40
SET_SHIFT = KEYWORD_SHIFT + BIT_KEYWORDS
MAX_SETS = (1 << 17) - 1
SET_MASK = MAX_SETS << SET_SHIFT
MAX_KEYWORDS = 1_000
MAX_PER_MESSAGE = 64
_BITS = ((1 << BIT_KEYWORDS) - 1) << KEYWORD_SHIFT


class KeywordLimit(Exception):
    """The account or a message would have too many keywords."""


class Keywords(list[str]):
    """Names by number; ``sets`` are the members of each set by its number."""

    def __init__(self, names: Iterable[str] = (), sets: dict[int, tuple[int, ...]] | None = None) -> None:
        super().__init__(names)
        self.sets = sets or {}
        self._limit = (max(self.sets) + 1) << SET_SHIFT if self.sets else 1 << (KEYWORD_SHIFT + min(len(self), BIT_KEYWORDS))

    def cover(self, flags: int) -> bool:
        """Whether all that ``flags`` (or any smaller) may name is known."""
        return flags < self._limit

    def names(self, flags: int) -> list[str]:
        """The keywords that flags stand for."""
        out = []
        bits = (flags & _BITS) >> KEYWORD_SHIFT
        number = 0
        while bits:
            if bits & 1 and number < len(self):
                out.append(self[number])
            bits >>= 1
            number += 1
        if flags >> SET_SHIFT:
            out += [self[member] for member in self.sets.get(flags >> SET_SHIFT, ()) if member < len(self)]
        return out

    def where(self, name: str) -> tuple[int, list[int]]:
        """How to find messages that have a keyword (in any case): a mask, and the values of the flags under it, none where
        no message has it."""
        lowered = name.lower()
        number = next((number for number, known in enumerate(self) if known.lower() == lowered), -1)
        if number < 0:
            return 0, []
        if number < BIT_KEYWORDS:
            return 1 << (number + KEYWORD_SHIFT), [1 << (number + KEYWORD_SHIFT)]
        return SET_MASK, [code << SET_SHIFT for code, members in self.sets.items() if number in members]


def read_keywords(shard: Shard, account: int) -> Keywords:
    """All keywords of an account."""
    names = [str(row[0]) for row in shard.execute("SELECT name FROM keyword WHERE account = ? ORDER BY bit", (account,))]
    sets = {}
    if len(names) > BIT_KEYWORDS:
        for code, members in shard.execute("SELECT number, members FROM keyword_set WHERE account = ?", (account,)):
            sets[int(code)] = tuple(map(int, str(members).split(",")))
    return Keywords(names, sets)


def _numbers(shard: Shard, account: int, names: Sequence[str], *, create: bool) -> list[int]:
    known = [str(row[0]) for row in shard.execute("SELECT name FROM keyword WHERE account = ? ORDER BY bit", (account,))]
    folded = {name.lower(): number for number, name in enumerate(known)}
    numbers = []
    for name in names:
        number = folded.get(name.lower())
        if number is None:
            if not create:
                continue
            number = len(known)
            if number >= MAX_KEYWORDS:
                raise KeywordLimit(f"no more than {MAX_KEYWORDS} keywords")
            shard.execute("INSERT INTO keyword VALUES(?, ?, ?)", (account, number, name))
            shard.noted.append(["keyword", account, number, name])
            known.append(name)
            folded[name.lower()] = number
        numbers.append(number)
    return numbers


def _code(shard: Shard, account: int, members: Iterable[int]) -> int:
    """The number of a set, made where it is new."""
    text = ",".join(map(str, sorted(members)))
    if not text:
        return 0
    row = shard.row("SELECT number FROM keyword_set WHERE account = ? AND members = ?", (account, text))
    if row is not None:
        return int(row[0])
    last = shard.row("SELECT max(number) FROM keyword_set WHERE account = ?", (account,))
    code = int(last[0] or 0) + 1 if last else 1
    if code > MAX_SETS:
        raise KeywordLimit(f"no more than {MAX_SETS} combinations of keywords")
    shard.execute("INSERT INTO keyword_set VALUES(?, ?, ?)", (account, code, text))
    shard.noted.append(["keywords", account, code, text])
    return code


def _members(shard: Shard, account: int, code: int) -> frozenset[int]:
    if not code:
        return frozenset()
    row = shard.row("SELECT members FROM keyword_set WHERE account = ? AND number = ?", (account, code))
    return frozenset(map(int, str(row[0]).split(","))) if row is not None else frozenset()


class FlagChange:
    """What setting, adding or removing flags does to the flags of a message. Raises KeywordLimit where it is made or applied.

    ``bits``: what is set, added or removed, where that is the same for every message; ``by_row``: it is not."""

    def __init__(self, shard: Shard, account: int, mode: str, system: int, names: Sequence[str]) -> None:
        self._shard = shard
        self._account = account
        self._mode = mode
        numbers = _numbers(shard, account, names, create=mode != "remove") if names else []
        self._others = frozenset(number for number in numbers if number >= BIT_KEYWORDS)
        self.bits = system
        for number in numbers:
            if number < BIT_KEYWORDS:
                self.bits |= 1 << (number + KEYWORD_SHIFT)
        self.by_row = False
        self._codes: dict[int, int] = {}
        if mode == "set":
            self._check(self.bits, self._others)
            self.bits |= _code(shard, account, self._others) << SET_SHIFT
        elif self._others:
            self.by_row = True
        elif numbers and mode == "add":
            # With sets about, the limit of a message can only be told message by message.
            self.by_row = shard.row("SELECT 1 FROM keyword_set WHERE account = ? LIMIT 1", (account,)) is not None

    @staticmethod
    def _check(flags: int, others: frozenset[int]) -> None:
        if (flags & _BITS).bit_count() + len(others) > MAX_PER_MESSAGE:
            raise KeywordLimit(f"no more than {MAX_PER_MESSAGE} keywords for a message")

    def apply(self, flags: int) -> int:
        """The flags of a message that had ``flags``."""
        if self._mode == "set":
            return self.bits
        kept, code = flags & ~SET_MASK, flags >> SET_SHIFT
        kept = kept | self.bits if self._mode == "add" else kept & ~self.bits
        if self._mode == "add" and (code or self._others):
            self._check(kept, _members(self._shard, self._account, code) | self._others)
        if self._others:
            after = self._codes.get(code)
            if after is None:
                before = _members(self._shard, self._account, code)
                members = before | self._others if self._mode == "add" else before - self._others
                after = self._codes[code] = _code(self._shard, self._account, members)
            code = after
        return kept | code << SET_SHIFT


def keyword_flags(shard: Shard, account: int, names: Sequence[str]) -> int:
    """The flags of keywords, creating those that are new. Raises KeywordLimit."""
    return FlagChange(shard, account, "set", 0, names).bits if names else 0
