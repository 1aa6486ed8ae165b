"""Fuzzy search: what a user who half remembers a word finds, and in which order of likeness."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.search import And, Header, Scope, Text, evaluate
from mailstead.mailbox.service import Mailbox
from mailstead.store.search_fuzzy import _distance, score, similarity, slips, words
from mailstead.store.search_segment import load_field, pack_field
from mailstead.store.search_text import fold
from tests.mailbox.test_search_index import inbox, index_all

BODIES = [
    "The quarterly invoice is attached", "invoices of last year", "invoyce with a slip", "ivnoice with letters exchanged",
    "voice", "Rechnung für Müller", "Rechnung fur Muller", "Rechnungsnummer 17", "会議の議事録です", "an appointment in December",
    "an appoitnmet in Decembre", "cat", "car", "café au lait",
]  # fmt: skip


@pytest.mark.parametrize("indexed", [0, 7, 14])
async def test_words_are_found_by_beginning_accents_and_slips(mailbox: Mailbox, tmp_path: Path, indexed: int) -> None:
    folder = await inbox(mailbox)
    messages = [NewMessage(f"Subject: {body}\r\n\r\n{body}\r\n".encode()) for body in BODIES]
    if indexed:
        await mailbox.append(folder, messages[:indexed])
        await index_all(tmp_path)
    if messages[indexed:]:
        await mailbox.append(folder, messages[indexed:])
    view = await mailbox.open(folder)

    async def found(key: object) -> dict[str, int]:
        scope = Scope(mailbox, view, view.uids, view.flags, view.modseqs, len(view.uids))
        hits = await evaluate(scope, key)  # type: ignore[arg-type]
        assert set(hits) <= set(scope.relevancy)
        return {BODIES[at]: scope.relevancy[at] for at in hits}

    for key in (Text("invoice", False, fuzzy=True), Header(b"subject", "invoice", fuzzy=True)):
        hits = await found(key)
        assert list(hits) == BODIES[:4]
        assert hits[BODIES[0]] == 100 > hits[BODIES[1]] > hits[BODIES[2]] == hits[BODIES[3]] > 0
    assert set(await found(Text("muller RECHNUNG", True, fuzzy=True))) == {BODIES[5], BODIES[6]}
    assert set(await found(Text("rechn", True, fuzzy=True))) == set(BODIES[5:8])
    assert set(await found(Text("議事", True, fuzzy=True))) == {BODIES[8]}
    assert set(await found(Text("appointment december", True, fuzzy=True))) == {BODIES[9], BODIES[10]}
    assert set(await found(Text("cat", False, fuzzy=True))) == {BODIES[11]}, "short words allow no slip"
    assert set(await found(Text("cafe", False, fuzzy=True))) == {BODIES[13]}
    assert await found(Text("invoice zebra", False, fuzzy=True)) == {}
    both = And((Text("invoice", False, fuzzy=True), Header(b"subject", "quarterly", fuzzy=True)))
    assert await found(both) == {BODIES[0]: 100}
    view.release()


@given(st.text("abcde", min_size=4, max_size=9), st.lists(st.text("abcdeé", min_size=1, max_size=10), min_size=1, max_size=12))
def test_the_vocabulary_gives_what_comparing_each_term_gives(word: str, terms: list[str]) -> None:
    distinct = sorted(set(terms))
    field = load_field(pack_field({term: [number] for number, term in enumerate(distinct)}, len(distinct)))
    best: dict[int, int] = {}
    for _ in score(field, word, best):
        pass
    assert best == {number: fits for number, term in enumerate(distinct) if (fits := similarity(word, term))}


def test_random_slips_are_within_their_number() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        word = "".join(rng.choice("abcdefgh") for _ in range(rng.randrange(4, 14)))
        slipped = list(word)
        count = rng.randrange(slips(word) + 1)
        places = rng.sample(range(0, len(word) - 1, 3), min(count, len(range(0, len(word) - 1, 3))))
        for at in sorted(places, reverse=True):
            kind = rng.randrange(4)
            if kind == 0:
                slipped.insert(at, "z")
            elif kind == 1:
                del slipped[at]
            elif kind == 2:
                slipped[at] = "y"
            else:
                slipped[at], slipped[at + 1] = slipped[at + 1], slipped[at]
        assert _distance(word, "".join(slipped), 2) <= len(places)
        assert similarity(word, "".join(slipped)) > 0


def test_words_of_a_needle() -> None:
    assert words("Zürich,  zurich -- 12!") == ("zurich", "12")
    assert words(" -- !") == ()
    assert fold("ẞ") == "ss"
