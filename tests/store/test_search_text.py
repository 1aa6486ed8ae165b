"""Terms and segments against `contains`, for any octets and any needle."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailstead.message.index import index_message
from mailstead.store.search_segment import Builder, load_field, load_head, needle_of
from mailstead.store.search_text import OVERLAP, WINDOW, contains, document_terms, fold, is_gap, runs

PIECES = st.one_of(
    st.sampled_from([
        b"=?utf-8?q?caf=C3=A9?=", b"=?utf-8?b?ww==?=", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"\n", b"--b\r\n", b"--b--\r\n",
        b"Content-Type: text/html\r\n\r\n<p>a<b>b</b>&eacute;", b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx",
        b"Content-Type: text/plain; charset=utf-7\r\n\r\n+AOk-", b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=\r\nx=41",
        b"needle", b"Hay Stack", b"\x00", b"\xe9", "é日本\u0301ßİ".encode(), b"a.b,c", b"x" * 300, b". " * 200,
    ]),
    st.binary(max_size=12),
    st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace")),
)  # fmt: skip
HEADS = st.sampled_from([
    b"Subject: s\r\n\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"Content-Type: text/html\r\n\r\n",
    b"Subject: caf\xc3\xa9 a\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", b"", b"X: =?utf-8?q?a?=\r\n =?utf-8?q?b?=\r\n",
])  # fmt: skip
MESSAGES = st.builds(lambda head, pieces: head + b"".join(pieces), HEADS, st.lists(PIECES, max_size=8))


def found_by_terms(messages: list[bytes], needle: str, headers: bool) -> tuple[set[int], bool]:
    builder = Builder()
    for number, octets in enumerate(messages):
        index = index_message(octets)
        builder.add(number, document_terms(octets, index.parts, index.header_size))
    head, header, body, _ = builder.pack()
    assert list(load_head(head).mids) == list(range(len(messages)))
    cut = needle_of(needle)
    found: set[int] = set()
    for column in (header, body) if headers else (body,):
        for _ in load_field(column).find(cut, len(messages), found):
            pass
    return found, cut.exact


def found_by_reading(messages: list[bytes], needle: str, headers: bool) -> set[int]:
    octets = needle.encode("ascii") if needle.isascii() else b""
    indexes = [index_message(message) for message in messages]
    return {
        number
        for number, (message, index) in enumerate(zip(messages, indexes, strict=True))
        if contains(message, index.parts, index.header_size, needle, octets, headers)
    }


@settings(max_examples=300, deadline=None)
@given(st.lists(MESSAGES, min_size=1, max_size=4), st.data())
def test_the_index_never_misses_and_is_exact_for_one_run(messages: list[bytes], data: st.DataObject) -> None:
    text = fold(data.draw(st.sampled_from(messages)).decode(data.draw(st.sampled_from(["utf-8", "latin-1"])), "replace"))
    start = data.draw(st.integers(0, max(0, len(text) - 1)))
    cut = text[start : start + data.draw(st.integers(1, 20))]
    for needle in {cut, *runs(cut)[:3], fold(data.draw(st.text(min_size=1, max_size=4)))} - {""}:
        for headers in (False, True):
            by_terms, exact = found_by_terms(messages, needle, headers)
            by_reading = found_by_reading(messages, needle, headers)
            assert by_reading <= by_terms
            if exact:
                assert by_terms == by_reading


@given(st.text())
@example("日本語、テキスト")
def test_runs_make_up_the_text_and_alternate(text: str) -> None:
    cut = runs(text)
    assert "".join(cut) == text
    kinds = [is_gap(run) is not None for run in cut]
    assert all(one is not other for one, other in pairwise(kinds))


@pytest.mark.parametrize("length", [WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + OVERLAP, 1000, 1001])
def test_long_runs_are_found_by_any_part(length: int) -> None:
    rng = random.Random(length)
    long = "".join(rng.choice("abcdefgh") for _ in range(length))
    messages = [b"Subject: s\r\n\r\n" + long.encode() + b"\r\n", b"Subject: s\r\n\r\nother\r\n"]
    for size in (1, 5, OVERLAP, OVERLAP + 1, WINDOW, length):
        for start in {0, 1, OVERLAP, length // 2, max(0, length - size)}:
            needle = long[start : start + size]
            by_terms, exact = found_by_terms(messages, needle, False)
            assert 0 in by_terms
            assert exact is (len(needle) <= OVERLAP)


@given(st.binary(max_size=300))
def test_a_column_of_any_octets_is_refused_or_read(octets: bytes) -> None:
    for load in (load_field, load_head):
        with pytest.raises(ValueError):
            load(octets)
