"""Encoded words, parameters, transfer encodings and charsets."""

import base64

import pytest

from mailstead.message.charset import decode_charset
from mailstead.message.content_fields import parse_content_type, parse_disposition, parse_encoding
from mailstead.message.decode import (
    decode_base64,
    decode_header,
    decode_quoted_printable,
    decode_uuencode,
    searchable_text,
    text_of,
)
from mailstead.message.index import index_message
from mailstead.message.sections import load_parts
from mailstead.message.threading import base_subject, message_id, reference_ids


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        # RFC 2047 section 8
        (b"=?ISO-8859-1?Q?a?=", "a"),
        (b"=?ISO-8859-1?Q?a?= b", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a?=  \r\n  =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a_b?=", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        (b"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),
        (b"=?utf-8?B?w6Q=?=", "ä"),
        (b"=?utf-8?b?w6?=", "\ufffd"),
        (b"=?utf-8?q?=E2=82?= =?utf-8?q?=AC?=", "€"),
        (b"=?UTF-8?Q?with space?=", "with space"),
        (b"a=?utf-8?q?b?=c", "abc"),
        (b"=?utf-8?x?b?=", "=?utf-8?x?b?="),
        (b"=?utf-8?q?open", "=?utf-8?q?open"),
        (b"=?nonsense?q?caf=E9?=", "café"),
        (b"=?iso-8859-1?q?=80?=", "€"),
        (b"=?gb2312?b?1tDOxA==?=", "中文"),
        (b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?koi8-r?b?8NLJ18XU?=", "Привет"),
        (b"raw caf\xc3\xa9", "raw café"),
        (b"raw caf\xe9", "raw café"),
        (b"folded\r\n value\0", "folded value"),
    ],
)
def test_decode_header(value: bytes, expected: str) -> None:
    assert decode_header(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # RFC 2231 sections 3 and 4
        (
            b"attachment; filename*0*=us-ascii'en'This%20is%20even%20more%20; filename*1*=%2A%2A%2Afun%2A%2A%2A%20;"
            b' filename*2="isn\'t it!"',
            "This is even more ***fun*** isn't it!",
        ),
        (b"attachment; filename*=utf-8''%e2%82%ac%20rates; filename=EURO", "€ rates"),
        (b'attachment; filename="=?utf-8?q?=E2=82=AC?="', "€"),
        (b"attachment; filename=two words.txt", "two words.txt"),
        (b'attachment; filename="a\\"b.txt"', 'a"b.txt'),
        (b'attachment; filename="never closed', "never closed"),
        (b'attachment; filename*0="one"; filename*2="three"', "one"),
        (b"attachment; filename=x.txt (a comment)", "x.txt"),
        (b"attachment; filename=\xe4.txt", "ä.txt"),
        (b"filename=x.txt", "x.txt"),
    ],
)
def test_filenames(value: bytes, expected: str) -> None:
    found = parse_disposition(value)
    assert found is not None
    assert found.params["filename"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" text/HTML; charset=UTF-8", ("text", "html", {"charset": "UTF-8"})),
        (b"text/plain; charset=us-ascii (Plain text)", ("text", "plain", {"charset": "us-ascii"})),
        (b"(c) text / plain", ("text", "plain", {})),
        (b"text/plain;charset = \"x\" ;; format=flowed", ("text", "plain", {"charset": "x", "format": "flowed"})),
        (b"text", None),
        (b"", None),
        (b"/plain", None),
    ],
)  # fmt: skip
def test_content_type(value: bytes, expected: tuple[str, str, dict[str, str]] | None) -> None:
    found = parse_content_type(value)
    assert (None if found is None else (found.type, found.subtype, found.params)) == expected


def test_transfer_encodings() -> None:
    assert parse_encoding(b" Base64 (x)\r\n") == "base64"
    assert parse_encoding(b"") == "7bit"
    assert decode_base64(b"aGVs\r\nbG8=") == b"hello"
    assert decode_base64(b"aGVsbG8") == b"hello"
    assert decode_base64(b"aGV!s*bG8=") == b"hello"
    assert decode_base64(b"aGVsbG8=\r\n-- \r\nA list's footer, with words\r\n") == b"hello"
    assert decode_base64(b"aGVsbG8=\r\nIHlvdQ==\r\n") == b"hello you"
    assert decode_base64(b"a") == b""
    assert decode_quoted_printable(b"a=3Db=  \r\nc \r\n=zz=") == b"a=bc\r\n=zz"
    data = bytes(range(200))
    lines = b"".join(__import__("binascii").b2a_uu(data[i : i + 45]) for i in range(0, 200, 45))
    assert decode_uuencode(b"words\r\nbegin 644 x.bin\r\n" + lines.replace(b"\n", b"\r\n") + b"`\r\nend\r\n") == data
    assert decode_uuencode(b"no file") == b"no file"


@pytest.mark.parametrize(
    ("octets", "charset", "expected"),
    [
        (b"caf\xe9", "iso-8859-1", "café"),
        (b"\x80", "latin1", "€"),
        (b"\x81", "windows-1252", "\x81"),
        (b"caf\xc3\xa9", "", "café"),
        (b"caf\xc3\xa9", "us-ascii", "café"),
        (b"caf\xc3\xa9", "no-such-thing", "café"),
        (b"a\0", "utf-16le", "a"),
        (b"+AOQ-", "utf-7", "ä"),
        (b"\xd6\xd0", "GB2312", "中"),
        (b"\x93\xfa", "x-sjis", "日"),
        (b"ok", "hex", "ok"),
        (b"ok", "punycode", "ok"),
        (b"ok", "zlib_codec", "ok"),
        (b"ok", "utf\0" + "8", "ok"),
        (b"bad \xff", "utf-8", "bad \ufffd"),
        (b"\xd0\xd2", "windows-1251", "РТ"),
    ],
)
def test_charsets(octets: bytes, charset: str, expected: str) -> None:
    assert decode_charset(octets, charset) == expected


def test_undeclared_eight_bit_text_is_detected() -> None:
    words = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 8
    octets = b"Content-Type: text/plain\r\n\r\n" + words.encode("cp1251")
    assert text_of(octets, load_parts(index_message(octets).parts)) == words


def test_searchable_text_has_headers_text_and_attachments_names() -> None:
    octets = (
        b"From: =?utf-8?q?J=C3=B6rg?= <j@x.example>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode("<script>no()</script><p>Wörter &amp; mehr</p>".encode())
        + b"\r\n--b\r\nContent-Type: application/pdf; name=report.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner words\r\n\r\ninner text\r\n--b--\r\n"
    )
    root = load_parts(index_message(octets).parts)
    found = searchable_text(octets, root)
    for expected in ("Jörg", "j@x.example", "Grüße", "Wörter & mehr", "report.pdf", "inner words", "inner text"):
        assert expected in found
    assert "no()" not in found
    assert "AAAA" not in found
    assert len(searchable_text(octets, root, 20)) <= 20


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Re: Lunch", "lunch"),
        (b"RE: re[2]: FWD: Lunch", "lunch"),
        (b"[list] Re: [list] Lunch", "lunch"),
        (b"Re: [list] Lunch (fwd) (fwd)", "lunch"),
        (b"[Fwd: [Fwd: Lunch]]", "lunch"),
        (b"[only a blob]", "[only a blob]"),
        (b"Re:", ""),
        (b"AW: Lunch", "lunch"),
        (b"  Lunch \t on\r\n Friday", "lunch on friday"),
        (b"=?utf-8?q?Re:_=C3=84pfel?=", "äpfel"),
        (b"Regarding: Lunch", "regarding: lunch"),
    ],
)
def test_base_subject(value: bytes, expected: str) -> None:
    assert base_subject(value) == expected


def test_message_ids() -> None:
    assert message_id(b" <a@b>") == "a@b"
    assert message_id(b" (x) <a\r\n @b> ") == "a@b"
    assert message_id(b"naked@id rest") == "naked@id"
    assert message_id(None) == ""
    assert reference_ids(b"<1@x> junk <2@x>\r\n <1@x>", b"<3@x>") == ("1@x", "2@x", "3@x")
    many = b" ".join(b"<%d@x>" % n for n in range(500))
    assert reference_ids(many, None) == tuple(f"{n}@x" for n in range(450, 500))
