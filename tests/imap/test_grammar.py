"""The command grammar: any octets in, commands or precise errors out, memory bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.imap import fetch_items, flags, sequence_set, vanished
from mailstead.imap.grammar import (
    MAX_SKIP,
    MAX_TEXT,
    Arguments,
    BadSyntax,
    Collector,
    Line,
    LiteralRequest,
    Unbearable,
    split_command,
)


def collect(data: bytes, chunk: int = 0, limit: int = 1000) -> list[Line | str]:
    """Feed octets, accepting small literals, and give lines and errors."""
    collector = Collector()
    out: list[Line | str] = []
    step = chunk or max(len(data), 1)
    for start in range(0, len(data), step):
        collector.feed(data[start : start + step])
        while True:
            try:
                item = collector.next()
            except BadSyntax as error:
                out.append(str(error))
                continue
            except Unbearable:
                out.append("unbearable")
                return out
            if item is None:
                break
            if isinstance(item, LiteralRequest):
                if item.size <= limit:
                    collector.accept()
                else:
                    out.append("refused")
                    collector.refuse()
            else:
                out.append(item)
    return out


@pytest.mark.parametrize("chunk", [0, 1, 2, 3, 7])
def test_literals_are_collected_whatever_the_packets(chunk: int) -> None:
    data = b"a LOGIN {5+}\r\nal}ce {3}\r\nx\r\n\r\nb NOOP\r\nc X ~{2+}\r\n\0\1 (y)\r\n"
    lines = collect(data, chunk)
    assert lines == [
        Line(b"a LOGIN \x000\x00 \x001\x00", [b"al}ce", b"x\r\n"]),
        Line(b"b NOOP", []),
        Line(b"c X \x00~0\x00 (y)", [b"\0\1"]),
    ]


@pytest.mark.parametrize("chunk", [0, 1, 5])
def test_a_refused_literal_is_skipped_with_the_rest_of_its_command(chunk: int) -> None:
    data = b"a X {2000+}\r\n" + b"z" * 2000 + b" {3+}\r\nabc more\r\nb NOOP\r\n"
    assert collect(data, chunk) == ["refused", Line(b"b NOOP", [])]


@pytest.mark.parametrize("chunk", [0, 1, 5])
def test_a_refused_synchronising_literal_never_comes(chunk: int) -> None:
    assert collect(b"a X {2000}\r\nb NOOP\r\n", chunk) == ["refused", Line(b"b NOOP", [])]


def test_an_endless_line_is_refused_once_and_then_given_up() -> None:
    collector = Collector()
    errors = []
    for _ in range(200):
        collector.feed(b"x" * 16384)
        try:
            assert collector.next() is None
        except BadSyntax as error:
            errors.append(str(error))
        except Unbearable:
            break
        assert collector.buffered <= MAX_TEXT + 16384
    else:
        pytest.fail("never given up")
    assert errors == ["Command line too long"]


def test_after_a_long_line_the_next_command_is_read() -> None:
    assert collect(b"a " + b"x" * (MAX_TEXT + 5) + b"\r\nb NOOP\r\n", 4096) == [
        "Command line too long", Line(b"b NOOP", []),
    ]  # fmt: skip


def test_text_between_literals_counts_together() -> None:
    data = b"a X" + (b" " + b"y" * 30000 + b" {1+}\r\nz") * 3 + b"\r\nb NOOP\r\n"
    assert "Command line too long" in collect(data)


def test_nul_in_a_line_is_refused() -> None:
    assert collect(b"a NO\0OP\r\nb NOOP\r\n") == ["NUL in command", Line(b"b NOOP", [])]


def test_a_literal_of_4_gigabytes_is_only_announced() -> None:
    collector = Collector()
    collector.feed(b"a APPEND INBOX {4294967296}\r\n")
    request = collector.next()
    assert isinstance(request, LiteralRequest)
    assert request.size == 1 << 32
    assert request.synchronising


def test_skipping_for_a_refused_command_has_an_end() -> None:
    collector = Collector()
    collector.feed(b"a X {10+}\r\n")
    assert isinstance(collector.next(), LiteralRequest)
    collector.refuse()
    collector.feed(b"0123456789 {%d+}\r\n" % (MAX_SKIP + 1))
    with pytest.raises(Unbearable):
        collector.next()


@given(st.binary(max_size=400), st.integers(1, 50))
@settings(max_examples=400, deadline=None)
def test_any_octets_give_lines_or_refusals(data: bytes, chunk: int) -> None:
    for item in collect(data, chunk):
        if isinstance(item, Line):
            assert b"\n" not in item.text
            try:
                split_command(item)
            except BadSyntax:
                pass


_bits = st.sampled_from([
    b"a1", b" ", b"FETCH", b"UID", b"(", b")", b"[", b"]", b"{3+}\r\nabc", b"{3}\r\nabc", b"\r\n", b'"', b"\\", b"*",
    b"1:*", b"4294967295", b"99999999999", b"BODY.PEEK[", b"HEADER.FIELDS", b"FLAGS", b"\\Seen", b"<0.10>", b".", b",",
    b"SEARCH", b"OR", b"NOT", b"$", b"~{1+}\r\n\0", b"\xff", b"\0", b"CHANGEDSINCE", b"LIST", b"RETURN", b"%",
])  # fmt: skip


@given(st.lists(_bits, max_size=60), st.integers(1, 30))
@settings(max_examples=400, deadline=None)
def test_grammar_like_octets_never_raise_anything_else(parts: list[bytes], chunk: int) -> None:
    data = b"".join(parts)
    whole = collect(data, 0)
    assert collect(data, chunk) == whole
    for item in whole:
        if not isinstance(item, Line):
            continue
        for parse in (
            fetch_items.parse, Arguments.flags, Arguments.astring, Arguments.list_mailbox, Arguments.date_time,
            Arguments.nstring, lambda a: sequence_set.parse(a.sequence_set()),
        ):  # fmt: skip
            for start in range(min(len(item.text), 12)):
                try:
                    parse(Arguments(item.text, start, item.literals))
                except BadSyntax:
                    pass


pairs = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6)


@given(pairs, st.sets(st.integers(1, 30)))
def test_uid_sets_find_what_a_plain_reading_finds(ranges: list[tuple[int, int]], there: set[int]) -> None:
    uids = sorted(there)
    found = sequence_set.uids_of(sequence_set.by_uid(ranges, uids, len(uids)), uids)
    if not uids:
        assert found == []
        return
    expected: set[int] = set()
    for first, last in ranges:
        low, high = sorted((first or uids[-1], last or uids[-1]))
        expected |= {uid for uid in uids if low <= uid <= high}
    assert found == sorted(expected)


@given(st.sets(st.integers(1, 60)), pairs, st.integers(0, 10))
def test_vanished_is_the_complement(there: set[int], ranges: list[tuple[int, int]], floor: int) -> None:
    uids = sorted(there)
    octets = vanished.missing(ranges, uids, len(uids), 61, floor)
    named: set[int] = set()
    for low, high in sequence_set.parse(octets) if octets else ():
        assert not named & set(range(low, high + 1))
        named |= set(range(low, high + 1))
    wanted: set[int] = set()
    for first, last in ranges:
        low, high = sorted((first or 60, last or 60))
        wanted |= set(range(low, high + 1))
    assert named == {uid for uid in wanted if uid > floor and 0 < uid <= 60} - there


@given(st.lists(st.integers(1, 2000), max_size=50))
def test_compact_sets_say_the_same_numbers_in_order(numbers: list[int]) -> None:
    octets = sequence_set.compact(numbers)
    out = [n for low, high in (sequence_set.parse(octets) if octets else ()) for n in range(low, high + 1)]
    assert out == numbers


def test_numbers_beyond_the_mailbox_are_refused_but_for_what_is_new() -> None:
    for octets in (b"4", b"1:4", b"5:*", b"*"):
        with pytest.raises(BadSyntax):
            sequence_set.by_number(sequence_set.parse(octets), 0 if octets == b"*" else 3)
    assert sequence_set.by_number(sequence_set.parse(b"4:*"), 3) == []
    assert sequence_set.by_number(sequence_set.parse(b"*:2,1"), 3) == [(0, 3)]


@pytest.mark.parametrize("octets", [b"0", b"1:0", b"4294967296", b"1::2", b"1,", b",1", b"1:", b"*:*:*"])
def test_bad_sets_are_refused(octets: bytes) -> None:
    with pytest.raises(BadSyntax):
        sequence_set.parse(octets)


def test_fetch_lists_that_say_the_same_are_the_same() -> None:
    keys = {fetch_items.parse(Arguments(text)).key for text in (b"(flags uid)", b"(FLAGS UID)", b"(FLAGS UID FLAGS)")}
    assert keys == {b"FLAGS UID"}
    assert fetch_items.parse(Arguments(b"ALL")).key == b"FLAGS INTERNALDATE RFC822.SIZE ENVELOPE"


@pytest.mark.parametrize(
    "text",
    [b"()", b"(FLAGS", b"BODY[", b"BODY[]<1>", b"BODY[]<0.0>", b"BODY[0]", b"BODY[MIME]", b"BODY[1.FOO]", b"ENVELOP",
     b"BODY[HEADER.FIELDS ()]", b"BINARY[HEADER]", b"BODY[" + b"1." * 80 + b"1]", b"(FLAGS  UID)"],
)  # fmt: skip
def test_broken_fetch_items_are_refused(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        arguments = Arguments(text)
        fetch_items.parse(arguments)
        arguments.end()


def test_flags_are_normalised() -> None:
    assert flags.normalise(["\\SEEN", "\\seen", "$Junk", "\\Recent"]) == ("\\Seen", "$Junk")
    with pytest.raises(BadSyntax):
        flags.normalise(["\\Bogus"])


@pytest.mark.parametrize("size", [4096, 1 << 20])
@pytest.mark.parametrize("fault", [b"x" * (MAX_TEXT + 5), b"\0"])
def test_what_follows_a_refused_line_unasked_is_no_command(fault: bytes, size: int) -> None:
    found = collect(b"a APPEND " + fault + b" {12+}\r\nx DELETE y\r\n\r\nb NOOP\r\n", size)
    assert isinstance(found[0], str)
    assert found[1:] == [Line(b"b NOOP", [])]
