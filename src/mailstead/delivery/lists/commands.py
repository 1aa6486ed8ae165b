"""Commands that are mailed to a list's request address (LST-01).

Invariants: nothing raises, whatever the text; a mail gives at most MAX_COMMANDS; a signature, a quotation and what follows
`end` are never commands; an unknown first word ends the reading, for then it is a letter and not a list of commands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_COMMANDS = 20
MAX_LINE = 1000
MAX_TEXT = 64 * 1024

_OPEN = {"help": (0, 0), "info": (0, 0), "subscribe": (0, 20), "unsubscribe": (0, 0), "set": (2, 3), "end": (0, 99)}
_GUARDED = {
    "who": (0, 1), "add": (1, 20), "remove": (1, 1), "pending": (0, 0), "approve": (1, 1), "reject": (1, 99),
    "password": (1, MAX_LINE),
}  # fmt: skip
COMMANDS = {**_OPEN, **_GUARDED}
"""Least and most words behind a command."""
_ALIASES = {"join": "subscribe", "leave": "unsubscribe", "quit": "end", "stop": "end", "signoff": "unsubscribe", "list": "who"}
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u201e": "\u201c"}
_escaped = re.compile(r'\\(["\\])')
_reply = re.compile(r"^\s*(?:re|aw|antw|sv|vs|odp|fwd?|wg)\s*:\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Command:
    """``name`` is one of COMMANDS, or "unknown" or "invalid" (with ``reason``); ``words`` what stands behind it, for a
    password the readings of the rest of its line; ``line`` as it was written, a password excepted."""

    name: str
    words: tuple[str, ...]
    line: str
    reason: str = ""

    @property
    def guarded(self) -> bool:
        """Whether it needs the list's password, whomever it is about; `set` does where it names somebody else."""
        return self.name in _GUARDED and self.name != "password"


def parse_commands(subject: str, text: str) -> list[Command]:
    """The commands of a mail: those of its text, or, where it has none, the one in its subject."""
    found: list[Command] = []
    for line in text[:MAX_TEXT].splitlines():
        words = line[:MAX_LINE].split()
        if not words or words[0].startswith((">", "#")):
            continue
        if line.rstrip() == "--" or line.startswith("-- ") or words[0].startswith("--"):
            break
        command = parse_line(line[:MAX_LINE])
        if command.name == "end" or (command.name == "unknown" and found):
            break
        found.append(command)
        if command.name == "unknown" or len(found) >= MAX_COMMANDS:
            break
    if not found or found[0].name == "unknown":
        plain = _reply.sub("", subject[:MAX_LINE]).strip()
        told = parse_line(plain)
        if told.name not in ("unknown", "end"):
            return [told]
    return found


def parse_line(line: str) -> Command:
    """One command; "unknown" or "invalid" where it is none."""
    words = line.split()
    name = words[0].lower().rstrip(":") if words else ""
    name = _ALIASES.get(name, name)
    shown = " ".join(words)[:200]
    if name not in COMMANDS:
        return Command("unknown", (), shown)
    least, most = COMMANDS[name]
    if name == "password":
        shown = "password ..."
    if not least <= len(words) - 1 <= most:
        return Command("invalid", (), shown, "too few words" if len(words) - 1 < least else "too many words")
    if name == "password":
        return Command(name, _readings(line.split(None, 1)[1].strip()), shown)
    if name == "set" and not _is_wish(words):
        expected = "expected: set digest on|off or set mail on|off, and with the list's password an address behind it"
        return Command("invalid", (), shown, expected)
    if name in ("approve", "reject") and not (words[1].isascii() and words[1].isdigit() and len(words[1]) < 11):
        return Command("invalid", (), shown, "expected the number that 'pending' shows")
    return Command(name, tuple(words[1:]), shown)


def _is_wish(words: list[str]) -> bool:
    wish = words[1].lower() in ("digest", "mail") and words[2].lower() in ("on", "off")
    return wish and (len(words) == 3 or "@" in words[3])


def _readings(rest: str) -> tuple[str, ...]:
    """A password may have blanks, so it is the rest of its line; as quotes may be its own or stand around it, it is read both
    ways, in double quotes as the administration protocol reads them."""
    if len(rest) < 3 or _QUOTES.get(rest[0]) != rest[-1]:
        return (rest,)
    inner = rest[1:-1]
    return (rest, _escaped.sub(r"\1", inner) if rest[0] == '"' else inner)
