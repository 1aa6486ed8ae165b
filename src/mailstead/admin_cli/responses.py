"""Layouts of replies, as clients take them apart.

Invariants: a reply is body lines, one status line, one prompt, and leaves in one write; a body line never looks like a
status line; a table has its headings in line 3, dashes in line 4 and rows from line 5; plain lists and SHOW have a heading
in line 1 and items from line 2; each of them ends with an empty line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SUCCESS = "command successful"
MIN_DASHES = 6


@dataclass(slots=True)
class Reply:
    """Body lines and the text of the status line; `notes` are lines in front of it that SET QUIET leaves out."""

    body: list[str] = field(default_factory=list)
    text: str = SUCCESS
    good: bool = True
    notes: tuple[str, ...] = ()

    def render(self, prompt: str, quiet: bool = False) -> bytes:
        """The octets of the whole reply."""
        status = f"{'+OK' if self.good else '-ERR'}: {plain(self.text).strip()}"
        lines = [*self.body, *(() if quiet else self.notes), status, prompt]
        return "\r\n".join(lines).encode("utf-8", "replace")


def plain(value: str) -> str:
    """Text fit for one line: no line breaks, no control characters."""
    if value.isprintable():
        return value
    return "".join(character if character.isprintable() else " " for character in value)


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Reply:
    """A table; a single column has no bars."""
    cells = [[plain(cell) for cell in row] for row in rows]
    last = len(headings) - 1
    widths = [len(heading) for heading in headings]
    for row in cells:
        for column, cell in enumerate(row):
            if len(cell) > widths[column]:
                widths[column] = len(cell)
    if last == 0:
        lines = [row[0] for row in cells]
        return Reply(["", title, "", headings[0], "-" * max(MIN_DASHES, widths[0]), *lines, ""])
    form = " | ".join(f"{{:<{width}}}" for width in widths[:-1]) + " | {}"
    total = max(MIN_DASHES, sum(widths) + 3 * last)
    return Reply(["", title, "", form.format(*headings), "-" * total, *(form.format(*row) for row in cells), ""])


def items(title: str, found: Iterable[str]) -> Reply:
    """A plain list, one item in a line."""
    return Reply(["", title, *(plain(item) for item in found), ""])


def show(pairs: Iterable[tuple[str, str]], heading: str = "General parameters:") -> Reply:
    """`name = value` lines."""
    return Reply(["", heading, *(f"{name} = {plain(value)}" for name, value in pairs), ""])


def attribute(name: str, value: str) -> Reply:
    """SHOW ATTR: one line, no heading."""
    return Reply([f"{name} = {plain(value)}"])


def lines_of(text: str) -> list[str]:
    """A long text as body lines, dot-stuffed as in multi-line input; none can be taken for a status line."""
    return [f".{line}" if line.startswith((".", "+OK:", "-ERR:")) else plain(line) for line in text.splitlines()]


def quoted(text: str) -> str:
    """A string as SHOW shows it."""
    return '"' + plain(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
