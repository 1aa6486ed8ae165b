"""BODY[section] and BINARY[section] of the shared MIME messages, held against Python's email package.

Each difference is listed with its reason; a new one, or one that has gone, fails the test.
"""

# ruff: noqa: E501  (the reasons are sentences)
from __future__ import annotations

import email
import email.policy
import re
from collections.abc import AsyncIterator, Iterator
from email.message import Message
from pathlib import Path

import pytest

from mailstead.mailbox.model import NewMessage
from mailstead.message.line_ends import canonical
from tests.imap.conftest import ACCOUNT, Client, Face, start_face

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors" / "mime"
DECODED = ("base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue")
POLICY = email.policy.compat32.clone(linesep="\r\n")

REASONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Two delimiter lines in a row have an empty part between them (RFC 2046 section 5.1.1); the email package skips it.",
        (
            ("2002_06_12_doublebound", "2"),
            ("double-bound", "1"),
            ("double-bound", "2"),
            ("double-bound", "6"),
            ("double-bound", "8"),
        ),
    ),
    (
        "A header ends at the first empty line and nowhere else (RFC 5322 section 2.1); the email package ends it at a line that is no field.",
        (
            ("hdr-fakeout", "1"),
            ("basic-plain-with-bad-header-separator", "1"),
            ("malformedHeader-nocrlfcrlf", "1"),
            ("malformedHeaderStartsBody-nocrlfcrlf", "1"),
            ("obsolete", "1"),
        ),
    ),
    (
        "A multipart that is not closed goes on to its end, or to the outer delimiter; the email package takes or gives a line end.",
        (("jt-0498", "2.1"), ("multi-bad", "1"), ("missing-inner-boundary", "2"), ("missing-inner-start-boundary", "2")),
    ),
    (
        "An encoded message/rfc822 part, which RFC 2046 section 5.2.1 forbids, is one leaf; the email package parses its base64 as a message.",
        (
            ("multi-2gifs-base64", "1.1"),
            ("bad-newlines-multiple-parts-base64", "1.1"),
            ("base64encoded-rfc822message-nested", "1.1"),
            ("base64encoded-rfc822message", "1.1"),
        ),
    ),
    (
        "The boundary is folded, or what follows it on a delimiter line does not matter (RFC 2046 section 5.1.1); the email package finds none.",
        (("multi-badnames", "1"), ("multi-clen", "1"), ("multi-digest", "1"), ("multi-simple", "1"), ("ending-boundaries", "1")),
    ),
    (
        "Blanks at the end of the boundary are its own where the delimiter lines have them; the email package cuts them off.",
        (
            ("very-long-boundary", "1"),
            ("very-long-boundary", "2"),
            ("very-very-long-boundary", "1"),
            ("very-very-long-boundary", "2"),
            ("weird-boundary", "1"),
            ("weird-boundary", "2"),
        ),
    ),
    (
        "A multipart without any part has its body as its only child, or an empty one; the email package has the epilogue or the preamble.",
        (("multipartemptypart", "1"), ("multipartnopart", "1")),
    ),
    (
        "A blank behind the name of the transfer encoding does not matter; the email package does not decode then.",
        (("twopart", "2"),),
    ),
    (
        "An encoding nobody knows is answered UNKNOWN-CTE (RFC 3516 section 4.3).",
        (("x-gzip64", "1"),),
    ),
)
#: (message, section): why we differ from the email package.
DIFFERENCES = {key: why for why, keys in REASONS for key in keys}


@pytest.fixture(scope="module")
def messages() -> list[Path]:
    if not VECTORS.is_dir():
        pytest.skip("the shared test vectors are not beside this checkout")
    return sorted(VECTORS.rglob("*.msg"))


@pytest.fixture
async def box(tmp_path: Path, messages: list[Path]) -> AsyncIterator[tuple[Face, Client]]:
    face, stop = await start_face(tmp_path)
    inbox = await face.mailbox.folder(ACCOUNT, "INBOX")
    assert inbox is not None
    for path in messages:
        await face.mailbox.append(inbox, [NewMessage(canonical(path.read_bytes()))])
    client = await face.client()
    await client.ok("SELECT INBOX")
    yield face, client
    await stop()


def raw(part: Message) -> bytes:
    """The body of a leaf as it stands in the message."""
    payload = part._payload  # type: ignore[attr-defined]  # get_payload decodes the charset as well
    assert isinstance(payload, str)
    return payload.encode("ascii", "surrogateescape")


def leaves(part: Message, section: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Message]]:
    """Section numbers of all leaves (RFC 3501 section 6.4.5)."""
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for number, child in enumerate(part.get_payload(), 1):
            yield from below(child, (*section, number))
    else:
        yield from below(part, (*section, 1))


def below(part: Message, section: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Message]]:
    if part.get_content_type() == "message/rfc822" and part.is_multipart():
        yield from leaves(part.get_payload(0), section)
    elif part.is_multipart():
        yield from leaves(part, section)
    else:
        yield section, part


def value(line: bytes, label: str) -> bytes:
    """What stands behind the label in a FETCH response."""
    found = re.search(re.escape(label.encode()) + rb" (?:~?\{(\d+)\}\r\n|(NIL)|(\d+))", line)
    assert found, (label, line[:200])
    if found[2] is not None:
        return b"NIL"
    if found[3] is not None:
        return found[3]
    return line[found.end() : found.end() + int(found[1])]


async def test_sections_are_those_of_the_email_package(box: tuple[Face, Client], messages: list[Path]) -> None:
    _, client = box
    differing: dict[tuple[str, str], str] = {}
    compared = 0
    for number, path in enumerate(messages, 1):
        whole = email.message_from_bytes(canonical(path.read_bytes()), policy=POLICY)
        for section, part in leaves(whole):
            name = ".".join(map(str, section))
            (line,) = await client.ok(f"FETCH {number} (BODY.PEEK[{name}])")
            body = value(line, f"BODY[{name}]")
            compared += 1
            if body != raw(part).replace(b"\0", b"\x80"):
                differing[path.stem, name] = f"BODY: {body[-60:]!r} instead of {raw(part)[-60:]!r}"
                continue
            encoding = str(part.get("Content-Transfer-Encoding", "7bit")).lower()
            untagged, reply = await client.command(f"FETCH {number} (BINARY.SIZE[{name}] BINARY.PEEK[{name}])")
            if not untagged:
                differing[path.stem, name] = f"BINARY: {reply!r} for {encoding!r}"
                continue
            binary = value(untagged[0], f"BINARY[{name}]")
            assert int(value(untagged[0], f"BINARY.SIZE[{name}]")) == len(binary)
            expected = part.get_payload(decode=True) if encoding in DECODED else raw(part)
            if binary != expected:
                differing[path.stem, name] = f"BINARY of {encoding}: {binary[-60:]!r} instead of {expected[-60:]!r}"
    assert compared > 150
    unexplained = {key: text for key, text in differing.items() if key not in DIFFERENCES}
    assert not unexplained, "\n".join(f"{key}: {text}" for key, text in unexplained.items())
    assert not set(DIFFERENCES) - set(differing), "explained differences that are none"
