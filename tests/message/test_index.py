"""What a client sees of a delivered message: envelope, structure, sections, sort keys, preview."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.message.index import MAX_FIELDS, index_message, with_header_in_front
from mailstead.message.sections import (
    filter_header_fields,
    load_parts,
    locate,
    section_octets,
)

from .imap_lists import read_list

RFC3501 = (
    b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
    b"From: Terry Gray <gray@cac.washington.edu>\r\n"
    b"Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
    b"To: imap@cac.washington.edu\r\n"
    b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
    b"Message-Id: <B27397-0100000@cac.washington.edu>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n"
    b"\r\n"
) + b"line of text\r\n" * 92


def test_envelope_of_the_rfc_example() -> None:
    gray = [[b"Terry Gray", None, b"gray", b"cac.washington.edu"]]
    assert read_list(index_message(RFC3501).envelope) == [
        b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)",
        b"IMAP4rev1 WG mtg summary and minutes",
        gray,
        gray,
        gray,
        [[None, None, b"imap", b"cac.washington.edu"]],
        [[None, None, b"minutes", b"CNRI.Reston.VA.US"], [b"John Klensin", None, b"KLENSIN", b"MIT.EDU"]],
        None,
        None,
        b"<B27397-0100000@cac.washington.edu>",
    ]


def test_body_of_the_rfc_example() -> None:
    body = read_list(index_message(RFC3501).body)
    assert body == [b"text", b"plain", [b"charset", b"US-ASCII"], None, None, b"7bit", 92 * 14, 92]
    assert read_list(index_message(RFC3501).bodystructure) == [*body, None, None, None, None]


MIXED = (
    b'From: a@example.com\nContent-Type: multipart/mixed; boundary="x"\n\npreamble\n'
    b"--x\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\nhello\n"
    b"--x\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME=cc.diff\n"
    b"Content-ID: <960723163407.20117h@cac.washington.edu>\nContent-Description: Compiler diff\n"
    b"Content-Transfer-Encoding: BASE64\nContent-Language: en, de\nContent-MD5: Q2hlY2s=\n"
    b'Content-Disposition: attachment; filename="cc.diff"\n\naGVsbG8=\n\n--x--\nepilogue\n'
).replace(b"\n", b"\r\n")


def test_multipart_structure_with_extension_data() -> None:
    first = [b"text", b"plain", [b"charset", b"US-ASCII"], None, None, b"7bit", 5, 0]
    second = [
        b"text", b"plain", [b"charset", b"US-ASCII", b"name", b"cc.diff"],
        b"<960723163407.20117h@cac.washington.edu>", b"Compiler diff", b"base64", 10, 1,
    ]  # fmt: skip
    index = index_message(MIXED)
    assert read_list(index.body) == [first, second, b"mixed"]
    assert read_list(index.bodystructure) == [
        [*first, None, None, None, None],
        [*second, b"Q2hlY2s=", [b"attachment", [b"filename", b"cc.diff"]], [b"en", b"de"], None],
        b"mixed", [b"boundary", b"x"], None, None, None,
    ]  # fmt: skip
    assert index.has_attachment
    # RFC 3501 wants no blank between the parts of a multipart.
    assert b")(" in index.body


# The tree of RFC 3501 section 6.4.5, with its part numbers.
RFC_TREE = (
    b"From: top@example.com\nContent-Type: multipart/mixed; boundary=A\n\n"
    b"--A\nContent-Type: text/plain\n\none\n"
    b"--A\nContent-Type: application/octet-stream\n\ntwo\n"
    b"--A\nContent-Type: message/rfc822\nX-Mime: three\n\n"
    b"Subject: third\nContent-Type: multipart/mixed; boundary=B\n\n"
    b"--B\nContent-Type: text/plain\n\nthree.one\n--B\nContent-Type: application/octet-stream\n\nthree.two\n--B--\n"
    b"--A\nContent-Type: multipart/mixed; boundary=C\n\n"
    b"--C\nContent-Type: image/gif\nX-Mime: four.one\n\nfour.one\n"
    b"--C\nContent-Type: message/rfc822\n\n"
    b"Subject: fourtwo\nContent-Type: multipart/mixed; boundary=D\n\n"
    b"--D\nContent-Type: text/plain\n\nfour.two.one\n"
    b"--D\nContent-Type: multipart/alternative; boundary=E\n\n"
    b"--E\nContent-Type: text/plain\n\nfour.two.two.one\n--E\nContent-Type: text/richtext\n\nfour.two.two.two\n--E--\n"
    b"--D--\n--C--\n--A--\n"
).replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("section", "text", "start"),
    [
        ((1,), "", b"one"),
        ((2,), "", b"two"),
        ((3,), "HEADER", b"Subject: third\r\n"),
        ((3,), "TEXT", b"--B\r\n"),
        ((3,), "MIME", b"Content-Type: message/rfc822\r\nX-Mime: three\r\n\r\n"),
        ((3,), "", b"Subject: third\r\n"),
        ((3, 1), "", b"three.one"),
        ((3, 2), "", b"three.two"),
        ((4, 1), "", b"four.one"),
        ((4, 1), "MIME", b"Content-Type: image/gif\r\nX-Mime: four.one\r\n\r\n"),
        ((4, 2), "HEADER", b"Subject: fourtwo"),
        ((4, 2), "TEXT", b"--D\r\n"),
        ((4, 2, 1), "", b"four.two.one"),
        ((4, 2, 2), "", b"--E\r\n"),
        ((4, 2, 2, 1), "", b"four.two.two.one"),
        ((4, 2, 2, 2), "", b"four.two.two.two"),
        ((), "HEADER", b"From: top@example.com"),
        ((), "TEXT", b"--A\r\n"),
        ((), "", b"From: top@example.com"),
    ],
)
def test_section_numbers_of_the_rfc_tree(section: tuple[int, ...], text: str, start: bytes) -> None:
    root = load_parts(index_message(RFC_TREE).parts)
    found = section_octets(RFC_TREE, root, section, text)
    assert found is not None
    assert found.startswith(start)
    if text == "" and start[:1].islower():
        assert found == start


@pytest.mark.parametrize("section", [(0,), (5,), (1, 1), (3, 3), (4, 1, 1), (4, 2, 2, 3), (4, 2, 3), (10**12,)])
def test_sections_that_do_not_exist(section: tuple[int, ...]) -> None:
    assert locate(load_parts(index_message(RFC_TREE).parts), section) is None


def test_part_one_of_a_single_part_message_is_its_body() -> None:
    root = load_parts(index_message(RFC3501).parts)
    assert section_octets(RFC3501, root, (1,)) == b"line of text\r\n" * 92
    assert section_octets(RFC3501, root, (1,), "HEADER") is None
    assert locate(root, (2,)) is None
    assert locate(root, (1, 1)) is None


def test_a_message_whose_body_is_a_message() -> None:
    octets = b"Subject: out\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nwords\r\n"
    index = index_message(octets)
    root = load_parts(index.parts)
    assert section_octets(octets, root, (), "HEADER") == b"Subject: out\r\nContent-Type: message/rfc822\r\n\r\n"
    assert section_octets(octets, root, (1,), "HEADER") == b"Subject: in\r\n\r\n"
    assert section_octets(octets, root, (1, 1)) == b"words\r\n"
    body = read_list(index.body)
    assert body[:2] == [b"message", b"rfc822"]
    assert body[7][1] == b"in"
    assert body[8][:2] == [b"text", b"plain"]


@pytest.mark.parametrize("inner", [b"", b"no delimiter at all\r\n"])
def test_a_multipart_without_parts_is_shown_with_one_text_part(inner: bytes) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=q\r\n\r\n" + inner
    body = read_list(index_message(octets).body)
    assert body[0][:2] == [b"text", b"plain"]
    assert body[1] == b"mixed"
    assert section_octets(octets, load_parts(index_message(octets).parts), (1,)) == inner


def test_boundaries_that_begin_alike_are_told_apart() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=p1\r\n\r\n--p1\r\nContent-Type: multipart/mixed; boundary=p10\r\n\r\n"
        b"--p10\r\n\r\na\r\n--p10\r\n\r\nb\r\n--p10--\r\n--p1\r\n\r\nc\r\n--p1--\r\n"
    )
    root = load_parts(index_message(octets).parts)
    assert [section_octets(octets, root, each) for each in ((1, 1), (1, 2), (2,))] == [b"a", b"b", b"c"]


def test_values_beyond_ascii_and_quotes() -> None:
    octets = (
        b'From: "A \\"quoted\\" name" <a@example.com>\r\nSubject: caf\xc3\xa9\0 \\ "x"\r\n'
        b'To: "back\\\\slash" <b@example.com>\r\n\r\n'
    )
    envelope = index_message(octets).envelope
    assert b"\0" not in envelope
    assert b'{11}\r\ncaf\xc3\xa9 \\ "x"' in envelope
    values = read_list(envelope)
    assert values[2] == [[b'A "quoted" name', None, b"a", b"example.com"]]
    assert values[5] == [[b"back\\slash", None, b"b", b"example.com"]]


def test_sender_and_reply_to_of_their_own() -> None:
    octets = b"From: f@a.example\r\nSender: s@a.example\r\nReply-To: r@a.example\r\nTo: a@x.example\r\nTo: b@x.example\r\n\r\n"
    values = read_list(index_message(octets).envelope)
    assert [value[0][2] for value in values[2:5]] == [b"f", b"s", b"r"]
    assert [entry[2] for entry in values[5]] == [b"a", b"b"]


def test_the_plain_fields() -> None:
    octets = (
        b"Date: Mon, 01 Jan 2024 12:00:00 +0100\r\nSubject: =?utf-8?q?Re:_[x]_Gr=C3=BC=C3=9Fe?= (fwd)\r\n"
        b"From: Z <zed@a.example>\r\nTo: yo@b.example\r\nCc: Group: one@c.example, two@c.example;\r\n"
        b"Message-ID: <m1@a.example>\r\nReferences: <m-2@a> <m-1@a>\r\nIn-Reply-To: <m-1@a> <m0@a>\r\n"
        b"X-Spam-Score: 3\r\nX-Other: no\r\n\r\nHi there,\r\n\r\n> quoted\r\nanswer\r\n"
    )
    index = index_message(octets)
    assert index.size == len(octets)
    assert octets[: index.header_size].endswith(b"\r\n\r\n")
    assert (index.message_id, index.references) == ("m1@a.example", ("m-2@a", "m-1@a", "m0@a"))
    assert index.subject_base == "grüße"
    assert index.sent == 1704106800
    assert (index.sort_from, index.sort_to, index.sort_cc) == ("ZED", "YO", "ONE")
    assert (index.has_attachment, index.eight_bit) == (False, False)
    assert index.preview == "Hi there, answer"
    assert b"X-Spam-Score: 3\r\n" in index.fields
    assert b"X-Other" not in index.fields


def test_stored_fields_have_crlf_and_are_capped_by_whole_fields() -> None:
    index = index_message(b"Subject: a\n folded\nTo: b@c\n\nbody")
    assert index.fields == b"Subject: a\r\n folded\r\nTo: b@c\r\n"
    assert index.fields_complete
    octets = b"From: a@b\r\n" + b"X-Spam-Report: " + b"x" * 20_000 + b"\r\nSubject: kept\r\n\r\n"
    index = index_message(octets)
    assert index.fields == b"From: a@b\r\nSubject: kept\r\n"
    assert not index.fields_complete
    assert len(index.fields) <= MAX_FIELDS


def test_preview_of_html_and_of_encoded_text() -> None:
    html = b"Content-Type: text/html\r\n\r\n<html><head><title>t</title><style>p{}</style></head><p>Hello <b>you</b>&amp;me"
    assert index_message(html).preview == "Hello you &me"
    encoded = base64.encodebytes("Zwölf Boxkämpfer ".encode("latin-1") * 30).replace(b"\n", b"\r\n")
    octets = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded
    preview = index_message(octets).preview
    assert preview.startswith("Zwölf Boxkämpfer Zwölf")
    assert 180 < len(preview) <= 200
    quoted = b"\r\nOn Monday Bob wrote:\r\n\r\n> his words\r\n> more\r\n\r\nMy answer.\r\n"
    assert index_message(quoted).preview == "My answer."


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"Content-Type: application/pdf", True),
        (b"Content-Type: text/plain\r\nContent-Disposition: attachment", True),
        (b"Content-Type: application/pgp-signature; name=s.asc", False),
        (b"Content-Type: image/png; name=logo.png\r\nContent-ID: <l@x>\r\nContent-Disposition: inline", False),
        (b"Content-Type: message/rfc822", True),
        (b"Content-Type: text/html", False),
    ],
)
def test_paper_clip(fields: bytes, expected: bool) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n" + fields + b"\r\n\r\nx\r\n--b--\r\n"
    assert index_message(octets).has_attachment is expected


def test_header_fields_filter() -> None:
    header = b"Subject: a\r\n b\r\nTO: x\r\nX-Y : z\r\njunk line\r\nTo: again\r\n\r\n"
    assert filter_header_fields(header, frozenset({b"TO"})) == b"TO: x\r\nTo: again\r\n\r\n"
    assert filter_header_fields(header, frozenset({b"X-Y", b"SUBJECT"})) == b"Subject: a\r\n b\r\nX-Y : z\r\n\r\n"
    assert filter_header_fields(header, frozenset({b"TO"}), invert=True) == b"Subject: a\r\n b\r\nX-Y : z\r\njunk line\r\n\r\n"
    assert filter_header_fields(header, frozenset({b"NONE"})) == b"\r\n"
    assert filter_header_fields(b"A: 1\nB: 2\n\n", frozenset({b"B"})) == b"B: 2\r\n\r\n"


def test_an_index_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version"):
        load_parts(b"\x7f" + index_message(b"").parts[1:])


_FRONTS = st.lists(
    st.sampled_from(
        [b"Return-Path: <a@b.test>\r\n",
         b"List-Unsubscribe: <mailto:x@y.test>,\r\n <https://y.test/u?t=1>\r\n", b"X-Spam-Level: *\r\n",
         "X-Ü: ä\r\n".encode(),
         b"X-Other: 1\r\n", b"Subject: no\r\n", b"Content-Type: text/html\r\n", b"no field\r\n", b" fold\r\n", b"\r\n"]
    ),
    min_size=1, max_size=4,
).map(b"".join)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    _FRONTS,
    st.one_of(
        st.binary(max_size=200),
        st.sampled_from(
            [b"", b"\r\n",
             b"Subject: x\r\n\r\nbody\r\n", b"Subject: x", b"From: a@b.test\nTo: c\n\nx\n", b" fold\r\nSubject: x\r\n\r\ny",
             b"From x y\r\nSubject: z\r\n\r\nq", b"no header at all\r\n", b"Subject : x\r\n\r\n",
             b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
             b"Subject: in\r\n\r\ntwo\r\n--b--\r\n"]
        ),
    ),
)  # fmt: skip
def test_header_lines_in_front_can_be_added_to_an_index(front: bytes, octets: bytes) -> None:
    found = with_header_in_front(index_message(octets), front)
    assert found is None or found == index_message(front + octets)


def test_the_usual_lines_in_front_need_no_second_look() -> None:
    octets = b"From: a@b.test\r\nSubject: x\r\nList-Id: <l.b.test>\r\n\r\nbody\r\n"
    for front in (b"Return-Path: <>\r\n", b"List-Unsubscribe: <mailto:a@b.test>\r\nReturn-Path: <a@b.test>\r\n"):
        assert with_header_in_front(index_message(octets), front) == index_message(front + octets)
