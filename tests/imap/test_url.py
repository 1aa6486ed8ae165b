"""The parser of IMAP URLs (RFC 5092, 4467)."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.imap.grammar import MAX_NUMBER
from mailstead.imap.url import MAX_URL, BadUrl, parse

NAMES = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(
    user=st.one_of(st.just(""), NAMES), mailbox=NAMES, validity=st.integers(0, MAX_NUMBER), uid=st.integers(1, MAX_NUMBER),
    section=st.sampled_from(["", "1", "2.3.MIME", "HEADER", "TEXT", "1.HEADER.FIELDS (To Subject)", "HEADER.FIELDS.NOT (x)"]),
    partial=st.one_of(st.none(), st.tuples(st.integers(0, MAX_NUMBER), st.one_of(st.none(), st.integers(1, MAX_NUMBER)))),
    upper=st.booleans(),
)  # fmt: skip
def test_what_is_written_is_read(
    user: str, mailbox: str, validity: int, uid: int, section: str, partial: tuple[int, int | None] | None, upper: bool
) -> None:
    words = [";UIDVALIDITY=", ";UID=", ";SECTION=", ";PARTIAL="]
    validity_word, uid_word, section_word, partial_word = words if upper else [word.lower() for word in words]
    url = "imap://" + (quote(user, safe="") + "@" if user else "") + "host.test/" + quote(mailbox, safe="")
    url += f"{validity_word}{validity}" if validity else ""
    url += f"/{uid_word}{uid}" + (f"/{section_word}{quote(section, safe='')}" if section else "")
    if partial is not None:
        url += f"/{partial_word}{partial[0]}" + (f".{partial[1]}" if partial[1] is not None else "")
    if len(url) > MAX_URL:
        return
    found = parse(url.encode())
    assert (found.user, found.host, found.mailbox, found.uidvalidity, found.uid) == (user, "host.test", mailbox, validity, uid)
    assert found.section.label.decode().upper() == section.upper()
    if partial is not None:
        assert (found.section.start, found.section.length) == (partial[0], partial[1] or MAX_NUMBER)


@given(st.one_of(
    st.binary(max_size=200), st.text(max_size=100).map(str.encode),
    st.lists(
        st.sampled_from([
            b"imap://", b"a@b", b"/", b"INBOX", b";UID=", b"1", b"0", b"%41", b"%", b"%zz", b"/;SECTION=", b"1.2", b"/;PARTIAL=",
            b".", b";EXPIRE=", b"2001-01-01T00:00:00Z", b";URLAUTH=", b"anonymous", b":internal:", b"00ff", b";UIDVALIDITY=",
            b"HEADER.FIELDS%20(", b")", b"[::1]", b":", b"99999999999",
        ]),
        max_size=14,
    ).map(b"".join),
))  # fmt: skip
def test_anything_is_a_url_or_is_refused(octets: bytes) -> None:
    try:
        found = parse(octets)
    except BadUrl:
        return
    assert 1 <= found.uid <= MAX_NUMBER
    assert found.mailbox.isprintable() or found.mailbox == "" or "%" in octets.decode()
    assert octets.startswith(found.rump)


@pytest.mark.parametrize(
    ("url", "mailbox", "uid"),
    [
        (b"/INBOX/;UID=1", "INBOX", 1), (b";UID=5", "", 5), (b"/;UID=5", "", 5), (b"/a/b%20c;UIDVALIDITY=3/;UID=7", "a/b c", 7),
        (b"imap://joe@h/gr%C3%BCn/;uid=2", "grün", 2), (b"imap://joe;AUTH=*@h:1143/x/;UID=2", "x", 2),
        (b"imap://[::1]/x/;UID=2", "x", 2),
    ],
)  # fmt: skip
def test_forms(url: bytes, mailbox: str, uid: int) -> None:
    found = parse(url)
    assert (found.mailbox, found.uid) == (mailbox, uid)


@pytest.mark.parametrize(
    "url",
    [
        b"", b"http://h/x/;UID=1", b"INBOX/;UID=1", b"/INBOX", b"/INBOX/;UID=0", b"/INBOX/;UID=4294967296", b"imap://h/;UID=1",
        b"/INBOX/;UID=1/;SECTION=1.TEXT.2", b"/INBOX/;UID=1/;SECTION=", b"/INBOX/;UID=1 ", b"/IN BOX/;UID=1", b"/%ff/;UID=1",
        b"/%00/;UID=1", b"/x/;UID=1/;PARTIAL=1.0", b"imap:///x/;UID=1", b"imap://a@b@c/x/;UID=1", b"/x%0d%0a/;UID=1",
        b"/x/;UID=1;EXPIRE=2001-13-01T00:00:00Z;URLAUTH=anonymous", b"/x/;UID=1;URLAUTH=", b"/" + b"a" * 5000 + b"/;UID=1",
    ],
)  # fmt: skip
def test_refused(url: bytes) -> None:
    with pytest.raises(BadUrl):
        parse(url)


def test_the_parts_of_a_signed_url() -> None:
    rump = b"imap://joe@h/INBOX;UIDVALIDITY=5/;UID=20/;SECTION=1.2;EXPIRE=2026-01-02T03:04:05+01:00;URLAUTH=user+fred%40x"
    found = parse(rump + b":INTERNAL:00FFaa")
    assert (found.rump, found.token, found.mechanism, found.access) == (rump, "00ffaa", "INTERNAL", "user+fred@x")
    assert found.expires == 1767319445
    assert parse(rump).token == ""
