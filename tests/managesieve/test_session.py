"""ManageSieve as a client sees it (RFC 5804)."""

from __future__ import annotations

import asyncio
import base64
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.managesieve.grammar import BadCommand, Collector, Unbearable
from mailstead.managesieve.server import ManageSieveConnection
from mailstead.managesieve.session import Session
from tests.identity.scram_client import ScramClient
from tests.managesieve.conftest import ADMIN, PASSWORD, USER, Client, Face

SCRIPT = 'require "fileinto";\r\nif header :contains "subject" "ünï" { fileinto "Work"; }\r\n'


async def test_greeting_and_capabilities(face: Face) -> None:
    client = Client(*await asyncio.open_connection("127.0.0.1", face.port))
    lines, reply = await client.reply()
    assert reply.startswith(b"OK")
    found = dict(line.partition(b" ")[::2] for line in lines)
    assert found[b'"VERSION"'] == b'"1.0"'
    assert b"PLAIN" in found[b'"SASL"']
    assert b"fileinto" in found[b'"SIEVE"']
    assert found[b'"STARTTLS"'] == b""
    assert await client.ok("capability") == lines
    assert (await client.command('NOOP "x y"'))[1] == b'OK (TAG "x y") "Done"'
    for word in ("LISTSCRIPTS", 'GETSCRIPT "x"', 'PUTSCRIPT "x" "keep;"', "FROB", "", '"x"'):
        assert (await client.command(word))[1].startswith(b"NO")
    assert (await client.command("LOGOUT"))[1].startswith(b"OK")
    assert await client.line() == b""


async def test_the_life_of_a_script(face: Face) -> None:
    client = await face.client()
    assert await client.ok("LISTSCRIPTS") == []
    assert (await client.put("main", SCRIPT)).startswith(b"OK")
    assert (await client.put('oth\\"er', "keep;")).startswith(b"OK")
    assert await client.ok("LISTSCRIPTS") == [b'"main"', b'"oth\\"er"']
    octets = SCRIPT.encode()
    lines = await client.ok('GETSCRIPT "main"')
    assert lines == [b"{%d}\r\n%b" % (len(octets), octets)]
    await client.ok('SETACTIVE "main"')
    assert await client.ok("LISTSCRIPTS") == [b'"main" ACTIVE', b'"oth\\"er"']
    assert (await client.command('DELETESCRIPT "main"'))[1].startswith(b"NO (ACTIVE)")
    await client.ok('RENAMESCRIPT "main" "renamed"')
    assert (await client.command('RENAMESCRIPT "renamed" "oth\\"er"'))[1].startswith(b"NO (ALREADYEXISTS)")
    assert await client.ok("LISTSCRIPTS") == [b'"oth\\"er"', b'"renamed" ACTIVE']
    assert (await client.put("renamed", "discard;")).startswith(b"OK")
    assert await client.ok("LISTSCRIPTS") == [b'"oth\\"er"', b'"renamed" ACTIVE']
    await client.ok('SETACTIVE ""')
    await client.ok('DELETESCRIPT "renamed"')
    for command in ('GETSCRIPT "x"', 'DELETESCRIPT "x"', 'SETACTIVE "x"', 'RENAMESCRIPT "x" "y"'):
        assert (await client.command(command))[1].startswith(b"NO (NONEXISTENT)")


async def test_a_script_that_is_none_is_refused_with_its_line(face: Face) -> None:
    client = await face.client()
    assert (await client.put("", "keep;", "CHECKSCRIPT")).startswith(b"OK")
    for verb, name in (("CHECKSCRIPT", ""), ("PUTSCRIPT", "x")):
        assert await client.put(name, 'keep;\r\nfileinto "x";', verb) == b"NO \"line 2: fileinto needs require 'fileinto'\""
    assert await client.ok("LISTSCRIPTS") == []
    client.writer.write(b"CHECKSCRIPT {3+}\r\n\xff\xfe\xfd\r\n")
    assert (await client.reply())[1].startswith(b"NO")


async def test_limits(face: Face) -> None:
    client = await face.client()
    assert (await client.command('HAVESPACE "x" 100'))[1].startswith(b"OK")
    assert (await client.command('HAVESPACE "x" 10000000'))[1].startswith(b"NO (QUOTA/MAXSIZE)")
    assert (await client.put("big", "#" * 200_000)).startswith(b"NO (QUOTA/MAXSIZE)")
    assert (await client.put("big", "#" * 300_000)).startswith(b"NO")
    for number in range(32):
        assert (await client.put(f"s{number}", "keep;")).startswith(b"OK")
    assert (await client.put("one-more", "keep;")).startswith(b"NO (QUOTA/MAXSCRIPTS)")
    assert (await client.command('HAVESPACE "one-more" 1'))[1].startswith(b"NO (QUOTA/MAXSCRIPTS)")
    assert (await client.put("s1", "discard;")).startswith(b"OK")
    assert (await client.put("x" * 600, "keep;")).startswith(b"NO")
    client.writer.write(b'PUTSCRIPT "x" {99999999+}\r\n')
    assert (await client.reply())[1].startswith(b"BYE")


async def test_logins(face: Face) -> None:
    client = await face.client(login=False)
    word = base64.b64encode(f"\0{USER}\0wrong".encode()).decode()
    assert (await client.command(f'AUTHENTICATE "PLAIN" "{word}"'))[1] == b'NO "Authentication failed"'
    assert (await client.command('AUTHENTICATE "NO-SUCH"'))[1].startswith(b"NO (ENCRYPT-NEEDED)")
    client.writer.write(b'AUTHENTICATE "PLAIN"\r\n')
    assert await client.line() == b'""'
    client.writer.write(b'"*"\r\n')
    assert (await client.reply())[1].startswith(b"NO")
    scram = ScramClient("sha256", USER, PASSWORD)
    client.writer.write(b'AUTHENTICATE "SCRAM-SHA-256" "%b"\r\n' % base64.b64encode(scram.first()))
    challenge = base64.b64decode((await client.line()).strip(b'"'))
    client.writer.write(b"{%d+}\r\n%b\r\n" % (len(answer := base64.b64encode(scram.final(challenge))), answer))
    line = await client.line()
    if not line.startswith(b"OK"):
        client.writer.write(b'""\r\n')
        line = await client.line()
    assert line.startswith(b"OK")
    assert (await client.command('AUTHENTICATE "PLAIN"'))[1].startswith(b"NO")
    await client.ok("UNAUTHENTICATE")
    assert (await client.command("LISTSCRIPTS"))[1].startswith(b"NO")


async def test_starttls_forgets_what_came_in_clear(face: Face) -> None:
    client = await face.client(login=False)
    client.writer.write(b"STARTTLS\r\nNOOP\r\n")
    assert (await client.reply())[1].startswith(b"OK")
    await client.writer.start_tls(face.context, server_hostname="127.0.0.1")
    lines, reply = await client.reply()
    assert reply.startswith(b"OK")
    assert b'"STARTTLS"' not in lines
    assert (await client.command("STARTTLS"))[1].startswith(b"NO")
    word = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    await client.ok(f'AUTHENTICATE "PLAIN" "{word}"')
    assert any(line == b'"OWNER" "alice@example.test"' for line in await client.ok("CAPABILITY"))


async def test_a_session_ends_with_its_password(face: Face) -> None:
    client = await face.client()
    account = face.directory.account_by_address(USER)
    assert account is not None
    await face.directory.set_password(account.id, "another-password-7", actor=ADMIN)
    assert (await client.reply())[1].startswith(b"BYE")


async def test_pipelined_commands_are_answered_in_order(face: Face) -> None:
    client = await face.client()
    client.writer.write(b'PUTSCRIPT "a" "keep;"\r\nLISTSCRIPTS\r\nSETACTIVE "a"\r\nNOOP "z"\r\n')
    assert (await client.reply())[1].startswith(b"OK")
    assert (await client.reply())[0] == [b'"a"']
    assert (await client.reply())[1].startswith(b"OK")
    assert (await client.reply())[1].startswith(b'OK (TAG "z")')


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_octets_are_commands_or_refused(pieces: list[bytes]) -> None:
    collector = Collector()
    for piece in pieces:
        collector.feed(piece)
        try:
            while collector.next() is not None:
                pass
        except BadCommand:
            pass
        except Unbearable:
            return


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_command_may_come_in_pieces(cut: int) -> None:
    octets = b'PUTSCRIPT "a\\"b" {7+}\r\nke\r\nep;\r\nNOOP\r\n'
    collector = Collector()
    found = []
    for start in range(0, len(octets), cut):
        collector.feed(octets[start : start + cut])
        while (command := collector.next()) is not None:
            found.append(command)
    assert [(command.name, command.arguments) for command in found] == [
        (b"PUTSCRIPT", [b'a"b', b"ke\r\nep;"]), (b"NOOP", []),
    ]  # fmt: skip


async def test_who_does_not_read_is_not_answered_without_end(face: Face) -> None:
    client = await face.client()
    assert (await client.put("a", "#" + "x" * 100_000)).startswith(b"OK")
    account = face.directory.account_by_address(USER)
    assert account is not None
    (session,) = face.server.sessions.by_account[account.id]
    largest = 0
    client.writer.write(b'GETSCRIPT "a"\r\n' * 300)
    for _ in range(200):
        await face.mailbox.scripts(account.id)
        await asyncio.sleep(0)
        largest = max(largest, session.link._transport.get_write_buffer_size())
    assert largest < 1_000_000
    for _ in range(300):
        assert (await client.reply())[1] == b'OK "Script sent"'


async def test_many_small_commands_leave_others_their_turn(face: Face) -> None:
    client, other = await face.client(), await face.client()
    client.writer.write(b"NOOP\r\n" * 50_000)
    await other.ok("NOOP")
    for _ in range(50_000):
        assert await client.reader.readline() == b'OK "Done"\r\n'


async def test_a_login_while_the_password_changes_does_not_stay(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    account = face.directory.account_by_address(USER)
    assert account is not None
    real = ManageSieveConnection.entered

    def stale(connection: ManageSieveConnection, session: Session) -> None:
        session.account = dataclasses.replace(account, auth_version=account.auth_version - 1)
        real(connection, session)

    monkeypatch.setattr(ManageSieveConnection, "entered", stale)
    client = await face.client()
    assert (await client.reply())[1].startswith(b"BYE")


async def test_a_password_that_must_be_changed(face: Face) -> None:
    account = face.directory.account_by_address(USER)
    assert account is not None
    await face.directory.set_password(account.id, PASSWORD, actor=ADMIN, must_change=True)
    client = await face.client(login=False)
    for password, reply in (("wrong", b'NO "Authentication failed"'), (PASSWORD, b'NO "The password must be changed first"')):
        word = base64.b64encode(f"\0{USER}\0{password}".encode()).decode()
        assert (await client.command(f'AUTHENTICATE "PLAIN" "{word}"'))[1] == reply
