"""In which line of a TOML text each table and key stands, for messages; TOML's parser does not tell.

Invariants: the text has been parsed before, so it is valid, and only positions are taken from here; time is linear in
the text. What is not found has no line.

How it works: statements begin in the first column that is not blank. A header sets the current path, with the number of the
element for arrays of tables; a key's value is skipped over, counting brackets outside of strings and comments.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]

_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_VALUE = re.compile(
    r'''"""(?:[^"\\]|\\[\s\S]|"{1,2}(?!"))*"{3,5}|\'\'\'(?:[^']|'{1,2}(?!'))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}]|\n'''
)
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")


def line_numbers(text: str) -> dict[Path, int]:
    """Path to line, from 1. Elements of arrays of tables are numbered from 0: `("domains", 0, "name")`."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    current: Path = ()
    position, counted, line = 0, 0, 1
    while True:
        space = _SPACE.match(text, position)
        assert space is not None
        position = space.end()
        if position >= len(text):
            return found
        line += text.count("\n", counted, position)
        counted = position
        array = text.startswith("[[", position)
        header = text.startswith("[", position)
        keys, position = _keys(text, position + (2 if array else 1 if header else 0))
        if header:
            current = _resolved(keys, counts)
            if array:
                number = counts.get(current, -1) + 1
                counts[current] = number
                found[(*current, number)] = line
                current = (*current, number)
            else:
                found[current] = line
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        else:
            found[(*current, *keys)] = line
            position = _after_value(text, position)


def _keys(text: str, position: int) -> tuple[Path, int]:
    keys: list[str] = []
    while True:
        match = _PART.match(text, position)
        if match is None:
            return tuple(keys), position + 1  # no key: the parser took it, we pass on
        quoted, literal, bare = match.groups()
        keys.append(bare if bare is not None else literal if literal is not None else _unescaped(quoted))
        position = match.end()
        if not text.startswith(".", position):
            return tuple(keys), position
        position += 1


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _resolved(keys: Path, counts: dict[Path, int]) -> Path:
    """A header's path with the number of the current element after each array of tables but the last name."""
    path: Path = ()
    for index, key in enumerate(keys):
        path = (*path, key)
        if index < len(keys) - 1 and path in counts:
            path = (*path, counts[path])
    return path


def _after_value(text: str, position: int) -> int:
    depth = 0
    for match in _VALUE.finditer(text, position):
        word = match[0]
        if word in "[{":
            depth += 1
        elif word in "]}":
            depth -= 1
        elif word == "\n" and depth <= 0:
            return match.end()
    return len(text)
