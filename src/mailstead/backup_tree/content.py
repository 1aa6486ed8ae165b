"""The octets of a file of the tree, read anywhere: what does not come in order asks for it (a mount).

Invariants: ``size`` octets can be read, and they stay the same, whatever happens to the mail meanwhile; of a message or a tar file
only what is asked for is in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Protocol

from mailstead.backup_tree.stored_message import StoredMessage
from mailstead.backup_tree.tar import BLOCK, header, tar_size
from mailstead.backup_tree.tree import Missing, Node, Tree


class Content(Protocol):
    """What a file holds. ``read`` raises Missing, OSError, DamagedRecord."""

    @property
    def size(self) -> int: ...
    async def read(self, offset: int, length: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Octets:
    """A document, as it was when it was opened."""

    octets: bytes

    @property
    def size(self) -> int:
        """Octets of it."""
        return len(self.octets)

    async def read(self, offset: int, length: int) -> bytes:
        """Part of it."""
        return self.octets[offset : offset + length]


class Message:
    """One message; where compaction has moved it, it is looked up again."""

    def __init__(self, tree: Tree, node: Node, message: StoredMessage) -> None:
        self._tree = tree
        self._node = node
        self._message = message
        self.size = message.size

    async def read(self, offset: int, length: int) -> bytes:
        """Part of it."""
        return await _read(self._tree, self._node, self._message, offset, length)


class TarFile:
    """A folder as a tar file, of the messages that were there when it was opened."""

    def __init__(self, tree: Tree, node: Node, messages: list[StoredMessage]) -> None:
        self._tree = tree
        self._node = node
        self._messages = messages
        self._starts: list[int] = []
        position = 0
        for message in messages:
            self._starts.append(position)
            position += tar_size(message)
        self._end = position
        self.size = position + 2 * BLOCK

    async def read(self, offset: int, length: int) -> bytes:
        """Part of it."""
        parts: list[bytes] = []
        end = min(offset + length, self.size)
        number = max(0, bisect_right(self._starts, offset) - 1)
        while offset < end and offset < self._end:
            message, start = self._messages[number], self._starts[number]
            piece = await self._member(message, offset - start, end - offset)
            parts.append(piece)
            offset += len(piece)
            number += 1
        return b"".join(parts) + bytes(max(0, end - offset))

    async def _member(self, message: StoredMessage, offset: int, most: int) -> bytes:
        """Octets of one member, headers and padding with it, to its end at most."""
        head = header(message)
        end = min(offset + most, tar_size(message))
        parts = [head[offset:end]]
        low, high = max(0, offset - len(head)), min(message.size, end - len(head))
        if low < high:
            parts.append(await _read(self._tree, self._node, message, low, high - low))
        done = sum(map(len, parts))
        return b"".join(parts) + bytes(end - offset - done)


async def _read(tree: Tree, node: Node, message: StoredMessage, offset: int, length: int) -> bytes:
    mailbox = tree.services.mailbox
    try:
        return await mailbox.read_large(message.location, offset, length)
    except OSError:
        async for found in tree.messages(node, message.uid):
            return await mailbox.read_large(found.location, offset, length)
        raise


async def content(tree: Tree, node: Node) -> Content:
    """What a file holds now. Raises Missing."""
    if node.what == "message":
        return Message(tree, node, await tree.message(node))
    if node.what == "tar":
        return TarFile(tree, node, [one async for one in tree.messages(node)])
    if node.what == "document":
        return Octets(await tree.document(node))
    raise Missing("it is a directory")
