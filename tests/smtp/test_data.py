"""The end of data and the stuffing, however the octets are cut."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from mailstead.smtp.data import DataScanner, Incoming


def scan(octets: bytes, cuts: list[int]) -> tuple[bytes, bytes] | None:
    """``(message, rest)`` of octets fed in pieces, None without an end."""
    scanner, out = DataScanner(), []
    edges = sorted({min(cut, len(octets)) for cut in cuts} | {0, len(octets)})
    for low, high in pairwise(edges):
        piece, end = scanner.feed(octets[low:high])
        out.append(piece)
        if end >= 0:
            return b"".join(out), octets[low + end :]
    return None


def reference(octets: bytes) -> tuple[bytes, bytes] | None:
    """The same, line by line, as RFC 5321 section 4.5.2 says it."""
    lines, rest = [], octets
    while True:
        line, separator, rest = rest.partition(b"\r\n")
        if not separator:
            return None
        if line == b".":
            return b"".join(lines), rest
        lines.append((line[1:] if line.startswith(b".") else line) + b"\r\n")


_PIECES = [b"\r", b"\n", b".", b"\r\n", b"..", b"\r\n.", b"a", b"\r\n.\r\n", b"text\r\n", b"\0"]
_soup = st.lists(st.sampled_from(_PIECES), max_size=30).map(b"".join)


@given(_soup, st.lists(st.integers(0, 80), max_size=12))
@example(b".\r\n", [])
@example(b".\r\n", [1, 2])
@example(b"..\r\n.\r\nQUIT\r\n", [1, 2, 3, 4, 5, 6, 7])
@example(b"\r\n.\r\n", [1, 2, 3, 4])
@example(b"\n.\n\r.\r\r\n.\n\n.\r\n\r\n.\r\n", list(range(20)))
def test_cutting_changes_nothing(octets: bytes, cuts: list[int]) -> None:
    assert scan(octets, cuts) == reference(octets)


@given(_soup | st.binary(max_size=60))
def test_octet_by_octet_with_a_sure_end(octets: bytes) -> None:
    whole = octets + b"\r\n.\r\nrest"
    assert scan(whole, list(range(len(whole)))) == scan(whole, []) == reference(whole)


@given(_soup | st.binary(max_size=60), st.lists(st.integers(0, 80), max_size=12))
def test_bare_newlines_are_found_however_cut(octets: bytes, cuts: list[int]) -> None:
    incoming = Incoming(0, True, lambda: None)  # type: ignore[arg-type,return-value]
    edges = sorted({min(cut, len(octets)) for cut in cuts} | {0, len(octets)})
    for low, high in pairwise(edges):
        incoming.add(octets[low:high])
    incoming.finish()
    bare = re.search(rb"\r(?!\n)|(?<!\r)\n", octets) is not None
    assert incoming.bare == bare
    if not bare:
        assert incoming.octets() == octets


def test_too_large_is_forgotten_but_counted() -> None:
    incoming = Incoming(10, True, lambda: None)  # type: ignore[arg-type,return-value]
    incoming.add(b"12345678\r\n")
    assert not incoming.failed
    incoming.add(b"x")
    assert incoming.too_large
    assert incoming.octets() == b""
    assert incoming.size == 11
