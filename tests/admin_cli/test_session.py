"""Greeting, login, prompts, limits: admin-cli sections 1 and 2."""

from __future__ import annotations

import asyncio

import pytest

from tests.admin_cli.conftest import PASSWORD, Client, Face


async def test_greeting_is_one_write_with_the_prompt_and_short(face: Face) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", face.port)
    first = await reader.read(1024)
    assert b"Welcome to AXIGEN's Command Line Interface" in first and first.endswith(b"\r\n<login> ")
    assert len(first) < 1024
    writer.close()


async def test_version_before_login_has_three_fields(face: Face) -> None:
    client = await face.raw()
    reply = await client.send("GET VERSION")
    fields = reply[0].split("|")
    assert len(fields) == 3 and int(fields[0].split(".")[0]) >= 10
    assert reply[1] == "+OK: command successful" and client.prompt == "<login> "


async def test_login_and_goodbye(face: Face) -> None:
    client = await face.raw()
    reply = await client.send("USER admin")
    assert reply[-1].startswith("+OK: ") and reply[-1] and client.prompt == "<password> "
    assert await client.send(PASSWORD) == ["+OK: Authentication successful"]
    assert client.prompt == "<#> "
    assert await client.send("quit") == ["+OK: have a nice day", ""]
    assert client.prompt == ""


async def test_wrong_password_and_unknown_administrator_are_refused_alike(face: Face) -> None:
    client = await face.raw()
    replies = []
    for name in ("admin", "nobody"):
        await client.send(f"USER {name}")
        replies.append(await client.send("wrong"))
        assert client.prompt == "<login> "
    assert replies[0] == replies[1] and "failed" in replies[0][-1]


async def test_too_many_failed_logins_end_the_connection(face: Face) -> None:
    client = await face.raw()
    for _ in range(4):
        await client.send("USER admin")
        await client.send("wrong")
    await client.send("USER admin")
    await client.send("wrong")
    assert client.prompt == ""


async def test_too_many_commands_before_login_end_the_connection(face: Face) -> None:
    client = await face.raw()
    for _ in range(20):
        await client.send("HELP")
    await client.send("HELP")
    assert client.prompt == ""


async def test_unknown_command_keeps_the_prompt_and_too_many_end_the_session(face: Face) -> None:
    client = await face.client()
    for _ in range(20):
        assert "unknown command" in await client.err("FROBNICATE all")
        assert client.prompt == "<#> "
    await client.send("FROBNICATE all")
    assert client.prompt == ""


async def test_bare_line_feeds_and_any_case_are_taken(face: Face) -> None:
    client = await face.client()
    client.writer.write(b"list domains\n")
    assert (await client.read())[-1] == "+OK: command successful"
    client.writer.write(b"LiSt DoMaInS\r\n")
    assert any(line.startswith("example.test") for line in await client.read())


async def test_each_reply_comes_whole_to_a_single_receive(face: Face) -> None:
    client = await face.client()
    client.writer.write(b"LIST AllDomains\r\n")
    whole = await client.reader.read(65536)
    assert whole.endswith(b"<#> ") and b"\r\n+OK: command successful\r\n" in whole


async def test_pipelined_commands_are_answered_in_order(face: Face) -> None:
    client = await face.client()
    client.writer.write(b"UPDATE Domain example.test\r\nSHOW ATTR name\r\nBACK\r\n")
    data = b""
    while data.count(b"> ") < 3:
        data += await client.reader.read(4096)
    assert data.split(b"\r\n") == [
        b"+OK: command successful", b'<domain#> name = "example.test"', b"+OK: command successful",
        b"<domain#> +OK: command successful", b"<#> ",
    ]  # fmt: skip


async def test_telnet_negotiation_is_ignored(face: Face) -> None:
    client = await face.raw()
    client.writer.write(b"\xff\xfd\x03\xff\xfb\x18USER admin\r\n")
    await client.read()
    assert client.prompt == "<password> "


async def test_a_line_without_end_closes_the_connection(face: Face) -> None:
    client = await face.client()
    client.writer.write(b"x" * 70_000)
    await client.read()
    assert client.prompt == ""


async def test_quiet_leaves_out_notes(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test")
    assert await client.send("COMMIT") == [
        "committing changes and switching back to previous context", "+OK: command successful",
    ]  # fmt: skip
    await client.ok("SET QUIET on", "UPDATE Domain example.test")
    assert await client.send("COMMIT") == ["+OK: command successful"]


async def test_own_password_changes_only_with_the_old_one(face: Face) -> None:
    client = await face.client()
    assert "old password" in await client.err("CHANGE password oldPassword nonsense newPassword new-secret-2")
    await client.ok(f'CHANGE password oldPassword "{PASSWORD}" newPassword "new-secret-2"', "LIST Domains")
    other = await face.client(password="new-secret-2")
    await other.ok("LIST Domains")


async def test_a_password_changed_elsewhere_ends_the_session(face: Face) -> None:
    first, second = await face.client(), await face.client()
    await second.ok("SET admin-password other-secret-3")
    await first.send("LIST Domains")
    assert first.prompt == ""
    await second.ok("LIST Domains")


async def test_a_text_before_login_is_no_way_in(face: Face) -> None:
    client: Client = await face.raw()
    assert (await client.send("LIST Domains"))[-1].startswith("-ERR: ")
    assert client.prompt == "<login> "


async def test_words_behind_a_password_are_not_logged(face: Face, capfd: pytest.CaptureFixture[str]) -> None:
    """A password with blanks that was not quoted: its other words are refused as parameters, and stay out of the log."""
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice")
    assert "'horse'" in await client.err("SET password correct horse")
    assert "'horse'" in await client.err("SET password correct horse battery")
    await client.ok("BACK", "BACK", "CONFIG SERVER", "CONFIG USERDB", "ADD ldapConnector l ldapUri ldap://127.0.0.1")
    assert "staple" in await client.err("SET bindPass battery staple")
    logged = capfd.readouterr().err
    assert "UPDATE" in logged
    assert not [word for word in ("horse", "battery", "staple") if word in logged]


async def test_an_administrator_has_no_short_password(face: Face) -> None:
    client = await face.client()
    assert "8 to 1024" in await client.err(f'CHANGE password oldPassword "{PASSWORD}" newPassword y')
    await client.ok("ENTER AACL")
    assert "8 to 1024" in await client.err("ADD admin-user name weak password x")


async def test_an_unknown_command_is_not_echoed_with_what_follows_it(face: Face) -> None:
    client = await face.client()
    assert "secret" not in await client.err("ADD Account name staff password secret-1-x")


async def test_help_lists_what_can_be_set(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "CONFIG Quotas")
    lines = await client.ok("HELP")
    assert any(line.startswith("SET totalMessageSize <number> - ") and line.endswith("KB") for line in lines)
    assert "left with DONE" in await client.err("COMMIT")


async def test_enabling_what_is_enabled_leaves_nothing_to_take_back(face: Face) -> None:
    client = await face.client()
    before = face.directory.database.position()
    await client.ok("ENABLE Domain name example.test")
    assert face.directory.database.position() == before


async def test_help_with_a_word_lists_what_contains_it(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice")
    whole = [line for line in await client.ok("HELP") if " " in line][1:]
    for word in ("quota", "SET", "pAssWord", "folders", '"LIST mem"'):
        lines = await client.ok(f"HELP {word}")
        assert lines[0].startswith("The commands of the context domain-account")
        bare = word.strip('"').lower()
        wanted = [line for line in whole if bare in line.partition(" - ")[0].lower()]
        assert wanted and [line for line in lines[1:-1] if line and not line.startswith("+OK")] == wanted
    await client.ok("CONFIG Quotas")
    lines = [line for line in await client.ok("HELP autopurge") if line.startswith("SET")]
    assert [line.split()[1] for line in lines] == ["autopurgeAgeLimit", "autopurgeFolders"]
    assert "no command or parameter of this context contains 'nosuch'" in await client.err("HELP nosuch")
    assert any(line.startswith("HELP [<word>] - ") for line in await client.ok("HELP"))
