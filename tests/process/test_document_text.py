"""Documents become text; hostile ones become nothing, within their limits."""

from __future__ import annotations

import io
import sys
import zipfile

import pytest

from mailstead.process import document_text
from mailstead.process.document_formats import MAX_TEXT, text_of_document
from mailstead.process.document_text import extract


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may be slow; what is hostile is stopped by the other limits, or has a time of its own."""
    monkeypatch.setattr(document_text, "TIMEOUT", 120.0)


def archive(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return out.getvalue()


def docx(text: str) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" for line in text.split("\n"))
    return archive({
        "word/document.xml": f'<w:document xmlns:w="urn:w"><w:body>{body}</w:body></w:document>'.encode(),
        "word/media/image.xml": b"<t>not text</t>",
    })  # fmt: skip


def pdf(text: str) -> bytes:
    """The smallest PDF that shows a line of text."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"xref\n0 6\n0000000000 65535 f \n%btrailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        table,
        len(out),
    )


ODT = archive({
    "content.xml": b'<o:c xmlns:o="urn:o" xmlns:t="urn:t"><t:h>Title</t:h><t:p>one<t:s/>two '
    b"<t:span>in<t:b>ner</t:b></t:span> tail</t:p></o:c>",
})  # fmt: skip
XLSX = archive({
    "xl/sharedStrings.xml": b'<sst xmlns="urn:x"><si><t>Revenue</t></si><si><t>Costs</t></si></sst>',
    "xl/worksheets/sheet1.xml": b'<w xmlns="urn:x"><row><c><is><t>inline</t></is></c></row></w>',
})  # fmt: skip
PPTX = archive({"ppt/slides/slide1.xml": b'<p:s xmlns:p="urn:p" xmlns:a="urn:a"><a:p><a:t>Slide words</a:t></a:p></p:s>'})


@pytest.mark.parametrize(
    ("kind", "octets", "words"),
    [
        ("docx", docx("First line\nSecond caf\u00e9"), "First line\nSecond caf\u00e9"),
        ("pdf", pdf("Portable words"), "Portable words"),
        ("odf", ODT, "Title\none two inner tail"),
        ("xlsx", XLSX, "Revenue\nCosts"),
        ("pptx", PPTX, "Slide words"),
        ("html", b"<html><meta charset=utf-8><style>no</style><p>caf\xc3\xa9 <b>bold</b></html>", "caf\u00e9 bold"),
    ],
)
def test_text_of_each_kind(kind: str, octets: bytes, words: str) -> None:
    assert words in extract(kind, octets)


def test_a_bomb_of_zeros_is_not_unpacked() -> None:
    bomb = archive({"word/document.xml": b"<t>" + b"\0" * (200 << 20) + b"</t>", "word/header1.xml": b"<t>here</t>"})
    assert len(bomb) < 1 << 20
    assert extract("docx", bomb).strip() == "here"


def test_entities_are_not_expanded() -> None:
    lol = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><x><t>&b;</t></x>'
    assert extract("docx", archive({"word/document.xml": lol})).strip() == ""
    wide = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "ha">]><x><t>&a;</t></x>'.encode("utf-16")
    assert extract("docx", archive({"word/document.xml": wide})).strip() == ""


@pytest.mark.parametrize("kind", ["pdf", "docx", "odf", "xlsx", "pptx"])
@pytest.mark.parametrize("octets", [b"", b"%PDF-1.7 nonsense", b"PK\x03\x04" + bytes(500), b"\xff" * 5000])
def test_broken_documents_have_no_text(kind: str, octets: bytes) -> None:
    assert extract(kind, octets) == ""


def test_deep_xml_and_endless_paragraphs_end() -> None:
    deep = b"<p>" * 200_000 + b"</p>" * 200_000
    assert len(extract("odf", archive({"content.xml": deep}))) <= MAX_TEXT
    endless = docx("\n".join(["word " * 20] * 30_000))
    assert len(text_of_document("docx", endless)) == MAX_TEXT


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nwhile True: sys.stdout.write('x' * 65536)",
        "x = [bytes(1 << 20) for _ in range(4000)]",
        "while True: pass",
        "import tempfile, os\nos.write(tempfile.mkstemp()[0], b'x')",
    ],
    ids=["100 MB of output", "memory", "time", "a file"],
)
def test_a_reader_that_was_taken_over_stays_within_its_limits(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of a document, with its limits, but a program of the enemy's in place of the parser."""
    if program == "while True: pass":
        monkeypatch.setattr(document_text, "TIMEOUT", 4.0)
    wrapped = (
        f"import sys\nfrom mailstead.process.document_text import confine\nconfine()\nexec({program!r})\nprint('got through')\n"
    )
    original = document_text.subprocess.Popen

    def other(_command: list[str], **options: object) -> object:
        return original([sys.executable, "-I", "-c", wrapped], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(document_text.subprocess, "Popen", other)
    assert extract("pdf", pdf("x")) == ""


def test_an_unknown_kind_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_text.subprocess, "Popen", lambda *_a, **_k: pytest.fail("started"))
    assert extract("exe", b"MZ") == ""
