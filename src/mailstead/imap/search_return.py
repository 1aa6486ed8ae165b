"""The RETURN options of SEARCH, SORT and ESEARCH, and the answers made of them (RFC 4731, 5182, 5267, 6203, 9394).

Invariants: an option is known or the command is BAD; PARTIAL and ALL do not go together; a result is positions in the
order of the answer: rising for SEARCH, sorted for SORT.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from mailstead.imap import partial, sequence_set
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.partial import Partial
from mailstead.imap.responses import quote

_OPTIONS = frozenset((b"MIN", b"MAX", b"ALL", b"COUNT", b"SAVE", b"PARTIAL", b"UPDATE", b"CONTEXT", b"RELEVANCY"))
#: Those that ask for a part of the answer.
_RESULTS = frozenset((b"MIN", b"MAX", b"ALL", b"COUNT", b"PARTIAL"))
_LISTS = _RESULTS - {b"COUNT"}
#: Several PARTIAL of one command are no use, and RFC 9394 section 3.1 forbids them.
_MAX_OPTIONS = 20
#: Numbers written between two looks at the clock.
_SLICE = 10_000
Breathe = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Returning:
    """What the client wants to have returned."""

    options: set[bytes] = field(default_factory=set)
    partial: Partial | None = None

    @property
    def save(self) -> bool:
        """Keep the result for "$"."""
        return b"SAVE" in self.options

    @property
    def silent(self) -> bool:
        """Nothing but the keeping is wanted (RFC 5182 section 2.1)."""
        return self.save and not self.options - {b"SAVE", b"CONTEXT"}

    @property
    def lists(self) -> bool:
        """Numbers of messages are wanted."""
        return not self.options.isdisjoint(_LISTS)

    @property
    def update(self) -> bool:
        """Tell later changes of the result (RFC 5267 section 4.3)."""
        return b"UPDATE" in self.options

    def kept(self, positions: Sequence[int]) -> Sequence[int]:
        """The part of a result that SAVE keeps (RFC 5182 section 2.4, RFC 9394 section 3.2), in any order."""
        if self.options & {b"ALL", b"COUNT"} or not self.options & {b"MIN", b"MAX", b"PARTIAL"}:
            return positions
        found: set[int] = set()
        if b"MIN" in self.options:
            found.update(positions[:1])
        if b"MAX" in self.options:
            found.update(positions[-1:])
        if self.partial is not None:
            start, end = self.partial.bounds(len(positions))
            found.update(positions[start:end])
        return sorted(found)

    def shown(self, positions: Sequence[int]) -> Sequence[int]:
        """The part of a result of whose modseqs the highest is told (RFC 7162 section 3.1.10)."""
        return positions if self.options & {b"ALL", b"COUNT"} else self.kept(positions)


def parse(arguments: Arguments) -> Returning | None:
    """RETURN and its options at the cursor with the space after them; None without. Raises BadSyntax."""
    if arguments.text[arguments.pos : arguments.pos + 8].upper() != b"RETURN (":
        return None
    arguments.pos += 8
    found = Returning()
    number = 0
    while not arguments.skip(b")"):
        if number:
            arguments.space()
        number += 1
        name = arguments.keyword()
        if name not in _OPTIONS or number > _MAX_OPTIONS:
            raise BadSyntax("Unknown RETURN option")
        if name == b"PARTIAL":
            if found.partial is not None:
                raise BadSyntax("PARTIAL can be used only once")
            arguments.space()
            found.partial = partial.parse(arguments)
        found.options.add(name)
    arguments.space()
    if {b"PARTIAL", b"ALL"} <= found.options:
        raise BadSyntax("PARTIAL and ALL do not go together")
    if found.options <= {b"CONTEXT", b"RELEVANCY"}:
        found.options.add(b"ALL")  # RFC 4731 section 3.1; UPDATE alone asks for updates alone
    return found


async def numbers_of(positions: Sequence[int], uids: Sequence[int], by_uid: bool, breathe: Breathe) -> list[int]:
    """Positions as the client is told them."""
    numbers: list[int] = []
    for start in range(0, len(positions), _SLICE):
        if start:
            await breathe()
        part = positions[start : start + _SLICE]
        numbers += [uids[at] for at in part] if by_uid else [at + 1 for at in part]
    return numbers


async def spaced(numbers: list[int], breathe: Breathe) -> bytes:
    """Numbers with blanks between. str() of a list is the fastest way to write many."""
    parts = []
    for start in range(0, len(numbers), _SLICE):
        if start:
            await breathe()
        parts.append(str(numbers[start : start + _SLICE])[1:-1].replace(",", ""))
    return " ".join(parts).encode("ascii")


async def compact(numbers: Sequence[int], breathe: Breathe) -> bytes:
    """A set of numbers in the order given; very many that are not one run are not joined over the borders of slices."""
    if len(numbers) <= _SLICE or numbers[-1] - numbers[0] + 1 == len(numbers):
        return sequence_set.compact(numbers)
    parts = []
    for start in range(0, len(numbers), _SLICE):
        await breathe()
        parts.append(sequence_set.compact(numbers[start : start + _SLICE]))
    return b",".join(parts)


async def extended(
    head: bytes, returning: Returning, positions: Sequence[int], numbers: Sequence[int], breathe: Breathe, *, by_uid: bool,
    modseqs: Sequence[int] | None = None, relevancy: dict[int, int] | None = None,
) -> bytes:  # fmt: skip
    """An ESEARCH response without its star. `head` is the correlators, `numbers` run parallel to `positions`."""
    options = returning.options
    words = [b"ESEARCH (%b)" % head]
    if by_uid:
        words.append(b"UID")
    if numbers:
        if b"MIN" in options:
            words.append(b"MIN %d" % numbers[0])
        if b"MAX" in options:
            words.append(b"MAX %d" % numbers[-1])
        if b"ALL" in options:
            words.append(b"ALL " + await compact(numbers, breathe))
    if b"COUNT" in options:
        words.append(b"COUNT %d" % len(numbers))
    scored = positions
    if returning.partial is not None:
        start, end = returning.partial.bounds(len(numbers))
        scored = positions[start:end]
        words.append(b"PARTIAL (%b %b)" % (returning.partial.text(), await compact(numbers[start:end], breathe) or b"NIL"))
    if relevancy is not None and scored and b"RELEVANCY" in options and options & {b"ALL", b"PARTIAL"}:
        words.append(b"RELEVANCY (%b)" % await spaced([max(relevancy.get(at, 0), 1) for at in scored], breathe))
    if modseqs is not None and positions:
        words.append(b"MODSEQ %d" % max(modseqs[at] for at in returning.shown(positions)))
    return b" ".join(words)


def tag_of(tag: bytes) -> bytes:
    """The TAG correlator."""
    return b"TAG " + quote(tag)
