"""From octets to commands (RFC 9051 section 9), without I/O.

Invariants: whatever arrives, no exception but `BadSyntax` leaves this module and memory stays bounded: a command's
text is at most 64 KB, a literal 64 KB unless the session grants more (APPEND), parentheses nest at most 50 deep.
A literal is read only after the session has accepted it, so that a refused one costs nothing.

How: `Collector.feed` takes octets, `Collector.next` gives either a complete `Line` or a `LiteralRequest`, which the
session answers with `accept` or `refuse`.  In the text of a line each literal is replaced by NUL index NUL (a NUL
itself is refused in text), so that `Arguments` can tokenise the whole with compiled regular expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mailstead.message.dates import parse_imap_date_time

MAX_TEXT = 65536
MAX_LITERAL = 65536
MAX_LITERALS_TOTAL = 262144
MAX_LITERAL_COUNT = 256
MAX_DEPTH = 50
#: Octets of an overlong line that are skipped before the connection is given up.
MAX_SKIP = 1 << 20
MAX_NUMBER = 0xFFFFFFFF

_literal_end = re.compile(rb"(~?)\{([0-9]{1,20})(\+?)\}\Z").search
_atom = re.compile(rb'[^\x00-\x20(){%*"\\\]\x7f-\xff]+').match
_astring = re.compile(rb'[^\x00-\x20(){%*"\\\x7f-\xff]+').match
_list_mailbox = re.compile(rb'[^\x00-\x20(){"\\\x7f-\xff]+').match
_quoted = re.compile(rb'"([^"\\\r\n\x00]*(?:\\["\\][^"\\\r\n\x00]*)*)"').match
_marker = re.compile(rb"\x00(~?)([0-9]{1,5})\x00").match
_number = re.compile(rb"[0-9]{1,20}").match
_flag = re.compile(rb'\\?[^\x00-\x20(){%*"\\\]\x7f-\xff]+').match
_sequence_set = re.compile(rb"[0-9*][0-9*,:]*|\$").match
_tag = re.compile(rb'[^\x00-\x20(){%*"\\+\x7f-\xff]{1,255}').match
_unescape = re.compile(rb'\\(["\\])').sub


class BadSyntax(Exception):
    """The client's command breaks the grammar; the text goes into the BAD reply."""


class Unbearable(Exception):
    """The client sends what cannot even be skipped; say BYE with the text and close."""


@dataclass(slots=True)
class Line:
    """A complete command (or continuation line): its text, literals replaced by markers, and the literals."""

    text: bytes
    literals: list[bytes]


@dataclass(slots=True)
class LiteralRequest:
    """A literal of `size` octets is announced; `text` is the command so far, `received` the octets of its
    earlier literals. `synchronising`: the client waits for "+"; `binary`: it is a literal8."""

    size: int
    synchronising: bool
    text: bytes
    count: int
    received: int
    binary: bool = False


class Collector:
    """Collects lines and literals into commands. `buffered` is what it holds, in octets."""

    __slots__ = ("_buf", "_literal", "_literals", "_max_text", "_need", "_open", "_pos", "_received", "_request", "_scan",
                 "_sink", "_skip", "_skip_line", "_skipped", "_text")  # fmt: skip

    def __init__(self, max_text: int = MAX_TEXT) -> None:
        self._max_text = max_text
        self.clear()

    def clear(self) -> None:
        """Forget everything, e.g. what a client sent in clear behind STARTTLS (RFC 9051 section 6.2.1)."""
        self._buf = b""
        self._pos = self._scan = 0
        self._drop_command()
        self._skip = 0
        self._skip_line = False
        self._skipped = 0

    def _drop_command(self) -> None:
        self._text = b""
        self._literals: list[bytes] = []
        self._received = 0
        self._open = False
        self._need = 0
        self._literal = bytearray()
        self._sink: Callable[[bytes], object] | None = None
        self._request: LiteralRequest | None = None

    @property
    def buffered(self) -> int:
        """Octets received and not yet consumed by a command or its literal."""
        return len(self._buf) - self._pos

    def take(self) -> bytes:
        """Take out what is buffered and not yet looked at (COMPRESS: the rest is of another layer)."""
        rest = self._buf[self._pos :]
        self.clear()
        return rest

    def feed(self, data: bytes) -> None:
        """Take in octets; those of an accepted literal go straight to it."""
        if self._open and self._pos >= len(self._buf):
            if len(data) <= self._need:
                self._put(data)
                return
            need = self._need
            self._put(data[:need])
            data = data[need:]
        elif self._skip and self._pos >= len(self._buf):
            cut = min(self._skip, len(data))
            self._skip -= cut
            data = data[cut:]
        if self._pos >= len(self._buf):
            self._buf, self._pos, self._scan = data, 0, 0
        else:
            self._buf = self._buf[self._pos :] + data
            self._scan -= self._pos
            self._pos = 0

    def accept(self, sink: Callable[[bytes], object] | None = None) -> None:
        """Read the literal of the last `LiteralRequest`; with a `sink` its octets go there and it stays empty here."""
        request = self._request
        assert request is not None
        self._request = None
        self._open = True
        self._sink = sink
        self._need = request.size

    def _put(self, octets: bytes) -> None:
        self._need -= len(octets)
        if self._sink is not None:
            self._sink(octets)
        else:
            self._literal += octets

    def refuse(self) -> None:
        """Drop the command of the last `LiteralRequest`; what the client sends of it all the same is skipped."""
        request = self._request
        assert request is not None
        self._drop_command()
        if not request.synchronising:
            self._skip = request.size
            self._skip_line = True

    def next(self) -> Line | LiteralRequest | None:
        """The next complete command or literal request, None when more octets are needed.

        Raises BadSyntax (the command was dropped, go on) and Unbearable (close).
        """
        if self._request is not None:
            return None
        while True:
            if self._skip:
                cut = min(self._skip, len(self._buf) - self._pos)
                self._pos += cut
                self._skip -= cut
                self._scan = self._pos
                if self._skip:
                    return None
            if self._open and not self._fill_literal():
                return None
            end = self._buf.find(b"\n", max(self._scan, self._pos))
            if end < 0:
                self._no_line_end()
                return None
            line = self._buf[self._pos : end - 1 if end > self._pos and self._buf[end - 1] == 13 else end]
            self._pos = self._scan = end + 1
            if self._skip_line:
                self._skipped_line(line)
                continue
            if len(self._text) + len(line) > self._max_text:
                self._drop_line(line)
                raise BadSyntax("Command line too long")
            if b"\0" in line:
                self._drop_line(line)
                raise BadSyntax("NUL in command")
            if line.endswith(b"}") and (found := _literal_end(line)):
                return self._announce(line, found)
            if not self._literals:
                return Line(line, [])
            done = Line(self._text + line, self._literals)
            self._drop_command()
            return done

    def _fill_literal(self) -> bool:
        """Move octets into the open literal; True once it is whole (then it is closed)."""
        if self._need:
            have = self._buf[self._pos : self._pos + self._need]
            self._pos += len(have)
            self._scan = self._pos
            if len(have) == self._need and not self._literal and self._sink is None:
                self._need = 0
                self._open = False
                self._literals.append(have)
                return True
            self._put(have)
            if self._need:
                return False
        self._literals.append(bytes(self._literal))
        self._literal = bytearray()
        self._sink = None
        self._open = False
        return True

    def _announce(self, line: bytes, found: re.Match[bytes]) -> LiteralRequest:
        tilde, digits, plus = found.groups()
        size = int(digits)
        text = self._text + line[: found.start()]
        self._text = text + b"\0%b%d\0" % (tilde, len(self._literals))
        request = LiteralRequest(size, not plus, text, len(self._literals), self._received, bool(tilde))
        self._received += size
        self._request = request
        return request

    def _no_line_end(self) -> None:
        size = len(self._buf) - self._pos
        if self._skip_line or len(self._text) + size > self._max_text:
            first = not self._skip_line
            self._skip_line = True
            # The end is kept, because a literal may be announced there.
            kept = self._buf[max(self._pos, len(self._buf) - 64) :]
            self._skipped += size - len(kept)
            self._buf, self._pos, self._scan = kept, 0, len(kept)
            if first:
                self._drop_command()
                raise BadSyntax("Command line too long")
            if self._skipped > MAX_SKIP:
                raise Unbearable("Line too long")
            return
        self._scan = len(self._buf)

    def _drop_line(self, line: bytes) -> None:
        """Forget the command; a literal that comes without being asked for is no command either."""
        self._drop_command()
        self._skip_line = True
        self._skipped_line(line)

    def _skipped_line(self, line: bytes) -> None:
        """One line of a refused command went by; non-synchronising literals at its end go with it."""
        self._skipped += len(line)
        found = _literal_end(line)
        if found and found[3]:
            self._skip = int(found[2])
            self._skipped += self._skip
            if self._skipped > MAX_SKIP:
                raise Unbearable("Too much data for a refused command")
        else:
            self._skip_line = False
            self._skipped = 0


def split_command(line: Line) -> tuple[bytes, bytes, Arguments]:
    """Tag, command name in upper case, and the arguments after the name. Raises BadSyntax."""
    found = _tag(line.text)
    if found is None:
        raise BadSyntax("Missing or invalid tag")
    tag = found[0]
    text = line.text
    at = found.end()
    name = _atom(text, at + 1) if text[at : at + 1] == b" " else None
    if name is None:
        raise TaggedBadSyntax(tag, "Missing command")
    return tag, name[0].upper(), Arguments(text, name.end(), line.literals)


class TaggedBadSyntax(BadSyntax):
    """As BadSyntax, where the tag is known already."""

    def __init__(self, tag: bytes, text: str) -> None:
        super().__init__(text)
        self.tag = tag


class Arguments:
    """A cursor over a command's arguments. Every method raises BadSyntax where the grammar is broken."""

    __slots__ = ("literals", "pos", "text")

    def __init__(self, text: bytes, pos: int = 0, literals: list[bytes] | None = None) -> None:
        self.text = text
        self.pos = pos
        self.literals = literals if literals is not None else []

    def rest(self) -> bytes:
        """What has not been consumed."""
        return self.text[self.pos :]

    def at_end(self) -> bool:
        """Whether nothing is left but blanks, which some clients send."""
        return not self.text[self.pos :].strip(b" ")

    def end(self) -> None:
        """Nothing may follow."""
        if self.pos < len(self.text) and not self.at_end():
            raise BadSyntax("Unexpected arguments at the end")

    def peek(self) -> bytes:
        """The next octet, empty at the end."""
        return self.text[self.pos : self.pos + 1]

    def space(self) -> None:
        """Exactly one space."""
        if self.text[self.pos : self.pos + 1] != b" ":
            raise BadSyntax("Missing argument" if self.pos >= len(self.text) else "Expected a space")
        self.pos += 1

    def skip(self, octets: bytes) -> bool:
        """Consume `octets` if they come next."""
        if self.text.startswith(octets, self.pos):
            self.pos += len(octets)
            return True
        return False

    def expect(self, octets: bytes) -> None:
        """Consume `octets`, which must come next."""
        if not self.skip(octets):
            raise BadSyntax(f"Expected {octets.decode('ascii', 'replace')!r}")

    def atom(self) -> bytes:
        """RFC 9051 atom."""
        found = _atom(self.text, self.pos)
        if found is None:
            raise BadSyntax("Expected an atom")
        self.pos = found.end()
        return found[0]

    def word(self) -> bytes:
        """An atom in upper case, empty where there is none."""
        found = _atom(self.text, self.pos)
        if found is None:
            return b""
        self.pos = found.end()
        return found[0].upper()

    def keyword(self) -> bytes:
        """An atom in upper case."""
        return self.atom().upper()

    def _literal(self, found: re.Match[bytes], binary: bool = False) -> bytes:
        self.pos = found.end()
        if int(found[2]) >= len(self.literals):
            raise BadSyntax("Expected a literal")
        value = self.literals[int(found[2])]
        if found[1] and not binary:
            raise BadSyntax("A literal8 is not allowed here")
        if b"\0" in value and not found[1]:
            raise BadSyntax("NUL in a literal")
        return value

    def string(self) -> bytes:
        """A quoted string or literal."""
        found = _quoted(self.text, self.pos)
        if found is not None:
            self.pos = found.end()
            return _unescape(rb"\1", found[1]) if b"\\" in found[1] else found[1]
        found = _marker(self.text, self.pos)
        if found is None:
            raise BadSyntax("Expected a string")
        return self._literal(found)

    def literal(self) -> tuple[bytes, int, bool]:
        """A literal or literal8 with its place among the command's literals, and whether it is a literal8."""
        found = _marker(self.text, self.pos)
        if found is None:
            raise BadSyntax("Expected a literal")
        return self._literal(found, binary=True), int(found[2]), bool(found[1])

    def astring(self) -> bytes:
        """An atom (with "]" allowed) or a string."""
        found = _astring(self.text, self.pos)
        if found is None:
            return self.string()
        self.pos = found.end()
        return found[0]

    def nstring(self) -> bytes | None:
        """A string or NIL."""
        if self.text[self.pos : self.pos + 3].upper() == b"NIL":
            self.pos += 3
            return None
        return self.string()

    def list_mailbox(self) -> bytes:
        """A mailbox pattern: as astring, with wildcards allowed in the atom."""
        found = _list_mailbox(self.text, self.pos)
        if found is None:
            return self.string()
        self.pos = found.end()
        return found[0]

    def number(self, limit: int = MAX_NUMBER) -> int:
        """A number of at most `limit`."""
        found = _number(self.text, self.pos)
        if found is None:
            raise BadSyntax("Expected a number")
        value = int(found[0])
        if value > limit:
            raise BadSyntax("Number too large")
        self.pos = found.end()
        return value

    def sequence_set(self) -> bytes:
        """The octets of a sequence set or "$"; `sequence_set.parse` checks them."""
        found = _sequence_set(self.text, self.pos)
        if found is None:
            raise BadSyntax("Expected a message set")
        self.pos = found.end()
        return found[0]

    def flag(self) -> str:
        """One flag or keyword."""
        found = _flag(self.text, self.pos)
        if found is None:
            raise BadSyntax("Expected a flag")
        self.pos = found.end()
        return found[0].decode("ascii")

    def flags(self) -> list[str]:
        """A parenthesised list of flags."""
        self.expect(b"(")
        names: list[str] = []
        if self.skip(b")"):
            return names
        while True:
            names.append(self.flag())
            if self.skip(b")"):
                return names
            self.space()

    def date_time(self) -> int:
        """A quoted date-time as unix seconds."""
        value = parse_imap_date_time(self.string().decode("ascii", "replace"))
        if value is None:
            raise BadSyntax("Invalid date-time")
        return value
