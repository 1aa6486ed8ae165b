"""Reading Maildir and Maildir++, as Dovecot and Courier write them; nothing is changed.

Invariants: a symbolic link out of the tree is not followed; a name is never more than a name; files are read one at a
time, compressed ones up to a bound.

Folders are `.Name.Sub` beside each other (Maildir++) or directories in one another (Dovecot's LAYOUT=fs), names in modified
UTF-7. A message's date is its file's, or that in the file's name where that is older (a copy of the files has lost theirs).
Keywords are the letters a to z of `dovecot-keywords`; the order is that of `dovecot-uidlist`, else of the dates.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mailstead.message import mutf7
from mailstead.migration.folder_names import SourceFolder

MAX_FOLDERS = 10_000
MAX_DEPTH = 20
MAX_UNPACKED = 1 << 30
GZIP = b"\x1f\x8b"
_FLAGS = {"D": "\\Draft", "F": "\\Flagged", "P": "$Forwarded", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}
_name = re.compile(r"(?P<unique>[^:;!]+)(?:[:;!]2,(?P<flags>[A-Za-z,]*))?.*", re.DOTALL).fullmatch
_time = re.compile(r"(\d{9,10})\.").match
_size = re.compile(r",S=\d+|,W=\d+").sub
_uid_line = re.compile(rb"(\d{1,10}) [^:]*:(.+)").fullmatch


@dataclass(frozen=True, slots=True)
class MaildirFolder:
    """`source.raw` is the path below the Maildir."""

    source: SourceFolder
    path: Path


@dataclass(frozen=True, slots=True)
class MaildirMessage:
    """`unique` stays with a message whatever its flags; `date` is unix time."""

    path: Path
    unique: bytes
    flags: tuple[str, ...]
    date: int
    size: int


def is_maildir(path: Path) -> bool:
    """Whether messages lie there."""
    return (path / "cur").is_dir() or (path / "new").is_dir()


def folders(root: Path) -> list[MaildirFolder]:
    """All folders, INBOX first. Raises OSError, ValueError where there is no Maildir."""
    subscribed = _subscriptions(root)
    found: list[MaildirFolder] = []
    if is_maildir(root):
        found.append(MaildirFolder(SourceFolder(b".", ("INBOX",), subscribed=True), root))
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") and path.name not in (".", "..") and not path.is_symlink() and is_maildir(path):
            levels = tuple(_decode(level) for level in path.name[1:].split("."))
            if levels[:1] == ("INBOX",) and len(levels) > 1:
                levels = levels[1:]  # Courier's root, where it was written out
            source = SourceFolder(os.fsencode(path.name), levels, subscribed="/".join(levels) in subscribed)
            found.append(MaildirFolder(source, path))
    found += _nested(root, root, (), subscribed)
    if not found:
        raise ValueError(f"{root} holds no Maildir")
    if len(found) > MAX_FOLDERS:
        raise ValueError(f"{root} has more than {MAX_FOLDERS} folders")
    return found


def _nested(root: Path, path: Path, above: tuple[str, ...], subscribed: set[str]) -> list[MaildirFolder]:
    """Folders in one another: no level is called cur, new or tmp, and none begins with a dot."""
    out: list[MaildirFolder] = []
    if len(above) >= MAX_DEPTH:
        return out
    for entry in sorted(path.iterdir()):
        if entry.name in ("cur", "new", "tmp") or entry.name.startswith(".") or entry.is_symlink() or not entry.is_dir():
            continue
        levels = (*above, _decode(entry.name))
        if is_maildir(entry):
            source = SourceFolder(os.fsencode(entry.relative_to(root)), levels, subscribed="/".join(levels) in subscribed)
            out.append(MaildirFolder(source, entry))
        out += _nested(root, entry, levels, subscribed)
    return out


def _decode(level: str) -> str:
    try:
        return mutf7.decode_loosely(level.encode("ascii"))
    except ValueError:
        return os.fsencode(level).decode("utf-8", "replace")


def _subscriptions(root: Path) -> set[str]:
    """Names as `a/b`, out of Dovecot's or Courier's file."""
    out: set[str] = set()
    for name in ("subscriptions", "courierimapsubscribed"):
        try:
            lines = (root / name).read_bytes()[: 4 << 20].splitlines()
        except OSError:
            continue
        tabs = lines[:1] == [b"V\t2"]
        for line in lines[1:] if tabs else lines:
            words = line.split(b"\t") if tabs else re.split(rb"[./]", line)
            levels = [_decode(os.fsdecode(word)) for word in words if word]
            if levels[:1] == ["INBOX"] and len(levels) > 1:
                levels = levels[1:]
            out.add("/".join(levels))
    return out


def messages(folder: Path) -> list[MaildirMessage]:
    """The messages of one folder in their order; those that vanish meanwhile are left out. Raises OSError."""
    keywords = _keywords(folder)
    order = _order(folder)
    found: list[MaildirMessage] = []
    for part in ("cur", "new"):
        try:
            entries = list(os.scandir(folder / part))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.name.startswith(".") or (match := _name(entry.name)) is None:
                continue
            try:
                if not entry.is_file(follow_symlinks=False):
                    continue
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            date = int(status.st_mtime)
            if told := _time(entry.name):
                date = min(date, int(told[1]))
            unique = os.fsencode(_size("", match["unique"]))
            flags = _flags(match["flags"] or "", keywords)
            found.append(MaildirMessage(Path(entry.path), unique, flags, date, status.st_size))
    last = 1 << 40
    found.sort(key=lambda message: (order.get(message.unique, last), message.date, message.unique))
    return found


def _flags(letters: str, keywords: dict[int, str]) -> tuple[str, ...]:
    out = []
    for letter in letters:
        if letter in _FLAGS:
            out.append(_FLAGS[letter])
        elif letter.islower() and (word := keywords.get(ord(letter) - 97)):
            out.append(word)
    return tuple(dict.fromkeys(out))


def _keywords(folder: Path) -> dict[int, str]:
    out: dict[int, str] = {}
    try:
        lines = (folder / "dovecot-keywords").read_text("utf-8", "replace").splitlines()
    except OSError:
        return out
    for line in lines[:100]:
        number, _, word = line.partition(" ")
        if number.isdigit() and len(number) < 4 and word:
            out[int(number)] = word
    return out


def _order(folder: Path) -> dict[bytes, int]:
    """UIDs by unique name."""
    out: dict[bytes, int] = {}
    try:
        with open(folder / "dovecot-uidlist", "rb") as file:
            for line in file:
                if found := _uid_line(line.rstrip(b"\n")):
                    name = _name(os.fsdecode(found[2]))
                    if name is not None:
                        out[os.fsencode(_size("", name["unique"]))] = int(found[1])
    except OSError:
        return out
    return out


def _open(message: MaildirMessage) -> BinaryIO:
    """The file, also where its flags, and so its name, changed meanwhile."""
    try:
        return open(message.path, "rb")
    except FileNotFoundError:
        for entry in os.scandir(message.path.parent.parent / "cur"):
            found = _name(entry.name)
            if found is not None and os.fsencode(_size("", found["unique"])) == message.unique:
                return open(entry.path, "rb")
        raise


def pieces(message: MaildirMessage, size: int = 1 << 20) -> Iterator[bytes]:
    """Its octets, unpacked where the file is compressed. Raises OSError, ValueError where that is damaged."""
    with _open(message) as file:
        first = file.read(size)
        if not first.startswith(GZIP):
            while first:
                yield first
                first = file.read(size)
            return
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        total = 0
        while first:
            try:
                piece = unpacker.decompress(first, size)
            except zlib.error as error:
                raise ValueError(f"compressed, and damaged: {error}") from None
            total += len(piece)
            if total > MAX_UNPACKED:
                raise ValueError("compressed, and too large")
            if piece:
                yield piece
            first = unpacker.unconsumed_tail or (b"" if unpacker.eof else file.read(size))
        if not unpacker.eof:
            raise ValueError("compressed, and cut off")
