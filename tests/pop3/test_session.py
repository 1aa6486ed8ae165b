"""POP3 as a client sees it, line by line (RFC 1939, 2449, 5034, 6856)."""

from __future__ import annotations

import asyncio
import base64

import pytest

from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.service import Mailbox
from mailstead.mailbox.unique_ids import UniqueIdRefused
from mailstead.pop3.maildrop import Maildrop
from tests.pop3.conftest import ADMIN, PASSWORD, Face

ONE = b"Subject: one\r\n\r\nfirst line\r\n.starts with a dot\r\nlast\r\n"
TWO = b"Subject: two\r\n\r\n" + b"".join(b"line %d\r\n" % n for n in range(20))


async def test_a_session_reads_and_deletes(face: Face) -> None:
    await face.fill(ONE, TWO)
    client = await face.logged_in()
    assert await client.command(b"STAT") == b"+OK 2 %d\r\n" % (len(ONE) + len(TWO))
    assert await client.multi(b"LIST") == [
        b"+OK 2 messages (%d octets)\r\n" % (len(ONE) + len(TWO)), b"1 %d\r\n" % len(ONE), b"2 %d\r\n" % len(TWO),
    ]  # fmt: skip
    assert await client.multi(b"RETR 1") == [
        b"+OK %d octets\r\n" % len(ONE), b"Subject: one\r\n", b"\r\n", b"first line\r\n", b"..starts with a dot\r\n", b"last\r\n",
    ]  # fmt: skip
    assert (await client.command(b"DELE 1")).startswith(b"+OK")
    assert await client.command(b"STAT") == b"+OK 1 %d\r\n" % len(TWO)
    assert (await client.command(b"RETR 1")).startswith(b"-ERR")
    assert (await client.command(b"LIST 1")).startswith(b"-ERR")
    assert (await client.command(b"DELE 1")).startswith(b"-ERR")
    assert await face.left() == 2
    assert (await client.command(b"QUIT")).startswith(b"+OK")
    assert await client.line() == b""
    assert await face.left() == 1


async def test_without_quit_nothing_is_deleted(face: Face) -> None:
    await face.fill(ONE)
    client = await face.logged_in()
    await client.command(b"DELE 1")
    client.close()
    again = await face.logged_in()
    assert (await again.command(b"STAT")).startswith(b"+OK 1 ")


async def test_rset_takes_the_marks_back(face: Face) -> None:
    await face.fill(ONE, TWO)
    client = await face.logged_in()
    await client.command(b"DELE 2")
    await client.command(b"RSET")
    await client.command(b"QUIT")
    assert await face.left() == 2


async def test_unique_ids_stay_and_are_never_given_again(face: Face) -> None:
    await face.fill(ONE, TWO)
    client = await face.logged_in()
    first = await client.multi(b"UIDL")
    assert (await client.command(b"UIDL 2")).split()[2] == first[2].split()[1]
    await client.command(b"DELE 1")
    await client.command(b"QUIT")
    await face.fill(ONE)
    client = await face.logged_in()
    second = await client.multi(b"UIDL")
    assert second[1].split()[1] == first[2].split()[1]
    assert second[2].split()[1] not in {line.split()[1] for line in first[1:]}


async def test_top_gives_header_and_lines(face: Face) -> None:
    await face.fill(TWO)
    client = await face.logged_in()
    assert await client.multi(b"TOP 1 2") == [b"+OK\r\n", b"Subject: two\r\n", b"\r\n", b"line 0\r\n", b"line 1\r\n"]
    assert await client.multi(b"TOP 1 0") == [b"+OK\r\n", b"Subject: two\r\n", b"\r\n"]
    assert len(await client.multi(b"TOP 1 1000")) == 23
    assert (await client.command(b"TOP 1")).startswith(b"-ERR")
    assert (await client.command(b"TOP 1 -2")).startswith(b"-ERR")


async def test_a_message_without_a_final_line_end_is_whole(face: Face) -> None:
    await face.fill(b"Subject: x\r\n\r\nno end")
    client = await face.logged_in()
    assert (await client.multi(b"RETR 1"))[-1] == b"no end\r\n"


async def test_a_large_message_comes_in_pieces_and_right(face: Face) -> None:
    text = b"Subject: big\r\n\r\n" + b"".join(b".%06d dotted line\r\n" % n for n in range(100_000))
    await face.fill(text)
    client = await face.logged_in()
    lines = await client.multi(b"RETR 1")
    assert b"".join(line[1:] if line.startswith(b".") else line for line in lines[1:]) == text


async def test_a_pipelined_batch_is_answered_in_order(face: Face) -> None:
    await face.fill(ONE, TWO)
    client = await face.client()
    client.write(b"USER alice@example.test\r\nPASS " + PASSWORD.encode() + b"\r\nSTAT\r\nNOOP\r\nLIST 2\r\nQUIT\r\n")
    answers = (await asyncio.wait_for(client.reader.read(), 60)).split(b"\r\n")
    assert [answer[:3] for answer in answers if answer] == [b"+OK"] * 6
    assert answers[4] == b"+OK 2 %d" % len(TWO)


async def test_two_sessions_share_no_maildrop(face: Face) -> None:
    first = await face.logged_in()
    second = await face.client()
    await second.command(b"USER alice@example.test")
    assert (await second.command(b"PASS " + PASSWORD.encode())).startswith(b"-ERR [IN-USE]")
    await first.command(b"QUIT")
    await second.command(b"USER alice@example.test")
    assert (await second.command(b"PASS " + PASSWORD.encode())).startswith(b"+OK")
    other = await face.client()
    await other.command(b"USER bob@example.test")
    assert (await other.command(b"PASS " + PASSWORD.encode())).startswith(b"+OK")


async def test_a_message_another_client_removed_says_so(face: Face) -> None:
    uids = await face.fill(ONE, TWO)
    client = await face.logged_in()
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    inbox = await face.mailbox.folder(account.id, "INBOX")
    assert inbox is not None
    view = await face.mailbox.open(inbox)
    await face.mailbox.remove(view, uids[:1])
    view.release()
    assert (await client.command(b"RETR 1")).startswith(b"-ERR")
    assert len(await client.multi(b"RETR 2")) > 20
    await client.command(b"DELE 1")
    assert (await client.command(b"QUIT")).startswith(b"+OK")


@pytest.mark.parametrize("password", [b"wrong", b"", b"with spaces in it "])
async def test_a_wrong_password_is_refused(face: Face, password: bytes) -> None:
    client = await face.client()
    await client.command(b"USER alice@example.test")
    assert (await client.command(b"PASS " + password)).startswith(b"-ERR [AUTH]")
    assert (await client.command(b"STAT")).startswith(b"-ERR")


async def test_too_many_failed_logins_end_the_session(face: Face) -> None:
    client = await face.client()
    for _ in range(4):
        await client.command(b"USER alice@example.test")
        assert (await client.command(b"PASS no")).startswith(b"-ERR")
    await client.command(b"USER alice@example.test")
    assert b"too many" in await client.command(b"PASS no")
    assert await client.line() == b""


async def test_auth_plain_with_and_without_initial_response(face: Face) -> None:
    answer = base64.b64encode(b"\0alice@example.test\0" + PASSWORD.encode())
    client = await face.client()
    assert (await client.command(b"AUTH PLAIN " + answer)).startswith(b"+OK")
    await client.command(b"QUIT")
    client = await face.client()
    assert await client.command(b"AUTH PLAIN") == b"+ \r\n"
    assert (await client.command(answer)).startswith(b"+OK")


async def test_auth_can_be_cancelled_and_refuses_rubbish(face: Face) -> None:
    client = await face.client()
    await client.command(b"AUTH PLAIN")
    assert (await client.command(b"*")).startswith(b"-ERR")
    await client.command(b"AUTH PLAIN")
    assert (await client.command(b"!!!")).startswith(b"-ERR")
    assert (await client.command(b"AUTH DIGEST-MD5")).startswith(b"-ERR")
    assert (await client.command(b"APOP alice 1234")).startswith(b"-ERR")


async def test_capabilities_say_what_is_so(face: Face) -> None:
    client = await face.client()
    lines = [line.rstrip() for line in await client.multi(b"CAPA")]
    assert {b"TOP", b"UIDL", b"USER", b"STLS", b"PIPELINING", b"RESP-CODES", b"UTF8 USER", b"LANG"} <= set(lines)
    assert any(line.startswith(b"SASL PLAIN") or b" PLAIN" in line for line in lines if line.startswith(b"SASL"))
    await face.directory.settings.set("pop3", "plainConnAllowLogin", "no", "test")
    client = await face.client()
    assert b"USER" not in [line.rstrip() for line in await client.multi(b"CAPA")]
    assert (await client.command(b"USER alice@example.test")).startswith(b"-ERR")


async def test_too_many_bad_commands_end_the_session(face: Face) -> None:
    client = await face.client()
    client.write(b"BOGUS\r\n" * 30)
    assert (await asyncio.wait_for(client.reader.read(), 60)).count(b"-ERR unknown") == 20


@pytest.mark.parametrize("octets", [b"A" * 100_000, b"\0" * 3000, b"\xff\xfe" * 2000, b"USER " + b"x" * 4000 + b"\r\n"])
async def test_overlong_lines_end_the_session(face: Face, octets: bytes) -> None:
    other = await face.logged_in()
    client = await face.client()
    client.write(octets)
    assert b"-ERR" in await asyncio.wait_for(client.reader.read(), 60)
    assert (await other.command(b"NOOP")).startswith(b"+OK")


@pytest.mark.parametrize(
    "command", [b"RETR", b"RETR 0", b"RETR 99999999999999999999", b"RETR 1 2", b"LIST x", b"DELE -1", b"UIDL 7"]
)
async def test_bad_numbers_are_refused(face: Face, command: bytes) -> None:
    await face.fill(ONE)
    client = await face.logged_in()
    assert (await client.command(command)).startswith(b"-ERR")


async def test_the_greeting_names_the_listener(face: Face) -> None:
    await face.directory.settings.set("pop3", "greetingsText", "ready on %D", "test")
    reader, writer = await asyncio.open_connection("127.0.0.1", face.port)
    assert await reader.readline() == b"+OK ready on 127.0.0.1\r\n"
    writer.close()


async def test_unique_ids_from_another_server_stay(face: Face) -> None:
    uids = await face.fill(ONE, TWO, ONE)
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    inbox = await face.mailbox.folder(account.id, "INBOX")
    assert inbox is not None
    own = [line.split()[1] for line in (await (await face.logged_in_apart()).multi(b"UIDL"))[1:]]
    assert await face.mailbox.set_unique_ids(inbox, {uids[1]: "old-Id-2", 4_000_000: "nobody"}) == 1
    client = await face.logged_in_apart()
    assert [line.split()[1] for line in (await client.multi(b"UIDL"))[1:]] == [own[0], b"old-Id-2", own[2]]
    assert await client.command(b"UIDL 2") == b"+OK 2 old-Id-2\r\n"
    for wrong in ({uids[0]: "old-Id-2"}, {uids[0]: ""}, {uids[0]: "x y"}, {uids[0]: "x" * 71}, {uids[0]: "a", uids[2]: "a"}):
        with pytest.raises(UniqueIdRefused):
            await face.mailbox.set_unique_ids(inbox, wrong)
    await client.command(b"DELE 2")
    assert (await client.command(b"QUIT")).startswith(b"+OK")
    assert face.mailbox.unique_ids(inbox) == {}


async def test_login_delay(face: Face) -> None:
    await face.directory.settings.set("pop3", "loginDelay", "300", ADMIN)
    client = await face.logged_in()
    assert b"LOGIN-DELAY 300\r\n" in await client.multi(b"CAPA")
    await client.command(b"QUIT")
    again = await face.client()
    await again.command(b"USER alice@example.test")
    assert (await again.command(b"PASS " + PASSWORD.encode())).startswith(b"-ERR [LOGIN-DELAY]")
    await again.command(b"USER alice@example.test")
    assert (await again.command(b"PASS wrong")).startswith(b"-ERR [AUTH]")
    other = await face.client()
    await other.command(b"USER bob@example.test")
    assert (await other.command(b"PASS " + PASSWORD.encode())).startswith(b"+OK")


async def test_language(face: Face) -> None:
    client = await face.client()
    assert (await client.multi(b"LANG"))[1:] == [b"en English\r\n", b"i-default English\r\n"]
    assert (await client.command(b"LANG *")).startswith(b"+OK en ")
    assert (await client.command(b"LANG tlh")).startswith(b"-ERR")
    assert (await client.command(b"UTF8")).startswith(b"+OK")


async def test_a_session_ends_with_its_password(face: Face) -> None:
    await face.fill(ONE)
    client, other = await face.logged_in(), await face.client()
    await client.command(b"DELE 1")
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    await face.directory.set_password(account.id, "another-password-7", actor=ADMIN)
    assert (await client.line()).startswith(b"-ERR [SYS/TEMP]")
    assert await client.line() == b""
    assert await face.left() == 1
    await other.command(b"USER alice@example.test")
    assert (await other.command(b"PASS another-password-7")).startswith(b"+OK")


async def test_a_login_that_fails_does_not_count_for_the_delay(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    await face.directory.settings.set("pop3", "loginDelay", "300", ADMIN)

    async def broken(mailbox: object, account: int) -> Maildrop:
        raise MailboxError("not now")

    client = await face.client()
    with monkeypatch.context() as patched:
        patched.setattr(Maildrop, "open", broken)
        await client.command(b"USER alice@example.test")
        assert (await client.command(b"PASS " + PASSWORD.encode())).startswith(b"-ERR [SYS/TEMP]")
    await client.command(b"USER alice@example.test")
    assert (await client.command(b"PASS " + PASSWORD.encode())).startswith(b"+OK")


async def test_an_account_disabled_while_it_logs_in_does_not_get_in(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Maildrop.open

    async def slow(mailbox: Mailbox, account: int) -> Maildrop:
        await face.directory.set_password(account, "another-password-7", actor=ADMIN)
        return await real(mailbox, account)

    monkeypatch.setattr(Maildrop, "open", slow)
    client = await face.client()
    await client.command(b"USER alice@example.test")
    assert (await client.command(b"PASS " + PASSWORD.encode())).startswith(b"-ERR [SYS/TEMP]")
    assert await client.line() == b""
    assert not face.server.sessions.by_account
    assert not any(face.locks.held.values())


async def test_a_password_that_must_be_changed(face: Face) -> None:
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    await face.directory.set_password(account.id, hash="{PLAIN}" + PASSWORD, actor=ADMIN, must_change=True)
    client = await face.client()
    for password, reply in ((b"wrong", b"login failed"), (PASSWORD.encode(), b"the password must be changed first")):
        await client.command(b"USER alice@example.test")
        assert await client.command(b"PASS " + password) == b"-ERR [AUTH] " + reply + b"\r\n"
