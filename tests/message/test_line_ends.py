"""Line ends come out as CRLF, however a message is cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailstead.message.line_ends import LineEnds, canonical

pieces = st.lists(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc"]), max_size=6).map(b"".join), max_size=8)


@given(pieces)
def test_pieces_give_what_the_whole_gives(parts: list[bytes]) -> None:
    ends = LineEnds()
    made = b"".join([ends.feed(part) for part in parts] + [ends.end()])
    assert made == canonical(b"".join(parts))
    assert made.replace(b"\r\n", b"").isalpha() or not made.replace(b"\r\n", b"")
