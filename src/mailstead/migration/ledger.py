"""Which messages of a source were taken, and where they lie here: what makes a copy resumable without a duplicate.

Invariants: before messages are appended to a folder, a batch that names them is durable (`intend`); afterwards it is
marked as taken (`taken`); so at most one batch of a folder is in doubt after a crash, and `settle` says by the octets
of what lies in the folder whether it is there: an append is whole or absent, so one of its messages proves it.
A message has a key that stays its own at the source: its UID, its file name, or its digest.

A row holds a batch of up to some hundred messages, packed. One ledger is one folder of one job.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from mailstead.mailbox.model import Folder
from mailstead.mailbox.service import Mailbox
from mailstead.migration import jobs
from mailstead.settings.database import SystemDatabase, Transaction

Key = int | bytes
CHUNK = 1 << 20


class _Content(msgspec.Struct, array_like=True):
    """Parallel lists; `flags` are numbers of `words`, `digests` are there only while the batch is in doubt."""

    keys: list[Key]
    uids: list[int]
    flags: list[int]
    words: list[str]
    digests: list[bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Content).decode


@dataclass(slots=True)
class Entry:
    """A message that was taken: its UID here (0: it went before that could be noted, or was let go) and its flags there."""

    uid: int
    flags: str
    batch: int


@dataclass(slots=True)
class Intent:
    """A batch that is about to be appended, or was."""

    number: int
    keys: list[Key]
    flags: list[str]
    digests: list[bytes]
    mark: int = 0
    uids: list[int] = field(default_factory=list)


def digest(octets: bytes) -> bytes:
    """The digest of a message's octets; a spool's is the same."""
    return hashlib.sha256(octets).digest()[:16]


class Ledger:
    """Use `load`, `settle` what is in doubt, then for each batch `intend` and `taken`."""

    def __init__(self, database: SystemDatabase, job: int, folder: int) -> None:
        self._database = database
        self._job = job
        self._folder = folder
        self.entries: dict[Key, Entry] = {}
        self.doubtful: Intent | None = None
        self._batch = 0
        self._unsaved: Intent | None = None

    def load(self) -> None:
        """Read what is known. Blocks."""
        rows = self._database.query(
            "SELECT number, state, mark, content FROM migration_batch WHERE job_id = ? AND folder = ? ORDER BY number",
            (self._job, self._folder),
        )
        for number, state, mark, packed in rows:
            content = _decode(zlib.decompress(packed))
            self._batch = max(self._batch, number)
            flags = [content.words[at] for at in content.flags]
            if not state:
                self.doubtful = Intent(number, content.keys, flags, content.digests, mark)
                continue
            for key, uid, words in zip(content.keys, content.uids, flags, strict=True):
                self.entries[key] = Entry(uid, words, number)

    # -- appending ---------------------------------------------------------------------------------------------

    async def intend(self, keys: Sequence[Key], flags: Sequence[str], digests: Sequence[bytes], mark: int) -> Intent:
        """Note durably what is about to be appended where the next UID is `mark` or more."""
        self._batch += 1
        intent = Intent(self._batch, list(keys), list(flags), list(digests), mark)
        before, self._unsaved = self._unsaved, None

        def operation(t: Transaction) -> None:
            if before is not None:
                self._write(t, before, 1)
            self._write(t, intent, 0)

        await self._database.write(operation)
        return intent

    def taken(self, intent: Intent, uids: Sequence[int]) -> None:
        """The batch was appended; it is noted durably with the next one, or by `flush`."""
        intent.uids = list(uids)
        for key, uid, words in zip(intent.keys, uids, intent.flags, strict=True):
            self.entries[key] = Entry(uid, words, intent.number)
        self._unsaved = intent

    async def refused(self, intent: Intent) -> None:
        """The batch was not appended, and never will be."""
        await self._database.write(lambda t: self._delete(t, intent.number))

    async def flush(self, lines: Iterable[str] = ()) -> None:
        """Note what was taken, and lines for whoever watches."""
        before, self._unsaved = self._unsaved, None
        said = list(lines)

        def operation(t: Transaction) -> None:
            if before is not None:
                self._write(t, before, 1)
            if said:
                jobs.say(t, self._job, said)

        if before is not None or said:
            await self._database.write(operation)

    async def settle(self, mailbox: Mailbox, folder: Folder) -> bool:
        """Find out about the batch in doubt; True where its messages are in the folder."""
        intent, self.doubtful = self.doubtful, None
        if intent is None:
            return False
        found = await _find(mailbox, folder, intent)
        if not any(found):
            await self.refused(intent)
            return False
        self.taken(intent, found)
        await self.flush()
        return True

    # -- afterwards --------------------------------------------------------------------------------------------

    async def change(self, flags: dict[Key, str], gone: Iterable[Key] = ()) -> None:
        """Flags as they are there now; what is gone is no longer known."""
        touched = {self.entries[key].batch for key in flags}
        for key, words in flags.items():
            self.entries[key].flags = words
        for key in gone:
            entry = self.entries.pop(key, None)
            if entry is not None:
                touched.add(entry.batch)
        await self._rewrite(touched)

    async def let_go(self, keys: Iterable[Key]) -> None:
        """Note durably that messages are about to be removed there by us: they stay known, and that they are gone there is no
        reason to remove them here."""
        touched = set()
        for key in keys:
            entry = self.entries[key]
            if entry.uid:
                entry.uid = 0
                touched.add(entry.batch)
        await self._rewrite(touched)

    async def rekey(self, keys: dict[Key, Key]) -> None:
        """Other keys for the messages that have one in `keys`; the others are no longer known."""
        touched = {entry.batch for entry in self.entries.values()}
        self.entries = {keys[key]: entry for key, entry in self.entries.items() if key in keys}
        await self._rewrite(touched)

    async def _rewrite(self, numbers: set[int]) -> None:
        if not numbers:
            return
        batches: dict[int, Intent] = {number: Intent(number, [], [], []) for number in numbers}
        for key, entry in self.entries.items():
            if (batch := batches.get(entry.batch)) is not None:
                batch.keys.append(key)
                batch.uids.append(entry.uid)
                batch.flags.append(entry.flags)

        def operation(t: Transaction) -> None:
            for number, batch in batches.items():
                if batch.keys:
                    self._write(t, batch, 1)
                else:
                    self._delete(t, number)

        await self._database.write(operation)

    def _write(self, t: Transaction, intent: Intent, state: int) -> None:
        words = sorted(set(intent.flags))
        place = {word: at for at, word in enumerate(words)}
        digests = intent.digests if not state else []
        content = _Content(intent.keys, intent.uids, [place[word] for word in intent.flags], words, digests)
        t.execute(
            "INSERT INTO migration_batch (job_id, folder, number, state, mark, content) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (job_id, folder, number) DO UPDATE SET state = excluded.state, content = excluded.content",
            (self._job, self._folder, intent.number, state, intent.mark, zlib.compress(_encode(content), 1)),
        )

    def _delete(self, t: Transaction, number: int) -> None:
        where = (self._job, self._folder, number)
        t.execute("DELETE FROM migration_batch WHERE job_id = ? AND folder = ? AND number = ?", where)


async def _find(mailbox: Mailbox, folder: Folder, intent: Intent) -> list[int]:
    """The UIDs of the batch's messages among those at or behind its mark; 0 for each that is not there."""
    wanted: dict[bytes, list[int]] = {}
    for place, mark in enumerate(intent.digests):
        wanted.setdefault(mark, []).append(place)
    found = [0] * len(intent.digests)
    view = await mailbox.open(folder)
    try:
        uids = [uid for uid in view.uids if uid >= intent.mark]
        for start in range(0, len(uids), 200):
            for uid, location in mailbox.rows(view, uids[start : start + 200], ("location",)):
                made = hashlib.sha256()
                async for piece in mailbox.stream(location):
                    made.update(piece)
                places = wanted.get(made.digest()[:16])
                if places:
                    found[places.pop(0)] = uid
    finally:
        view.release()
    return found
