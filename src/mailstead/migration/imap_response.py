"""What an IMAP server says, taken apart (RFC 9051 section 9, RFC 3501); no I/O.

Invariants: parsing raises nothing but BadResponse; nesting and the number of values are bounded; a value that stands in
a `Large` (a literal on its way to the store) is passed on as it is.

A response comes as the pieces it arrived in: text, literal, text, literal, ...
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_DEPTH = 32
MAX_VALUES = 2_000_000

_literal_end = re.compile(rb"(~?)\{(\d{1,15})\+?\}\Z").search
_body_before = re.compile(rb"(?:BODY\[\]|BINARY\[\]|RFC822)(?:<0>)? \Z", re.IGNORECASE).search
_code = re.compile(rb"\[([^\]]*)\] ?").match
_quoted = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"').match
_atom = re.compile(rb'(?:BODY|BINARY(?:\.SIZE)?)\[[^\]\r\n]{0,1000}\][^ ()"\r\n]*|[^ ()"\r\n]+', re.IGNORECASE).match
_escaped = re.compile(rb"\\(.)", re.DOTALL).sub


class BadResponse(Exception):
    """The octets are not a response of the grammar."""


class Atom(bytes):
    """An atom or number; quoted strings and literals are plain bytes. NIL is None."""

    __slots__ = ()


@dataclass(slots=True)
class Large:
    """A literal that did not stay in memory."""

    spool: object


Value = bytes | None | Large | list["Value"]
Piece = bytes | Large


def literal(text: bytes) -> tuple[int, bool] | None:
    """Size of the literal that a line's end announces, and whether it is the whole of a message; else None."""
    found = _literal_end(text)
    if found is None:
        return None
    return int(found[2]), _body_before(text, 0, found.start()) is not None


def values(pieces: Sequence[Piece]) -> list[Value]:
    """The values of a response. Raises BadResponse."""
    stack: list[list[Value]] = [[]]
    count = 0
    for number, piece in enumerate(pieces):
        if number % 2:
            stack[-1].append(piece)
            continue
        if not isinstance(piece, bytes):
            raise BadResponse("a literal without its announcement")
        text = piece
        if number + 1 < len(pieces):
            found = _literal_end(piece)
            if found is None:
                raise BadResponse("a literal without its announcement")
            text = piece[: found.start()]
        count += _text_values(text, stack)
        if count > MAX_VALUES:
            raise BadResponse("too many values")
    if len(stack) != 1:
        raise BadResponse("a list that does not end")
    return stack[0]


def _text_values(text: bytes, stack: list[list[Value]]) -> int:
    position = count = 0
    while position < len(text):
        octet = text[position]
        if octet == 32:
            position += 1
            continue
        count += 1
        if octet == 40:
            if len(stack) > MAX_DEPTH:
                raise BadResponse("lists in lists in lists")
            inner: list[Value] = []
            stack[-1].append(inner)
            stack.append(inner)
            position += 1
        elif octet == 41:
            if len(stack) < 2:
                raise BadResponse("a list that never began")
            stack.pop()
            position += 1
        elif octet == 34:
            found = _quoted(text, position)
            if found is None:
                raise BadResponse("a string that does not end")
            value = found[1]
            stack[-1].append(_escaped(rb"\1", value) if b"\\" in value else value)
            position = found.end()
        else:
            found = _atom(text, position)
            if found is None:
                raise BadResponse("a character where none may be")
            stack[-1].append(None if found[0].upper() == b"NIL" else Atom(found[0]))
            position = found.end()
    return count


@dataclass(frozen=True, slots=True)
class Status:
    """OK, NO, BAD, BYE or PREAUTH: its code without brackets, and the text."""

    word: str
    code: bytes
    text: str


def status(rest: bytes) -> Status | None:
    """What follows the tag or star, as a status response; None for data."""
    word, _, text = rest.partition(b" ")
    name = word.upper()
    if name not in (b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"):
        return None
    code = b""
    if found := _code(text):
        code, text = found[1], text[found.end() :]
    return Status(name.decode(), code, text[:500].decode("utf-8", "replace"))


def number(value: Value) -> int:
    """A number of at most 63 bits. Raises BadResponse."""
    if not isinstance(value, bytes) or not value.isdigit() or len(value) > 19:
        raise BadResponse("a number was expected")
    return int(value)


def text(value: Value) -> bytes:
    """An atom or string. Raises BadResponse."""
    if not isinstance(value, bytes):
        raise BadResponse("a string was expected")
    return bytes(value)


def number_set(octets: bytes, most: int) -> list[int]:
    """Numbers of a set like `1:3,7`, rising. Raises BadResponse, also for more than `most`."""
    ranges: list[tuple[int, int]] = []
    total = 0
    for part in octets.split(b",") if octets else []:
        first, colon, last = part.partition(b":")
        low = number(first)
        high = number(last) if colon else low
        low, high = min(low, high), max(low, high)
        total += high - low + 1
        if total > most:
            raise BadResponse("too many messages")
        ranges.append((low, high))
    return sorted({n for low, high in ranges for n in range(low, high + 1)})


def compact(numbers: Sequence[int]) -> str:
    """A set of rising numbers as IMAP writes it."""
    parts: list[str] = []
    start = previous = -1
    for n in [*numbers, -1]:
        if n == previous + 1 and start >= 0:
            previous = n
            continue
        if start >= 0:
            parts.append(str(start) if start == previous else f"{start}:{previous}")
        start = previous = n
    return ",".join(parts)
