"""The grammar of search programs: total, and the same a second time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.imap import sequence_set
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.imap.search_numbers import AmongUids
from mailstead.imap.search_program import Program
from mailstead.mailbox.search import evaluate
from mailstead.mailbox.search_keys import Header, Text
from mailstead.mailbox.search_scope import Scope
from mailstead.store.keywords import Keywords

UIDS = [1, 2, 3, 5, 8, 13, 21]


class Numbered(AmongUids):
    """A mailbox of UIDS in which messages have numbers."""

    def by_number(self, octets: bytes) -> sequence_set.Ranges:
        if octets == b"$":
            return [(1, 3)]
        return sequence_set.by_number(sequence_set.parse(octets), len(UIDS))


def numbers(uids: Sequence[int] = UIDS) -> Numbered:
    return Numbered(Keywords(["$Work"]), uids, UIDS[-1])


FILTERS = {
    "one": b"SEEN",
    "two": b"OR FILTER one (2:3 KEYWORD $Work)",
    "loop": b"FILTER pool",
    "pool": b"NOT FILTER loop",
    "literal": b"SUBJECT {3}\r\nabc",
    "broken": b"SUBJECT {999999}\r\nabc",
    "charset": b"CHARSET UTF-8 SUBJECT \xc3\xa9",
    "odd": b"SEEN\r\nDELETED",
    "empty": b"",
}

tokens = st.sampled_from(
    [b"ALL", b"NOT", b"OR", b"(", b")", b" ", b" ", b" ", b"SEEN", b"UID", b"1:3", b"*", b"2,4:*", b"$", b"FUZZY", b"FILTER",
     b"one",      b"two", b"loop", b"literal", b"broken", b"charset", b"odd", b"empty", b"SUBJECT", b'"x"', b"HEADER", b"BODY",
     b"MODSEQ", b"7",
     b"SAVEDON", b"1-Feb-2024", b"99-Feb-2024", b"EMAILID", b"M1", b"THREADID", b"T99999999999999999999", b"KEYWORD", b"$Work",
     b"OLDER", b"CHARSET UTF-8 ", b"SAVEDATESUPPORTED", b"\xff", b"\x00", b"{", b"LARGER", b"99999999999999999999"]
)  # fmt: skip
programs = st.lists(tokens, max_size=16).map(b"".join) | st.lists(tokens, max_size=9).map(b" ".join) | st.binary(max_size=40)


@settings(max_examples=4000, deadline=None)
@given(programs, st.booleans())
def test_a_program_is_parsed_or_refused(octets: bytes, charset_first: bool) -> None:
    try:
        program = Program(Arguments(octets), numbers(), FILTERS, charset_first=charset_first)
    except (BadSyntax, Refusal):
        return
    program.pin()
    assert program.again(numbers()) == program.key


@settings(max_examples=600, deadline=None)
@given(programs, st.sets(st.sampled_from(UIDS), min_size=1))
async def test_a_program_over_some_messages_finds_those_of_all(octets: bytes, some: set[int]) -> None:
    """What keeps results up to date: numbers mean the same messages, though fewer are looked at."""
    try:
        program = Program(Arguments(octets), numbers(), FILTERS)
    except (BadSyntax, Refusal):
        return
    if any(
        word in octets for word in (b"SUBJECT", b"HEADER", b"BODY", b"SAVED", b"ID ", b"OLDER", b"LARGER", b"literal", b"charset")
    ):
        return
    program.pin()
    flags = [uid % 64 for uid in UIDS]

    async def found(key: object, uids: list[int]) -> set[int]:
        bits = [flags[UIDS.index(uid)] for uid in uids]
        scope = Scope(None, None, uids, bits, uids, len(uids))  # type: ignore[arg-type]
        return {uids[at] for at in await evaluate(scope, key)}  # type: ignore[arg-type]

    part = sorted(some)
    assert await found(program.again(numbers(part)), part) == await found(program.key, UIDS) & some


def test_fuzzy_reaches_all_keys_within_it_and_no_other() -> None:
    program = Program(Arguments(b"SUBJECT a FUZZY (BODY b NOT FROM c) TEXT d"), numbers())
    assert program.fuzzy
    found: dict[str, bool] = {}

    def walk(key: object) -> None:
        if isinstance(key, Header | Text):
            found[key.text] = key.fuzzy
        for name in ("key", "keys"):
            inner = getattr(key, name, ())
            for one in inner if isinstance(inner, tuple) else (inner,):
                walk(one)

    walk(program.key)
    assert found == {"a": False, "b": True, "c": True, "d": False}


@pytest.mark.parametrize("name", [b"loop", b"pool", b"nowhere", b"x" * 300])
def test_filters_that_name_each_other_are_undefined(name: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        Program(Arguments(b"FILTER " + name), numbers(), FILTERS)
    assert caught.value.code.startswith("UNDEFINED-FILTER ")


def test_many_filters_within_filters_are_refused_soon() -> None:
    filters = {f"f{n}": b"OR FILTER f%d FILTER f%d" % (n + 1, n + 1) for n in range(40)} | {"f40": b"SEEN"}
    with pytest.raises(BadSyntax):
        Program(Arguments(b"FILTER f0"), numbers(), filters)
