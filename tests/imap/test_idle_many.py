"""Many sessions that idle on one mailbox: each is told everything, once, in order, whatever the slices."""

from __future__ import annotations

import asyncio

import pytest

from mailstead.mailbox import view
from tests.imap.conftest import Client, Face


async def _idle(client: Client) -> None:
    await client.ok("SELECT INBOX")
    client.write(b"i IDLE\r\n")
    assert await client.line() == b"+ idling"


async def _until_exists(client: Client, count: int) -> list[bytes]:
    lines = []
    while not lines or lines[-1] != b"* %d EXISTS" % count:
        lines.append(await client.line())
    return lines


@pytest.mark.parametrize("seconds", [0.0, 1.0])
async def test_each_of_many_is_told_in_order(face: Face, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "CALL_BACK_SECONDS", seconds)
    author = await face.client()
    watchers = [await face.client() for _ in range(30)]
    for one in watchers:
        await _idle(one)
    for _ in range(3):
        author.write(b"x APPEND INBOX {1+}\r\nx\r\n")
    told = await asyncio.gather(*[_until_exists(one, 3) for one in watchers])
    for lines in told:
        numbers = [int(line.split()[1]) for line in lines]
        assert numbers == sorted(set(numbers))
    await author.until(b"x")
    watchers[0].write(b"DONE\r\n")
    assert await watchers[0].line() == b"i OK IDLE completed"
    await author.ok("SELECT INBOX")
    await author.ok("STORE 2 +FLAGS (\\Deleted)")
    await author.ok("EXPUNGE")
    for one in watchers[1:]:
        lines = [await one.line()]
        while not lines[-1].endswith(b"EXPUNGE"):
            lines.append(await one.line())
        assert lines[-1] == b"* 2 EXPUNGE"
        assert lines[:-1] in ([], [b"* 2 FETCH (FLAGS (\\Deleted))"])
    untagged = await watchers[0].ok("NOOP")
    assert b"* 2 EXPUNGE" in untagged


async def test_what_cannot_be_made_durable_is_not_told(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher, author = await face.client(), await face.client()
    await _idle(watcher)
    await author.ok("SELECT INBOX")

    def broken(shard: int, commit: int) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(OSError("input/output error"))
        return future

    with monkeypatch.context() as patched:
        patched.setattr(face.store, "durable", broken)
        patched.setattr(face.store, "is_durable", lambda shard, commit: False)
        await author.append("INBOX", b"x")
        assert (await watcher.line()).startswith(b"* NO [UNAVAILABLE]")
    await author.append("INBOX", b"y")
    assert await watcher.line() == b"* 2 EXISTS"
