"""Octets on their way out: dots and line ends, whatever the pieces."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mailstead.queue.body import MessageBody, dot_stuffed, has_long_line
from mailstead.queue.entry import Entry
from mailstead.queue.smtp_engine import safe_address


def undo(wire: bytes) -> bytes:
    """What a server makes of DATA (RFC 5321 4.5.2); fails where it would not end exactly at the end."""
    lines = wire.split(b"\r\n")
    assert lines[-1] == b"" and lines[-2] == b"." and b"." not in lines[:-2]
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines[:-2])


def expected(body: bytes) -> bytes:
    body = re.sub(rb"\r\n|\r|\n", b"\r\n", body)
    return body if not body or body.endswith(b"\r\n") else body + b"\r\n"


@given(st.lists(st.text(".\r\nab", max_size=12).map(str.encode), max_size=8))
def test_pieces_arrive_whole_and_nothing_ends_the_message_early(pieces: list[bytes]) -> None:
    wire = b"".join(dot_stuffed(pieces))
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", wire) is None
    assert undo(wire) == expected(b"".join(pieces))


def test_long_lines_are_seen() -> None:
    assert has_long_line(b"x" * 1000) and has_long_line(b"a\r\n" + b"x" * 1200 + b"\r\n")
    assert not has_long_line(b"x" * 998 + b"\r\n" + b"y" * 998 + b"\r\n")


class Log:
    def __init__(self, files: dict[int, bytes]) -> None:
        self.files = files
        self.largest = 0

    def read_log(self, file: int, offset: int, length: int) -> bytes:
        self.largest = max(self.largest, length)
        return self.files[file & 0xFF][offset : offset + length]


def test_parts_follow_each_other_in_pieces() -> None:
    log = Log({1: b"xx" + b"Subject: a\r\n\r\n", 2: b"y" * 1_000_000})
    body = MessageBody(log, Entry(1, 1, 2, 14, b"O: v\r\n", 2, 1_000_000, "s", 0, 0))
    octets = b"O: v\r\nSubject: a\r\n\r\n" + b"y" * 1_000_000
    assert b"".join(body.pieces()) == octets and body.size == len(octets) and log.largest == 256 * 1024
    assert body.head() == b"O: v\r\nSubject: a\r\n"
    assert body.read(30) == octets[:30]


@given(st.text(max_size=40))
def test_safe_addresses_cannot_leave_their_brackets(address: str) -> None:
    if safe_address(address):
        assert not re.search(r"[\x00-\x1f\x7f]", address)
        if '"' not in address:
            assert not re.search(r"[<> ]", address)


def test_addresses() -> None:
    for good in ("a@b.test", '"a b"@c.test', '"a\\"<b"@c.test', "jürgen@b.test", "a@[127.0.0.1]"):
        assert safe_address(good), good
    for bad in ("a", "a b@c.test", "a>@c.test", '"a"b> x@c.test', "a@b.test\r\nRSET", '"a@b.test', "@b.test"):
        assert not safe_address(bad), bad
