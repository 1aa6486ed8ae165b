"""A server's data directory with a domain, its backup, and the services over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailstead.directory import Account, Actor, Directory
from mailstead.mailbox.model import Folder, NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.restoring.service import Restorer
from mailstead.restoring.source import Source
from mailstead.store.backup.create import create_backup
from mailstead.store.backup.repository import Repository
from mailstead.store.backup.sealing import Secret
from mailstead.store.backup.view import choose
from mailstead.store.service import Store

ADMIN = Actor.system("test")
SHARDS = 2
DOMAIN = "example.test"


def text(name: str, size: int = 100) -> bytes:
    return f"From: a@b.test\r\nSubject: {name}\r\nMessage-ID: <{name}@t>\r\n\r\n{'x' * size}\r\n".encode()


@dataclass
class Place:
    """Services of one process, and what a restore said."""

    path: Path
    directory: Directory
    store: Store
    mailbox: Mailbox
    said: list[str] = field(default_factory=list)

    async def account(self, name: str, **how: str) -> Account:
        return await self.directory.create_account(DOMAIN, name, "secret-1", actor=ADMIN, **how)  # type: ignore[arg-type]

    async def folder(self, account: int, name: str) -> Folder:
        found = await self.mailbox.folder(account, name)
        assert found is not None, name
        return found

    async def add(self, account: int, name: str, messages: list[str], flags: tuple[str, ...] = (), size: int = 100) -> None:
        folder = await self.folder(account, name)
        await self.mailbox.append(folder, [NewMessage(text(one, size), flags, 1_000_000 + n) for n, one in enumerate(messages)])

    async def contents(self, account: int, name: str) -> list[tuple[str, int, tuple[str, ...], int]]:
        """Subject, date, flags and size of a folder's messages by uid."""
        folder = await self.folder(account, name)
        view = await self.mailbox.open(folder)
        try:
            index = self.store.mail_index(folder.shard)
            names = index.keywords(account)
            system = ((1, "\\Seen"), (4, "\\Flagged"), (8, "\\Deleted"))
            return [
                (
                    self.mailbox.read(location).split(b"Subject: ")[1].split(b"\r\n")[0].decode(),
                    date,
                    (*(flag for bit, flag in system if flags & bit), *names.names(flags)),
                    location.size,
                )
                for _, flags, date, location in self.mailbox.rows(view, list(view.uids), ("flags", "date", "location"))
            ]
        finally:
            view.release()

    async def delete(self, account: int, name: str, subjects: set[str]) -> None:
        view = await self.mailbox.open(await self.folder(account, name))
        wanted = [uid for uid, row in zip(view.uids, await self.contents(account, name), strict=True) if row[0] in subjects]
        await self.mailbox.remove(view, wanted)
        view.release()

    def backup(self, home: Path, secret: Secret | None = None, label: str = "") -> None:
        repository = Repository.open(home, secret) if (home / "repository.json").exists() else Repository.create(home, secret)
        repository.lock()
        create_backup(self.path, repository, shards=SHARDS, label=label)
        repository.close()

    def restorer(
        self, home: Path, secret: Secret | None = None, label: str = "", until: float | None = None, actor: Actor = ADMIN
    ) -> tuple[Source, Restorer]:
        repository = Repository.open(home, secret)
        source = Source(repository, choose(repository, label, until), self.path / "tmp" / "restore")
        self.said.clear()
        return source, Restorer(source, self.directory, self.mailbox, self.store, actor, self.said.append)


async def open_place(path: Path, *, create: bool = False) -> Place:
    directory = Directory.open(path, shards=SHARDS, create=create)
    if create:
        await directory.create_domain(DOMAIN, actor=ADMIN)
        await directory.set_domain_setting(DOMAIN, "groupwareSupport", "yes", actor=ADMIN)
    store = await Store.open(path, "w0", SHARDS)
    return Place(path, directory, store, Mailbox(store, directory, directory))


async def close_place(place: Place) -> None:
    await place.store.close()
    place.directory.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    opened = await open_place(tmp_path / "data", create=True)
    yield opened
    await close_place(opened)


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Place]:
    """Another server, empty but for a domain of the same name."""
    opened = await open_place(tmp_path / "other", create=True)
    yield opened
    await close_place(opened)
