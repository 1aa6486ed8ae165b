"""Names of files and directories of the tree, and what they say.

Invariants: a name and what it stands for determine one another; a name has no "/", no control characters, at most 255 octets, and
is not "." or ".."; whatever a client sends is decoded to a path below the root or refused.

A folder's level is a directory, in modified UTF-7 (RFC 3501) or UTF-8 as ``nameEncoding`` says; "%" cannot be part of a
folder's name, so "%XX" stands for octets that would mean something else. A message is a file
``<uid>.<date>.<flags>.<keywords>.eml``: flags are letters (S seen, A answered, F flagged, T deleted, D draft, - none), keywords are
joined by "+", "-" for none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from mailstead.message.mutf7 import decode, encode

MAX_NAME = 255
MAX_DEPTH = 40
TAR = "messages.tar"
REMOVED = "removed.json"
"""What was removed since a backup label, where the tree shows that."""
_LETTERS = ((1, "S", "\\Seen"), (2, "A", "\\Answered"), (4, "F", "\\Flagged"), (8, "T", "\\Deleted"), (16, "D", "\\Draft"))
_MESSAGE = re.compile(r"([0-9]{1,10})\.([0-9]{1,12})\.([SAFTD]{1,5}|-)\.([^.]+)\.eml\Z")


class BadPath(Exception):
    """No path of the tree; the text is for the client."""


@dataclass(frozen=True, slots=True)
class MessageName:
    """What the name of a message's file says; ``date`` is unix time, 0 for nothing."""

    uid: int = 0
    date: int = 0
    flags: tuple[str, ...] = ()


def message_file(uid: int, date: int, bits: int, keywords: list[str]) -> str:
    """The name of a message's file; keywords that would make it too long are left out."""
    letters = "".join(letter for bit, letter, _ in _LETTERS if bits & bit) or "-"
    start = f"{uid:010d}.{date}.{letters}."
    shown: list[str] = []
    room = MAX_NAME - len(start) - len(".eml")
    for keyword in keywords:
        word = quote(keyword, safe="$_").replace(".", "%2E").replace("-", "%2D")
        if len(word) + 1 > room:
            break
        shown.append(word)
        room -= len(word) + 1
    return f"{start}{'+'.join(shown) or '-'}.eml"


def read_message_file(name: str) -> MessageName | None:
    """What a file's name says of a message; None where it is none of a message."""
    if not name.lower().endswith(".eml"):
        return None
    found = _MESSAGE.match(name)
    if found is None:
        return MessageName()  # of another program: a message all the same
    flags = [flag for _, letter, flag in _LETTERS if letter in found[3]]
    keywords = [] if found[4] == "-" else [unquote(word) for word in found[4].split("+")]
    return MessageName(int(found[1]), int(found[2]), (*flags, *(word for word in keywords if word and word[0] != "\\")))


def level_file(level: str, utf8: bool) -> str:
    """The directory of a folder's level."""
    name = level if utf8 else encode(level).decode("ascii")
    name = name.replace("/", "%2F").replace("\\", "%5C")
    if name.startswith((".", "@")) or name.lower().endswith(".eml") or name in (TAR, REMOVED, "mailbox.json"):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return name


def read_level(name: str, utf8: bool) -> str:
    """The folder's level that a directory stands for. Raises BadPath."""
    try:
        plain = re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), name)
        level = plain if utf8 else decode(plain.encode("ascii"))
    except (ValueError, UnicodeError):
        raise BadPath(f"{name[:80]!r} is no folder's name in this encoding") from None
    if not level or "/" in level:
        raise BadPath("a folder's name has no slash")
    return level


def object_file(name: str) -> str:
    """The directory of an account, list or group; its name may have a slash."""
    return name.replace("%", "%25").replace("/", "%2F")


def read_object(name: str) -> str:
    """The name that such a directory stands for."""
    return name.replace("%2F", "/").replace("%2f", "/").replace("%25", "%")


def resolve(current: tuple[str, ...], text: str) -> tuple[str, ...]:
    """The path a client means, from where it is. Raises BadPath."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise BadPath("control characters")
    parts = [] if text.startswith("/") else list(current)
    for part in text.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if parts:
                parts.pop()
            continue
        if len(part.encode("utf-8", "surrogatepass")) > 4 * MAX_NAME:
            raise BadPath("name too long")
        parts.append(part)
    if len(parts) > MAX_DEPTH:
        raise BadPath("too deep")
    return tuple(parts)


def shown(path: tuple[str, ...]) -> str:
    """A path as text."""
    return "/" + "/".join(path)
