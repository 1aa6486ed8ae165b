"""Plays a transcript (see tests/transcripts/imap/README.md) against a running face."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.imap.conftest import PASSWORD, Client, Face

_step = re.compile(r"([CSE])(\d?): ?(.*)")


def standard_message(number: int) -> bytes:
    """Message `number` of `! messages`."""
    return (
        f"From: Fred Foobar <foobar@example.test>\r\nTo: mooch@example.test\r\nSubject: message {number}\r\n"
        f"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-Id: <{number}@example.test>\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=us-ascii\r\n\r\nbody {number}\r\n"
    ).encode()


@dataclass
class Transcript:
    login: bool = True
    messages: int = 0
    options: dict[str, object] = field(default_factory=dict)
    steps: list[tuple[str, int, str]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Transcript:
        found = cls()
        for line in path.read_text("utf-8").splitlines():
            if not line or line.startswith("#"):
                continue
            if line.startswith("! "):
                word, *rest = line[2:].split()
                if word == "nologin":
                    found.login = False
                elif word == "messages":
                    found.messages = int(rest[0])
                elif word == "option":
                    value = {"yes": True, "no": False}.get(rest[1])
                    found.options[rest[0]] = int(rest[1]) if value is None else value
                else:
                    raise ValueError(f"{path}: unknown directive {line}")
                continue
            step = _step.fullmatch(line)
            if step is None:
                raise ValueError(f"{path}: cannot read {line!r}")
            found.steps.append((step[1], int(step[2] or 1), step[3]))
        return found


def pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"<<(.*?)>>", text)
    return re.compile("".join(part if i % 2 else re.escape(part) for i, part in enumerate(parts)))


def show(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").replace("\r\n", "\\r\\n")


async def prepare(face: Face, transcript: Transcript, account: int) -> None:
    folder = await face.mailbox.folder(account + 1000, "INBOX")
    assert folder is not None
    from mailstead.mailbox.model import NewMessage

    if transcript.messages:
        new = [NewMessage(standard_message(n), (), 867_000_000 + n) for n in range(1, transcript.messages + 1)]
        await face.mailbox.append(folder, new)


async def connect(face: Face, transcript: Transcript, account: int) -> Client:
    client = await face.client(login=False)
    if transcript.login:
        await client.ok(f"LOGIN user{account} {PASSWORD}")
    return client


async def play(face: Face, path: Path, account: int) -> None:
    transcript = Transcript.read(path)
    await prepare(face, transcript, account)
    clients: dict[int, Client] = {}
    skipping = False
    for kind, number, text in transcript.steps:
        client = clients.get(number)
        if client is None:
            client = clients[number] = await connect(face, transcript, account)
        if kind == "C":
            client.write(text.encode() + b"\r\n")
        elif kind == "E":
            assert await client.line() == b"", f"{path.name}: the server did not close"
        elif text == "...":
            skipping = True
        else:
            wanted = pattern(text)
            while True:
                line = await client.line()
                assert line, f"{path.name}: closed, expected {text!r}"
                if wanted.fullmatch(show(line)):
                    break
                assert skipping, f"{path.name}: expected {text!r}, got {show(line)!r}"
            skipping = False
