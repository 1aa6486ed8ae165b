"""Reading mbox files: mboxrd, mboxo and mboxcl, by their From_ lines; nothing is changed.

Invariants: a message begins only at a From_ line with a date, at the beginning or behind an empty line; what the file keeps
for itself in header fields (flags, UIDs) does not become part of a message; a large message is handed out in pieces.

`>From ` at the beginning of a line loses one `>` (mboxrd; in mboxo it is the only quoted form). Content-Length is left
aside, as it is wrong too often; mboxcl2, which quotes nothing, is therefore read right only where no line looks like a
From_ line.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailstead.message import mutf7
from mailstead.message.dates import parse_date
from mailstead.migration.folder_names import SourceFolder

MAX_HEADER = 1 << 20
PIECE = 1 << 20
MAX_DEPTH = 20
_from_line = re.compile(
    rb"From [^\n]{0,300}?((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? {1,3}(?:\d{1,2} |)[A-Z][a-z]{2} [^\n]{0,80}?\d{1,2}:\d\d[^\n]{0,60})"
)
_header_end = re.compile(rb"\r?\n\r?\n").search
_quoted = re.compile(rb"^>(>*From )", re.MULTILINE).sub
_ours = re.compile(
    rb"^(?:Status|X-Status|X-Keywords|X-UID|X-IMAP|X-IMAPbase|Content-Length|X-Mozilla-Status2?|X-Mozilla-Keys):"
    rb"[^\n]*\n(?:[ \t][^\n]*\n)*",
    re.MULTILINE | re.IGNORECASE,
)
_STATUS = {"R": "\\Seen", "A": "\\Answered", "F": "\\Flagged", "T": "\\Draft", "D": "\\Deleted"}
_INTERNAL = b"FOLDER INTERNAL DATA"


@dataclass(frozen=True, slots=True)
class MboxFolder:
    """`source.raw` is the path below the directory."""

    source: SourceFolder
    path: Path


@dataclass(slots=True)
class MboxMessage:
    """`header` is cleaned and has its empty line; the body is `start` to `end` in the file, still quoted."""

    flags: tuple[str, ...]
    date: int
    header: bytes
    start: int
    end: int

    @property
    def size(self) -> int:
        return len(self.header) + self.end - self.start


def folders(root: Path) -> list[MboxFolder]:
    """The mbox files below a directory (in Thunderbird's way: `Name.sbd/` has those below `Name`), or the file itself as
    INBOX. Raises OSError, ValueError where there is none."""
    if root.is_file():
        return [MboxFolder(SourceFolder(b".", ("INBOX",), subscribed=True), root)]
    found = _below(root, root, ())
    if not found:
        raise ValueError(f"{root} holds no mbox file")
    return found


def _below(root: Path, path: Path, above: tuple[str, ...]) -> list[MboxFolder]:
    out: list[MboxFolder] = []
    if len(above) >= MAX_DEPTH:
        return out
    for entry in sorted(path.iterdir()):
        if entry.is_symlink() or entry.name.startswith("."):
            continue
        level = _decode(entry.name.removesuffix(".sbd").removesuffix(".mbox"))
        if entry.is_dir():
            out += _below(root, entry, (*above, level))
        elif entry.is_file() and is_mbox(entry):
            raw = os.fsencode(entry.relative_to(root))
            out.append(MboxFolder(SourceFolder(raw, (*above, level), subscribed=True), entry))
    return out


def is_mbox(path: Path) -> bool:
    """Whether the file begins as an mbox does."""
    with open(path, "rb") as file:
        return _from_line.match(file.read(1000)) is not None


def _decode(level: str) -> str:
    try:
        return mutf7.decode_loosely(level.encode("ascii"))
    except ValueError:
        return os.fsencode(level).decode("utf-8", "replace")


class MboxFile:
    """One file; close it. Nothing else should write to it meanwhile."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file = open(path, "rb")  # noqa: SIM115 - closed by `close`
        size = os.fstat(self._file.fileno()).st_size
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if size else None

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
        self._file.close()

    def messages(self) -> Iterator[MboxMessage]:
        """In the order of the file. Blocks for each."""
        octets = self._map
        if octets is None:
            return
        found = _from_line.match(octets[:1000])
        start = 0
        while found is not None:
            line_end = octets.find(b"\n", start)
            begin = len(octets) if line_end < 0 else line_end + 1
            following, after = self._next(octets, begin)
            end = len(octets) if after is None else following
            message = self._message(octets, begin, end, found[1])
            if message is not None:
                yield message
            start, found = following, after

    @staticmethod
    def _next(octets: mmap.mmap, start: int) -> tuple[int, re.Match[bytes] | None]:
        """Where the next From_ line begins."""
        position = max(0, start - 1)
        while (position := octets.find(b"\nFrom ", position)) >= 0:
            at = position + 1
            before = octets[max(0, at - 3) : at]
            if at == start or before.endswith(b"\n\n") or before == b"\n\r\n":
                found = _from_line.match(octets[at : at + 1000])
                if found is not None:
                    return at, found
            position = at
        return len(octets), None

    @staticmethod
    def _message(octets: mmap.mmap, start: int, end: int, stamp: bytes) -> MboxMessage | None:
        """None for what is no message: the file's own notes, and what Thunderbird has marked as gone."""
        tail = octets[max(start, end - 3) : end]
        if tail.endswith(b"\n\n"):
            end -= 1  # the empty line that belongs to the form, not to the message
        elif tail == b"\n\r\n":
            end -= 2
        text = octets[start : min(end, start + MAX_HEADER)]
        if text.startswith((b"\n", b"\r\n")):
            at = 0
        else:
            found = _header_end(text)
            at = found.end() if found else len(text)
        header = text[:at]
        if header and start + at >= end and not header.endswith((b"\n\n", b"\n\r\n")):
            header += b"\n"  # its empty line was the form's as well
        fields: dict[bytes, bytes] = {}
        for field in _ours.finditer(header):
            name, _, value = field[0].partition(b":")
            fields.setdefault(name.lower(), value.strip())
        if b"x-mozilla-status" in fields and _hex(fields[b"x-mozilla-status"]) & 8:
            return None
        if (b"x-imap" in fields or b"x-imapbase" in fields) and _INTERNAL in header[:2000]:
            return None
        date = parse_date(stamp) or 0
        return MboxMessage(_flags(fields), max(0, date), _quoted(rb"\1", _ours.sub(b"", header)), start + at, end)

    def pieces(self, message: MboxMessage) -> Iterator[bytes]:
        """The message's octets, line ends as they are. Blocks for each."""
        assert self._map is not None
        yield message.header
        position = message.start
        while position < message.end:
            cut = min(message.end, position + PIECE)
            if cut < message.end:
                line = self._map.rfind(b"\n", position, cut)
                cut = line + 1 if line >= 0 else cut
            piece = self._map[position:cut]
            yield _quoted(rb"\1", piece) if b">From " in piece else piece
            position = cut


def _hex(text: bytes) -> int:
    return int(text, 16) if re.fullmatch(rb"[0-9a-fA-F]{1,8}", text) else 0


def _flags(fields: dict[bytes, bytes]) -> tuple[str, ...]:
    letters = (fields.get(b"status", b"") + fields.get(b"x-status", b"")).decode("latin-1")
    out = [_STATUS[letter] for letter in letters if letter in _STATUS]
    mozilla = _hex(fields.get(b"x-mozilla-status", b""))
    out += [flag for bit, flag in ((1, "\\Seen"), (2, "\\Answered"), (4, "\\Flagged")) if mozilla & bit]
    words = fields.get(b"x-keywords", b"") + b" " + fields.get(b"x-mozilla-keys", b"")
    out += words.decode("utf-8", "replace").replace(",", " ").split()
    return tuple(dict.fromkeys(out))
