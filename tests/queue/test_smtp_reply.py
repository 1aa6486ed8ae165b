"""Replies of servers, well formed and not (RFC 5321 4.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.queue.outcome import status_of
from mailstead.queue.smtp_reply import MAX_LINE, MAX_LINES, Reply, ReplyError, ReplyParser


def test_replies_of_one_and_more_lines() -> None:
    parser = ReplyParser()
    assert parser.feed(b"220 hello\r\n250-a\r\n250-b c\r\n250") == [Reply(220, ("hello",))]
    assert not parser.empty
    assert parser.feed(b"\r\n") == [Reply(250, ("a", "b c", ""))]
    assert parser.empty


@given(st.lists(st.tuples(st.integers(200, 599), st.lists(st.text("abc 12.", max_size=20), min_size=1, max_size=4))), st.data())
def test_replies_do_not_depend_on_how_the_octets_arrive(replies: list[tuple[int, list[str]]], data: st.DataObject) -> None:
    wire = "".join(
        "".join(f"{code}{' ' if i == len(lines) - 1 else '-'}{line}\r\n" for i, line in enumerate(lines)) for code, lines in replies
    ).encode()
    expected = [Reply(code, tuple(line.strip() for line in lines)) for code, lines in replies]
    parser, got, at = ReplyParser(), [], 0
    while at < len(wire):
        step = data.draw(st.integers(1, 40))
        got += parser.feed(wire[at : at + step])
        at += step
    assert got == expected and parser.empty


@given(st.binary(max_size=300))
def test_any_octets_are_replies_or_a_reply_error(octets: bytes) -> None:
    parser = ReplyParser()
    try:
        for reply in parser.feed(octets):
            assert 200 <= reply.code <= 599 and reply.text.isprintable()
    except ReplyError:
        pass


@pytest.mark.parametrize(
    "octets",
    [
        b"hello\r\n",
        b"199 x\r\n",
        b"600 x\r\n",
        b"250x\r\n",
        b"\r\n",
        b"250-a\r\n251 b\r\n",
        b"x" * (MAX_LINE + 1),
        b"250-x\r\n" * (MAX_LINES + 1),
    ],
)
def test_nonsense_is_refused(octets: bytes) -> None:
    with pytest.raises(ReplyError):
        ReplyParser().feed(octets)


@pytest.mark.parametrize(
    ("code", "line", "stage", "status"),
    [
        (550, "5.7.1 no", "RCPT", "5.7.1"),
        (550, "4.7.1 no", "RCPT", "5.1.1"),
        (550, "no", "RCPT", "5.1.1"),
        (452, "full", "RCPT", "4.2.2"),
        (552, "large", "end of data", "5.3.4"),
        (421, "bye", "MAIL", "4.3.2"),
        (250, "2.0.0 ok", "end of data", "2.0.0"),
        (250, "2.0.0ok", "end of data", "2.0.0"),
        (451, "", "MAIL", "4.0.0"),
    ],
)
def test_status_codes(code: int, line: str, stage: str, status: str) -> None:
    assert status_of(Reply(code, (line,)), stage) == status


def test_text_is_one_line_without_controls() -> None:
    (reply,) = ReplyParser().feed(b"550-a\x00b\x1b[31m\r\n550 \xff\x80c\r\n")
    assert reply.text.startswith("550 a b [31m ") and reply.text.isprintable()
