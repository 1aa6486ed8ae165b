"""A segment of the search index: the vocabulary of some messages of one account, and which of them has which term.

Invariants: a segment never changes; its documents are numbered from 0 in the order of `Head.mids`; a document's terms are
those of search_text.py, so `Field.find` answers for whole needles of one run exactly, and for others gives every
message that may have them.  A damaged segment raises ValueError, it never answers.

How: terms of a kind lie in one string between separators, the commonest first, so that a substring of any word is found
at the speed of memory and a frequent one has soon found all documents.  Plain words, words with other letters, and
gaps are vocabularies of their own: a string with one wide letter takes two or four octets for each.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import msgspec

from mailstead.store.search_text import OVERLAP, WINDOW, DocumentTerms, is_gap, runs

#: Documents of one segment; their numbers fit into 16 bits.
MAX_DOCUMENTS = 16_384
FIELDS = ("header", "body", "attachments")
_LEVEL = 1
_SEPARATORS = ("\n", "\n", "\ud800")
#: Documents noted (a term counts as 20) before a search lets others have their turn: about 1.5 ms.
TURN = 30_000

_pack = msgspec.msgpack.Encoder().encode


class Vocabulary:
    """Terms of one kind and their documents."""

    __slots__ = ("_docs", "_first", "_separator", "_starts", "_text", "size")

    def __init__(self, separator: str, text: bytes, lengths: bytes, counts: bytes, docs: bytes) -> None:
        self._separator = separator
        self._text = text.decode("utf-8", "surrogatepass")
        self._starts = array("I", accumulate(lengths, initial=1))
        number = array("H")
        number.frombytes(counts)
        self._first = array("I", accumulate(number, initial=0))
        self._docs = array("H")
        self._docs.frombytes(docs)
        if len(self._starts) != len(number) + 1 or self._first[-1] != len(self._docs) or self._starts[-1] != len(self._text):
            raise ValueError("a damaged vocabulary")
        self.size = self._text.__sizeof__() + 4 * len(self._starts) + 4 * len(self._first) + 2 * len(self._docs) + 600

    def __len__(self) -> int:
        return len(self._first) - 1

    def find(self, text: str, starts: bool, ends: bool, found: set[int], enough: int) -> Iterator[None]:
        """Add to `found` the documents of terms that contain `text` (that start or end with it); yields now and then."""
        separator, within = self._separator, self._text
        sought = f"{separator if starts else ''}{text}{separator if ends else ''}"
        first, docs, places = self._first, self._docs, self._starts
        shift = 1 if starts else 0
        at = within.find(sought)
        turn = TURN
        while at >= 0:
            term = bisect_right(places, at + shift) - 1
            start, end = first[term], first[term + 1]
            found.update(docs[start:end])
            turn -= 20 + end - start
            if turn < 0:
                if len(found) >= enough:
                    return
                turn = TURN
                yield
            at = within.find(sought, places[term + 1] - shift)

    def terms(self) -> list[str]:
        """All terms in their order."""
        return self._text[1:-1].split(self._separator) if len(self) else []

    def matches(self, sought: str) -> Iterator[int]:
        """Numbers of the terms in whose text, separators included, `sought` is found."""
        within, places = self._text, self._starts
        shift = 1 if sought.startswith(self._separator) else 0
        at = within.find(sought)
        while at >= 0:
            term = bisect_right(places, at + shift) - 1
            yield term
            at = within.find(sought, places[term + 1] - shift)

    def changed(self, change: Callable[[str], str]) -> Vocabulary:
        """The same documents under changed terms, of which none may hold the separator; only `matches` may be used."""
        new = object.__new__(Vocabulary)
        terms = [change(term) for term in self.terms()]
        new._separator, new._first, new._docs = self._separator, self._first, self._docs
        new._text = f"{self._separator}{self._separator.join(terms)}{self._separator if terms else ''}"
        new._starts = array("I", accumulate([len(term) + 1 for term in terms], initial=1))
        new.size = new._text.__sizeof__() + 4 * len(new._starts)
        return new

    def term(self, number: int) -> str:
        return self._text[self._starts[number] : self._starts[number + 1] - 1]

    def documents(self, number: int) -> Sequence[int]:
        return self._docs[self._first[number] : self._first[number + 1]]


@dataclass(slots=True)
class Field:
    """The three vocabularies of header, body or attachments: plain words, other words, gaps."""

    vocabularies: tuple[Vocabulary, Vocabulary, Vocabulary]
    folded: Vocabulary | None = None
    """The other words without accents, once fuzzy search has asked for them."""

    @property
    def size(self) -> int:
        """Octets of memory."""
        return sum(one.size for one in self.vocabularies)

    def find(self, needle: Needle, enough: int, found: set[int]) -> Iterator[None]:
        """Add the documents that have (needle.exact) or may have the needle; yields now and then. `enough` are all."""
        best: set[int] | None = None
        for piece in needle.pieces:
            if best is not None and (not best or (len(best) <= piece.worth)):
                break
            docs: set[int] = set()
            for vocabulary in self._of(piece):
                yield from vocabulary.find(piece.text, piece.starts, piece.ends, docs, enough)
            best = docs if best is None else best & docs
        found |= best or set()

    def _of(self, piece: Piece) -> tuple[Vocabulary, ...]:
        plain, other, gaps = self.vocabularies
        if piece.gap:
            return (gaps,)
        return (plain, other) if piece.text.isascii() else (other,)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a needle; `starts` and `ends`: it does so a run of the text. It is not looked for where no more than
    `worth` documents are left: reading them is cheaper."""

    text: str
    gap: bool
    starts: bool
    ends: bool
    worth: int


@dataclass(frozen=True, slots=True)
class Needle:
    """A folded needle as the index looks for it. `exact`: what is found needs no reading."""

    text: str
    pieces: tuple[Piece, ...]
    exact: bool


def needle_of(text: str) -> Needle:
    """Cut a needle (not empty) into its runs."""
    cut = runs(text)
    pieces = []
    for number, run in enumerate(cut):
        gap = is_gap(run) is not None
        starts, ends = number > 0, number < len(cut) - 1
        if len(run) > OVERLAP:
            run, starts, ends = run[:OVERLAP], False, False
        pieces.append(Piece(run, gap, starts, ends, 200 if gap else 10 if len(run) > 2 else 50))
    # Long words are rare; gaps are not, but for odd ones.
    pieces.sort(key=lambda piece: (piece.gap, -len(piece.text)))
    return Needle(text, tuple(pieces[:12]), len(cut) == 1 and len(text) <= OVERLAP)


def words_of(text: str) -> tuple[Piece, ...]:
    """The word pieces of a folded text."""
    return tuple(piece for piece in needle_of(text).pieces if not piece.gap)


@dataclass(slots=True)
class Head:
    """The documents of a segment; `opaque` and `odd_header` are numbers of those of which the terms do not tell all."""

    mids: array[int]
    opaque: frozenset[int] = frozenset()
    odd_header: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        """Octets of memory."""
        return len(self.mids) * 8 + (len(self.opaque) + len(self.odd_header)) * 60 + 600


@dataclass(slots=True)
class Builder:
    """Gathers documents and packs them."""

    mids: array[int] = field(default_factory=lambda: array("Q"))
    opaque: list[int] = field(default_factory=list)
    odd_header: list[int] = field(default_factory=list)
    terms: tuple[dict[str, list[int]], ...] = field(default_factory=lambda: ({}, {}, {}))

    def add(self, mid: int, document: DocumentTerms) -> None:
        """One more document."""
        number = len(self.mids)
        self.mids.append(mid)
        if document.opaque:
            self.opaque.append(number)
        if document.odd_header:
            self.odd_header.append(number)
        for terms, known in zip((document.header, document.body, document.attachments), self.terms, strict=True):
            for term in terms:
                docs = known.get(term)
                if docs is None:
                    known[term] = [number]
                else:
                    docs.append(number)

    def add_segment(self, head: Head, fields: Sequence[Field], keep: Sequence[int]) -> None:
        """The documents `keep` (numbers, rising) of another segment."""
        base = len(self.mids)
        whole = len(keep) == len(head.mids)
        numbers = {} if whole else {old: base + new for new, old in enumerate(keep)}
        self.mids.extend(head.mids if whole else array("Q", [head.mids[old] for old in keep]))
        for mine, theirs in ((self.opaque, head.opaque), (self.odd_header, head.odd_header)):
            mine.extend(sorted(base + old if whole else numbers[old] for old in theirs if whole or old in numbers))
        for known, their in zip(self.terms, fields, strict=True):
            for vocabulary in their.vocabularies:
                for number, term in enumerate(vocabulary.terms()):
                    docs = vocabulary.documents(number)
                    moved = [base + doc for doc in docs] if whole else [numbers[doc] for doc in docs if doc in numbers]
                    if moved:
                        have = known.get(term)
                        if have is None:
                            known[term] = moved
                        else:
                            have += moved

    def pack(self) -> tuple[bytes, bytes, bytes, bytes]:
        """The columns head, header, body and attachments."""
        head = _compress(_pack([self.mids.tobytes(), self.opaque, self.odd_header]))
        header, body, attachments = (pack_field(terms, len(self.mids)) for terms in self.terms)
        return head, header, body, attachments


def _compress(content: bytes) -> bytes:
    return zlib.compress(content, _LEVEL)


def pack_field(terms: Mapping[str, Sequence[int]], documents: int) -> bytes:
    """A field's terms and their documents (numbers, rising) as a column."""
    kinds: tuple[list[str], list[str], list[str]] = ([], [], [])
    for term in terms:
        kinds[2 if is_gap(term) else 0 if term.isascii() else 1].append(term)
    common = max(2, documents // 50)
    packed: list[bytes] = []
    for names, separator in zip(kinds, _SEPARATORS, strict=True):
        names.sort(key=lambda term: (-len(terms[term]) if len(terms[term]) > common else 0, term))
        docs = array("H")
        for name in names:
            docs.extend(terms[name])
        packed += [
            f"{separator}{separator.join(names)}{separator if names else ''}".encode("utf-8", "surrogatepass"),
            bytes([len(name) + 1 for name in names]),
            array("H", [len(terms[name]) for name in names]).tobytes(),
            docs.tobytes(),
        ]
    return _compress(_pack(packed))


_decode_field = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_head = msgspec.msgpack.Decoder(tuple[bytes, list[int], list[int]]).decode


def load_field(column: bytes) -> Field:
    """Read a column. Raises ValueError where it is damaged."""
    try:
        packed = _decode_field(zlib.decompress(column))
        three = [Vocabulary(separator, *packed[at : at + 4]) for separator, at in zip(_SEPARATORS, (0, 4, 8), strict=True)]
    except (zlib.error, msgspec.DecodeError, TypeError, ValueError) as error:
        raise ValueError(f"a damaged search segment: {error}") from error
    return Field((three[0], three[1], three[2]))


def load_head(column: bytes) -> Head:
    """Read the documents. Raises ValueError where the column is damaged."""
    try:
        mids, opaque, odd = _decode_head(zlib.decompress(column))
        numbers = array("Q")
        numbers.frombytes(mids)
    except (zlib.error, msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"a damaged search segment: {error}") from error
    return Head(numbers, frozenset(opaque), frozenset(odd))


assert WINDOW < 255, "the length of a term and its separator fit into an octet"
