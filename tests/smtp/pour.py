"""Pours large messages into a server from a process of its own: ``python pour.py PORT COUNT BLOCKS``; prints the codes."""

from __future__ import annotations

import asyncio
import sys

BLOCK = (b"0123456789abcdef" * 4 + b"....\r\n") * 4000


async def pour(port: int, blocks: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    for line in (b"HELO pour.test", b"MAIL FROM:<a@remote.test>", b"RCPT TO:<bob@example.test>", b"DATA"):
        writer.write(line + b"\r\n")
        await reader.readline()
    writer.write(b"Subject: large\r\n\r\n")
    for _ in range(blocks):
        writer.write(BLOCK)
        await writer.drain()
    writer.write(b".\r\n")
    return (await reader.readline()).decode()[:3]


async def main() -> None:
    port, count, blocks = map(int, sys.argv[1:])
    print(*await asyncio.gather(*(pour(port, blocks) for _ in range(count))))


if __name__ == "__main__":
    asyncio.run(main())
