"""Hostile messages: nothing raises, offsets hold, renderings stay well formed, time stays linear."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.message import decode, sections
from mailstead.message.addresses import parse_addresses, split_address
from mailstead.message.dates import parse_date
from mailstead.message.decode import decode_header, searchable_text, text_of, walk
from mailstead.message.headers import field_value, header_end, iter_fields
from mailstead.message.html_text import html_to_text
from mailstead.message.index import index_message
from mailstead.message.mime import MAX_DEPTH, MAX_PARTS, Part
from mailstead.message.sections import filter_header_fields, load_parts
from mailstead.message.threading import base_subject

from .imap_lists import read_list

FRAGMENTS = st.sampled_from([
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b'"', b"\\", b"(", b")", b"<", b">", b"@", b",",
    b"--b", b"--b--", b"\r\n--b\r\n", b"\r\n--c\r\n", b"\r\n--b--\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Type: multipart/digest; boundary=c\r\n", b"Content-Type: message/rfc822\r\n", b"Content-Type: text/html\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n",
    b"Content-Transfer-Encoding: x-uuencode\r\n", b"begin 644 x\r\n", b"Content-Disposition: attachment; filename*0*=",
    b"utf-8''%e2%82", b"; filename*1=", b"charset=utf-16", b"charset=utf-7", b"From: ", b"To: ", b"Subject: ", b"Date: ",
    b"References: ", b"=?utf-8?q?", b"=?utf-8?b?", b"?=", b"=E2=82", b"=?big5?B?pA==?=", b"\xff\xfe", b"\xe2\x82\xac",
    b"<a@b>", b"group: a@b;", b"Mon, 1 Jan 2024 00:00:00 +0000", b"Re: ", b"[x] ", b"(fwd)", b"[fwd: ", b"]", b"> ",
    b"<html><p>", b"&amp;", b"</p>", b"Content-Language: en,\r\n", b"Content-ID: ", b"Content-Location: \"\r\n",
])  # fmt: skip
MESSAGES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(FRAGMENTS, st.binary(max_size=6)), max_size=60).map(b"".join),
)


def check_tree(part: Part, start: int, end: int) -> None:
    assert start <= part.header_start <= part.body_start <= part.body_end <= end
    position = part.body_start
    for child in part.children:
        assert child.header_start >= position
        check_tree(child, part.body_start, part.body_end)
        position = child.body_end
    if part.embedded is not None:
        assert part.embedded.header_start == part.body_start
        assert part.embedded.body_end == part.body_end
        check_tree(part.embedded, part.body_start, part.body_end)


def check(octets: bytes) -> None:
    index = index_message(octets)
    root = load_parts(index.parts)
    check_tree(root, 0, len(octets))
    assert root.header_start == 0
    assert root.body_end == index.size == len(octets)
    assert root.body_start == index.header_size
    assert len(read_list(index.envelope)) == 10
    read_list(index.body)
    read_list(index.bodystructure)
    assert len(index.preview) <= 200
    assert index.preview.replace("\u200c", "").replace("\u200d", "").isprintable()
    assert len(index.references) <= 50
    assert not index.fields or index.fields.endswith(b"\r\n")
    for value in (index.message_id, index.subject_base, index.sort_from, index.sort_to, index.sort_cc, index.preview):
        value.encode("utf-8")


@given(MESSAGES)
@settings(max_examples=1200, deadline=None)
def test_any_octets_are_indexed(octets: bytes) -> None:
    check(octets)
    assert index_message(octets) == index_message(octets)


@given(MESSAGES)
@settings(max_examples=400, deadline=None)
def test_any_octets_are_decoded(octets: bytes) -> None:
    root = load_parts(index_message(octets).parts)
    for part in walk(root):
        decode.decode_body(octets, part)
        text_of(octets, part).encode("utf-8")
    found = searchable_text(octets, root, 500)
    assert len(found) <= 500
    found.encode("utf-8")


@given(MESSAGES)
@settings(max_examples=600, deadline=None)
def test_any_value_is_read(octets: bytes) -> None:
    for entry in parse_addresses(octets):
        entry.display_name.encode("utf-8")
        entry.addr.encode("utf-8")
    text = decode_header(octets)
    assert not set("\r\n\0") & set(text)
    text.encode("utf-8")
    base_subject(octets).encode("utf-8")
    parse_date(octets)
    split_address(octets.decode("latin-1"))
    html_to_text(octets.decode("latin-1")).encode("utf-8")


@given(MESSAGES)
@settings(max_examples=400, deadline=None)
def test_any_header_is_taken_apart_without_loss(octets: bytes) -> None:
    end = header_end(octets)
    assert 0 <= end <= len(octets)
    header = octets[:end]
    position = 0
    for name, raw, _ in iter_fields(header):
        position = header.index(raw, position) + len(raw)
        assert raw.startswith(name)
    field_value(header, b"Subject")
    for invert in (False, True):
        assert filter_header_fields(header, frozenset({b"SUBJECT", b"TO"}), invert).endswith(b"\r\n")


def test_depth_and_number_of_parts_are_capped() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(5000))
    check(deep)
    root = load_parts(index_message(deep).parts)
    depth = 0
    while root.children:
        root, depth = root.children[0], depth + 1
    assert depth == MAX_DEPTH
    assert root.body_end == len(deep)
    nested = b"Content-Type: message/rfc822\r\n\r\n" * 3000
    check(nested)
    wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5000
    check(wide)
    root = load_parts(index_message(wide).parts)
    assert len(list(walk(root))) <= MAX_PARTS + 1
    assert root.children[-1].body_end == len(wide)


def deep_boundaries(size: int) -> bytes:
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(60))
    return head + b"\r\n--b" * (size // 5)


SHAPES = {
    "false delimiters": lambda n: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\n--bx" * (n // 5),
    "deep with false delimiters": deep_boundaries,
    "parts": lambda n: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\n" * (n // 4),
    "messages": lambda n: b"Content-Type: message/rfc822\n\n" * (n // 30),
    "header without end": lambda n: b"A: b\r\n" * (n // 6),
    "one field": lambda n: b"Subject: " + b"=?utf-8?q?a?= " * (n // 14),
    "commas": lambda n: b"To: " + b"," * n + b"\r\n\r\n",
    "comments": lambda n: b"To: " + b"(" * n + b"\r\n\r\n",
    "quotes": lambda n: b"To: " + b'"\\' * (n // 2) + b"\r\n\r\n",
    "angles": lambda n: b"To: " + b"<" * n + b"\r\n\r\n",
    "words": lambda n: b"To: " + b"a " * (n // 2) + b"@b\r\n\r\n",
    "ats": lambda n: b"To: " + b"a@" * (n // 2) + b"\r\n\r\n",
    "parameters": lambda n: b"Content-Type: text/plain" + b"; a*1*=b" * (n // 8) + b"\r\n\r\n",
    "semicolons": lambda n: b"Content-Type: text/plain" + b"; " * (n // 2) + b"\r\n\r\n",
    "blank header": lambda n: b"Subject:" + b" " * n + b"\r\n\r\n",
    "folds": lambda n: b"Subject:" + b"\r\n " * (n // 3) + b"\r\n\r\n",
    "references": lambda n: b"References: " + b"<a@b>" * (n // 5) + b"\r\n\r\n",
    "re": lambda n: b"Subject: " + b"re: [x] " * (n // 8) + b"\r\n\r\n",
    "html": lambda n: b"Content-Type: text/html\r\n\r\n" + b"<div>" * (n // 5),
    "long line": lambda n: b"\r\n" + b"x" * n,
    "quoted lines": lambda n: b"\r\n" + b"> x\r\n" * (n // 5),
    "received": lambda n: b"Received: x\r\n" * (n // 13) + b"\r\n",
}


@pytest.mark.parametrize("name", SHAPES)
def test_time_is_linear(name: str) -> None:
    small, large = SHAPES[name](100_000), SHAPES[name](1_600_000)
    index_message(small)

    def best(octets: bytes) -> float:
        times = []
        for _ in range(3):
            started = time.thread_time()
            index_message(octets)
            times.append(time.thread_time() - started)
        return min(times)

    # Sixteen times the octets; a quadratic step would take 256 times as long. The floor hides the clock's grain.
    assert best(large) < 60 * max(best(small), 0.002)


@pytest.mark.parametrize("filler", [b"\n--b", b"--b\n", b"\r\n", b"A: b\n", b"<div>", b"=?utf-8?q?x?= ", b"\0", b"\xff"])
def test_searching_hostile_text_is_bounded(filler: bytes) -> None:
    octets = b"Content-Type: text/html\r\n\r\n" + filler * (400_000 // len(filler))
    started = time.thread_time()
    searchable_text(octets, load_parts(index_message(octets).parts))
    assert time.thread_time() - started < 60


def test_fifty_megabytes_with_the_worst_nesting() -> None:
    octets = deep_boundaries(50_000_000)
    started = time.thread_time()
    index = index_message(octets)
    assert time.thread_time() - started < 120
    assert index.size == len(octets)
    assert sections.load_parts(index.parts).body_end == len(octets)
