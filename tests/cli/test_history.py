"""`mailstead history`."""

from __future__ import annotations

import imaplib
from pathlib import Path

from tests.cli.conftest import PASSWORD, StartDemo, command


def test_changes_are_listed_and_taken_back(data: Path) -> None:
    command("setting", "set", "-c", str(data), "imap", "maxErrors", "9")
    command("setting", "set", "-c", str(data), "smtpOutgoing", "smartHostPassword", "hush-hush")
    listed = command("history", "-c", str(data), "--object", "imap")
    assert listed.exit_code == 0, listed.output
    (line,) = listed.output.splitlines()
    seq, _when, author, what, verb, change = line.split("\t")
    assert (author, what, verb, change) == ("command line", "imap", "set imap", "imap.maxErrors: (none) -> 9")
    assert "hush" not in command("history", "-c", str(data), "--limit", "1000").output
    taken = command("history", "revert", "-c", str(data), seq)
    assert taken.exit_code == 0, taken.output
    assert "imap.maxErrors: 9 -> (none)" in taken.output
    assert "maxErrors" not in command("setting", "list", "-c", str(data), "imap", "--changed").output
    again = command("history", "-c", str(data), "revert", seq)
    assert again.exit_code == 1
    assert "changed it later" in again.output
    assert command("history", "-c", str(data), "revert", seq, "--force").exit_code == 0


def test_filters(data: Path) -> None:
    assert command("history", "-c", str(data), "--author", "nobody").output == ""
    assert command("history", "-c", str(data), "--since", "1d", "--limit", "3").output.count("\n") == 3
    assert command("history", "-c", str(data), "--since", "2999-01-01").output == ""
    assert "expected a time" in command("history", "-c", str(data), "--since", "soon").output
    assert "there is no 'nothing'" in command("history", "-c", str(data), "--object", "nothing").output
    assert "domain example.test" in command("history", "-c", str(data), "--object", "example.test").output


def test_rights_in_a_public_folder_go_back_beside_a_running_server(demo: StartDemo) -> None:
    server = demo(2)
    client = imaplib.IMAP4("127.0.0.1", server.port(2143), timeout=60)
    client.login("alice@example.test", PASSWORD)  # the postmaster
    news = '"Public Folders/News"'
    assert client.create(news)[0] == "OK"
    assert client.setacl(news, "bob@example.test", "lrs")[0] == "OK"
    assert client.setacl(news, "anyone", "lr")[0] == "OK"
    place = ("-c", str(server.data))
    first, second = command("history", *place, "--object", "example.test").output.splitlines()[-2:]
    seq, _when, *told = first.split("\t")
    change = "rights of bob@example.test in News: inherited -> lrs"
    assert told == ["alice@example.test", "public folders of example.test", "set rights", change]
    assert second.endswith("\trights of anyone in News: inherited -> lr")
    taken = command("history", "revert", *place, seq)
    assert taken.exit_code == 0, taken.output
    assert "rights of bob@example.test in News: lrs -> inherited" in taken.output
    ((rights,),) = [client.getacl(news)[1]]
    assert b"bob" not in rights and b"anyone lr" in rights
    again = command("history", "revert", *place, seq)
    assert again.exit_code == 1 and "changed it later" in again.output
    assert command("history", "revert", *place, seq, "--force").exit_code == 0
    assert server.stop() == 0
