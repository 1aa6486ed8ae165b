"""`mailstead undelete` beside a running server: messages, a folder, an account and a domain come back to their clients."""

from __future__ import annotations

import asyncio
import imaplib
import re
from pathlib import Path

from mailstead.directory import Actor, Directory
from tests.cli.conftest import PASSWORD, Demo, StartDemo, command

ALICE = "alice@example.test"
NEWS = "news@example.test"


def client_of(server: Demo, address: str = ALICE) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", server.port(2143), timeout=60)
    client.login(address, PASSWORD)
    return client


def subjects(client: imaplib.IMAP4, folder: str) -> list[str]:
    assert client.select(folder)[0] == "OK", folder
    _, data = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return [
        found[1].decode() for item in data if isinstance(item, tuple) for found in [re.search(rb"Subject: (\S+)", item[1])] if found
    ]


def undelete(server: Demo, *words: str) -> str:
    result = command("undelete", words[0], "--config", str(server.data), *words[1:])
    assert result.exit_code == 0, result.output
    return result.output


def test_all_that_was_deleted_comes_back(demo: StartDemo) -> None:
    server = demo(2)
    for where in ((), ("example.test",), (ALICE,)):
        assert undelete(server, "list", *where) == "Nothing that was deleted can be restored.\n"
    client = client_of(server)
    client.create("Work")
    for number in range(4):
        client.append("Work", "(\\Flagged)", "", f"Subject: m{number}\r\nMessage-ID: <{number}@t>\r\n\r\nx\r\n".encode())
    client.select("Work")
    client.store("1:2", "+FLAGS", "(\\Deleted)")
    client.expunge()
    assert re.search(r"\tWork\t.*\tm0\n", undelete(server, "messages", ALICE, "--list").lower().replace("work", "Work"))
    assert undelete(server, "messages", ALICE, "--message-id", "<1@t>") == "Restored 1 messages to Work.\n"
    assert undelete(server, "messages", ALICE, "--folder", "Work", "--since", "1") == "Restored 1 messages to Work.\n"
    assert undelete(server, "messages", ALICE) == "Nothing of that can be restored.\n"
    client.close()
    assert subjects(client, "Work") == ["m2", "m3", "m1", "m0"]

    client.close()
    assert client.delete("Work")[0] == "OK"
    assert undelete(server, "list", ALICE).startswith("Work\t4 messages")
    assert undelete(server, "folder", ALICE, "Work", "--as", "Again") == "Restored Again with 4 messages.\n"
    assert subjects(client, "Again") == ["m2", "m3", "m1", "m0"]

    assert command("user", "delete", "--config", str(server.data), "--yes", ALICE).exit_code == 0
    assert ALICE in undelete(server, "list", "example.test")
    assert re.match(rf"\d+\t{ALICE}\tdeleted .*\tuntil .*\n\Z", undelete(server, "list"))
    assert undelete(server, "account", ALICE) == f"Restored {ALICE}.\n"
    assert subjects(client_of(server), "Again") == ["m2", "m3", "m1", "m0"]

    assert command("domain", "delete", "--config", str(server.data), "--yes", "example.test").exit_code == 0
    assert "example.test" in undelete(server, "list")
    assert re.match(r"Restored the domain example.test with \d+ accounts.\n", undelete(server, "domain", "example.test"))
    assert subjects(client_of(server), "Again") == ["m2", "m3", "m1", "m0"]
    assert server.stop() == 0


def test_what_was_restored_from_a_backup_does_not_come_twice(demo: StartDemo, tmp_path: Path) -> None:
    server = demo(2)
    client = client_of(server)
    client.create("Work")
    for number in range(3):
        client.append("Work", "", "", f"Subject: m{number}\r\nMessage-ID: <{number}@t>\r\n\r\nx\r\n".encode())
    place = ("--config", str(server.data))
    assert command("backup", "create", *place, str(tmp_path / "home"), "--label", "one").exit_code == 0
    client.select("Work")
    client.store("1:3", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.close()
    assert command("restore", "message", *place, str(tmp_path / "home"), ALICE, "--message-id", "<1@t>").exit_code == 0
    skipped = "Skipped 1 messages that are in the folder already.\n"
    assert undelete(server, "messages", ALICE, "--message-id", "<1@t>") == skipped
    assert undelete(server, "messages", ALICE) == "Restored 2 messages to Work.\n" + skipped
    assert subjects(client, "Work") == ["m1", "m0", "m2"]
    assert undelete(server, "messages", ALICE, "--into", "Back/Then") == "Restored 1 messages to Back/Then.\n"
    client.close()
    assert subjects(client, "Back/Then") == ["m1"]
    assert undelete(server, "messages", ALICE) == "Nothing of that can be restored.\n"
    assert server.stop() == 0


def make_list(server: Demo) -> None:
    directory = Directory.open(server.data)
    actor = Actor.system("test")

    async def make() -> None:
        found = await directory.create_list("example.test", "news", actor=actor)
        await directory.set_list_password(found.id, PASSWORD, actor=actor)

    try:
        asyncio.run(make())
    finally:
        directory.close()


def lose(client: imaplib.IMAP4, folder: str, *subjects: str) -> None:
    """Append messages to a folder, and delete all that are in it."""
    for subject in subjects:
        client.append(folder, "", "", f"Subject: {subject}\r\nMessage-ID: <{subject}@t>\r\n\r\nx\r\n".encode())
    assert client.select(folder)[0] == "OK", folder
    client.store("1:*", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.close()


def test_the_mail_of_a_list_comes_back(demo: StartDemo) -> None:
    server = demo(2)
    make_list(server)
    assert undelete(server, "messages", NEWS) == "Nothing of that can be restored.\n"
    client = client_of(server, NEWS)
    lose(client, "INBOX", "m0", "m1")
    assert re.search(r"\tINBOX\t.*\tm0\n", undelete(server, "messages", NEWS, "--list"))
    assert undelete(server, "messages", "NEWS@Example.test", "--message-id", "m1@t") == "Restored 1 messages to INBOX.\n"
    assert undelete(server, "messages", NEWS) == "Restored 1 messages to INBOX.\n"
    assert sorted(subjects(client, "INBOX")) == ["m0", "m1"]
    client.close()
    client.create("Old")
    client.append("Old", "", "", b"Subject: old\r\n\r\nx\r\n")
    client.delete("Old")
    assert undelete(server, "list", NEWS).startswith("Old\t1 messages")
    assert undelete(server, "folder", NEWS, "Old") == "Restored Old with 1 messages.\n"
    assert server.stop() == 0


def test_what_a_list_has_dealt_with_is_not_brought_to_it_unasked(demo: StartDemo) -> None:
    server = demo(2)
    make_list(server)
    client = client_of(server, NEWS)
    client.create("Digest")
    lose(client, "Digest", "posted")
    lose(client, "INBOX", "kept")
    left = "Left out 1 messages of Digest, which the list would act on again; --folder Digest brings them.\n"
    assert undelete(server, "messages", NEWS) == "Restored 1 messages to INBOX.\n" + left
    assert undelete(server, "messages", NEWS, "--folder", "Digest") == "Restored 1 messages to Digest.\n"
    assert server.stop() == 0


def test_the_mail_of_public_folders_comes_back(demo: StartDemo) -> None:
    server = demo(2)
    client = client_of(server)  # the postmaster
    news = "Public Folders/News"
    assert client.create(f'"{news}"')[0] == "OK"
    lose(client, f'"{news}"', "m0", "m1")
    assert undelete(server, "messages", "example.test", "--folder", news, "--message-id", "m1@t").endswith(" to News.\n")
    assert undelete(server, "messages", "example.test") == "Restored 1 messages to News.\n"
    assert sorted(subjects(client, f'"{news}"')) == ["m0", "m1"]
    client.close()
    assert client.delete(f'"{news}"')[0] == "OK"
    assert undelete(server, "list", "example.test") == "Nothing that was deleted can be restored.\n"
    assert undelete(server, "list", "example.test", "--folders").startswith("News\t2 messages")
    assert undelete(server, "folder", "example.test", news, "--as", "Papers") == "Restored Papers with 2 messages.\n"
    assert sorted(subjects(client, '"Public Folders/Papers"')) == ["m0", "m1"]
    assert server.stop() == 0


def test_who_has_no_mailbox_is_told(demo: StartDemo) -> None:
    server = demo(2)
    for name in ("nobody@example.test", "nowhere.test"):
        result = command("undelete", "messages", "--config", str(server.data), name)
        assert result.exit_code == 1
        assert f"there is no account, mailing list or domain {name}" in result.output
    assert server.stop() == 0
