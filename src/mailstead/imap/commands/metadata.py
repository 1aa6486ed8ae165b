"""GETMETADATA and SETMETADATA (RFC 5464).

Invariants: entry names are compared without regard to case and kept in lower case; a name has neither "*" nor "%", no
empty level and no control character.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal, astring
from mailstead.imap.session import Session
from mailstead.mailbox.metadata import MAX_NAME, MAX_VALUE, TooManyEntries, ValueTooLarge
from mailstead.mailbox.model import Folder

MAX_ENTRIES_NAMED = 200


def entry_name(octets: bytes) -> str:
    """A checked entry name in lower case. Raises BadSyntax."""
    name = octets.decode("ascii", "replace").lower()
    wrong = not octets.isascii() or len(name) > MAX_NAME or any(c in "*%" or ord(c) < 33 or ord(c) == 127 for c in name)
    if wrong or not f"{name}/".startswith(("/private/", "/shared/")) or name.endswith("/") or "//" in name:
        raise BadSyntax("Invalid entry name")
    return name


def entry_names(arguments: Arguments) -> list[str]:
    """One name, or several in parentheses."""
    if not arguments.skip(b"("):
        return [entry_name(arguments.astring())]
    names = [entry_name(arguments.astring())]
    while not arguments.skip(b")"):
        arguments.space()
        names.append(entry_name(arguments.astring()))
        if len(names) > MAX_ENTRIES_NAMED:
            raise BadSyntax("Too many entries")
    return names


async def mailbox_or_server(session: Session, octets: bytes) -> Folder | None:
    """The folder, or None for the empty name. Raises Refusal NONEXISTENT."""
    if not octets:
        return None
    folder = await session.services.mailbox.folder(session.account_id, session.folder_name(octets))
    if folder is None:
        raise Refusal("No such mailbox", "NONEXISTENT")
    return folder


def found_for(entries: Mapping[str, bytes], names: Iterable[str], depth: float) -> dict[str, bytes | None]:
    """What is there for names, and with a depth what lies below them."""
    found: dict[str, bytes | None] = {}
    for name in names:
        if name in entries or not depth:
            found[name] = entries.get(name)
        if depth:
            below = name + "/"
            for other, value in entries.items():
                if other.startswith(below) and other[len(below) :].count("/") < depth:
                    found[other] = value
    return found


def value_text(value: bytes | None, literal8: bool) -> bytes:
    """NIL, a quoted string or a literal."""
    if value is None:
        return b"NIL"
    if b"\0" in value:
        return b"~{%d}\r\n%b" % (len(value), value) if literal8 else b"NIL"
    if len(value) < 1000 and value.isascii() and not any(c < 32 or c == 127 for c in value):
        return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b"{%d}\r\n%b" % (len(value), value)


def response(session: Session, name: bytes, found: Mapping[str, bytes | None]) -> bytes:
    """A METADATA response without its star."""
    pairs = b" ".join(b"%b %b" % (astring(entry.encode()), value_text(value, True)) for entry, value in found.items())
    return b"METADATA %b (%b)" % (name, pairs)


def _options(arguments: Arguments) -> tuple[int | None, float]:
    """MAXSIZE and DEPTH."""
    largest, depth = None, 0.0
    while True:
        name = arguments.keyword()
        arguments.space()
        if name == b"MAXSIZE":
            largest = arguments.number()
        elif name == b"DEPTH":
            word = arguments.keyword()
            if word not in (b"0", b"1", b"INFINITY"):
                raise BadSyntax("DEPTH is 0, 1 or infinity")
            depth = float("inf") if word == b"INFINITY" else float(word)
        else:
            raise BadSyntax("Unknown GETMETADATA option")
        if arguments.skip(b")"):
            return largest, depth
        arguments.space()


def _begins_options(arguments: Arguments) -> bool:
    """Whether the parenthesis that follows holds options (an entry name begins with a slash)."""
    rest = arguments.rest()
    return rest[:1] == b"(" and rest[1:2].upper() in (b"M", b"D")


async def getmetadata(session: Session, arguments: Arguments) -> bytes:
    """Entries of a mailbox or, for the empty name, of the account."""
    arguments.space()
    largest, depth = None, 0.0
    if _begins_options(arguments):
        arguments.expect(b"(")
        largest, depth = _options(arguments)
        arguments.space()
    octets = arguments.astring()
    arguments.space()
    if _begins_options(arguments):  # the place that clients of earlier drafts put them
        arguments.expect(b"(")
        largest, depth = _options(arguments)
        arguments.space()
    names = entry_names(arguments)
    arguments.end()
    folder = await mailbox_or_server(session, octets)
    entries = await session.services.mailbox.metadata(session.account_id, folder)
    found = found_for(entries, names, depth)
    too_long = [len(value) for value in found.values() if value is not None and largest is not None and len(value) > largest]
    kept = {name: value for name, value in found.items() if value is None or largest is None or len(value) <= largest}
    if kept:
        shown = session.mailbox_text(folder.name) if folder is not None else b'""'
        session.untagged(response(session, shown, kept))
    if too_long:
        return b"OK [METADATA LONGENTRIES %d] GETMETADATA completed" % max(too_long)
    return b"OK GETMETADATA completed"


async def setmetadata(session: Session, arguments: Arguments) -> bytes:
    """Set or remove entries, all or none."""
    arguments.space()
    octets = arguments.astring()
    arguments.space()
    arguments.expect(b"(")
    entries: dict[str, bytes | None] = {}
    while True:
        name = entry_name(arguments.astring())
        if name in ("/private", "/shared"):
            raise BadSyntax("Invalid entry name")
        arguments.space()
        entries[name] = arguments.nstring() if arguments.peek() != b"~" else arguments.literal()[0]
        if len(entries) > MAX_ENTRIES_NAMED:
            raise BadSyntax("Too many entries")
        if arguments.skip(b")"):
            break
        arguments.space()
    arguments.end()
    folder = await mailbox_or_server(session, octets)
    try:
        await session.services.mailbox.set_metadata(session.account_id, folder, entries)
    except ValueTooLarge as error:
        raise Refusal(str(error), f"METADATA MAXSIZE {MAX_VALUE}") from None
    except TooManyEntries as error:
        raise Refusal(str(error), "METADATA TOOMANY") from None
    return b"OK SETMETADATA completed"
