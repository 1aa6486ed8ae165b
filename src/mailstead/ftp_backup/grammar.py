"""FTP on the control connection: lines to commands, addresses, lines of listings (RFC 959, 2428, 3659).

Invariants: a line has at most ``MAX_LINE`` octets; Telnet's signals before ABOR and STAT are taken out; an address for data is a
literal one and a port of one's own (1024 and above).
"""

from __future__ import annotations

import ipaddress
import re
import time

MAX_LINE = 4096
_TELNET = re.compile(rb"\xff[\xf0-\xfe]")
_SIX = re.compile(r"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})\Z")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SyntaxRefused(Exception):
    """An argument that is none; ``code`` is the reply's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class LineTooLong(Exception):
    """A line without an end in sight."""


class Lines:
    """Collects octets and gives lines without their ends."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> None:
        """More octets."""
        self._data += data

    def next(self) -> bytes | None:
        """The next line, None where it is not whole yet. Raises LineTooLong."""
        end = self._data.find(b"\n")
        if end > MAX_LINE or (end < 0 and len(self._data) > MAX_LINE):
            raise LineTooLong
        if end < 0:
            return None
        line, self._data = self._data[:end], self._data[end + 1 :]
        return line[:-1] if line.endswith(b"\r") else line

    def clear(self) -> None:
        """Forget what has come (before TLS)."""
        self._data = b""


def split_command(line: bytes) -> tuple[str, str]:
    """Command in upper case and its argument; octets that are no UTF-8 stand as surrogates, so that they match nothing."""
    text = _TELNET.sub(b"", line).decode("utf-8", "surrogateescape")
    command, _, argument = text.partition(" ")
    return command.upper(), argument


def read_port(argument: str) -> tuple[str, int]:
    """RFC 959 PORT: h1,h2,h3,h4,p1,p2. Raises SyntaxRefused."""
    found = _SIX.match(argument.strip())
    numbers = [int(part) for part in found.groups()] if found else []
    if not numbers or max(numbers) > 255:
        raise SyntaxRefused(501, "an address is six numbers from 0 to 255")
    return ".".join(map(str, numbers[:4])), numbers[4] << 8 | numbers[5]


def read_eprt(argument: str) -> tuple[str, int]:
    """RFC 2428 section 2: <d>protocol<d>address<d>port<d>. Raises SyntaxRefused."""
    if len(argument) < 2 or not 33 <= ord(argument[0]) <= 126:
        raise SyntaxRefused(501, "EPRT has the form |1|132.235.1.2|6275|")
    parts = argument.split(argument[0])
    if len(parts) != 5 or parts[4] or not parts[3].isdigit() or len(parts[3]) > 5:
        raise SyntaxRefused(501, "EPRT has the form |1|132.235.1.2|6275|")
    if parts[1] not in ("1", "2"):
        raise SyntaxRefused(522, "network protocol not supported, use (1,2)")
    try:
        address = ipaddress.ip_address(parts[2])
    except ValueError:
        raise SyntaxRefused(501, "that is no address") from None
    if address.version != (4 if parts[1] == "1" else 6) or int(parts[3]) > 65_535:
        raise SyntaxRefused(501, "the address is not of that protocol")
    return str(address), int(parts[3])


def stamp(seconds: int) -> str:
    """RFC 3659 section 2.3: a time in UTC."""
    try:
        return time.strftime("%Y%m%d%H%M%S", time.gmtime(max(0, seconds)))
    except (ValueError, OverflowError, OSError):
        return "19700101000000"


def unix_line(name: str, *, directory: bool, size: int, modified: int, now: float) -> str:
    """A line of LIST, as most clients read it."""
    try:
        when = time.gmtime(max(0, modified))
    except (ValueError, OverflowError, OSError):
        when = time.gmtime(0)
    recent = abs(now - modified) < 180 * 86_400
    clock = f"{when.tm_hour:02d}:{when.tm_min:02d}" if recent else f" {when.tm_year}"
    mode = "drwxr-x---" if directory else "-rw-r-----"
    return f"{mode} 1 mailstead mailstead {size:>12} {MONTHS[when.tm_mon - 1]} {when.tm_mday:>2} {clock} {name}"
