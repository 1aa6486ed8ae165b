"""Difficult messages with known structure: the part tree and the decoded parts agree, or the reason is stated here."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstead.message.charset import decode_charset
from mailstead.message.decode import decode_body
from mailstead.message.index import index_message
from mailstead.message.mime import Part
from mailstead.message.sections import load_parts

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors" / "mime"
MESSAGES = sorted(VECTORS.glob("*/*.msg"))

_NO_PARTS = "a multipart without delimiters shows its body as one text part: IMAP needs a part, the user sees the text"
_ENCODED = "RFC 2046 5.2.1 forbids base64 for message/rfc822; offsets into decoded octets do not exist, so it is a leaf"

_CUT = "base64 data that is cut gives the octets that are there; the expectation drops the last, incomplete group"
_TWO_LINES = "the message has two lines, neither a field: both are body; the expectation loses one or both"

# Ours differs on purpose: expected shape (or None: only the bodies differ) and why.
DIFFERENT_SHAPE: dict[str, tuple[object, str]] = {
    "badbound": (("multipart", "leaf"), _NO_PARTS),
    "missing-boundary": (("multipart", "leaf"), _NO_PARTS),
    "missing-inner-boundary": (("multipart", "leaf", ("multipart", "leaf")), _NO_PARTS),
    "missing-inner-start-boundary": (("multipart", "leaf", ("multipart", "leaf")), _NO_PARTS),
    "multipartnopart": (("multipart", "leaf"), _NO_PARTS),
    "multi-2gifs-base64": ("leaf", _ENCODED),
    "bad-newlines-multiple-parts-base64": ("leaf", _ENCODED),
    "base64encoded-rfc822message-nested": ("leaf", _ENCODED),
    "base64encoded-rfc822message": ("leaf", _ENCODED),
}
DIFFERENT_BODY: dict[str, str] = {
    "malformedHeaderStartsBody-nocrlfcrlf": "only a blank line ends a header that has begun: IMAP's HEADER and TEXT "
    "must agree with what DKIM and every other reader of the octets takes as header",
    "frag": _CUT,
    "multi-frag": _CUT,
    "malformedHeader-noheader": _TWO_LINES,
    "malformedHeaderStartsBody-noheader": _TWO_LINES,
}


def shape(part: Part) -> object:
    if part.embedded is not None:
        return ("message", shape(part.embedded))
    if part.children:
        return ("multipart", *map(shape, part.children))
    return "leaf"


def expected_shape(element: ElementTree.Element) -> object:
    for child in element:
        if child.tag == "multipart":
            return ("multipart", *(expected_shape(each) for each in child if each.tag == "body-part"))
        if child.tag == "message":
            return ("message", expected_shape(child))
    return "leaf"


def leaves(part: Part) -> Iterator[Part]:
    if part.embedded is not None:
        yield from leaves(part.embedded)
    elif part.children:
        for child in part.children:
            yield from leaves(child)
    else:
        yield part


@pytest.fixture(scope="module", autouse=True)
def vectors() -> None:
    if not VECTORS.is_dir():
        pytest.skip("the shared test vectors are not beside this checkout")


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_structure_and_decoded_bodies(path: Path) -> None:
    octets = path.read_bytes()
    root = load_parts(index_message(octets).parts)
    expected = ElementTree.fromstring(path.with_name(path.stem + "_decoded.xml").read_bytes())
    if path.stem in DIFFERENT_SHAPE:
        wanted, _ = DIFFERENT_SHAPE[path.stem]
        assert shape(root) == wanted
        assert expected_shape(expected) != wanted, "no longer different: remove it from the list"
        return
    assert shape(root) == expected_shape(expected)
    bodies = [each for each in expected.iter() if each.tag in ("text-body", "binary-body")]
    found = list(leaves(root))
    assert len(found) == len(bodies)
    for part, body in zip(found, bodies, strict=True):
        wanted_octets = path.with_name(body.get("name", "")).read_bytes()
        got = decode_body(octets, part)
        if body.tag == "binary-body":
            assert got == wanted_octets or (path.stem in DIFFERENT_BODY and got[:-2] == wanted_octets)
            continue
        # The expectations hold text as UTF-8 or as it was, with the line ends of the tree they were written on.
        candidates = {got, decode_charset(got, part.charset).encode("utf-8")}
        same = wanted_octets.replace(b"\r\n", b"\n") in {each.replace(b"\r\n", b"\n") for each in candidates}
        assert same or path.stem in DIFFERENT_BODY


def test_all_vectors_are_read() -> None:
    assert len(MESSAGES) >= 80
    stems = {path.stem for path in MESSAGES}
    assert stems >= set(DIFFERENT_SHAPE) | set(DIFFERENT_BODY)


def test_lines_before_any_field_are_body() -> None:
    octets = b"This is a simple message not having headers.\r\nThe whole text should be recognized as body.\r\n"
    index = index_message(octets)
    root = load_parts(index.parts)
    assert index.header_size == 0
    assert (root.body_start, root.body_end) == (0, len(octets))
    assert index.preview.startswith("This is a simple message")
