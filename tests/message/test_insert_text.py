"""Text added to messages, and header fields taken out and put in."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.message.insert_text import insert_text
from mailstead.message.rewrite import with_fields, without_fields

BEGIN, END = "Grüße vorab <b>", "-- \nListe & mehr"


def read(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)  # type: ignore[return-value]


def texts(octets: bytes) -> list[tuple[str, str]]:
    parts = [part for part in read(octets).walk() if part.get_content_maintype() == "text"]
    return [(part.get_content_type(), part.get_content().replace("\r\n", "\n")) for part in parts]


@pytest.mark.parametrize("charset", ["us-ascii", "iso-8859-1", "utf-8"])
@pytest.mark.parametrize("encoding", ["7bit", "base64", "quoted-printable"])
def test_plain_text(charset: str, encoding: str) -> None:
    message = EmailMessage()
    message["Subject"] = "x"
    message["Received"] = "one"
    body = "Hallo\n" if charset == "us-ascii" else "Hällo\n"
    message.set_content(body, charset=charset, cte=encoding if charset == "us-ascii" or encoding != "7bit" else "8bit")
    out = insert_text(message.as_bytes(policy=email.policy.SMTP), BEGIN, END)
    ((kind, text),) = texts(out)
    assert kind == "text/plain"
    assert text.split("\n") == ["Grüße vorab <b>", "", body.strip(), "", "-- ", "Liste & mehr", ""]
    assert read(out)["Subject"] == "x"


def test_all_alternatives_and_no_attachment() -> None:
    message = EmailMessage()
    message.set_content("plain\n")
    message.add_alternative("<html><body class=x><p>rich</p></body></html>", subtype="html")
    message.add_attachment(b"\x00\x01" * 500, maintype="application", subtype="octet-stream", filename="a.bin")
    message.add_attachment("attached text\n", filename="b.txt")
    out = insert_text(message.as_bytes(policy=email.policy.SMTP), BEGIN, END)
    found = read(out)
    plain, rich, attached = texts(out)
    assert plain[1].startswith("Grüße vorab <b>\n\nplain")
    assert "<body class=x><div>Grüße vorab &lt;b&gt;</div>" in rich[1]
    assert rich[1].rstrip().endswith("Liste &amp; mehr</div>\n</body></html>")
    assert attached[1].strip() == "attached text"
    assert next(part.get_content() for part in found.iter_attachments()) == b"\x00\x01" * 500


def test_what_is_signed_keeps_every_octet() -> None:
    inner = (
        b"Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256;\r\n boundary=sig\r\n\r\n"
        b"--sig\r\nContent-Type: text/plain\r\n\r\nsigned  \r\n\r\n--sig\r\n"
        b"Content-Type: application/pgp-signature\r\n\r\nXX\r\n--sig--\r\n"
    )  # fmt: skip
    out = insert_text(b"Subject: s\r\nMIME-Version: 1.0\r\n" + inner, BEGIN, END)
    assert inner in out
    found = read(out)
    assert found.get_content_type() == "multipart/mixed"
    assert [part.get_content_type() for part in found.iter_parts()] == ["text/plain", "multipart/signed", "text/plain"]
    assert found["Subject"] == "s"
    assert out.count(b"MIME-Version") == 1


def test_what_is_encrypted_is_left_alone() -> None:
    for kind in (b"multipart/encrypted; boundary=b", b"application/pkcs7-mime; smime-type=enveloped-data"):
        octets = b"Content-Type: " + kind + b"\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
        assert insert_text(octets, BEGIN, END) == octets


def test_a_picture_gets_parts_around_it() -> None:
    octets = b"Subject: p\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
    found = read(insert_text(octets, "", END))
    assert [part.get_content_type() for part in found.iter_parts()] == ["image/png", "text/plain"]
    assert next(iter(found.iter_parts())).get_content() == b"\x00\x00\x00"


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from([b"Subject: x\r\n", b"\r\n", b"\n", b"--b\r\n", b"--b--\r\n",
                             b"Content-Type: multipart/mixed; boundary=b\r\n",
                             b"Content-Type: text/html\r\n", b"body\xff", b"Content-Type: text/plain; charset=utf-16\r\n", b" ",
                             b"Content-Type: multipart/alternative; boundary=b\r\n", b"Content-Transfer-Encoding: base64\r\n"]),
            max_size=14,
        ).map(b"".join),
    ),
    st.text(max_size=30), st.text(max_size=30),
)  # fmt: skip
def test_nothing_raises_and_the_header_stays(octets: bytes, begin: str, end: str) -> None:
    out = insert_text(octets, begin, end)
    assert isinstance(out, bytes)
    if octets.startswith(b"Subject: x\r\n"):
        assert out.startswith(b"Subject: x\r\n")


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.sampled_from([b"", b"\r\n", b"A: 1", b"A: 1\nB: 2\n\nbody", b"no header\r\n"])))
def test_fields_put_in_are_there_and_the_body_stays(octets: bytes) -> None:
    out = with_fields(octets, (b"x-gone", b"list-*"), ["X-First: 1\r\n"], ["X-Last: 2\r\n"])
    assert out.startswith(b"X-First: 1\r\n")
    again = with_fields(out, (b"x-first", b"x-last"), ["X-First: 1\r\n"], ["X-Last: 2\r\n"])
    assert again == out
    assert without_fields(b"List-Id: a\r\n b\r\nKeep: c\r\n\r\n", (b"list-*",)) == b"Keep: c\r\n"
