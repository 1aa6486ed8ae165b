"""A directory, a mailbox and a background runner of migrations, and a Dovecot to copy from."""

from __future__ import annotations

import asyncio
import imaplib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from mailstead.directory import Actor, Directory
from mailstead.directory.model import Account
from mailstead.mailbox.model import SYSTEM_FLAGS, Folder
from mailstead.mailbox.service import Mailbox
from mailstead.migration.jobs import LIVE, Job
from mailstead.migration.runner import Runner
from mailstead.migration.service import MigrationService
from mailstead.store.service import Store
from tests.oracle.dovecot import PASSWORD, Dovecot, program

ADMIN = Actor.system("test")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """As in production."""
    return {"uvloop": uvloop.new_event_loop}


ADDRESS = "alice@example.test"


@dataclass
class Here:
    """Our side."""

    data: Path
    directory: Directory
    mailbox: Mailbox
    service: MigrationService
    account: Account
    runner: asyncio.Task[None] | None = None

    def start_runner(self) -> Runner:
        runner = Runner(self.directory, self.mailbox, self.data, timeout=60)
        self.runner = asyncio.create_task(runner.run())
        return runner

    async def stop_runner(self) -> None:
        if self.runner is not None:
            self.runner.cancel()
            await asyncio.gather(self.runner, return_exceptions=True)

    async def over(self, seconds: float = 300) -> Job:
        """Wait until the account's job is over or rests."""
        return await self.until(lambda job: job.state not in LIVE or job.state == "resting", seconds)

    async def until(self, condition: Callable[[Job], bool], seconds: float = 300) -> Job:
        async with asyncio.timeout(seconds):
            while not condition(job := self.service.job(self.account.id, actor=ADMIN)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return job

    def said(self, job: Job) -> list[str]:
        return [text for _, _, text in self.service.lines(job.id)]

    async def folder(self, name: str) -> Folder:
        found = await self.mailbox.folder(self.account.id, name)
        assert found is not None, name
        return found

    async def messages(self, name: str = "INBOX") -> list[tuple[bytes, tuple[str, ...], int]]:
        """(octets, flags, date) of a folder's messages by UID."""
        view = await self.mailbox.open(await self.folder(name))
        try:
            out = []
            for _uid, location, flags, date in self.mailbox.rows(view, list(view.uids), ("location", "flags", "date")):
                system = [name for name, bit in SYSTEM_FLAGS.items() if flags & bit]
                octets = await self.mailbox.read_large(location)
                out.append((octets, tuple(sorted([*system, *view.keywords.names(flags)])), date))
            return out
        finally:
            view.release()


async def open_here(data: Path) -> tuple[Here, Callable[[], object]]:
    directory = Directory.open(data, create=not (data / "index" / "system.db").exists())
    if directory.domain_by_name("example.test") is None:
        await directory.create_domain("example.test", actor=ADMIN)
        await directory.create_account("example.test", "alice", "correct horse 1", actor=ADMIN)
    account = directory.account_by_address(ADDRESS)
    assert account is not None
    store = await Store.open(data, "b0", 1)
    mailbox = Mailbox(store, directory, directory)
    here = Here(data, directory, mailbox, MigrationService(directory, data), account)

    async def close() -> None:
        await here.stop_runner()
        await store.close()
        directory.close()

    return here, close


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    opened, close = await open_here(tmp_path / "data")
    yield opened
    await close()  # type: ignore[misc]


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    assert program() is not None, "install Debian's dovecot-imapd"
    server = Dovecot()
    yield server
    server.stop()


class There:
    """A user's mailbox at Dovecot."""

    def __init__(self, port: int, user: str) -> None:
        self.port, self.user = port, user
        self.client = imaplib.IMAP4("127.0.0.1", port)
        self.client.login(user, PASSWORD)

    def append(self, folder: str, octets: bytes, flags: str = "", date: str = '"17-Jul-1996 02:44:25 -0700"') -> None:
        status, text = self.client.append(folder, flags, date, octets)
        assert status == "OK", text

    def do(self, name: str, *words: str) -> list[object]:
        status, text = getattr(self.client, name)(*words)
        assert status == "OK", text
        return list(text)

    def select(self, folder: str = "INBOX") -> int:
        return int(self.do("select", folder)[0])  # type: ignore[call-overload]

    @property
    def source(self) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": self.port, "user": self.user, "password": PASSWORD}


@pytest.fixture
def there(dovecot: Dovecot, request: pytest.FixtureRequest) -> Iterator[There]:
    user = "m" + "".join(c for c in request.node.name if c.isalnum())[:40].lower()
    found = There(dovecot.port, user)
    yield found
    try:
        found.client.logout()
    except (OSError, imaplib.IMAP4.error):
        pass


def text(number: int, size: int = 0) -> bytes:
    filling = b"x" * 70 + b"\r\n"
    return b"Subject: n%d\r\nMessage-ID: <%d@there>\r\n\r\nbody %d\r\n" % (number, number, number) + filling * (size // 72)
