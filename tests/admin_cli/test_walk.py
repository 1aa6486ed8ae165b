"""Every command of every context with valid and with hostile values: always a reply of the right layout, never a fault of ours."""

from __future__ import annotations

import random
import re

import pytest

from mailstead.admin_cli.syntax import parse
from tests.admin_cli.conftest import Client, Face
from tests.admin_cli.test_every_context import PATHS

VALUES = (
    "x", "alice", "alice@example.test", "example.test", "postmaster", "0", "1", "-1", "999999999999999999999", "yes", "no", "()",
    "(a b)", '""', "''", '"a \\" b"', "'$(id)'", "../../etc/passwd", "/nonexistent", "%s%n", "a" * 300, "\u00e4\u00f6\u4e2d",
    "\u202e", "10.0.0.0/8", "127.0.0.1:1", "[::1]:2", "older", "than", "2 days", "*", "?", "'; DROP TABLE account; --", "INBOX",
    "Trash", "\\", "\x00", "\x7f", "manageAccounts", "(manageAccounts)", "imap", "all", "name", "password",
)  # fmt: skip
LEAVING = ("EXIT", "QUIT", "BACK", "DONE", "COMMIT")
# What would end the session by intent, or take the ground from under the walk.
APART = ("SET admin-password", "CHANGE password", "DISABLE Domain", "DELETE Domain", "STOP Service", "SET multilineEOF")
STATUS = re.compile(r"(?:\+OK|-ERR): \S.*")


async def _send(client: Client, line: str) -> list[str]:
    """A reply; a text that is asked for is an empty one."""
    client.writer.write(line.encode() + b"\r\n")
    data = b""
    while True:
        part = await client.reader.read(1 << 20)
        assert part, f"the connection ended after {line!r}: {data[-200:]!r}"
        data += part
        text = data.decode()
        if re.search(r"<[A-Za-z0-9-]*#> \Z", text):
            break
        if re.fullmatch(r"\+OK: send the text[^\r\n]*\r\n", text):
            client.writer.write(b".\r\n")
            data = b""
    lines = text.split("\r\n")
    client.prompt = lines.pop()
    return lines


def _lines(form: str, rng: random.Random) -> list[str]:
    """A form with values in the place of parameters, twice, and cut short."""
    syntax = parse(form)
    made = []
    for _ in range(2):
        words = [rng.choice(word.split("|")) for word in syntax.head]
        for parameter in syntax.parameters:
            if parameter.required or rng.random() < 0.5:
                value = rng.choice(VALUES)
                words += [parameter.name, value] if parameter.name and rng.random() < 0.8 else [value]
        words += [rng.choice(flag) for flag in syntax.flags if rng.random() < 0.5]
        words += [rng.choice(VALUES) for _ in range(rng.randrange(4))] if syntax.rest else []
        made.append(" ".join(words))
    made.append(" ".join(syntax.head))
    made.append(" ".join([*syntax.head, *rng.choices(VALUES, k=3)]))
    return made


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", PATHS, ids=" > ".join)
async def test_commands_with_any_values(face: Face, path: tuple[str, ...]) -> None:
    rng = random.Random(" ".join(path))
    face.endpoint.max_errors = 0
    client = await face.client()
    await client.ok(*path)
    home = client.prompt
    forms = [line.split(" - ")[0] for line in await client.ok("HELP")][2:]
    for form in forms:
        if not form or form.split()[0] in LEAVING or form.startswith(APART):
            continue
        for line in _lines(form, rng):
            reply = await _send(client, line.replace("\n", " "))
            assert STATUS.fullmatch(reply[-1]), (line, reply)
            assert "internal error" not in reply[-1] and "reference" not in reply[-1], (line, reply)
            assert not any(part.startswith(("+OK:", "-ERR:")) for part in reply[:-1]), (line, reply)
            for _ in range(3):
                if client.prompt == home or client.prompt.count("-") < home.count("-"):
                    break
                await _send(client, "BACK")
            if client.prompt != home:
                client = await face.client()
                await client.ok(*path)
