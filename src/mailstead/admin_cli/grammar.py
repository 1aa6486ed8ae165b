"""Lines of the administration protocol: into words, and octets into lines.

Invariants:
- Every line within the limits gives words or a CommandError that says what is wrong; nothing is guessed.
- A word is written bare with backslash escapes, in single quotes (all literal) or in double quotes (backslash escapes the quote and
  itself); a list stands in parentheses.
- Telnet's IAC sequences are passed over and never answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 64 * 1024
"""Octets of a line, its end not counted; more, and the connection is closed."""
MAX_WORDS = 2048
MAX_TEXT = 4 * 1024 * 1024
"""Octets of a multi-line text."""

_IAC, _SB, _SE = 255, 250, 240
#: What stands for itself, at the top and in a list, and between double quotes.
_bare, _bare_in_list, _between = (re.compile(form).match for form in (r"[^ \t'\"\\]+", r"[^ \t'\"\\)]+", r"[^\"\\]+"))


class CommandError(Exception):
    """A command that is answered `-ERR:`; the text is for the administrator."""


class LineTooLong(Exception):
    """More than MAX_LINE octets without an end: the connection cannot be followed any further."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word; `items` are the words of a list in parentheses, else None. `quoted`: never a keyword."""

    text: str
    quoted: bool = False
    items: tuple[str, ...] | None = None

    @property
    def keyword(self) -> str:
        """The word in lower case where it may be a keyword; "" where it may not."""
        return "" if self.quoted or self.items is not None else self.text.lower()

    @property
    def value(self) -> str:
        """The text a setting parses: for a list, the list in parentheses."""
        return self.text if self.items is None else "(" + " ".join(self.items) + ")"

    def same(self, word: str) -> bool:
        """Whether this is the keyword `word`, in any case."""
        return not self.quoted and self.items is None and self.text.lower() == word.lower()


def split(line: str) -> list[Word]:
    """The words of a line. Raises CommandError for an open quote or parenthesis, or too many words."""
    words: list[Word] = []
    items: list[str] | None = None
    place, size = 0, len(line)
    while place < size:
        character = line[place]
        if character in " \t":
            place += 1
            continue
        if character == "(" and items is None:
            items = []
            place += 1
            continue
        if character == ")" and items is not None:
            words.append(Word("", False, tuple(items)))
            items = None
            place += 1
            continue
        text, quoted, place = _word(line, place, items is not None)
        if items is None:
            words.append(Word(text, quoted))
        else:
            items.append(text)
        if len(words) + len(items or ()) > MAX_WORDS:
            raise CommandError(f"a command has at most {MAX_WORDS} words")
    if items is not None:
        raise CommandError("a parenthesis is not closed")
    return words


def _word(line: str, place: int, in_list: bool) -> tuple[str, bool, int]:
    """One word from `place`: its text, whether any of it was quoted, and where it ends."""
    parts: list[str] = []
    quoted = False
    size = len(line)
    plain = _bare_in_list if in_list else _bare
    while place < size:
        run = plain(line, place)
        if run is not None:
            parts.append(run[0])
            place = run.end()
            continue
        character = line[place]
        if character in " \t" or (in_list and character == ")"):
            break
        if character in "'\"":
            text, place = _quoted(line, place)
            parts.append(text)
            quoted = True
        elif character == "\\" and place + 1 < size:
            parts.append(line[place + 1])
            place += 2
        else:
            parts.append(character)
            place += 1
    return "".join(parts), quoted, place


def _quoted(line: str, place: int) -> tuple[str, int]:
    mark = line[place]
    if mark == "'":
        end = line.find("'", place + 1)
        if end < 0:
            raise CommandError("a quote is not closed")
        return line[place + 1 : end], end + 1
    parts: list[str] = []
    place += 1
    size = len(line)
    while place < size:
        run = _between(line, place)
        if run is not None:
            parts.append(run[0])
            place = run.end()
            continue
        character = line[place]
        if character == '"':
            return "".join(parts), place + 1
        # Only the quote and the backslash itself are escaped; a Windows path keeps its backslashes.
        if character == "\\" and place + 1 < size and line[place + 1] in '"\\':
            parts.append(line[place + 1])
            place += 2
        else:
            parts.append(character)
            place += 1
    raise CommandError("a quote is not closed")


class Lines:
    """Octets from the client in, lines out; CRLF and bare LF both end one."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take octets. Raises LineTooLong."""
        self._buffer += data
        if len(self._buffer) > MAX_LINE and b"\n" not in self._buffer:
            raise LineTooLong

    def next(self) -> str | None:
        """The next whole line without its end, or None. Raises LineTooLong."""
        end = self._buffer.find(b"\n")
        if end < 0:
            return None
        if end > MAX_LINE:
            raise LineTooLong
        octets = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if octets.endswith(b"\r"):
            octets = octets[:-1]
        return without_telnet(octets).decode("utf-8", "replace")


def without_telnet(octets: bytes) -> bytes:
    """The octets without telnet commands (RFC 854); 255 is never part of UTF-8."""
    if _IAC not in octets:
        return octets
    kept = bytearray()
    place, size = 0, len(octets)
    while place < size:
        if octets[place] != _IAC:
            kept.append(octets[place])
            place += 1
            continue
        command = octets[place + 1] if place + 1 < size else 0
        if command == _SB:
            end = octets.find(bytes((_IAC, _SE)), place)
            place = size if end < 0 else end + 2
        else:
            place += 3 if 251 <= command <= 254 else 2
    return bytes(kept)
