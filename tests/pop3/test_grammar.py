"""The pieces without a socket: lines, numbers, dots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.pop3.grammar import MAX_LINE, LineBuffer, TooLong, byte_stuff, message_number, split_command, top


@given(st.lists(st.binary(max_size=80).filter(lambda b: b"\n" not in b and not b.endswith(b"\r")), max_size=20), st.data())
def test_lines_are_the_same_however_they_arrive(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\r\n" for line in lines)
    buffer, got = LineBuffer(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer.feed(stream[:size])
        stream = stream[size:]
        while (line := buffer.next_line()) is not None:
            got.append(line)
    assert got == lines


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    buffer = LineBuffer()
    buffer.feed(b"x" * (MAX_LINE + 1))
    with pytest.raises(TooLong):
        buffer.next_line()


@given(st.binary(max_size=300))
def test_stuffed_octets_come_back(octets: bytes) -> None:
    """What a client makes of the response is the message, with CRLF at the end."""
    octets = octets.replace(b"\r", b"").replace(b"\n", b"\r\n")
    stuffed = byte_stuff(octets)
    assert stuffed.endswith(b".\r\n")
    body = stuffed[:-3]
    lines = body.split(b"\r\n")
    plain = b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)
    assert plain in (octets, octets + b"\r\n")
    assert b"\r\n.\r\n" not in body
    assert not body.startswith(b".\r\n")


@given(st.binary(max_size=600))
def test_any_command_line_is_split(line: bytes) -> None:
    keyword, argument = split_command(line)
    assert keyword == keyword.upper()
    assert 0 <= message_number(argument) < 10**10


@given(st.integers(0, 30), st.integers(0, 30))
def test_top_takes_that_many_lines(lines: int, wanted: int) -> None:
    header = b"A: b\r\n\r\n"
    octets = header + b"x\r\n" * lines
    assert top(octets, len(header), wanted) == header + b"x\r\n" * min(lines, wanted)
