"""Large messages go to disk while they arrive."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from tests.smtp.harness import Face, running

LINE = b"0123456789abcdef" * 4 + b"....\r\n"
BLOCK = LINE * 4000


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def pour(face: Face, blocks: int, to: str = "alice@example.test") -> str:
    client = await face.ready()
    await client.envelope(to)
    await client.ok("DATA")
    client.write(b"Subject: large\r\nContent-Type: text/plain\r\n\r\n")
    for _ in range(blocks):
        client.write(BLOCK)
        await client.writer.drain()
    client.write(b".\r\n")
    return await client.reply()


async def test_a_large_message_is_whole(face: Face) -> None:
    assert (await pour(face, 20)).startswith("250")
    (octets,) = await face.messages()
    header, _, body = octets.partition(b"\r\n\r\n")
    assert header.startswith(b"Return-Path: <bob@remote.test>\r\nReceived: ")
    assert hashlib.sha256(body).digest() == hashlib.sha256(BLOCK * 20).digest()


async def test_every_size_around_the_limit_of_memory(face: Face) -> None:
    for size in (262_100, 262_144, 262_145, 524_288, 524_300):
        client = await face.ready()
        body = b"Subject: x\r\n\r\n" + b"z" * (size - 16) + b"\r\n"
        assert (await client.send(body, "bob@example.test")).startswith("250")
        assert (await face.messages("bob@example.test"))[-1].endswith(body)


async def test_large_chunks(face: Face) -> None:
    client = await face.ready()
    await client.envelope()
    client.write(b"BDAT 14\r\nSubject: x\r\n\r\nBDAT %d\r\n" % len(BLOCK) + BLOCK + b"BDAT %d LAST\r\n" % len(BLOCK) + BLOCK)
    assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "250"]
    (octets,) = await face.messages()
    assert octets.endswith(b"Subject: x\r\n\r\n" + BLOCK * 2)


async def test_many_large_ones_at_once_take_little_memory(face: Face) -> None:
    """About 1 MB for each connection, and one message at a time whole for its index; half a gigabyte passes through."""
    await face.set("maxDataSize", "0")
    assert await poured(face, 2, 60) == ["250"] * 2  # what one costs is not what many cost
    before = resident()
    peak = before

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident())
            await asyncio.sleep(0.01)

    watcher = asyncio.create_task(watch())
    assert await poured(face, 30, 60) == ["250"] * 30  # of 17 MB each
    watcher.cancel()
    assert peak - before < 300 << 20, f"{(peak - before) >> 20} MB more"


async def poured(face: Face, count: int, blocks: int) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("pour.py")), str(face.ports["smtp"]), str(count), str(blocks),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode().split()


async def test_too_large_stops_being_kept(face: Face) -> None:
    assert (await pour(face, 45)).startswith("552 5.3.4")
    while face.server._cleaning:
        await asyncio.gather(*face.server._cleaning)
    assert [path for path in face.store.log_path.rglob("*") if path.is_file() and path.suffix != ".mlog"] == []


async def test_a_disk_error_while_spooling(face: Face, monkeypatch: object) -> None:
    def fail(*args: object) -> int:
        raise OSError(28, "No space left on device")

    original = face.store.files.writev
    face.store.files.writev = fail  # type: ignore[method-assign]
    try:
        assert (await pour(face, 10)).startswith("452 4.3.1")
    finally:
        face.store.files.writev = original  # type: ignore[method-assign]
    assert await face.messages() == []
    assert (await pour(face, 10)).startswith("250")


async def test_large_ones_survive_a_restart(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    async with running(directory) as face:
        assert (await pour(face, 5)).startswith("250")
    async with running(directory) as face:
        (octets,) = await face.messages()
        assert octets.endswith(BLOCK * 5)


