"""Maildir and mbox into an account's folders.

Invariants: a message is taken once for each source, however often the import is begun anew or breaks off; what cannot be
read is told and passed over; nothing of the source is changed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from mailstead.directory.model import Account
from mailstead.directory.service import Directory
from mailstead.mailbox.errors import FolderExists, MailboxError
from mailstead.mailbox.model import Folder
from mailstead.mailbox.service import Mailbox
from mailstead.message.line_ends import LineEnds, canonical
from mailstead.migration import jobs, maildir, mbox
from mailstead.migration.appending import BATCH_MESSAGES, BATCH_OCTETS, Appender, Incoming
from mailstead.migration.folder_names import SourceFolder, plan
from mailstead.migration.jobs import Options
from mailstead.migration.ledger import Key, Ledger
from mailstead.settings import Actor
from mailstead.settings.database import Transaction
from mailstead.store.spool import INLINE_LIMIT, Spool

MAX_PIECES = 64
"""Of 1 MB: what a small compressed file may unpack to."""


@dataclass(slots=True)
class Found:
    """A message of a source: `pieces` reads it, in a thread."""

    key: Key
    flags: tuple[str, ...]
    date: int
    size: int
    pieces: Callable[[], Iterable[bytes]]
    name: str


@dataclass(slots=True)
class Source:
    """A folder of a source: `read` gives its messages; what they hand out can be read until `close`."""

    folder: SourceFolder
    read: Callable[[], Iterator[Found]]
    close: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Result:
    """`found` counts messages of the source, `taken` those that came over now, `known` those that had before."""

    found: int = 0
    taken: int = 0
    known: int = 0
    unreadable: list[str] = field(default_factory=list)


def maildir_sources(path: Path) -> list[Source]:
    """Raises OSError, ValueError."""
    return [Source(found.source, partial(_maildir, found.path)) for found in maildir.folders(path)]


def _maildir(folder: Path) -> Iterator[Found]:
    for message in maildir.messages(folder):
        key = hashlib.sha256(message.unique).digest()[:16]
        yield Found(key, message.flags, message.date, message.size, partial(maildir.pieces, message), str(message.path))


def mbox_sources(path: Path) -> list[Source]:
    """Raises OSError, ValueError."""
    out = []
    for found in mbox.folders(path):
        file = _Mbox(found.path)
        out.append(Source(found.source, file.read, file.close))
    return out


class _Mbox:
    """One file, opened when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: mbox.MboxFile | None = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> Iterator[Found]:
        file = self._file = mbox.MboxFile(self._path)
        seen: dict[bytes, int] = {}
        for number, message in enumerate(file.messages(), 1):
            digest = hashlib.sha256()
            # A small one is read once, a large one again when it is its turn.
            held = list(file.pieces(message)) if message.size <= INLINE_LIMIT else None
            for piece in held if held is not None else file.pieces(message):
                digest.update(piece)
            mark = digest.digest()[:16]
            seen[mark] = seen.get(mark, 0) + 1
            # Two that are alike are two.
            key = mark if seen[mark] == 1 else hashlib.sha256(b"%b %d" % (mark, seen[mark])).digest()[:16]
            pieces: Callable[[], Iterable[bytes]] = partial(iter, held) if held is not None else partial(file.pieces, message)
            yield Found(key, message.flags, message.date, message.size, pieces, f"{self._path} message {number}")


class Importer:
    """Into one account. `say` gets lines for the operator."""

    def __init__(
        self, directory: Directory, mailbox: Mailbox, account: Account, say: Callable[[str], None], *, limited: bool = True
    ) -> None:
        self._directory = directory
        self._database = directory.database
        self._mailbox = mailbox
        self._account = account
        self._say = say
        self._limited = limited

    async def run(
        self, kind: str, path: Path, sources: Sequence[Source], *, actor: Actor, below: str = "", dry_run: bool = False
    ) -> Result:
        """Import all folders, below the folder `below` where one is given (INBOX becomes it). Raises MailboxError (the quota
        among others), OSError."""
        moved = [_below(source, below) for source in sources]
        if dry_run:
            return await self._count(moved)
        job = await self._job(kind, f"{path.resolve()} {below}".rstrip(), actor)
        result = Result()
        try:
            for number, local, source in await self._plan(job, moved):
                folder = await self._folder(local)
                if source.folder.subscribed:
                    await self._mailbox.set_subscribed(self._account.id, local, True)
                await self._one(job, number, folder, source, result)
        except (MailboxError, OSError) as error:
            reason = str(error)
            await self._database.write(lambda t: jobs.end(t, job, jobs.FAILED, reason))
            raise
        await self._database.write(lambda t: jobs.end(t, job, jobs.DONE))
        return result

    async def _count(self, sources: Sequence[Source]) -> Result:
        plans, notes = plan([source.folder for source in sources], await self._mailbox.folders(self._account.id), {})
        for note in notes:
            self._say(note)
        result = Result()
        for one, source in zip(plans, sources, strict=True):
            count = await asyncio.to_thread(_length, source)
            result.found += count
            self._say(f"{one.local}: {count} messages")
        return result

    async def _job(self, kind: str, source: str, actor: Actor) -> int:
        fresh = self._directory.ids.next()
        account = self._account.id

        def operation(t: Transaction) -> int:
            where = "account_id = ? AND kind = ? AND source = ?"
            id = t.value(f"SELECT id FROM migration_job WHERE {where}", (account, kind, source))
            if id is None:
                jobs.insert(t, fresh, account, kind, source, Options(), "", actor.name)
            t.execute("UPDATE migration_job SET state = ? WHERE id = ?", (jobs.RUNNING, id or fresh))
            t.record(actor.name, "migration", account, "import", None, {"kind": kind, "source": source})
            return int(id or fresh)

        return await self._database.write(operation)

    async def _plan(self, job: int, sources: Sequence[Source]) -> list[tuple[int, str, Source]]:
        """Number and name here of each folder."""
        rows = self._database.query("SELECT number, remote, local FROM migration_folder WHERE job_id = ?", (job,))
        known = {row[1].encode("latin-1"): (int(row[0]), str(row[2])) for row in rows}
        ours = await self._mailbox.folders(self._account.id)
        names = {raw: local for raw, (_, local) in known.items()}
        plans, notes = plan([source.folder for source in sources], ours, names)
        for note in notes:
            self._say(note)
        last = max((number for number, _ in known.values()), default=0)
        out: list[tuple[int, str, Source]] = []
        fresh: list[tuple[int, int, str, str]] = []
        for one, source in zip(plans, sources, strict=True):
            if one.source.raw in known:
                out.append((known[one.source.raw][0], one.local, source))
                continue
            last += 1
            out.append((last, one.local, source))
            fresh.append((job, last, one.source.raw.decode("latin-1"), one.local))
        sql = "INSERT INTO migration_folder VALUES (?, ?, ?, ?, 0, 0, 0, 0)"
        await self._database.write(lambda t: t.executemany(sql, fresh))
        return out

    async def _folder(self, name: str) -> Folder:
        found = await self._mailbox.folder(self._account.id, name)
        if found is None:
            try:
                return await self._mailbox.create_folder(self._account.id, name)
            except FolderExists:
                found = await self._mailbox.folder(self._account.id, name)
        assert found is not None
        return found

    async def _one(self, job: int, number: int, folder: Folder, source: Source, result: Result) -> None:
        ledger = Ledger(self._database, job, number)
        await asyncio.to_thread(ledger.load)
        await ledger.settle(self._mailbox, folder)
        appender = Appender(self._mailbox, folder, ledger, limited=self._limited)
        found = result.found
        try:
            await appender.run(self._batches(source, set(ledger.entries), result))
        finally:
            result.taken += appender.taken
        result.unreadable += [f"{folder.name}: {reason}" for _, reason in appender.refused]
        self._say(f"{folder.name}: {result.found - found} found, {appender.taken} taken")

    async def _batches(self, source: Source, known: set[Key], result: Result) -> AsyncIterator[list[Incoming]]:
        messages = source.read()
        try:
            while group := await asyncio.to_thread(_group, messages, known, result):
                small = [message for message in group if message.size <= INLINE_LIMIT]
                bodies = await asyncio.to_thread(_read, small, result)
                out: list[Incoming] = []
                for message in group:
                    body = bodies.get(id(message)) if message.size <= INLINE_LIMIT else await self._large(message, result)
                    if body is not None:
                        out.append(Incoming(message.key, body, message.flags, message.date))
                if out:
                    yield out
        finally:
            source.close()

    async def _large(self, message: Found, result: Result) -> Spool | None:
        spool = self._mailbox.spool()
        ends = LineEnds()
        pieces = iter(message.pieces())
        try:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                await spool.write(ends.feed(piece.replace(b"\0", b"\x80")))
            await spool.write(ends.end())
            await spool.flush()
        except (OSError, ValueError) as error:
            spool.abandon()
            result.unreadable.append(f"{message.name}: {error}")
            return None
        return spool


def _below(source: Source, below: str) -> Source:
    """The source with its folder below another; its INBOX becomes that folder."""
    levels = tuple(level for level in below.split("/") if level)
    if not levels:
        return source
    own = source.folder.levels
    moved = levels if own == ("INBOX",) else (*levels, *own)
    return Source(replace(source.folder, levels=moved), source.read, source.close)


def _length(source: Source) -> int:
    try:
        return sum(1 for _ in source.read())
    finally:
        source.close()


def _group(messages: Iterator[Found], known: set[Key], result: Result) -> list[Found]:
    """The next ones that are not known: small ones up to a batch, or a large one alone. Blocks."""
    out: list[Found] = []
    held = 0
    for message in messages:
        result.found += 1
        if message.key in known:
            result.known += 1
            continue
        known.add(message.key)  # a name that is there twice, in cur and new, is one message
        out.append(message)
        held += message.size
        if len(out) >= BATCH_MESSAGES or held > BATCH_OCTETS:
            break
    return out


def _read(messages: Sequence[Found], result: Result) -> dict[int, bytes]:
    """Small messages by identity; those that cannot be read are told. Blocks."""
    out: dict[int, bytes] = {}
    for message in messages:
        try:
            octets = b"".join(islice(message.pieces(), MAX_PIECES))
            if len(octets) >= MAX_PIECES << 20:
                raise ValueError("compressed, and too large")
            out[id(message)] = canonical(octets.replace(b"\0", b"\x80"))
        except (OSError, ValueError) as error:
            result.unreadable.append(f"{message.name}: {error}")
    return out
