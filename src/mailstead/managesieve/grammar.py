"""ManageSieve command lines (RFC 5804 section 4).

Invariants: a quoted string has at most 1 024 octets, a command at most ``MAX_LINE`` outside of literals, a literal at most
``MAX_LITERAL`` (``MAX_LITERAL_FRESH`` before the login) and a command ``MAX_STRINGS``; a literal that is too large is
skipped and refused, so that nothing of it is read as commands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 8 * 1024
MAX_LITERAL = 256 * 1024
MAX_LITERAL_FRESH = 16 * 1024
MAX_SKIPPED = 16 << 20
MAX_STRINGS = 8
MAX_QUOTED = 1024

_LITERAL_END = re.compile(rb"\{([0-9]{1,10})\+?\}\r?\n\Z")
_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9_-]{0,63}")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_NUMBER = re.compile(rb"[0-9]{1,10}")
_UNQUOTE = re.compile(rb"\\(.)", re.S)


class BadCommand(Exception):
    """The client's fault; the text goes into NO."""


class Unbearable(Exception):
    """The connection cannot go on."""


@dataclass(slots=True)
class Command:
    """A command's word, upper case, and its arguments: octets for strings, int for numbers."""

    name: bytes
    arguments: list[bytes | int]


class Collector:
    """Collects octets and gives whole commands."""

    def __init__(self) -> None:
        #: Octets that a literal may have.
        self.limit = MAX_LITERAL_FRESH
        self._data = b""
        self._at = 0
        self._text: list[bytes] = []
        self._literals: list[bytes] = []
        self._wanted = -1
        self._skip = False
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Octets from the client."""
        # What is taken is cut off here alone: a line at a time it would be quadratic.
        rest = self._data[self._at :]
        self._data, self._at = rest + data if rest else data, 0

    def clear(self) -> None:
        """Forget what came and was not taken (RFC 5804 section 2.2)."""
        self._data, self._at = b"", 0
        self._text, self._literals, self._wanted, self._skip, self._size = [], [], -1, False, 0

    def next_line(self) -> bytes | None:
        """A line or a string outside of a command (SASL); None where it is not whole. Raises BadCommand, Unbearable."""
        command = self._collect()
        if command is None:
            return None
        text, literals = command
        if text.strip() == b'"*"' or text.strip() == b"*":
            return b"*"
        strings = _arguments(text, literals, 0)
        if len(strings) != 1 or not isinstance(strings[0], bytes):
            raise BadCommand("Expected a string")
        return strings[0]

    def next(self) -> Command | None:
        """The next whole command; None where there is none. Raises BadCommand, Unbearable."""
        found = self._collect()
        if found is None:
            return None
        text, literals = found
        word = _WORD.match(text)
        if word is None:
            raise BadCommand("Expected a command")
        return Command(word[0].upper(), _arguments(text, literals, word.end()))

    def _collect(self) -> tuple[bytes, list[bytes]] | None:
        while True:
            left = len(self._data) - self._at
            if self._wanted >= 0:
                if self._skip:
                    taken = min(left, self._wanted)
                    self._at += taken
                    self._wanted -= taken
                    if self._wanted:
                        return None
                    self._literals.append(b"")
                elif left < self._wanted:
                    return None
                else:
                    self._literals.append(self._data[self._at : self._at + self._wanted])
                    self._at += self._wanted
                self._wanted = -1
                continue
            end = self._data.find(b"\n", self._at)
            if end < 0:
                if left + self._size > MAX_LINE:
                    raise Unbearable("Line too long")
                return None
            line = self._data[self._at : end + 1]
            self._at = end + 1
            self._size += len(line)
            if self._size > MAX_LINE:
                raise Unbearable("Line too long")
            found = _LITERAL_END.search(line)
            if found is not None:
                size = int(found[1])
                if size > self.limit or len(self._literals) >= MAX_STRINGS:
                    if size > MAX_SKIPPED or len(self._literals) >= MAX_STRINGS:
                        raise Unbearable("Literal too large")
                    self._skip = True
                # A blank in place of the literal's head, and a mark that no line can contain.
                self._text.append(line[: found.start()] + b"\x00")
                self._wanted = size
                continue
            text = b"".join(self._text) + line.rstrip(b"\r\n")
            literals, skipped = self._literals, self._skip
            self._text, self._literals, self._size, self._skip = [], [], 0, False
            if skipped:
                raise BadCommand("Literal too large")
            if text.count(b"\x00") != len(literals):
                raise BadCommand("NUL in a command")
            return text, literals


def _arguments(text: bytes, literals: list[bytes], at: int) -> list[bytes | int]:
    out: list[bytes | int] = []
    waiting = iter(literals)
    while at < len(text):
        if text[at : at + 1] == b" ":
            at += 1
            continue
        if text[at : at + 1] == b"\x00":
            out.append(next(waiting))
            at += 1
        elif (found := _QUOTED.match(text, at)) is not None:
            if len(found[1]) > MAX_QUOTED:
                raise BadCommand("Quoted string too long")
            out.append(_UNQUOTE.sub(rb"\1", found[1]))
            at = found.end()
        elif (found := _NUMBER.match(text, at)) is not None:
            out.append(int(found[0]))
            at = found.end()
        else:
            raise BadCommand("Syntax error")
        if at < len(text) and text[at : at + 1] != b" ":
            raise BadCommand("Syntax error")
        if len(out) > MAX_STRINGS:
            raise BadCommand("Too many arguments")
    return out


def string(octets: bytes) -> bytes:
    """As a quoted string where possible, else as a literal."""
    if len(octets) <= MAX_QUOTED and not any(byte in octets for byte in b"\r\n\x00"):
        return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b"{%d}\r\n%b" % (len(octets), octets)
