"""BINARY both ways (RFC 3516), ids of messages (RFC 8474), save dates, UTF8 and spooled parts: what transcripts cannot say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.imap.partial import Partial
from mailstead.mailbox.model import NewMessage
from tests.imap.conftest import ACCOUNT, PASSWORD, Client, Face, message

HEAD = b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
OCTETS = bytes(range(256)) * 3 + b"\n\r\r\n\0\n"


def literal(line: bytes, label: bytes) -> tuple[bytes, bytes]:
    """The head of the literal behind a label, and its octets."""
    found = re.search(re.escape(label) + rb" (~?\{(\d+)\}\r\n)", line)
    assert found, line[:200]
    return found[1][:1], line[found.end() : found.end() + int(found[2])]


@pytest.fixture
async def client(face: Face) -> Client:
    return await face.client()


@pytest.mark.parametrize("size", [len(OCTETS), 700_000])
async def test_a_literal8_comes_back_octet_by_octet(client: Client, size: int) -> None:
    """In memory and through a spool, NUL and bare line ends included."""
    octets = (OCTETS * (size // len(OCTETS) + 1))[:size]
    await client.ok(b"APPEND INBOX ~{%d+}\r\n" % (len(HEAD) + size) + HEAD + octets)
    await client.ok("SELECT INBOX")
    (line,) = await client.ok("FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1])")
    assert b"BINARY.SIZE[1] %d " % size in line
    assert literal(line, b"BINARY[1]") == (b"~", octets)
    (line,) = await client.ok("FETCH 1 BINARY.PEEK[1]<250.20>")
    assert literal(line, b"BINARY[1]<250>") == (b"~", octets[250:270])
    (line,) = await client.ok("FETCH 1 BINARY.PEEK[]")
    assert literal(line, b"BINARY[]") == (b"~", HEAD + octets)


@pytest.mark.parametrize("size", [len(OCTETS), 700_000])
async def test_nul_leaves_only_through_binary(client: Client, size: int) -> None:
    octets = (OCTETS * (size // len(OCTETS) + 1))[:size]
    await client.ok(b"APPEND INBOX ~{%d+}\r\n" % (len(HEAD) + size) + HEAD + octets)
    await client.ok("SELECT INBOX")
    for item, shown in (("BODY.PEEK[]", HEAD + octets), ("BODY.PEEK[TEXT]", octets), ("BODY.PEEK[1]", octets)):
        (line,) = await client.ok(f"FETCH 1 (UID {item})")
        assert literal(line, item.replace(".PEEK", "").encode()) == (b"{", shown.replace(b"\0", b"\x80"))


async def test_nul_in_an_ordinary_literal_is_refused(client: Client) -> None:
    for size in (10, 400_000):
        octets = b"A: b\r\n\r\n" + b"x" * size + b"\0"
        _, reply = await client.command(b"APPEND INBOX {%d+}\r\n" % len(octets) + octets)
        assert reply == b"BAD NUL in a literal"
    assert await client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_line_ends_of_an_ordinary_literal_are_put_right(client: Client) -> None:
    await client.append("INBOX", b"A: b\n\nline\nother\r\n")
    await client.ok("SELECT INBOX")
    (line,) = await client.ok("FETCH 1 BODY.PEEK[]")
    assert literal(line, b"BODY[]")[1] == b"A: b\r\n\r\nline\r\nother\r\n"


NESTED = (
    b"Content-Type: multipart/mixed; boundary=out\r\n\r\n"
    b"--out\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n"
    b"--in\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 =\r\nau lait\r\n"
    b"--in\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\nAAH/\r\n--in--\r\n"
    b"--out\r\nContent-Transfer-Encoding: x-unheard-of\r\n\r\nodd\r\n--out--\r\n"
)


async def test_binary_of_nested_parts(client: Client) -> None:
    await client.append("INBOX", NESTED)
    await client.ok("SELECT INBOX")
    (line,) = await client.ok("FETCH 1 (BINARY.SIZE[1.1] BINARY.SIZE[1.2] BINARY.PEEK[1.1] BINARY.PEEK[1.2])")
    assert b"BINARY.SIZE[1.1] 13 BINARY.SIZE[1.2] 3 " in line
    assert literal(line, b"BINARY[1.1]") == (b"{", "café au lait".encode())
    assert literal(line, b"BINARY[1.2]") == (b"~", b"\0\1\xff")
    (line,) = await client.ok("FETCH 1 BINARY.PEEK[1]")
    assert literal(line, b"BINARY[1]")[1].startswith(b"Subject: inner\r\n")
    assert await client.ok("FETCH 1 (BINARY.PEEK[9] BINARY.SIZE[9])") == [b"* 1 FETCH (BINARY[9] NIL BINARY.SIZE[9] 0)"]
    for item in ("BINARY[2]", "BINARY.SIZE[2]", "BINARY.PEEK[2]<0.1>"):
        _, reply = await client.command(f"FETCH 1 {item}")
        assert reply.startswith(b"NO [UNKNOWN-CTE]")
    for item in ("BINARY[1.MIME]", "BINARY[HEADER]", "BINARY.SIZE[1]<0.1>"):
        _, reply = await client.command(f"FETCH 1 {item}")
        assert reply.startswith(b"BAD"), item


async def ids(client: Client, folder: str) -> list[tuple[bytes, bytes]]:
    await client.ok(f"SELECT {folder}")
    lines = await client.ok("FETCH 1:* (EMAILID THREADID)")
    found = [re.search(rb"EMAILID \((M\d+)\) THREADID \((T\d+)\)", line) for line in lines]
    return [(one[1], one[2]) for one in found if one]


async def test_ids_stay_with_the_message(client: Client) -> None:
    """Over COPY and MOVE; another message of the thread has its own EMAILID and the same THREADID (RFC 8474)."""
    await client.append("INBOX", message("one", Message_ID="<1@x.test>"))
    await client.append("INBOX", message("Re: one", Message_ID="<2@x.test>", In_Reply_To="<1@x.test>", References="<1@x.test>"))
    await client.append("INBOX", message("other", Message_ID="<3@x.test>"))
    before = await ids(client, "INBOX")
    assert len({email for email, _ in before}) == 3
    assert before[0][1] == before[1][1] != before[2][1]
    await client.ok("COPY 1:3 Sent")
    await client.ok("MOVE 1:2 Archive")
    assert await ids(client, "Sent") == before
    assert await ids(client, "Archive") == before[:2]
    assert await ids(client, "INBOX") == before[2:]


async def test_replacing_makes_another_message(client: Client) -> None:
    await client.append("INBOX", message("draft"))
    ((before, _),) = await ids(client, "INBOX")
    octets = message("draft, again")
    await client.ok(b"REPLACE 1 INBOX {%d+}\r\n" % len(octets) + octets)
    ((after, _),) = await ids(client, "INBOX")
    assert after != before


async def test_ids_of_mailboxes_survive_renaming(client: Client) -> None:
    _, reply = await client.command("CREATE first")
    made = re.search(rb"MAILBOXID \((F\d+)\)", reply)
    assert made
    await client.ok("RENAME first second")
    assert b"* OK [MAILBOXID (%b)] Id of the mailbox" % made[1] in await client.ok("EXAMINE second")


async def test_copies_of_one_delivery_have_one_id_in_all_accounts(face: Face) -> None:
    """A message that one user copies from another's mailbox keeps its id there as well."""
    folders = [await face.mailbox.folder(account, "INBOX") for account in (1001, 1002)]
    source, target = folders
    assert source is not None
    assert target is not None
    added = await face.mailbox.append(source, [NewMessage(message())])
    view = await face.mailbox.open(source)
    await face.mailbox.copy(view, added.uids, target)
    view.release()
    found = []
    for number in (1, 2):
        client = await face.client(login=False)
        await client.ok(f"LOGIN user{number} {PASSWORD}")
        found += [email for email, _ in await ids(client, "INBOX")]
    assert len(found) == 2
    assert len(set(found)) == 1


async def test_a_large_text_part_is_put_together_from_disk(face: Face, client: Client) -> None:
    """CATENATE with a text that is spooled and a stored message that is large."""
    large = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 40_000
    await client.append("INBOX", large)
    text = b"line of text\r\n" * 50_000
    await client.ok(
        b'APPEND Sent CATENATE (URL "/INBOX/;UID=1" TEXT {%d+}\r\n%b URL "/INBOX/;UID=1/;SECTION=TEXT/;PARTIAL=0.18")'
        % (len(text), text)
    )
    await client.ok("SELECT Sent")
    (line,) = await client.ok("FETCH 1 BODY.PEEK[]")
    assert literal(line, b"BODY[]")[1] == large + text + b"0123456789abcdef\r\n"
    folder = await face.mailbox.folder(ACCOUNT, "Sent")
    assert folder is not None
    assert (await face.mailbox.status(folder)).messages == 1


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=6), st.integers(1, 40), st.integers(1, 40), st.booleans()
)
def test_a_partial_range_takes_what_a_slice_would(gaps: list[tuple[int, int]], one: int, other: int, from_end: bool) -> None:
    ranges, at = [], 0
    for gap, length in gaps:
        at += gap + 1
        ranges.append((at, at + length))
        at += length
    positions = [position for start, end in ranges for position in range(start, end)]
    low, high = sorted((one, other))
    if from_end:
        backwards = positions[::-1]
        expected = sorted(backwards[low - 1 : high])
    else:
        expected = positions[low - 1 : high]
    found = Partial(low, high, from_end).of_ranges(ranges)
    assert [position for start, end in found for position in range(start, end)] == expected
