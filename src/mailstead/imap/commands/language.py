"""LANGUAGE (RFC 5255 section 3): in which language the server's human-readable texts are.

Invariants: texts are English whatever is chosen; a range that no language fits changes nothing.
"""

from __future__ import annotations

import re

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.session import Session

#: By lower-case tag, as they are shown. i-default is the language of texts for everybody (RFC 2277).
LANGUAGES = {"en": b"EN", "i-default": b"I-DEFAULT"}
MAX_RANGES = 100
_range = re.compile(r"\*|[a-z]{1,8}(-([a-z0-9]{1,8}|\*))*").fullmatch


def _fitting(text: str) -> bytes | None:
    """The language for a range, by lookup (RFC 4647 section 3.4): what is too special in it is cut off."""
    if text in ("default", "*"):
        return LANGUAGES["i-default"]
    while text:
        if text in LANGUAGES:
            return LANGUAGES[text]
        text = text.rpartition("-")[0]
    return None


def language(session: Session, arguments: Arguments) -> bytes:
    """Say which languages there are, or choose the first that fits."""
    if arguments.at_end():
        session.untagged(b"LANGUAGE (%b)" % b" ".join(LANGUAGES.values()))
        return b"OK LANGUAGE completed"
    ranges: list[str] = []
    while not arguments.at_end():
        arguments.space()
        text = arguments.astring().decode("ascii", "replace").lower() if arguments.peek() != b"*" else "*"
        if text == "*":
            arguments.expect(b"*")
        if not _range(text) or len(ranges) >= MAX_RANGES:
            raise BadSyntax("Invalid language range")
        ranges.append(text)
    for text in ranges:
        found = _fitting(text)
        if found is not None:
            session.untagged(b"LANGUAGE (%b)" % found)
            return b"OK Texts are in English"
    return b"NO There is no such language here"
