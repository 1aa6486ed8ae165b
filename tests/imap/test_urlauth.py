"""URLAUTH with several users (RFC 4467, 5550, 5524): what a signed URL gives, to whom, and until when."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from mailstead.store.record import DamagedRecord
from tests.imap.conftest import PASSWORD, Client, Face

BASE = b"imap://user2@127.0.0.1/INBOX/;UID=1"
MULTIPART = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQ=\r\n"
    b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-odd\r\n\r\n???\r\n--b--\r\n"
)


class Directory:
    """Knows user<n>, as the authenticator does."""

    def account_by_login(self, login: str, default_domain: str) -> Any:
        found = re.fullmatch(r"user(\d+)", login)
        return SimpleNamespace(id=int(found[1]) + 1000, enabled=True) if found else None

    def account(self, account: int) -> Any:
        return SimpleNamespace(id=account, enabled=True)


@pytest.fixture
async def author(face: Face) -> Client:
    face.services.directory = Directory()
    client = await user(face, 2)
    await client.append("INBOX", MULTIPART)
    return client


async def user(face: Face, number: int) -> Client:
    client = await face.client(login=False)
    await client.ok(f"LOGIN user{number} {PASSWORD}")
    return client


async def signed(client: Client, rump: bytes) -> bytes:
    (line,) = await client.ok(b'GENURLAUTH "%b" INTERNAL' % rump)
    found = re.fullmatch(rb"\* GENURLAUTH (\S+)", line)
    assert found and found[1].startswith(rump + b":internal:")
    return found[1]


async def fetched(client: Client, request: bytes) -> bytes:
    (line,) = await client.ok(b"URLFETCH " + request)
    return line


async def test_authuser_url_gives_its_octets_to_another_user(face: Face, author: Client) -> None:
    url = await signed(author, BASE + b"/;SECTION=1;URLAUTH=authuser")
    other = await user(face, 3)
    assert await fetched(other, url) == b"* URLFETCH " + url + b" {5}\r\nhello"
    assert await fetched(author, url) == b"* URLFETCH " + url + b" {5}\r\nhello"


async def test_user_url_is_for_that_user_alone(face: Face, author: Client) -> None:
    url = await signed(author, BASE + b"/;SECTION=1;URLAUTH=user+user3")
    assert (await fetched(await user(face, 3), url)).endswith(b"hello")
    assert (await fetched(await user(face, 4), url)).endswith(b" NIL")
    assert (await fetched(author, url)).endswith(b" NIL")


async def test_submit_url_gives_nothing_to_users(face: Face, author: Client) -> None:
    url = await signed(author, BASE + b";URLAUTH=submit+user2")
    assert (await fetched(author, url)).endswith(b" NIL")


async def test_changed_url_gives_nothing(face: Face, author: Client) -> None:
    url = await signed(author, BASE + b"/;SECTION=1;URLAUTH=anonymous")
    await author.append("INBOX", MULTIPART)
    for bad in (
        url.replace(b"UID=1", b"UID=2"), url.replace(b"anonymous", b"authuser"), url[:-1] + b"%d" % (url[-1] == 48),
        url.replace(b"/;SECTION=1", b""), url.replace(b"user2", b"user3"), url.replace(b":internal:", b":OTHER:"),
    ):  # fmt: skip
        assert (await fetched(author, bad)).endswith(b" NIL"), bad


async def test_expired_url_gives_nothing(face: Face, author: Client) -> None:
    old = await signed(author, BASE + b"/;SECTION=1;EXPIRE=2001-02-03T04:05:06Z;URLAUTH=anonymous")
    new = await signed(author, BASE + b"/;SECTION=1;EXPIRE=2901-02-03T04:05:06Z;URLAUTH=anonymous")
    assert (await fetched(author, old)).endswith(b" NIL")
    assert (await fetched(author, new)).endswith(b"hello")


async def test_resetkey_makes_urls_invalid(face: Face, author: Client) -> None:
    await author.ok("CREATE other")
    url = await signed(author, BASE + b"/;SECTION=1;URLAUTH=anonymous")
    await author.ok("RESETKEY other INTERNAL")
    assert (await fetched(author, url)).endswith(b"hello")
    _, reply = await author.command("RESETKEY INBOX")
    assert reply.startswith(b"OK [URLMECH INTERNAL]")
    assert (await fetched(author, url)).endswith(b" NIL")
    again = await signed(author, BASE + b"/;SECTION=1;URLAUTH=anonymous")
    assert again != url
    await author.ok("RESETKEY")
    assert (await fetched(author, again)).endswith(b" NIL")


async def test_partial_and_several_at_once(face: Face, author: Client) -> None:
    part = await signed(author, BASE + b"/;SECTION=1/;PARTIAL=1.3;URLAUTH=anonymous")
    whole = await signed(author, BASE + b";URLAUTH=anonymous")
    line = await fetched(author, part + b" " + whole + b" nonsense")
    assert line == b"* URLFETCH %b {3}\r\nell %b {%d}\r\n%b nonsense NIL" % (part, whole, len(MULTIPART), MULTIPART)


async def test_binary_form_decodes_and_describes(face: Face, author: Client) -> None:
    url = await signed(author, BASE + b"/;SECTION=2;URLAUTH=anonymous")
    line = await fetched(author, b"(" + url + b" BODYPARTSTRUCTURE BINARY)")
    structure = b'("APPLICATION" "OCTET-STREAM" NIL NIL NIL "BASE64" 8 NIL NIL NIL NIL)'
    assert line.upper() == (b"* URLFETCH %b (BODYPARTSTRUCTURE %b) (BINARY ~{5}\r\n\0\1\2\3\4)" % (url, structure)).upper()
    assert (await fetched(author, b"(" + url + b" BODY)")).endswith(b" (BODY {8}\r\nAAECAwQ=)")
    odd = await signed(author, BASE + b"/;SECTION=3;URLAUTH=anonymous")
    assert (await fetched(author, b"(" + odd + b" BINARY)")).endswith(b" (BINARY NIL)")


async def test_only_own_urls_are_signed(face: Face, author: Client) -> None:
    for bad in (
        b"imap://user3@127.0.0.1/INBOX/;UID=1;URLAUTH=anonymous", b"/INBOX/;UID=1;URLAUTH=anonymous",
        b"imap://user2@127.0.0.1/nowhere/;UID=1;URLAUTH=anonymous", BASE, BASE + b";URLAUTH=everybody",
        BASE + b";URLAUTH=user+", BASE + b";EXPIRE=yesterday;URLAUTH=anonymous",
    ):  # fmt: skip
        _, reply = await author.command(b'GENURLAUTH "%b" INTERNAL' % bad)
        assert reply.startswith(b"BAD URL refused: "), reply
    _, reply = await author.command(b'GENURLAUTH "%b;URLAUTH=anonymous" MAGIC' % BASE)
    assert reply.startswith(b"NO [URLMECH INTERNAL]")


async def test_message_that_is_gone_gives_nothing(face: Face, author: Client) -> None:
    url = await signed(author, BASE + b";URLAUTH=anonymous")
    await author.ok("SELECT INBOX")
    await author.ok("STORE 1 +FLAGS (\\Deleted)")
    await author.ok("EXPUNGE")
    assert (await fetched(author, url)).endswith(b" NIL")


async def test_message_that_cannot_be_read_gives_nothing_and_the_response_is_whole(
    face: Face, author: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await signed(author, BASE + b"/;SECTION=1;URLAUTH=anonymous")

    def unreadable(*_: object, **__: object) -> None:
        raise DamagedRecord("bad checksum")

    with monkeypatch.context() as patch:
        patch.setattr(type(face.mailbox), "read", unreadable)
        assert await fetched(author, url + b" (" + url + b" BODY)") == b"* URLFETCH %b NIL %b (BODY NIL)" % (url, url)
        assert await fetched(author, b"(" + url + b" BODYPARTSTRUCTURE)") == b"* URLFETCH %b NIL" % url
    assert (await fetched(author, url)).endswith(b"hello")


async def test_fetching_sets_no_flag(face: Face, author: Client) -> None:
    url = await signed(author, BASE + b";URLAUTH=anonymous")
    await fetched(author, url)
    await author.ok("SELECT INBOX")
    assert await author.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS ())"]
