"""A mail exchanger for tests, on raw streams: it records what it gets and misbehaves as told.

    async with FakeMx() as mx: ... mx.port, mx.messages, mx.commands

``replies`` maps a verb (or a whole command line) to what is answered instead: a reply text, a list of them used one
after the other (the last one stays), or a callable taking the line. Verbs besides SMTP's: "greeting", "data" (the
reply after the final dot), "bdat". ``drop`` is a verb at which the connection is closed without a reply; ``stall`` one
at which nothing is said any more.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

EXTENSIONS = ("PIPELINING", "8BITMIME", "SIZE 50000000", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")


@dataclass
class Taken:
    """A message as it came in."""

    sender: str
    recipients: list[str]
    octets: bytes
    mail: str
    rcpt: list[str]
    tls: bool
    connection: int
    by_bdat: bool = False
    user: str = ""


class Drop(Exception):
    pass


@dataclass
class FakeMx:
    extensions: tuple[str, ...] = EXTENSIONS
    replies: dict[str, Any] = field(default_factory=dict)
    drop: str = ""
    stall: str = ""
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    break_tls: bool = False
    users: dict[str, str] = field(default_factory=dict)
    address: str = "127.0.0.1"
    port: int = 0
    name: str = "mx.fake.test"

    def __post_init__(self) -> None:
        self.messages: list[Taken] = []
        self.commands: list[str] = []
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.at_stage = asyncio.Event()
        self.arrived = asyncio.Condition()
        self._used: dict[str, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> FakeMx:
        self._server = await asyncio.start_server(
            self._serve, self.address, self.port, ssl=self.tls if self.implicit else None, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait(self, count: int = 1, seconds: float = 60) -> list[Taken]:
        """Until that many messages have arrived."""
        async with asyncio.timeout(seconds), self.arrived:
            await self.arrived.wait_for(lambda: len(self.messages) >= count)
        return self.messages

    def _reply(self, verb: str, line: str, default: str) -> str:
        if verb == self.drop:
            raise Drop
        key = line if line in self.replies else verb
        found = self.replies.get(key, default)
        if isinstance(found, list):
            used = self._used.get(key, 0)
            self._used[key] = used + 1
            found = found[min(used, len(found) - 1)]
        if callable(found):
            found = found(line) or default
        return str(found)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._session(reader, writer, self.connections)
        except (Drop, asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, text: str) -> None:
        writer.write(text.encode() + b"\r\n")
        await writer.drain()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await self._say(writer, self._reply("greeting", "", f"220 {self.name} ESMTP"))
        tls, user, chunks = self.implicit, "", b""
        mail, rcpt, recipients, sender = "", [], [], ""
        while True:
            line = (await reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "surrogateescape")
            self.commands.append(line)
            verb = line.split(" ", 1)[0].upper()
            if verb == self.stall:
                self.at_stage.set()
                await asyncio.sleep(3600)
            if verb == "EHLO":
                offered = [word for word in self.extensions if not (tls and word == "STARTTLS")]
                lines = [self.name, *offered]
                text = "\r\n".join(f"250{'-' if word is not lines[-1] else ' '}{word}" for word in lines)
                await self._say(writer, self._reply(verb, line, text))
            elif verb == "STARTTLS":
                text = self._reply(verb, line, "220 2.0.0 go ahead")
                await self._say(writer, text)
                if not text.startswith("220"):
                    continue
                if self.break_tls:
                    await reader.read(1)
                    writer.write(b"\x15\x03\x01\x00\x02\x02\x28 this is no handshake")
                    await writer.drain()
                    return
                assert self.tls is not None
                await writer.start_tls(self.tls)
                tls = True
            elif verb == "AUTH":
                user = await self._auth(reader, writer, line)
            elif verb == "MAIL":
                text = self._reply(verb, line, "250 2.1.0 sender ok")
                if text.startswith("2"):
                    mail, rcpt, recipients, chunks = line, [], [], b""
                    sender = line[line.index("<") + 1 : line.index(">")]
                await self._say(writer, text)
            elif verb == "RCPT":
                address = line[line.index("<") + 1 : line.index(">")]
                text = self._reply(f"RCPT {address}" if f"RCPT {address}" in self.replies else verb, line, "250 2.1.5 ok")
                if not mail:
                    text = "503 5.5.1 MAIL first"
                if text.startswith("2"):
                    rcpt.append(line)
                    recipients.append(address)
                await self._say(writer, text)
            elif verb == "DATA":
                text = self._reply(verb, line, "354 go on" if recipients else "503 5.5.1 RCPT first")
                await self._say(writer, text)
                if not text.startswith("354"):
                    continue
                octets = await self._data(reader)
                taken = Taken(sender, recipients, octets, mail, rcpt, tls, number, False, user)
                await self._finish(writer, "data", taken)
                mail, recipients = "", []
            elif verb == "BDAT":
                words = line.split()
                chunks += await reader.readexactly(int(words[1]))
                if words[-1] == "LAST":
                    await self._finish(writer, "bdat", Taken(sender, recipients, chunks, mail, rcpt, tls, number, True, user))
                    mail, recipients = "", []
                else:
                    await self._say(writer, "250 2.0.0 more")
            elif verb == "QUIT":
                await self._say(writer, "221 2.0.0 bye")
                return
            else:
                if verb == "RSET":
                    mail, recipients = "", []
                await self._say(writer, self._reply(verb, line, "250 2.0.0 ok"))

    async def _finish(self, writer: asyncio.StreamWriter, stage: str, taken: Taken) -> None:
        text = self._reply(stage, "", "250 2.0.0 taken")
        if self.stall == stage:
            self.at_stage.set()
            await asyncio.sleep(3600)
        if text.startswith("2") and taken.recipients:
            async with self.arrived:
                self.messages.append(taken)
                self.arrived.notify_all()
        await self._say(writer, text)

    @staticmethod
    async def _data(reader: asyncio.StreamReader) -> bytes:
        lines: list[bytes] = []
        while True:
            line = await reader.readuntil(b"\r\n")
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)

    async def _auth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str) -> str:
        import hmac

        words = line.split()
        if words[1] == "PLAIN":
            _, user, password = base64.b64decode(words[2]).decode().split("\0")
            good = self.users.get(user) == password
        elif words[1] == "LOGIN":
            await self._say(writer, "334 VXNlcm5hbWU6")
            user = base64.b64decode(await reader.readuntil(b"\r\n")).decode()
            await self._say(writer, "334 UGFzc3dvcmQ6")
            good = self.users.get(user) == base64.b64decode(await reader.readuntil(b"\r\n")).decode()
        else:
            challenge = b"<1.2@fake.test>"
            await self._say(writer, "334 " + base64.b64encode(challenge).decode())
            user, digest = base64.b64decode(await reader.readuntil(b"\r\n")).decode().split(" ")
            good = hmac.new(self.users.get(user, "").encode(), challenge, "md5").hexdigest() == digest
        await self._say(writer, "235 2.7.0 welcome" if good else "535 5.7.8 wrong password")
        return user if good else ""


Reply = str | list[str] | Callable[[str], str | None]
