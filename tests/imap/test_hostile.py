"""Any sequence of commands from any client: one tagged reply each, no error of our own, no end without BYE.

The commands come from the command table itself, so that new ones are said, too; MAILSTEAD_HOSTILE_ROUNDS multiplies the seeds.
At the end of each (by the fixture) the index is what a rebuild from the log gives.
"""

from __future__ import annotations

import asyncio
import os
import random
import re

import pytest

from mailstead.imap.commands import table
from mailstead.observe.metrics import faults
from tests.imap.conftest import Client
from tests.imap.sentences import Speaker
from tests.imap.test_sharing import PASSWORD, Domain, domain  # noqa: F401

SEEDS = 2 * int(os.environ.get("MAILSTEAD_HOSTILE_ROUNDS", "1"))
MESSAGE = (
    b"From: A <a@example.test>\r\nTo: b@example.test\r\nSubject: =?utf-8?q?h=C3=BC?=\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n'
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n--b--\r\n"
)


def own_errors() -> float:
    """Faults of this process so far."""
    return sum(sample.value for metric in faults.collect() for sample in metric.samples if sample.name.endswith("_total"))


class Hostile:
    """A client that minds only that it is answered."""

    def __init__(self, running: Domain, rng: random.Random, name: str) -> None:
        self.running, self.rng = running, rng
        self.speaker = Speaker(rng, table(), name)
        self.client: Client | None = None
        self.said: list[bytes] = []

    async def connect(self) -> Client:
        """A session that mostly has logged in and selected something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.running.port, limit=1 << 22)
        client = self.client = Client(reader, writer)
        self.said.clear()
        await client.line()
        if self.rng.random() < 0.95:
            user = self.rng.choice(["alice", "alice", "bob"])
            _, reply = await client.command(f"LOGIN {user}@example.test {PASSWORD}")
            self.said.append(b"(as %b)" % user.encode())
            if reply.startswith(b"OK") and self.rng.random() < 0.8:
                await client.command("SELECT INBOX" if user == "alice" else 'SELECT "Other Users/alice/Work"')
        return client

    async def step(self) -> None:
        """One command: exactly one tagged reply, or BYE and the end."""
        client = self.client or await self.connect()
        pieces = self.speaker.say()
        tag = self.speaker.tag
        if self.rng.random() < 0.1:  # most commands want a selected mailbox
            pieces = [tag + b" SELECT INBOX\r\n"]
        self.said.append(b"".join(pieces))
        client.write(pieces.pop(0))
        bye = False
        while True:
            try:
                line = await client.line()
            except TimeoutError:
                raise AssertionError(("no reply", self.said[-6:])) from None
            if not line:
                assert bye, ("closed without BYE", self.said[-6:])
                self.client = None
                return
            if line.startswith(b"* BAD "):
                break  # the server could not tell where the command began or ended
            if line.startswith(b"* "):
                bye = bye or line.startswith(b"* BYE")
            elif line.startswith(b"+"):
                more = (
                    pieces.pop(0) if pieces else self.rng.choice([b"DONE\r\n", b"*\r\n", b"\r\n", b"AAAA\r\n", b"=\r\n", b"done\n"])
                )
                self.said.append(more)
                client.write(more)
            else:
                break
        assert re.match(rb"%b (OK|NO|BAD) [^\r\n]+\Z" % re.escape(tag), line) or line.startswith(b"* BAD"), (line, self.said[-6:])
        assert b"SERVERBUG" not in line, (line, self.said[-6:])
        if bye or b"DEFLATE active" in line:
            await self.leave()

    async def leave(self) -> None:
        """Another connection comes next."""
        client, self.client = self.client, None
        assert client is not None
        await client.close()

    async def raw(self) -> None:
        """Octets that are hardly a command: answers, or BYE and the end."""
        client = self.client or await self.connect()
        octets = self.speaker.raw() + b"\r\n"
        self.said.append(octets)
        client.write(octets)
        got = b""
        while True:
            try:
                part = await asyncio.wait_for(client.reader.read(65536), 0.05)
            except TimeoutError:
                break
            except ConnectionError:
                part = b""
            if not part:
                assert b"* BYE" in got or b"DEFLATE active" in got, ("closed without BYE", self.said[-4:], got[-300:])
                break
            got += part
        assert b"SERVERBUG" not in got, (self.said[-4:], got)
        await self.leave()

    async def live(self, steps: int) -> None:
        """Some commands, then gone."""
        for _ in range(steps):
            await (self.raw() if self.rng.random() < 0.02 else self.step())
        if self.client is not None:
            await self.leave()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_no_sequence_of_commands_does_harm(domain: Domain, seed: int) -> None:  # noqa: F811
    before = own_errors()
    alice = await domain.client("alice")
    await alice.ok("CREATE Work/Plans")
    await alice.ok("SETACL Work anyone lrswipkxte")
    for number in range(8):
        await alice.append(("INBOX", "Work")[number % 2], MESSAGE)
    hostile = [Hostile(domain, random.Random(seed * 10 + number), name) for number, name in enumerate(("a", "b", "c", "d"))]
    await asyncio.gather(*(client.live(150) for client in hostile))
    await alice.ok("SELECT INBOX")
    assert own_errors() == before


def test_every_command_is_said() -> None:
    commands = table()
    speaker = Speaker(random.Random(1), commands, "x")
    said = {b"".join(speaker.say(spoil=0.0)).split(b" ", 1)[1].strip() for _ in range(4000)}
    for name in commands:
        assert any(line == name or line.startswith(name + b" ") for line in said), name
