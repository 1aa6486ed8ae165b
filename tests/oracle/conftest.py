"""One Dovecot for the session, and a client at each of the two servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.imap.conftest import Client, start_face
from tests.oracle.dovecot import PASSWORD, Dovecot, program


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    assert program() is not None, "install Debian's dovecot-imapd"
    server = Dovecot()
    yield server
    server.stop()


class Pair:
    """The same client at Mailstead and at Dovecot."""

    def __init__(self, ours: Client, port: int, user: str) -> None:
        self.ours, self._port, self._user = ours, port, user
        self.theirs: Client

    async def connect(self, *commands: str) -> None:
        """A (new) connection to Dovecot."""
        self.theirs = Client(*await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24))
        await self.theirs.line()
        for command in (f"LOGIN {self._user} {PASSWORD}", *commands):
            await self.theirs.ok(command)

    async def both(self, text: str | bytes) -> tuple[tuple[list[bytes], bytes], tuple[list[bytes], bytes]]:
        """A command at both: (untagged responses, tagged reply) of each."""
        return await self.ours.command(text), await self.theirs.command(text)

    async def append(self, folder: str, octets: bytes, words: str = "") -> None:
        """The same message into both."""
        command = f"APPEND {folder} {words + ' ' if words else ''}{{{len(octets)}+}}\r\n".encode() + octets
        for _, reply in await self.both(command):
            assert reply.startswith(b"OK"), reply


@pytest.fixture
async def pair(tmp_path: Path, dovecot: Dovecot, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    face, stop = await start_face(tmp_path)
    ours = await face.client()
    user = "u" + "".join(c for c in request.node.name if c.isalnum())[:40].lower()
    pair = Pair(ours, dovecot.port, user)
    await pair.connect()
    yield pair
    await pair.theirs.close()
    await stop()
