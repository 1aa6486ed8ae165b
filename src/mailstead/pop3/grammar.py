"""POP3 command lines (RFC 1939 section 3, RFC 2449 section 4).

Invariants: a line of more than 255 octets is refused (AUTH answers may have 12 KB, see sasl.py); a line that ends in
LF alone is taken as one, for old clients send it; nothing else is accepted as a line end.
"""

from __future__ import annotations

MAX_LINE = 512
MAX_ANSWER = 16 * 1024


class TooLong(Exception):
    """A line without an end in sight."""


class LineBuffer:
    """Collects octets and gives lines without their ends."""

    __slots__ = ("_data", "limit")

    def __init__(self) -> None:
        self._data = b""
        self.limit = MAX_LINE

    def feed(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data

    def next_line(self) -> bytes | None:
        """The next line, None where it is not whole yet. Raises TooLong."""
        end = self._data.find(b"\n")
        if end < 0:
            if len(self._data) > self.limit:
                raise TooLong
            return None
        if end > self.limit:
            raise TooLong
        line, self._data = self._data[:end], self._data[end + 1 :]
        return line[:-1] if line.endswith(b"\r") else line

    def clear(self) -> None:
        self._data = b""


def split_command(line: bytes) -> tuple[bytes, bytes]:
    """Keyword in upper case and its argument text."""
    keyword, _, argument = line.partition(b" ")
    return keyword.upper(), argument


def message_number(argument: bytes) -> int:
    """A message number; 0 where it is none."""
    text = argument.strip(b" ")
    return int(text) if text.isdigit() and len(text) <= 10 else 0


def byte_stuff(octets: bytes) -> bytes:
    """A multi-line response: dots doubled at the start of lines, CRLF at the end, and the final dot (RFC 1939 3)."""
    if b"\n." in octets:
        octets = octets.replace(b"\n.", b"\n..")
    if octets.startswith(b"."):
        octets = b"." + octets
    if octets and not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    return octets + b".\r\n"


def top(octets: bytes, header_size: int, lines: int) -> bytes:
    """Header, blank line and the first lines of the body (RFC 1939 TOP)."""
    end = header_size
    for _ in range(lines):
        found = octets.find(b"\n", end)
        if found < 0:
            return octets
        end = found + 1
    return octets[:end]
