"""Text out of documents: PDF, Office Open XML, OpenDocument, HTML.

Invariants: at most MAX_TEXT characters come out; an archive is read member by member, each up to MAX_MEMBER octets, all
together up to MAX_TOTAL, whatever it claims; XML with a document type (where entities could be declared) is not read.
It raises what the parsers raise: this runs in a process with limits, which may die of it.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

from mailstead.message.charset import decode_charset
from mailstead.message.html_text import html_to_text

MAX_TEXT = 1_000_000
MAX_MEMBER = 32 << 20
MAX_TOTAL = 64 << 20
MAX_MEMBERS = 5000
MAX_PAGES = 1000

_charset = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_.:-]{1,40})", re.I).search

#: Which members of an archive have text, and in what order they come.
_MEMBERS = {
    "docx": re.compile(r"word/(document|header\d*|footer\d*|footnotes|endnotes|comments)\.xml\Z"),
    "xlsx": re.compile(r"xl/(sharedStrings|worksheets/sheet\d+|comments\d*)\.xml\Z"),
    "pptx": re.compile(r"ppt/(slides/slide|notesSlides/notesSlide)\d+\.xml\Z"),
    "odf": re.compile(r"(content|meta)\.xml\Z"),
}
#: Elements whose end is the end of a paragraph, row or cell.
_ENDS = frozenset(("p", "si", "is", "row", "br", "comment"))
_BLANKS = frozenset(("tab", "s", "line-break"))


class _Enough(Exception):
    """There is as much text as is kept."""


class _Text:
    def __init__(self) -> None:
        self._left = MAX_TEXT
        self._pieces: list[str] = []

    def add(self, text: str) -> None:
        """More of it. Raises _Enough."""
        self._pieces.append(text[: self._left])
        self._left -= len(text)
        if self._left <= 0:
            raise _Enough

    def __str__(self) -> str:
        return "".join(self._pieces)


def _members(octets: bytes, kind: str) -> Iterator[bytes]:
    left = MAX_TOTAL
    with zipfile.ZipFile(io.BytesIO(octets)) as archive:
        for entry in archive.infolist()[:MAX_MEMBERS]:
            if not _MEMBERS[kind].match(entry.filename):
                continue
            with archive.open(entry) as member:
                content = member.read(min(MAX_MEMBER, left) + 1)
            if len(content) > min(MAX_MEMBER, left):
                continue  # larger than any honest document's: a bomb
            left -= len(content)
            yield content


def _xml(octets: bytes, kind: str) -> Iterator[tuple[str, str, ElementTree.Element]]:
    """(event, name without namespace, element) of all members with text."""
    for content in _members(octets, kind):
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"\0!\0D\0O" in content or b"!\0D\0O\0" in content:
            continue
        for event, element in ElementTree.iterparse(io.BytesIO(content), ("start", "end")):
            yield event, element.tag.rpartition("}")[2], element


def _office(kind: str) -> Callable[[bytes, _Text], None]:
    """Office Open XML has its text in elements called t."""

    def read(octets: bytes, out: _Text) -> None:
        for event, name, element in _xml(octets, kind):
            if event == "start":
                if name in _BLANKS:
                    out.add(" ")
                continue
            if name == "t":
                out.add(element.text or "")
            if name in _ENDS:
                out.add("\n")
            element.clear()

    return read


def _open_document(octets: bytes, out: _Text) -> None:
    """OpenDocument has its text in paragraphs, also behind the elements in them."""
    for event, name, element in _xml(octets, "odf"):
        if event == "end" and name in ("p", "h", "title", "subject", "keyword", "description"):
            out.add("".join(_flat(element)) + "\n")
            element.clear()


def _flat(element: ElementTree.Element) -> Iterator[str]:
    yield element.text or ""
    for inner in element:
        if inner.tag.rpartition("}")[2] in _BLANKS:
            yield " "
        yield from _flat(inner)
        yield inner.tail or ""


def _pdf(octets: bytes, out: _Text) -> None:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(octets))
    if reader.is_encrypted:
        reader.decrypt("")
    for number, page in enumerate(reader.pages):
        if number >= MAX_PAGES:
            break
        out.add(page.extract_text() + "\n")


def _html(octets: bytes, out: _Text) -> None:
    found = _charset(octets[:2048])
    out.add(html_to_text(decode_charset(octets, found[1].decode("ascii") if found else "")))


_READERS: dict[str, Callable[[bytes, _Text], None]] = {
    "pdf": _pdf,
    "docx": _office("docx"),
    "xlsx": _office("xlsx"),
    "pptx": _office("pptx"),
    "odf": _open_document,
    "html": _html,
}


def prepare(kind: str) -> None:
    """Import what a kind needs, while files can still be read. Raises ImportError where a library is missing."""
    if kind == "pdf":
        import pypdf  # noqa: F401
    elif kind == "html":
        import selectolax.lexbor  # noqa: F401


def text_of_document(kind: str, octets: bytes) -> str:
    """Text of a document of a kind of `message.documents.KINDS`, cut at MAX_TEXT. Raises whatever its parser does."""
    out = _Text()
    try:
        _READERS[kind](octets, out)
    except _Enough:
        pass
    return str(out)
