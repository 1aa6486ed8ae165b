"""Responses of IMAP servers, good and bad."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.migration.imap_response import Atom, BadResponse, Large, compact, literal, number_set, status, values


def test_a_fetch_response_with_strings_lists_and_literals() -> None:
    pieces = [b'12 FETCH (UID 7 FLAGS (\\Seen $a[b) X "q\\"\\\\" ENVELOPE (NIL "x") BODY[] {5}', b"ab\r\nc", b" Y ~{0}", b"", b")"]
    assert values(pieces) == [
        b"12", b"FETCH",
        [b"UID", b"7", b"FLAGS", [b"\\Seen", b"$a[b"], b"X", b'q"\\', b"ENVELOPE", [None, b"x"], b"BODY[]", b"ab\r\nc", b"Y", b""],
    ]  # fmt: skip


def test_a_section_with_blanks_is_one_name() -> None:
    assert values([b"BODY[HEADER.FIELDS (A B)] NIL nil"]) == [b"BODY[HEADER.FIELDS (A B)]", None, None]
    found = values([b'NIL "NIL"'])
    assert found == [None, b"NIL"]
    assert not isinstance(found[1], Atom)


def test_literals_are_told_from_text() -> None:
    assert literal(b"* 1 FETCH (BODY[] {12}") == (12, True)
    assert literal(b"* 1 FETCH (UID 3 RFC822 ~{12}") == (12, True)
    assert literal(b"* 1 FETCH (BODY[HEADER] {12+}") == (12, False)
    assert literal(b"* LIST () {x}") is None
    large = Large(object())
    assert values([b"1 FETCH (BODY[] {9}", large, b")"])[2] == [b"BODY[]", large]


@pytest.mark.parametrize("bad", [b"(", b")", b'"abc', b"(" * 50 + b")" * 50, b'"a\\bc"'])
def test_what_is_no_response_is_told(bad: bytes) -> None:
    with pytest.raises(BadResponse):
        values([bad])


def test_status_and_code() -> None:
    said = status(b"NO [AUTHENTICATIONFAILED] not you")
    assert said is not None
    assert (said.word, said.code, said.text) == ("NO", b"AUTHENTICATIONFAILED", "not you")
    assert status(b"12 EXISTS") is None


def test_sets() -> None:
    assert number_set(b"5:3,9,1", 100) == [1, 3, 4, 5, 9]
    assert number_set(b"", 9) == []
    for wrong in (b"1:99999", b"a", b"1:", b","):
        with pytest.raises(BadResponse):
            number_set(wrong, 1000)
    assert compact([1, 2, 3, 7, 9, 10]) == "1:3,7,9:10"
    assert compact([]) == ""


@given(st.lists(st.integers(1, 4000), unique=True).map(sorted))
def test_a_set_comes_back(numbers: list[int]) -> None:
    assert number_set(compact(numbers).encode(), 4000) == numbers


words = st.sampled_from([b"(", b")", b" ", b'"', b"\\", b"NIL", b"[", b"]", b"{3}", b"BODY[]", b"1", b"\xff", b"{", b"FETCH"])


@given(st.lists(st.lists(words, max_size=12).map(b"".join), min_size=1, max_size=5))
def test_nothing_but_bad_response_is_raised(pieces: list[bytes]) -> None:
    try:
        values(pieces)
    except BadResponse:
        pass
    status(pieces[0])
    literal(pieces[0])
