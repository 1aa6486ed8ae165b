"""`mailstead history`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import command


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
