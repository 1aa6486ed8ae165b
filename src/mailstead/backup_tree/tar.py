"""A folder's messages as one tar file (``messagesTarEnabled``): written and read in pieces.

Invariants: nothing is held in memory but a header and a piece; what is read is checked (header sums, sizes, names), and members
that are no message are passed over. POSIX.1-2001 (pax): a name that is too long for a header stands in an extended one.
"""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from mailstead.backup_tree.stored_message import StoredMessage

BLOCK = 512
MAX_EXTENDED = 64 * 1024
MAX_MEMBER = 4 << 30


class BadTar(Exception):
    """It is no tar file, or damaged."""


def header(message: StoredMessage) -> bytes:
    """The header, or headers, of a message's member."""
    info = tarfile.TarInfo(message.name)
    info.size, info.mtime, info.mode = message.size, max(0, message.date), 0o640
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> int:
    """Octets to the next block."""
    return -size % BLOCK


def tar_size(message: StoredMessage) -> int:
    """Octets that a message takes in a tar file."""
    return len(header(message)) + message.size + padding(message.size)


async def write_tar(
    messages: AsyncIterator[StoredMessage], stream: Callable[[StoredMessage], AsyncIterator[bytes]]
) -> AsyncIterator[bytes]:
    """The octets of a tar file."""
    async for message in messages:
        yield header(message)
        async for piece in stream(message):
            yield piece
        if padding(message.size):
            yield bytes(padding(message.size))
    yield bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar file."""

    name: str
    size: int


class _Octets:
    """Exactly so many octets of what comes in pieces."""

    def __init__(self, receive: Callable[[], Awaitable[bytes]]) -> None:
        self._receive = receive
        self._held = b""

    async def upto(self, most: int) -> bytes:
        """Some octets, at most so many; b"" at the end."""
        if not self._held:
            self._held = await self._receive()
        piece, self._held = self._held[:most], self._held[most:]
        return piece

    async def exactly(self, count: int) -> bytes:
        """Raises BadTar where there are fewer; b"" where there are none."""
        found = b""
        while len(found) < count:
            piece = await self.upto(count - len(found))
            if not piece:
                if found:
                    raise BadTar("it ends in the middle")
                return b""
            found += piece
        return found


async def read_tar(
    receive: Callable[[], Awaitable[bytes]], take: Callable[[Member, Callable[[], Awaitable[bytes]]], Awaitable[None]]
) -> None:
    """Give each file in a tar file to ``take``, which reads its octets to their end (b""). Raises BadTar, and what both raise."""
    octets = _Octets(receive)
    long_name = ""
    while block := await octets.exactly(BLOCK):
        if block == bytes(BLOCK):
            while await octets.upto(1 << 16):
                pass
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise BadTar(f"a header is damaged: {error}") from None
        if not 0 <= info.size <= MAX_MEMBER:
            raise BadTar("a member has an impossible size")
        if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            if info.size > MAX_EXTENDED:
                raise BadTar("an extended header is too long")
            extended = await octets.exactly(info.size)
            await octets.exactly(padding(info.size))
            long_name = _long_name(info.type, extended) or long_name
            continue
        left = info.size

        async def piece() -> bytes:
            nonlocal left
            if not left:
                return b""
            found = await octets.upto(min(left, 1 << 16))
            if not found:
                raise BadTar("it ends in the middle")
            left -= len(found)
            return found

        if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            await take(Member(long_name or info.name, info.size), piece)
        while await piece():
            pass
        await octets.exactly(padding(info.size))
        long_name = ""
    raise BadTar("it has no end")


def _long_name(kind: bytes, extended: bytes) -> str:
    """The name in an extended header, "" for none."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return extended.rstrip(b"\0").decode("utf-8", "surrogateescape")
    position = 0
    while position < len(extended):
        length, _, _ = extended[position : position + 20].partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(extended) - position:
            raise BadTar("an extended header is damaged")
        record = extended[position : position + int(length)]
        key, _, value = record[len(length) + 1 :].rstrip(b"\n").partition(b"=")
        if key == b"path":
            return value.decode("utf-8", "surrogateescape")
        position += int(length)
    return ""
