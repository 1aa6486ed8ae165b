"""What a mount shows and takes, in terms of paths and open files; no FUSE in it.

Invariants
- The administrator's rights are asked again at every operation (RIGHTS_SECONDS apart); who is gone or disabled sees nothing.
- What ``attributes`` says of a file is what ``read`` gives: a document or tar file that is open, or was asked for a moment ago,
  stays as it was then.
- Nothing outside of the scope can be named.

Runs in one event loop.
"""

from __future__ import annotations

import os
import stat
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

from mailstead.backup_mount.writing import WrittenFile
from mailstead.backup_mount.written_names import WrittenNames
from mailstead.backup_tree.content import Content, content
from mailstead.backup_tree.paths import BadPath, read_message_file, resolve
from mailstead.backup_tree.services import TreeServices
from mailstead.backup_tree.tree import Entry, Missing, Node, Tree
from mailstead.backup_tree.uploads import Refused, Uploads
from mailstead.directory.model import NotFoundError
from mailstead.mailbox.errors import FolderExists
from mailstead.settings.actor import Actor, PermissionDeniedError

RIGHTS_SECONDS = 1.0
FRESH_SECONDS = 3.0
"""So long a document or tar file is not made anew for ``attributes``."""
HELD_SECONDS = 8.0
"""So long after it was made one may be opened: longer than FRESH_SECONDS and what the kernel keeps of attributes together."""
FOLDERS_SECONDS = 1.0
TAKEN_SECONDS = 60.0
"""So long a file is found under the name it was written under, though its message was there already, under another."""
MOST_TAKEN = 10_000
MOST_SNAPSHOTS = 256
MOST_OCTETS = 64 << 20
"""Of documents that are held without being open."""
MOST_OPEN = 4096
_NOBODY = Actor("")
Path_ = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mounted:
    """What to mount: ``root`` is a path of the tree; ``since`` (unix time, 0 for all), ``removals`` with what was removed
    since; the administrator's name; ``utf8`` and ``tar`` as the settings were."""

    root: Path_
    administrator: str
    since: int = 0
    removals: bool = False
    utf8: bool = True
    tar: bool = False


@dataclass(frozen=True, slots=True)
class Attributes:
    """``modified`` unix time; ``writable`` by the administrator."""

    directory: bool
    size: int
    modified: int
    writable: bool

    @property
    def mode(self) -> int:
        """As stat has it; the owner is the server's user."""
        if self.directory:
            return stat.S_IFDIR | (0o750 if self.writable else 0o550)
        return stat.S_IFREG | (0o640 if self.writable else 0o440)


@dataclass(slots=True)
class Snapshot:
    """A file as it was ``made`` (monotonic); ``users``: how many have it open."""

    content: Content
    modified: int
    made: float
    users: int = 0


class View:
    """One mount's."""

    def __init__(self, services: TreeServices, what: Mounted) -> None:
        self._services = services
        self._what = what
        self._began = int(time.time())
        self._tree = Tree(
            services, _NOBODY, utf8=what.utf8, tar=what.tar, since=what.since, removals=what.removals, held=FOLDERS_SECONDS
        )  # fmt: skip
        self._names = WrittenNames()
        self._taken: OrderedDict[Path_, tuple[float, Attributes]] = OrderedDict()
        self._uploads = Uploads(self._tree, on_message=lambda folder, uid, path: self._names.add(folder.id, uid, path[-1]))
        self._asked = 0.0
        self._folder: tuple[Path_, float, Node] | None = None
        self._snapshots: OrderedDict[Path_, Snapshot] = OrderedDict()
        self._files: dict[int, tuple[Path_, Content, Snapshot | None] | WrittenFile] = {}
        self._written: dict[Path_, WrittenFile] = {}
        self._number = 0
        self._aside = services.store.data_dir / "tmp"

    # -- who and where ------------------------------------------------------------------------------------------------

    def _rights(self) -> None:
        now = time.monotonic()
        if self._asked and now - self._asked < RIGHTS_SECONDS:
            return
        self._asked = now
        self._services.directory.poll()
        try:
            self._tree.actor = self._services.directory.admin_actor(self._what.administrator)
        except NotFoundError:
            self._tree.actor = _NOBODY
        self._folder = None

    def _path(self, text: str) -> Path_:
        self._rights()
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise BadPath("not valid UTF-8") from None
        return (*self._what.root, *resolve((), text))

    async def _node(self, path: Path_) -> Node:
        """Of messages their folder is held for FOLDERS_SECONDS, because they are asked for one after the other. Raises Missing."""
        if len(path) > len(self._what.root) and read_message_file(path[-1]) is not None:
            held = self._folder
            if held is not None and held[0] == path[:-1] and time.monotonic() - held[1] < FOLDERS_SECONDS:
                return self._message_in(held[2], path[-1])
            node = await self._tree.node(path[:-1])
            if node.what == "folder":
                self._folder = path[:-1], time.monotonic(), node
                return self._message_in(node, path[-1])
        return await self._tree.node(path)

    def _message_in(self, folder: Node, name: str) -> Node:
        assert folder.folder is not None
        written = self._names.uid(folder.folder.id, name)
        if written:
            return replace(folder, what="message", name=name, uid=written)
        node = self._tree.message_in(folder, name)
        if self._names.name(folder.folder.id, node.uid):
            raise Missing("it has another name here")
        return node

    def _may_write(self, node: Node) -> bool:
        if self._what.since:
            return False
        return self._tree.needs(node, "restoreDomain") if node.domain else self._tree.actor.may("restoreAnyDomain")

    # -- looking ------------------------------------------------------------------------------------------------------

    async def attributes(self, text: str) -> Attributes:
        """Raises Missing, BadPath."""
        path = self._path(text)
        written = self._written.get(path)
        if written is not None:
            return Attributes(False, written.size, written.changed, True)
        try:
            node = await self._node(path)
            message = await self._tree.message(node) if node.what == "message" else None
        except Missing:
            if path == self._what.root:  # what it shows is gone, or not for him any more
                return Attributes(True, 0, self._began, False)
            if path in self._uploads.made and not self._what.since:
                return Attributes(True, 0, self._began, True)
            return self._just_taken(path)
        writable = self._may_write(node)
        if node.directory:
            return Attributes(True, 0, self._began, writable)
        if message is not None:
            return Attributes(False, message.size, max(0, message.date), writable)
        snapshot = await self._snapshot(path, node, FRESH_SECONDS)
        return Attributes(False, snapshot.content.size, snapshot.modified, writable)

    def _just_taken(self, path: Path_) -> Attributes:
        taken = self._taken.get(path)
        if taken is None or time.monotonic() - taken[0] >= TAKEN_SECONDS:
            raise Missing("no such file")
        return taken[1]

    async def names(self, text: str) -> list[tuple[str, bool]]:
        """What lies in a directory: names, and whether each is a directory. Raises Missing, BadPath."""
        path = self._path(text)
        try:
            node = await self._node(path)
        except Missing:
            if path == self._what.root or path in self._uploads.made:
                return []
            raise
        if not node.directory:
            raise NotADirectoryError
        return [(self._shown(node, entry), entry.directory) async for entry in self._tree.entries(node)]

    def _shown(self, node: Node, entry: Entry) -> str:
        if node.folder is None or entry.directory:
            return entry.name
        message = read_message_file(entry.name)
        return (message is not None and self._names.name(node.folder.id, message.uid)) or entry.name

    async def _snapshot(self, path: Path_, node: Node, seconds: float) -> Snapshot:
        known = self._snapshots.get(path)
        if known is not None and (known.users or time.monotonic() - known.made < seconds):
            return known
        made = await content(self._tree, node)
        modified = self._began if node.document[0] == "mailbox" else (await self._modified(node))
        snapshot = self._snapshots[path] = Snapshot(made, modified, time.monotonic())
        self._snapshots.move_to_end(path)
        self._shrink()
        return snapshot

    async def _modified(self, node: Node) -> int:
        return max(0, (await self._tree.entry(node)).modified)

    def _shrink(self) -> None:
        """Forget what was made first and is not open."""
        held = [path for path, one in self._snapshots.items() if not one.users]
        octets = sum(self._snapshots[path].content.size for path in held)
        for path in held[:-1]:
            if len(self._snapshots) <= MOST_SNAPSHOTS and octets <= MOST_OCTETS:
                return
            octets -= self._snapshots.pop(path).content.size

    # -- reading ------------------------------------------------------------------------------------------------------

    async def open(self, text: str) -> int:
        """Open a file for reading; its number. Raises Missing, BadPath, PermissionDeniedError, IsADirectoryError, OSError."""
        path = self._path(text)
        self._room()
        written = self._written.get(path)
        if written is not None:
            raise PermissionDeniedError("it is being written")
        node = await self._node(path)
        if node.directory:
            raise IsADirectoryError
        assert node.domain is not None
        self._tree.actor.require("backupDomain", node.domain.id)
        if node.what == "message":
            return self._add((path, await content(self._tree, node), None))
        snapshot = await self._snapshot(path, node, HELD_SECONDS)
        snapshot.users += 1
        return self._add((path, snapshot.content, snapshot))

    async def read(self, number: int, length: int, offset: int) -> bytes:
        """Part of an open file. Raises PermissionDeniedError, OSError, DamagedRecord, Missing."""
        found = self._files[number]
        if isinstance(found, WrittenFile):
            return await found.read(offset, length)
        self._rights()
        domain = self._tree.domain(found[0][0])
        if domain is None:
            raise Missing("no such domain")
        self._tree.actor.require("backupDomain", domain.id)
        length = max(0, min(length, found[1].size - offset))
        return await found[1].read(offset, length) if length else b""

    def release(self, number: int) -> None:
        """Nobody has it open any more."""
        found = self._files.pop(number)
        if isinstance(found, WrittenFile):
            if self._written.get(found.path) is found:
                del self._written[found.path]
            found.close()
        elif found[2] is not None:
            found[2].users -= 1
            if not found[2].users and self._snapshots.get(found[0]) is found[2]:
                self._shrink()

    def _room(self) -> None:
        if len(self._files) >= MOST_OPEN:
            raise OSError(24, "too many open files")

    def _add(self, file: tuple[Path_, Content, Snapshot | None] | WrittenFile) -> int:
        self._number += 1
        self._files[self._number] = file
        return self._number

    # -- writing ------------------------------------------------------------------------------------------------------

    async def create(self, text: str) -> int:
        """Open a file for writing from its beginning; its number. Raises Refused, BadPath, PermissionDeniedError, OSError."""
        path = self._path(text)
        self._room()
        if self._what.since:
            raise Refused("a mount of changes is for reading")
        await self._uploads.check(path)
        if path in self._written:
            raise PermissionDeniedError("somebody else is writing it")
        file = WrittenFile(path, _directory(self._aside))
        self._written[path] = file
        return self._add(file)

    def being_written(self, number: int) -> WrittenFile:
        """The file of a number that is open for writing. Raises OSError."""
        found = self._files[number]
        if not isinstance(found, WrittenFile):
            raise OSError(9, "it is not open for writing")
        return found

    async def truncate(self, text: str, length: int) -> None:
        """Of a file that is being written. Raises PermissionDeniedError, BadPath, OSError."""
        file = self._written.get(self._path(text))
        if file is None:
            raise PermissionDeniedError("what is there is not changed")
        await file.truncate(length)

    def is_written(self, number: int) -> bool:
        """Whether it is open for writing; from any thread."""
        return isinstance(self._files.get(number), WrittenFile)

    async def take(self, number: int) -> str:
        """Restore what was written, at close or fsync. Raises what ``Uploads.store`` does, OSError."""
        found = self.being_written(number)
        self._rights()
        if not found.taken:
            await self._uploads.check(found.path)
        said = await found.take(self._uploads)
        self._taken[found.path] = time.monotonic(), Attributes(False, found.size, found.changed, True)
        if len(self._taken) > MOST_TAKEN:
            self._taken.popitem(last=False)
        self._tree.forget()
        return said

    async def make_directory(self, text: str) -> None:
        """A folder, or a directory whose document comes next. Raises FolderExists, Refused, MailboxError, PermissionDeniedError."""
        path = self._path(text)
        if self._what.since:
            raise Refused("a mount of changes is for reading")
        if path in self._uploads.made:
            raise FolderExists("it exists already")
        await self._uploads.make_directory(path)
        self._tree.forget()


def _directory(path: Path) -> Path:
    os.makedirs(path, mode=0o750, exist_ok=True)
    return path
