"""Lines of the control connection: what a stranger sends does no harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.ftp_backup.grammar import Lines, LineTooLong, SyntaxRefused, read_eprt, read_port, split_command, unix_line


@given(st.binary(max_size=300))
def test_any_octets_are_a_command_or_refused(octets: bytes) -> None:
    lines = Lines()
    lines.feed(octets)
    try:
        while (line := lines.next()) is not None:
            command, argument = split_command(line)
            assert "\n" not in command + argument
            for read in (read_port, read_eprt):
                try:
                    _, port = read(argument)
                except SyntaxRefused as refused:
                    port = 0 if refused.code in (501, 522) else -1
                assert 0 <= port <= 65_535
    except LineTooLong:
        raise AssertionError("so short a line is not too long") from None


def test_a_line_without_an_end_is_refused() -> None:
    lines = Lines()
    lines.feed(b"x" * 5000)
    with pytest.raises(LineTooLong):
        lines.next()


@given(st.text(), st.integers(), st.integers())
def test_a_listings_line_is_made_of_anything(name: str, size: int, modified: int) -> None:
    assert unix_line(name, directory=False, size=size, modified=modified, now=0.0).endswith(name)
