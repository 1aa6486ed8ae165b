"""`mailstead reindex`, beside a running server and without one."""

from __future__ import annotations

import imaplib
import re
from pathlib import Path

from tests.cli.conftest import PASSWORD, Demo, StartDemo, command

ALICE = "alice@example.test"


def client_of(server: Demo) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", server.port(2143), timeout=60)
    client.login(ALICE, PASSWORD)
    client.select("INBOX")
    return client


def numbers(output: str, of: str) -> tuple[int, ...]:
    """messages, indexed, pending and jobs of a line of the status."""
    found = re.search(rf"^ *(\d+) +(\d+) +(\d+) +(\d+)  {re.escape(of)}$", output, re.MULTILINE)
    assert found, output
    return tuple(map(int, found.groups()))


def test_an_account_is_indexed_by_the_running_server_and_then_without_it(demo: StartDemo) -> None:
    server = demo(2)
    config = str(server.data)
    client = client_of(server)
    for number in range(30):
        client.append("INBOX", "", "", f"Subject: s\r\n\r\nneedle {number}\r\n".encode())
    status = command("reindex", "--config", config, ALICE, "--status")
    assert numbers(status.output, ALICE) == (30, 0, 30, 30), status.output
    done = command("reindex", "--config", config, ALICE, "--wait")
    assert done.exit_code == 0, done.output
    assert "running server" in done.output
    assert numbers(done.output, ALICE) == (30, 30, 0, 0)
    client.noop()
    assert client.search(None, "BODY", "eedle") == ("OK", [b" ".join(b"%d" % n for n in range(1, 31))])
    assert client.search(None, "BODY", '"needle 17"') == ("OK", [b"18"])
    client.logout()
    assert server.stop() == 0
    for path in (server.data / "index").glob("search-*"):
        path.unlink()
    alone = command("reindex", "--config", config, "--all", "--missing")
    assert alone.exit_code == 0, alone.output
    assert numbers(alone.output, "in all")[1:] == (30, 0, 0), alone.output


def test_refusals_are_one_line(data: Path) -> None:
    for words, wanted in (([], "give either"), (["--all", ALICE], "give either"), (["nobody@example.test"], "no such account")):
        result = command("reindex", "--config", str(data), *words)
        assert result.exit_code == 1
        assert wanted in result.output
        assert result.output.count("\n") == 1
