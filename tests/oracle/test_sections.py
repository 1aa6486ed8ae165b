"""ENVELOPE, BODYSTRUCTURE and every section of difficult messages as Dovecot gives them, or the reason why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.conftest import Pair
from tests.oracle.responses import parse

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors" / "mime"
MESSAGES = {path.stem: path for path in sorted(VECTORS.glob("*/*.msg"))}

_NO_PARTS = "a multipart without parts shows its body as its one part: the user sees the text, where Dovecot shows nothing"
_ENCODED = "RFC 2046 section 5.2.1 forbids base64 for message/rfc822: it is a leaf, where Dovecot parses the base64 text as header"
_NO_HEADER = "what begins with a line that is no field is body, where Dovecot takes all of it as header"
_LONG = "a boundary longer than any line of the message never comes; Dovecot compares its beginning only"

_PARTS = ("BODYSTRUCTURE", "BODY", "BODY.PEEK[1]", "BINARY.PEEK[1]")
_STRUCTURE = ("BODYSTRUCTURE", "BODY")
_HEADER = (*_STRUCTURE, "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]", "BODY.PEEK[1]", "BODY.PEEK[1.MIME]", "BINARY.PEEK[1]")

#: Message to items that differ, and why.
DIFFERENT: dict[str, tuple[tuple[str, ...], str]] = {
    "badbound": (_PARTS, _NO_PARTS),
    "missing-boundary": (_PARTS, _NO_PARTS),
    "multipartnopart": (_PARTS, _NO_PARTS),
    "missing-inner-boundary": ((*_STRUCTURE, "BODY.PEEK[2.1]", "BINARY.PEEK[2.1]"), _NO_PARTS),
    "missing-inner-start-boundary": (
        (*_STRUCTURE, "BODY.PEEK[2]", "BODY.PEEK[2.1]", "BINARY.PEEK[2.1]"),
        _NO_PARTS + "; the CRLF before a boundary is the boundary's (RFC 2046 section 5.1.1)",
    ),
    "bad-newlines-multiple-parts-base64": (_STRUCTURE, _ENCODED),
    "base64encoded-rfc822message": (_STRUCTURE, _ENCODED),
    "base64encoded-rfc822message-nested": (_STRUCTURE, _ENCODED),
    "multi-2gifs-base64": (_STRUCTURE, _ENCODED),
    "boundary-name-clash": (("BODY.PEEK[1]",), "the CRLF before a boundary is the boundary's (RFC 2046 section 5.1.1)"),
    "double-semicolon": (
        (
            *_STRUCTURE, "BODY.PEEK[1]", "BODY.PEEK[1.MIME]", "BINARY.PEEK[1]", "BODY.PEEK[2]", "BODY.PEEK[2.MIME]",
            "BINARY.PEEK[2]",
        ),
        "an empty parameter is passed over and the boundary behind it read",
    ),
    "malformedHeader-noheader": (_HEADER, _NO_HEADER),
    "malformedHeaderStartsBody-noheader": (_HEADER, _NO_HEADER),
    "multi-digest": (_STRUCTURE, "a Content-Type without a subtype is text/plain (RFC 2045 section 5.2)"),
    "very-long-boundary": (_PARTS, _LONG),
    "very-very-long-boundary": (_PARTS, _LONG),
    "x-gzip64": (("BINARY.PEEK[1]",), "an unknown encoding is answered with UNKNOWN-CTE, where Dovecot says nothing"),
}  # fmt: skip


def _leveled(value: Any) -> Any:
    """Without what Dovecot does everywhere: `charset us-ascii` where a text has none, MISSING_DOMAIN for an address without
    one, blanks of a folded field made one, and types in the case of the message."""
    if isinstance(value, list):
        out = [_leveled(one) for one in value]
        for at in range(len(out) - 1):
            if out[at] == b"charset" and isinstance(out[at + 1], bytes) and out[at + 1].lower() == b"us-ascii":
                out[at] = out[at + 1] = b"-"
        out = [one for one in out if one != b"-"]
        return out or None
    if isinstance(value, bytes):
        return b"" if value in (b"MISSING_DOMAIN", b"MISSING_MAILBOX") else re.sub(rb"\s+", b" ", value).strip().lower()
    return value


def _same(item: str, mine: Any, theirs: Any) -> bool:
    if mine == theirs:
        return True
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        return False
    (name, one), other = next(iter(mine.items())), theirs.get(next(iter(mine)))
    if item in ("ENVELOPE", "BODYSTRUCTURE", "BODY"):
        return bool(_leveled(one) == _leveled(other))
    # Dovecot leaves BINARY and BINARY.SIZE of some parts unanswered.
    return name.startswith(b"BINARY") and other is None


def _sections(structure: list[Any], prefix: str = "") -> list[str]:
    """All section numbers of a BODYSTRUCTURE."""
    if isinstance(structure[0], list):
        out: list[str] = []
        for number, child in enumerate((one for one in structure if isinstance(one, list) and _is_part(one)), 1):
            name = f"{prefix}.{number}" if prefix else str(number)
            out += [name, *_sections_below(child, name)]
        return out
    return ["1"] if not prefix else []


def _is_part(value: list[Any]) -> bool:
    return bool(value) and (isinstance(value[0], list) or (len(value) >= 7 and isinstance(value[0], bytes)))


def _sections_below(child: list[Any], name: str) -> list[str]:
    if isinstance(child[0], list):
        return _sections(child, name)
    if len(child) > 8 and child[0].lower() == b"message" and child[1].lower() == b"rfc822":
        inner = child[8]
        return _sections(inner, name) if isinstance(inner[0], list) else [f"{name}.1"]
    return []


async def _is_message(pair: Pair, number: int, section: str) -> bool:
    found = await _fetch(pair.ours, number, f"BODY.PEEK[{section}.MIME]")
    return isinstance(found, dict) and b"message/rfc822" in bytes(found[b"BODY[%b.MIME]" % section.encode()] or b"").lower()


async def _both(pair: Pair, number: int, items: str) -> tuple[Any, Any]:
    mine = await _fetch(pair.ours, number, items)
    try:
        return mine, await _fetch(pair.theirs, number, items)
    except ConnectionResetError:  # it gave up on the message
        await pair.connect("SELECT INBOX")
        return mine, mine


async def _fetch(client: Any, number: int, items: str) -> dict[bytes, Any] | bytes:
    untagged, reply = await client.command(f"FETCH {number} ({items})")
    for line in untagged:
        words = line.split(b" ", 3)
        if len(words) > 3 and words[2].upper() == b"FETCH":
            parts = parse(words[3])[0]
            return {name.upper(): value for name, value in zip(parts[::2], parts[1::2], strict=True)}
    return reply.split(b" ")[0]


@pytest.mark.skipif(not MESSAGES, reason="shared/vectors/mime is not beside the project")
async def test_sections_are_those_of_dovecot(pair: Pair) -> None:
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for number, (name, path) in enumerate(MESSAGES.items(), 1):
        octets = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").replace(b"\0", b"")
        await pair.append("INBOX", octets)
        if number == 1:
            await pair.both("SELECT INBOX")
        else:
            await pair.both("NOOP")
        for item in ("ENVELOPE", "BODYSTRUCTURE", "BODY", "RFC822.SIZE", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]"):
            mine, theirs = await _both(pair, number, item)
            if not _same(item, mine, theirs):
                found.setdefault(name, {})[item] = mine, theirs
        structure = await _fetch(pair.ours, number, "BODYSTRUCTURE")
        assert isinstance(structure, dict)
        sections = _sections(structure[b"BODYSTRUCTURE"])
        for section in sections:
            items = [f"BODY.PEEK[{section}]", f"BODY.PEEK[{section}.MIME]"]
            # Of a multipart or a message BINARY gives the octets as they are (RFC 3516 section 4.2 decodes the section named);
            # Dovecot decodes what lies within. BINARY.SIZE is that of what BINARY gives, which Dovecot's often is not.
            if not any(other.startswith(section + ".") for other in sections) and not await _is_message(pair, number, section):
                items.append(f"BINARY.PEEK[{section}]")
            for item in items:
                mine, theirs = await _both(pair, number, item)
                if not _same(item, mine, theirs):
                    found.setdefault(name, {})[item] = mine, theirs
    for name, items in found.items():
        for item, (mine, theirs) in items.items():
            if item not in DIFFERENT.get(name, ((), ""))[0]:
                print("==", name, item, "\n  ours  ", str(mine)[:900], "\n  theirs", str(theirs)[:900])
    assert {name: tuple(items) for name, items in found.items()} == {name: items for name, (items, _) in DIFFERENT.items()}
