"""The RETURN options of SEARCH, SORT and ESEARCH, and the answers made of them (RFC 4731, 5182, 5267, 6203, 9394).

Invariants: an option is known or the command is BAD; PARTIAL and ALL do not go together; a result is positions in the
order of the answer: rising for SEARCH, sorted for SORT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailstead.imap import partial, sequence_set
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.partial import Partial
from mailstead.imap.responses import quote

_OPTIONS = frozenset((b"MIN", b"MAX", b"ALL", b"COUNT", b"SAVE", b"PARTIAL", b"UPDATE", b"CONTEXT", b"RELEVANCY"))
#: Those that ask for a part of the answer.
_RESULTS = frozenset((b"MIN", b"MAX", b"ALL", b"COUNT", b"PARTIAL"))
#: Several PARTIAL of one command are no use, and RFC 9394 section 3.1 forbids them.
_MAX_OPTIONS = 20


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
    if not found.options & _RESULTS and not found.save:
        found.options.add(b"ALL")
    return found


def numbers_of(positions: Sequence[int], uids: Sequence[int], by_uid: bool) -> list[int]:
    """Positions as the client is told them."""
    return [uids[at] for at in positions] if by_uid else [at + 1 for at in positions]


def spaced(numbers: Sequence[int]) -> bytes:
    """Numbers with blanks between. str() of a list is the fastest way to write many."""
    return str(numbers)[1:-1].replace(",", "").encode("ascii")


def extended(
    head: bytes, returning: Returning, positions: Sequence[int], numbers: Sequence[int], *, by_uid: bool,
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
            words.append(b"ALL " + sequence_set.compact(numbers))
    if b"COUNT" in options:
        words.append(b"COUNT %d" % len(numbers))
    scored = positions
    if returning.partial is not None:
        start, end = returning.partial.bounds(len(numbers))
        scored = positions[start:end]
        words.append(b"PARTIAL (%b %b)" % (returning.partial.text(), sequence_set.compact(numbers[start:end]) or b"NIL"))
    if relevancy is not None and b"RELEVANCY" in options and options & {b"ALL", b"PARTIAL"}:
        words.append(b"RELEVANCY (%b)" % spaced([max(relevancy.get(at, 0), 1) for at in scored]))
    if modseqs is not None and positions:
        words.append(b"MODSEQ %d" % max(modseqs[at] for at in returning.shown(positions)))
    return b" ".join(words)


def tag_of(tag: bytes) -> bytes:
    """The TAG correlator."""
    return b"TAG " + quote(tag)
