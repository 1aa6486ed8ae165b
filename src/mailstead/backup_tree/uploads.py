"""What an upload restores: messages, folders, and the documents of domains, accounts, groups, lists and mailboxes.

Invariants: a message that is there does not come twice; what is there is not removed; a verb that is not the administrator's is
refused before anything is read; a message is whole or absent.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

from mailstead.backup_tree.paths import TAR, BadPath, MessageName, read_level, read_message_file, read_object
from mailstead.backup_tree.tar import Member, read_tar
from mailstead.backup_tree.tree import DOCUMENTS, MAILBOX, PUBLIC, SINCE, Missing, Node, Tree
from mailstead.directory.address import join_address
from mailstead.directory.edits import PROGRAMS
from mailstead.directory.model import Domain
from mailstead.directory.reverting import RevertError, declared
from mailstead.mailbox.errors import FolderExists, LimitReached, MailboxError
from mailstead.mailbox.model import Folder, NewMessage
from mailstead.message.index import index_message
from mailstead.restoring.documents import MAX_OCTETS, rows_in
from mailstead.restoring.mail import Present, key_of, present
from mailstead.restoring.mailbox_document import Right, bring_mailbox, give
from mailstead.settings.declarations import ACCOUNT

HEAD = 256 * 1024
MOST_WAITING = 10_000
PRESENT_SECONDS = 5.0
"""So long what a mailbox has is taken for known; its owner may delete a message meanwhile."""
_BARE = re.compile(rb"(?<!\r)\n")
Receive = Callable[[], Awaitable[bytes]]


class Refused(Exception):
    """The upload is not taken; the text is for the client."""


class LineEnds:
    """CRLF for every LF that has no CR before it, in pieces."""

    def __init__(self) -> None:
        self._last = b""

    def converted(self, piece: bytes) -> bytes:
        """The next piece."""
        found = _BARE.sub(b"\r\n", self._last + piece)[len(self._last) :]
        self._last = piece[-1:] if piece[-1:] == b"\r" else b""
        return found


class Uploads:
    """Of one session: what its mailboxes have is looked up now and then."""

    def __init__(
        self, tree: Tree, *, on_message: Callable[[Folder, int, tuple[str, ...]], None] = lambda folder, uid, path: None
    ) -> None:
        """``on_message`` is called with the folder, the UID and the file's path of a message that came."""
        self._tree = tree
        self._on_message = on_message
        self._services = tree.services
        self._present: dict[int, tuple[float, Present]] = {}
        self._waiting: list[Right] = []
        self.made: set[tuple[str, ...]] = set()
        """Directories that the client made and that wait for what they are of."""

    def _may(self, domain: Domain) -> None:
        self._tree.actor.require("restoreDomain", domain.id)

    # -- directories ------------------------------------------------------------------------------------------

    async def make_directory(self, path: tuple[str, ...]) -> None:
        """MKD: a folder is made; other directories are there as soon as what they are of is. Raises Refused, FolderExists,
        MailboxError, PermissionDeniedError, Missing."""
        if not path or path[0].startswith(SINCE):
            raise Refused("nothing can be made there")
        try:
            await self._tree.node(path)
        except Missing:
            pass
        else:
            raise FolderExists("it exists already")
        domain = self._tree.domain(path[0])
        if domain is None:
            self._tree.actor.require("restoreAnyDomain")
            if self._services.directory.domain_by_name(path[0]) is not None:
                raise Refused("it cannot be made")
            self.made.add(path)
            return
        self._may(domain)
        place = self._folder_place(path)
        if place is None:
            self.made.add(path)
            return
        node = await self._owner(path[:place])
        levels = [read_level(part, self._tree.utf8) for part in path[place:]]
        await self._services.mailbox.create_folder(node.owner, "/".join(levels))

    def _folder_place(self, path: tuple[str, ...]) -> int | None:
        """Where in a path its folder begins, None where it has none."""
        if len(path) > 2 and path[1] == PUBLIC:
            return 2
        if len(path) > 4 and path[1] in ("accounts", "lists") and path[3] == "folders":
            return 4
        return None

    async def _owner(self, path: tuple[str, ...]) -> Node:
        try:
            return await self._tree.node(path)
        except Missing:
            raise Refused("upload the document of what it belongs to first (account.json, list.json, domain.json)") from None

    # -- files ------------------------------------------------------------------------------------------------

    async def check(self, path: tuple[str, ...]) -> None:
        """Before data is taken. Raises Refused, BadPath, PermissionDeniedError."""
        if len(path) < 2 or path[0].startswith(SINCE):
            raise Refused("nothing can be stored there")
        domain = self._tree.domain(path[0])
        if domain is not None:
            self._may(domain)
        else:
            self._tree.actor.require("restoreAnyDomain")
            if path[1:] != ("domain.json",):
                raise Refused("upload domain.json first")
        self._kind(path)

    def _kind(self, path: tuple[str, ...]) -> str:
        """domain, object, mailbox, message or tar. Raises Refused."""
        last = path[-1]
        if path[1:] == ("domain.json",):
            return "domain"
        if len(path) == 4 and DOCUMENTS.get(path[1]) == last:
            return "object"
        if last == MAILBOX and ((len(path) == 4 and path[1] in ("accounts", "lists")) or (len(path) == 3 and path[1] == PUBLIC)):
            return "mailbox"
        place = self._folder_place(path)
        if place is not None and len(path) > place + 1:
            if last == TAR:
                return "tar"
            if read_message_file(last) is not None:
                return "message"
        raise Refused("nothing of that name can be restored there")

    async def store(self, path: tuple[str, ...], receive: Receive) -> str:
        """Take a file; returns what became of it, in words. Raises Refused, BadTar, DirectoryError, MailboxError, and what
        ``receive`` does."""
        kind = self._kind(path)
        if kind in ("message", "tar"):
            folder = await self._folder(path)
            if kind == "message":
                name = read_message_file(path[-1]) or MessageName()
                uid = await self._message(folder, name, receive)
                if uid:
                    self._on_message(folder, uid, path)
                return "restored" if uid else "is there already"
            return await self._tar(folder, receive)
        octets = await _whole(receive)
        if kind == "domain":
            return await self._domain(path, octets)
        domain = self._tree.domain(path[0])
        if domain is None:
            raise Refused("no such domain")
        if kind == "object":
            done = await self._object(domain, path, octets)
            await self._give_waiting()
            return done
        node = await self._owner(path[:-1])
        services = self._services
        before = len(self._waiting)
        said = await bring_mailbox(
            services.mailbox, services.store, services.directory, node.owner, node.shard, octets, self._waiting
        )
        waiting = len(self._waiting) - before
        return _summary("restored" + (f", {waiting} rights wait for those who are to have them" if waiting else ""), said)

    async def _give_waiting(self) -> None:
        """Rights of who was not here yet."""
        waiting, self._waiting = self._waiting[:MOST_WAITING], []
        for right in waiting:
            if not await give(self._services.mailbox, self._services.directory, right):
                self._waiting.append(right)

    async def _folder(self, path: tuple[str, ...]) -> Folder:
        place = self._folder_place(path)
        assert place is not None
        node = await self._owner(path[:place])
        name = "/".join(read_level(part, self._tree.utf8) for part in path[place:-1])
        for folder in await self._services.mailbox.folders(node.owner):
            if folder.name == name:
                return folder
        return await self._services.mailbox.create_folder(node.owner, name)

    async def _message(self, folder: Folder, name: MessageName, receive: Receive) -> int:
        """Append a message unless it is there; its UID, 0 where it was."""
        mailbox = self._services.mailbox
        looked, there = self._present.get(folder.account, (0.0, Present()))
        if not looked or time.monotonic() - looked >= PRESENT_SECONDS:
            there = await asyncio.to_thread(present, self._services.store.data_dir, folder.shard, folder.account)
            self._present[folder.account] = time.monotonic(), there
        spool = mailbox.spool()
        given = False
        try:
            ends = LineEnds()
            while piece := await receive():
                # A file of ours is what was downloaded; others may have the line ends of their system.
                await spool.write(piece if name.uid else ends.converted(piece))
            if not spool.size:
                raise Refused("a message is not empty")
            head = await asyncio.to_thread(spool.head, HEAD)
            index = await asyncio.to_thread(index_message, head)
            key = key_of(index.message_id, index.subject_base, index.sent, spool.size, name.date)
            # A file of another program says nothing of the date.
            places = there.keys.get(key, ()) if name.date else there.undated.get(key[:2], ())
            if folder.name in places:
                return 0
            given = True  # from here on the spool is the mailbox's
            there.add(folder.name, 0, key)
            try:
                # A client that breaks off now must not leave it in doubt whether it is there.
                message = NewMessage(flags=name.flags, date=name.date, spool=spool)
                appended = await asyncio.shield(mailbox.append(folder, [message]))
            except MailboxError as error:
                there.take_away(folder.name, key)
                if isinstance(error, LimitReached):
                    raise Refused(str(error)) from None
                raise
            return appended.uids[0]
        finally:
            if not given:
                await asyncio.to_thread(_abandon, spool.abandon)
                spool.close()

    async def _tar(self, folder: Folder, receive: Receive) -> str:
        restored = present_already = 0

        async def take(member: Member, piece: Receive) -> None:
            nonlocal restored, present_already
            name = read_message_file(member.name.rpartition("/")[2])
            if name is None:
                return
            if await self._message(folder, name, piece):
                restored += 1
            else:
                present_already += 1

        await read_tar(receive, take)
        return f"{restored} messages restored, {present_already} are there already"

    # -- documents --------------------------------------------------------------------------------------------

    async def _domain(self, path: tuple[str, ...], octets: bytes) -> str:
        directory, actor = self._services.directory, self._tree.actor
        rows, said = rows_in(octets, "domain", self._may_set_in_domain)
        here = self._tree.domain(path[0])
        if here is None:
            back = await directory.bring_domain(rows, actor=actor, name=path[0])
            return _summary("; ".join(["restored", *back.readdressed]), [*said, *back.left_out])
        made = await directory.bring_missing(rows, here.id, actor=actor)
        return _summary("what was missing is restored", [*said, *(one for one in made if one.startswith("not"))])

    async def _object(self, domain: Domain, path: tuple[str, ...], octets: bytes) -> str:
        directory, actor = self._services.directory, self._tree.actor
        name = read_object(path[2])
        if path[1] != "accounts":
            rows, said = rows_in(octets, "recipient", lambda _scope, _name: True)
            main = next(row for table, row in rows if table == "recipient")
            if main["kind"] != {"lists": "list", "groups": "group", "folderRecipients": "folder"}[path[1]] or main["name"] != name:
                raise Refused("the document is of something else")
            made = await directory.bring_missing(rows, domain.id, actor=actor)
            wrong = [one for one in made if one.startswith("not")]
            return _summary("restored" if made and not wrong else "is there already", [*said, *wrong])
        rows, said = rows_in(octets, "account", lambda scope, setting: self._may_set(domain, scope, setting))
        account = directory.account_by_address(join_address(name, domain.name))
        if account is None:
            id = next(int(row["id"]) for table, row in rows if table == "account")
            kept = any(one.id == id for one in directory.deleted_accounts(domain.id))
            if kept:
                back = await directory.restore_account(id, actor=actor, name=name)
            else:
                back = await directory.bring_account(rows, domain.id, actor=actor, name=name)
            return _summary("restored", [*said, *back.left_out])
        password = actor.may("changeAccountsPassword", domain.id)
        left_out = await directory.take_back(account.id, rows, actor=actor, password=password, settings=True)
        if not password:
            said = [*said, "the password, which you may not change"]
        return _summary("settings restored", [*said, *left_out])

    def _may_set(self, domain: Domain, scope: str, setting: str) -> bool:
        """Whether the administrator may change a setting of an account (a name that is not known changes nothing)."""
        return self._tree.actor.may(_permission(scope, setting) or ACCOUNT.permission, domain.id)

    def _may_set_in_domain(self, _scope: str, setting: str) -> bool:
        """Whether a setting may come with a domain: a program that the server runs is named by who has every right."""
        return self._tree.actor.everything or setting.rpartition(".")[2].lower() not in {name.lower() for name in PROGRAMS}


def _permission(scope: str, setting: str) -> str:
    """What changing a setting needs; "" where none of that name is known."""
    try:
        context, name = declared(scope, setting)
    except RevertError:
        return ""
    return context.permission_by_name(name)


def _abandon(abandon: Callable[[], None]) -> None:
    try:
        abandon()
    except OSError:
        pass  # the maintenance finds the file later


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while piece := await receive():
        size += len(piece)
        if size > MAX_OCTETS:
            raise Refused("the document is too large")
        parts.append(piece)
    return b"".join(parts)


def _summary(done: str, said: list[str]) -> str:
    text = f"{done}; left out: {'; '.join(said)}" if said else done
    return text[:400].replace("\r", " ").replace("\n", " ")


__all__ = ["BadPath", "Refused", "Uploads"]
