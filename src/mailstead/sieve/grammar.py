"""From the text of a script to commands and tests (RFC 5228 section 8).

Invariants: parsing is linear in the script; a script has at most ``MAX_SCRIPT`` octets, ``MAX_NODES`` commands and tests,
``MAX_DEPTH`` levels and ``MAX_STRINGS`` strings in a list; whatever is wrong is told with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_SCRIPT = 256 * 1024
MAX_NODES = 5_000
MAX_DEPTH = 32
MAX_STRINGS = 2_000
MAX_NUMBER = (1 << 31) - 1

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|\#[^\r\n]*(?:\r?\n|\Z)|/\*.*?\*/)
      | (?P<text>text:[ \t]*(?:\#[^\r\n]*)?\r?\n)
      | (?P<number>[0-9]+[KkMmGg]?(?![A-Za-z0-9_]))
      | (?P<tag>:[A-Za-z_][A-Za-z0-9_]*)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<string>"[^"\\]*(?:\\.[^"\\]*)*")
      | (?P<sign>[()\[\]{},;])""",
    re.X | re.S,
)
_UNQUOTE = re.compile(r"\\(.)", re.S)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class SieveError(Exception):
    """Something is wrong with a script; ``str(error)`` names the line."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Tag:
    """A tagged argument's name, lower case without its colon."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Strings:
    """A string (``many`` false) or a list of strings."""

    values: tuple[str, ...]
    many: bool


Argument = Tag | Strings | int


@dataclass(slots=True)
class Syntax:
    """A command or test as it was written; ``block`` is None where there is none."""

    name: str
    line: int
    arguments: list[Argument] = field(default_factory=list)
    tests: list[Syntax] = field(default_factory=list)
    grouped: bool = False
    block: list[Syntax] | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise SieveError(line, f"unexpected {text[at]!r}")
        kind, value = found.lastgroup or "", found[0]
        if kind == "text":
            end, value = _multi_line(text, found.end(), line)
            yield _Token("string", value, line)
            line += text.count("\n", at, end)
            at = end
            continue
        if kind == "string":
            yield _Token("string", _UNQUOTE.sub(r"\1", value[1:-1]), line)
        elif kind != "space":
            yield _Token(kind, value, line)
        line += value.count("\n")
        at = found.end()
    yield _Token("end", "the end of the script", line)


def _multi_line(text: str, at: int, line: int) -> tuple[int, str]:
    """The end of a multi-line string and its value (RFC 5228 section 2.4.2)."""
    out: list[str] = []
    while True:
        end = text.find("\n", at)
        row = text[at:] if end < 0 else text[at : end + 1]
        if row.rstrip("\r\n") == ".":
            return (len(text) if end < 0 else end + 1), "".join(out)
        if end < 0:
            raise SieveError(line, "a multi-line string without its final dot")
        out.append(row[1:] if row.startswith("..") else row)
        at = end + 1


class _Parser:
    def __init__(self, text: str) -> None:
        self._source = _tokens(text)
        self._now = next(self._source)
        self._nodes = 0

    def _next(self) -> _Token:
        token = self._now
        if token.kind != "end":
            self._now = next(self._source)
        return token

    def _is(self, sign: str) -> bool:
        return self._now.kind == "sign" and self._now.text == sign

    def _expect(self, sign: str) -> None:
        if not self._is(sign):
            raise SieveError(self._now.line, f"expected {sign!r} before {self._now.text[:40]!r}")
        self._next()

    def script(self) -> list[Syntax]:
        commands = []
        while self._now.kind != "end":
            commands.append(self._command(1))
        return commands

    def _head(self, depth: int, what: str) -> Syntax:
        token = self._next()
        if token.kind != "name":
            raise SieveError(token.line, f"expected a {what}, not {token.text[:40]!r}")
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise SieveError(token.line, f"more than {MAX_NODES} commands and tests")
        if depth > MAX_DEPTH:
            raise SieveError(token.line, f"nested deeper than {MAX_DEPTH} levels")
        node = Syntax(token.text.lower(), token.line)
        while (argument := self._argument()) is not None:
            node.arguments.append(argument)
        if self._now.kind == "name":
            node.tests.append(self._head(depth + 1, "test"))
        elif self._is("("):
            node.grouped = True
            self._next()
            node.tests.append(self._head(depth + 1, "test"))
            while self._is(","):
                self._next()
                node.tests.append(self._head(depth + 1, "test"))
            self._expect(")")
        return node

    def _command(self, depth: int) -> Syntax:
        node = self._head(depth, "command")
        if self._is("{"):
            self._next()
            node.block = []
            while not self._is("}"):
                if self._now.kind == "end":
                    raise SieveError(node.line, "a block without its end")
                node.block.append(self._command(depth + 1))
            self._next()
        else:
            self._expect(";")
        return node

    def _argument(self) -> Argument | None:
        token = self._now
        if token.kind == "tag":
            self._next()
            return Tag(token.text[1:].lower(), token.line)
        if token.kind == "number":
            self._next()
            unit = _UNITS.get(token.text[-1].lower(), 1)
            digits = token.text.rstrip("KkMmGg")
            value = int(digits) * unit if len(digits) <= 10 else MAX_NUMBER + 1
            if value > MAX_NUMBER:
                raise SieveError(token.line, "a number is too large")
            return value
        if token.kind == "string":
            self._next()
            return Strings((token.text,), False)
        if self._is("["):
            self._next()
            values = [self._string()]
            while self._is(","):
                self._next()
                values.append(self._string())
                if len(values) > MAX_STRINGS:
                    raise SieveError(token.line, f"more than {MAX_STRINGS} strings in a list")
            self._expect("]")
            return Strings(tuple(values), True)
        return None

    def _string(self) -> str:
        token = self._next()
        if token.kind != "string":
            raise SieveError(token.line, f"expected a string, not {token.text[:40]!r}")
        return token.text


def parse(script: str) -> list[Syntax]:
    """The commands of a script. Raises SieveError."""
    if len(script.encode("utf-8", "surrogatepass")) > MAX_SCRIPT:
        raise SieveError(1, f"the script has more than {MAX_SCRIPT} octets")
    if "\0" in script:
        raise SieveError(1, "the script has a NUL")
    return _Parser(script).script()
