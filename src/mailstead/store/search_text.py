"""The text of a message as search sees it: what contains a needle, and the runs of characters it is made of.

Invariants
- `contains` is the meaning of a search: the folded needle is a substring of one of the message's *units*.
- `document_terms` gives, for the header and for the body, exactly the maximal runs of word characters and of other
  characters ("gaps") of the same units.  So a needle that is one run is in a message exactly when it lies within one
  of the message's runs; a longer needle ends one run, has others between whole, and begins the last.
- A run longer than WINDOW is kept as windows that overlap by OVERLAP, so a needle of up to OVERLAP characters lies
  within one of them.
- A message with more text or more terms than the limits is `opaque`: it has no terms and must be read.

Which characters are word characters is of no consequence for what is found, only for how fast.  Letters and digits of
every script are, with their combining marks; a sentence of Chinese is one long word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mailstead.message.decode import decode_header, text_of, walk
from mailstead.message.html_text import html_to_text
from mailstead.message.mime import Part
from mailstead.message.sections import load_parts

__all__ = ["OVERLAP", "WINDOW", "DocumentTerms", "attachment_terms", "contains", "document_terms", "fold", "is_gap", "runs"]

WINDOW = 250
OVERLAP = 125
#: Characters of one message's units, and characters of its terms, beyond which it is opaque.
MAX_TEXT = 16_000_000
MAX_TERM_TEXT = 4_000_000
#: Messages of more octets are opaque without being read.
MAX_OCTETS = 64 << 20

_ASCII_SAFE = frozenset(("", "us-ascii", "ascii", "utf-8", "utf8", "iso-8859-1", "iso-8859-15", "windows-1252"))
_IDENTITY = frozenset(("", "7bit", "8bit", "binary"))

_GAP = (
    "\x00-/:-@\\[-\\^`{-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\xd7\xf7\u2000-\u206f\u2190-\u2bff\u3000-\u3004\u3008-\u303f"
    "\ufe10-\ufe1f\ufe30-\ufe6f\ufeff-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\ufff0-\uffff\U0001f000-\U0001faff"
)
runs = re.compile(f"[{_GAP}]+|[^{_GAP}]+").findall
#: Whether a run (or a character) is a gap.
is_gap = re.compile(f"[{_GAP}]").match
_ascii_runs = re.compile(rb"[\x00-/:-@\[-^`{-\x7f]+|[0-9A-Z_a-z]+").findall


@dataclass(slots=True)
class DocumentTerms:
    """The runs of a message. `odd_header`: a field's own text may have other runs than the header as a whole."""

    header: set[str] = field(default_factory=set)
    body: set[str] = field(default_factory=set)
    attachments: set[str] = field(default_factory=set)
    odd_header: bool = False
    opaque: bool = False


def fold(text: str) -> str:
    """`text` as it is compared."""
    return text.lower() if text.isascii() else text.casefold()


# ---- the units -------------------------------------------------------------------------------------------------------


def contains(octets: bytes, packed: bytes, header_size: int, needle: str, ascii_needle: bytes, headers: bool) -> bool:
    """Whether the message's text contains the (folded) needle; `ascii_needle` is the same in octets, or empty."""
    if headers:
        head = octets[:header_size]
        if ascii_needle and ascii_needle in head.lower():
            return True
        if _has_more(head) and needle in fold(_header_text(head)):
            return True
    return any(_part_contains(octets, part, needle, ascii_needle) for part in walk(load_parts(packed)))


def _has_more(head: bytes) -> bool:
    """Whether a header's text can differ from its octets."""
    return b"=?" in head or not head.isascii() or b"\n " in head or b"\n\t" in head


def _header_text(head: bytes) -> str:
    return decode_header(head.replace(b"\r\n", b"\n ").replace(b"\n  ", b"\n "))


def _part_contains(octets: bytes, part: Part, needle: str, ascii_needle: bytes) -> bool:
    if part.embedded is not None:
        inner = part.embedded
        return needle in fold(_header_text(octets[inner.header_start : inner.body_start]))
    if part.type != "text":
        return False
    if ascii_needle and part.encoding in _IDENTITY and part.charset.lower() in _ASCII_SAFE:
        body = octets[part.body_start : part.body_end]
        if ascii_needle in body.lower():
            return True
        if part.subtype != "html" and body.isascii():
            return False
    text = text_of(octets, part)
    return needle in fold(text) or (part.subtype == "html" and needle in fold(html_to_text(text)))


# ---- their runs ------------------------------------------------------------------------------------------------------


class _Collector:
    """Adds runs to a set, within the limits."""

    __slots__ = ("into", "left")

    def __init__(self) -> None:
        self.into: set[str] = set()
        self.left = MAX_TEXT

    def text(self, text: str) -> None:
        self.left -= len(text)
        if self.left >= 0:
            self.into.update(runs(text))

    def octets(self, octets: bytes) -> None:
        """ASCII runs of octets, lower case: other octets are of no run."""
        self.left -= len(octets)
        if self.left >= 0:
            self.into.update([run.decode("ascii") for run in set(_ascii_runs(octets.lower()))])


def document_terms(octets: bytes, packed: bytes, header_size: int) -> DocumentTerms:
    """The runs of a message's units; blocking, some 200 us for a message of 4 KB."""
    collector = _Collector()
    head = octets[:header_size]
    collector.octets(head)
    if _has_more(head):
        collector.text(fold(_header_text(head)))
    header, collector.into = collector.into, set()
    for part in walk(load_parts(packed)):
        if collector.left < 0:
            break
        _part_terms(octets, part, collector)
    found = DocumentTerms(header, collector.into, odd_header=b"=?" in head or b"\0" in head or not head.isascii())
    if collector.left < 0 or not (_fit(found.header) and _fit(found.body)):
        return DocumentTerms(odd_header=True, opaque=True)
    return found


def _part_terms(octets: bytes, part: Part, collector: _Collector) -> None:
    if part.embedded is not None:
        inner = part.embedded
        collector.text(fold(_header_text(octets[inner.header_start : inner.body_start])))
        return
    if part.type != "text":
        return
    if part.encoding in _IDENTITY and part.charset.lower() in _ASCII_SAFE:
        body = octets[part.body_start : part.body_end]
        if not body.isascii():
            collector.octets(body)
    if part.body_end - part.body_start > MAX_TEXT:
        collector.left = -1
        return
    text = text_of(octets, part)
    collector.text(fold(text))
    if part.subtype == "html":
        collector.text(fold(html_to_text(text)))


def attachment_terms(text: str) -> set[str]:
    """The runs of the (folded) text of a message's attachments, as far as the limits go."""
    found = set(runs(text))
    return found if _fit(found) else set()


def _fit(terms: set[str]) -> bool:
    """Cut long terms into windows; whether what is left is within the limits."""
    long = [term for term in terms if len(term) > WINDOW]
    for term in long:
        terms.discard(term)
        terms.update([term[at : at + WINDOW] for at in range(0, len(term) - OVERLAP, OVERLAP)])
    return sum(map(len, terms)) <= MAX_TERM_TEXT
