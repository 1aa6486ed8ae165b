"""Well-formed messages: the offsets agree with the standard library's parser, part by part."""

import email.policy
from email.message import EmailMessage, Message

from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.message.decode import decode_body
from mailstead.message.index import index_message
from mailstead.message.mime import Part
from mailstead.message.sections import body_octets, load_parts

from .imap_lists import read_list

POLICY = email.policy.SMTP.clone(max_line_length=76)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200)
WORDS = st.text("abcXYZ äß€ 0-_.", min_size=1, max_size=30).map(lambda text: " ".join(text.split()) or "x")


@st.composite
def messages(draw: st.DrawFn, depth: int = 0) -> EmailMessage:
    message = EmailMessage(policy=POLICY)
    message["Subject"] = draw(WORDS)
    message["From"] = "Some One <one@example.org>"
    message["To"] = ", ".join(draw(st.lists(st.sampled_from(["a@x.example", "B <b@y.example>"]), min_size=1, max_size=3)))
    message["Message-ID"] = "<id@example.org>"
    message.set_content(draw(TEXTS) + "\n")
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(["html", "file", "message"]))
        if kind == "html" and message.get_content_type() in ("text/plain", "multipart/alternative"):
            message.add_alternative(f"<p>{draw(WORDS)}</p>", subtype="html")
        elif kind == "message" and depth < 2:
            message.add_attachment(draw(messages(depth=depth + 1)))
        else:
            message.add_attachment(
                draw(st.binary(max_size=300)), maintype="application", subtype="pdf", filename=draw(WORDS) + ".pdf"
            )
    return message


def compare(octets: bytes, part: Part, expected: Message) -> None:
    assert f"{part.type}/{part.subtype}" == expected.get_content_type()
    assert part.filename == (expected.get_filename() or "")
    if part.type == "multipart":
        children = expected.get_payload()
        assert len(part.children) == len(children)
        for child, wanted in zip(part.children, children, strict=True):
            compare(octets, child, wanted)
    elif part.embedded is not None:
        compare(octets, part.embedded, expected.get_payload(0))
    else:
        assert part.encoding == expected.get("Content-Transfer-Encoding", "7bit").lower()
        assert decode_body(octets, part) == expected.get_payload(decode=True)
        if part.type == "text":
            assert part.lines == body_octets(octets, part).count(b"\n")


@given(messages())
@settings(max_examples=120, deadline=None)
def test_agrees_with_the_standard_library(message: EmailMessage) -> None:
    octets = message.as_bytes(policy=POLICY)
    expected = email.message_from_bytes(octets, policy=POLICY)
    index = index_message(octets)
    compare(octets, load_parts(index.parts), expected)
    envelope = read_list(index.envelope)
    assert [(entry[2] + b"@" + entry[3]).decode() for entry in envelope[5]] == [
        address.addr_spec for address in expected["To"].addresses
    ]
    assert envelope[9] == b"<id@example.org>"
