"""The base of connections with a session: one beginning, one end, and a time of silence that depends on the login."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from mailstead.transport.endpoint import Endpoint
from mailstead.transport.session_connection import SessionConnection
from tests.transport.test_connection import dial, line, rest


class Words:
    """LOGIN and OUT are what a login and its end are; anything else comes back."""

    options = SimpleNamespace(loginTimeout=60)

    def __init__(self, link: SpokenTo) -> None:
        self.link = link
        self.events: list[str] = ["opened"]
        self.over = asyncio.Event()

    def received(self, data: bytes) -> None:
        if data == b"LOGIN\r\n":
            self.link.logged_in()
        elif data == b"OUT\r\n":
            self.link.logged_out()
        self.link.send(data)

    def ended(self) -> None:
        self.events.append("ended")
        self.over.set()

    def stop(self) -> None:
        self.events.append("stop")
        self.link.send(b"bye\r\n")
        self.link.close()


class SpokenTo(SessionConnection[Words, None]):
    seen: list[SpokenTo] = []

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint, None)
        SpokenTo.seen = [self]

    def opened(self) -> Words:
        return Words(self)

    def greet(self, session: Words) -> None:
        self.send(b"hello\r\n")

    def silent(self, session: Words) -> None:
        self.send(b"silence\r\n")
        self.close()


async def spoken(start: Any, **options: Any) -> tuple[Any, Any, SpokenTo]:
    endpoint = await start(SpokenTo, **options)
    reader, writer = await dial(endpoint)
    assert await line(reader) == b"hello\r\n"
    return reader, writer, SpokenTo.seen[0]


async def test_silence_before_and_after_the_login(start: Any) -> None:
    for allowed, before in ((0.0, 60.0), (300.0, 60.0), (50.0, 50.0)):
        reader, writer, link = await spoken(start, idle_timeout=allowed)
        assert link.idle_timeout == before
        for word, seconds in ((b"LOGIN\r\n", allowed), (b"OUT\r\n", before)):
            writer.write(word)
            assert await line(reader) == word
            assert link.idle_timeout == seconds
            assert (link.deadline > 0) == (seconds > 0)
        writer.close()


async def test_who_never_logs_in_goes_where_the_listener_lets_everybody_stay(start: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(Words, "options", SimpleNamespace(loginTimeout=0.3))
    reader, writer, link = await spoken(start, idle_timeout=0.0)
    assert await asyncio.wait_for(rest(reader), 60) == b"silence\r\n"
    writer.close()
    assert link.session is not None
    await asyncio.wait_for(link.session.over.wait(), 60)
    assert link.session.events == ["opened", "ended"]


async def test_the_process_stops(start: Any) -> None:
    reader, writer, link = await spoken(start)
    link.shutting_down()
    assert await rest(reader) == b"bye\r\n"
    writer.close()
    assert link.session is not None and link.session.events[:2] == ["opened", "stop"]
