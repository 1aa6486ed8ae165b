"""Words that are nearly the same (RFC 6203): beginnings, other accents, small slips.

Invariants: `similarity` is the meaning; `score` finds in a vocabulary what it finds term by term.  Words of less than 4
letters allow no slip, of less than 8 one, longer ones two; a slip is a letter too many, too few, another, or two
exchanged.

How: a term within k slips holds one of k + 1 pieces of the word unchanged, or two letters at the border of two pieces
are exchanged; so terms are found by substring, and only those are compared.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from mailstead.store.search_segment import Field
from mailstead.store.search_text import fold, is_gap, runs

#: Words of a needle that are looked for, and letters of each.
MAX_WORDS = 20
MAX_LETTERS = 60
_WHOLE, _ACCENTS, _BEGINNING, _SLIPS = 100, 95, 80, (0, 60, 40)
TURN = 300


def words(text: str) -> tuple[str, ...]:
    """The words of a needle, as they are compared."""
    found = [plain(run)[:MAX_LETTERS] for run in runs(fold(text)) if not is_gap(run)]
    return tuple(dict.fromkeys(word for word in found if word))[:MAX_WORDS]


@lru_cache(maxsize=20_000)
def plain(term: str) -> str:
    """A folded term without accents."""
    if term.isascii():
        return term
    return "".join(letter for letter in unicodedata.normalize("NFKD", term) if not unicodedata.combining(letter))


def slips(word: str) -> int:
    """How many slips a word allows."""
    return 0 if len(word) < 4 else 1 if len(word) < 8 else 2


def _has_no_spaces(word: str) -> bool:
    """Whether its script writes words together, so that a word is found within a term."""
    return any("\u2e80" <= letter <= "\ud7ff" or letter >= "\U00020000" for letter in word)


def similarity(word: str, term: str) -> int:
    """How well a folded term fits a word of `words`: 100 the same, 0 not at all."""
    if term == word:
        return _WHOLE
    bare = plain(term)
    if bare == word:
        return _ACCENTS
    if bare.startswith(word) or (_has_no_spaces(word) and word in bare):
        return _BEGINNING
    allowed = slips(word)
    if not allowed or abs(len(bare) - len(word)) > allowed:
        return 0
    distance = _distance(word, bare, allowed)
    return _SLIPS[distance] if distance <= allowed else 0


@lru_cache(maxsize=50_000)
def _distance(one: str, other: str, most: int) -> int:
    """Slips between two words (optimal string alignment), `most` + 1 for more."""
    before: list[int] = []
    above = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, against in enumerate(other, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most and (not before or min(above) > most):
            return most + 1
        before, above = above, row
    return min(above[-1], most + 1)


def _substrings(word: str) -> set[str]:
    """What a term that fits has at least one of; "\\n" is the border of a term."""
    found = {f"\n{word}"} if not _has_no_spaces(word) else {word}
    allowed = slips(word)
    if allowed:
        size, rest = divmod(len(word), allowed + 1)
        start = 0
        for number in range(allowed + 1):
            end = start + size + (number < rest)
            found.add(word[start:end])
            start = end
        for at in range(len(word) - 1):
            # Two exchanged letters touch two pieces at once; what is left of the word is whole on one side.
            found.add(f"\n{word[:at]}{word[at + 1]}{word[at]}")
    return found


def score(field: Field, word: str, best: dict[int, int]) -> Iterator[None]:
    """Note in `best` how well each document of a segment's field has the word; yields now and then."""
    turn = TURN
    ordinary, other, _gaps = field.vocabularies
    if field.folded is None:
        field.folded = other.changed(plain)
        yield
    for vocabulary, original in ((ordinary, ordinary), (field.folded, other)):
        if vocabulary is ordinary and not word.isascii():
            continue
        seen: set[int] = set()
        for sought in _substrings(word):
            for number in vocabulary.matches(sought):
                turn -= 1
                if not turn:
                    turn = TURN
                    yield
                if number in seen:
                    continue
                seen.add(number)
                fits = similarity(word, original.term(number))
                if fits:
                    for document in original.documents(number):
                        if best.get(document, 0) < fits:
                            best[document] = fits


__all__ = ["plain", "score", "similarity", "slips", "words"]
