"""The store of one process: its log, its handles on the index, and the pipeline between them.

Invariants: see committer.py for durability; reads use connections of their own and no read transaction stays open
across an await; ``prepare`` runs once per start of the node, before any process opens the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mailstead.message.index import MessageIndex
from mailstead.store.abandoned import is_prepared, living, opening, preparing, seal_abandoned
from mailstead.store.apply_changes import Result
from mailstead.store.apply_step import Step, touched_folders
from mailstead.store.committer import Committer
from mailstead.store.engine import MailIndex, QueueReads, SharingReads
from mailstead.store.epochs import begin_epoch, end_epoch, latest_epoch
from mailstead.store.files import Files
from mailstead.store.hub import Hub, socket_path
from mailstead.store.ids import HybridClock, writer_number
from mailstead.store.log_writer import LogWriter
from mailstead.store.mail_reads import SqliteMailIndex
from mailstead.store.operations import QUEUE_SHARDS, Operation
from mailstead.store.queue_reads import SqliteQueueReads
from mailstead.store.rebuild import rebuild_shard
from mailstead.store.record import EffectsHead, MessageHead, RelocatedHead
from mailstead.store.recovery import Replay, missing_indexes, replay, writers_of
from mailstead.store.segment import SEGMENT_SIZE, LogReader, external_file_id
from mailstead.store.shard import Shard, SharedMarks, shard_path
from mailstead.store.sharing_reads import SqliteSharingReads
from mailstead.store.spool import Spool
from mailstead.store.submission import (
    ChangeSubmission,
    MessageSubmission,
    RelocationSubmission,
    TargetOutcome,
    Unavailable,
)
from mailstead.store.threads import WorkerThread
from mailstead.store.wal_sync import WalSync

SWEEP_SECONDS = 0.5
DROP_ROUNDS = 60
RESERVE = 64 * 1024 * 1024
QUEUE = QUEUE_SHARDS
logger = logging.getLogger("mailstead.store")
FolderListener = Callable[[int, int, object | None], None]


def shard_numbers(shards: int) -> list[int]:
    return [*range(shards), QUEUE]


def prepare(data_dir: Path, shards: int = 1, files: Files | None = None, vfs: str | None = None, writer: str = "") -> Replay:
    """Bring a node's store to a servable state: folders, schema, and replay of every writer's log, but of those that are at work
    beside it (``writer`` is the caller himself, who is not yet). Blocking.

    Raises SchemaTooNew, OSError, apsw errors.
    """
    files = files or Files()
    for name in ("log", "index", "run"):
        files.make_directory(data_dir / name)
    with preparing(data_dir):
        return _prepare(data_dir, shards, files, vfs, living(data_dir, writers_of(data_dir / "log", files)) - {writer})


def _prepare(data_dir: Path, shards: int, files: Files, vfs: str | None, beside: set[str]) -> Replay:
    SharedMarks(data_dir / "run" / "shards.map", fresh=True).close()
    for stale in (data_dir / "run").glob("notify-*.sock"):
        if stale not in {socket_path(data_dir / "run", name) for name in beside}:
            stale.unlink()
    for number in missing_indexes(data_dir, shard_numbers(shards), files):
        # An index file that is gone is built from the log: replay alone would give numbers a second time.
        _build_anew(data_dir, number, files)
    handles = {number: Shard(data_dir / "index", number, files, vfs) for number in shard_numbers(shards)}
    log = data_dir / "log"
    try:
        for handle in handles.values():
            handle.connection.setbusytimeout(10_000)
        begun = begin_epoch(handles, log, files, beside)
        report = replay(log, [name for name in writers_of(log, files) if name not in beside], handles, files)
        if begun:
            end_epoch(handles, max([0, *(state.last_id for state in report.writers.values())]) + 1)
        for handle in handles.values():
            handle.sync_wal()
    finally:
        for handle in handles.values():
            handle.close()
    seal_abandoned(data_dir, {name: state.last_id for name, state in report.writers.items()}, files)
    return report


def _build_anew(data_dir: Path, number: int, files: Files) -> None:
    """Build a missing index file, and say so: the node serves nobody meanwhile, which may take minutes."""
    name, began = shard_path(data_dir / "index", number).name, time.monotonic()
    logger.warning("index file %s is missing: building it anew from the log, which takes its time", name)
    built = rebuild_shard(data_dir, number, files)
    seconds = time.monotonic() - began
    logger.warning("index file %s built anew from %s: %d messages in %.1f seconds", name, built.base, built.messages, seconds)
    for text in built.lost:
        logger.error("index file %s: lost: %s", name, text)


class NotPrepared(OSError):
    """The node that has the store has only begun to start: what its predecessor left is yet to be taken in."""


class Store:
    """Use ``await Store.open(...)``. ``broken`` becomes set when this process must stop (failed syncs)."""

    def __init__(
        self,
        data_dir: Path,
        writer: str,
        shards: int,
        files: Files,
        vfs: str | None,
        loop: asyncio.AbstractEventLoop,
        segment_size: int,
    ) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir / "log"
        self.files = files
        self.loop = loop
        self.writer = writer
        self.clock = HybridClock(writer_number(writer))
        index = data_dir / "index"
        numbers = shard_numbers(shards)
        self._writers = {number: Shard(index, number, files, vfs) for number in numbers}
        # Other processes may be at full load while this one starts anew: it waits for them longer than it later would.
        for handle in self._writers.values():
            handle.wait_for_lock(10.0)
        report = replay(self.log_path, [writer] if (self.log_path / writer).exists() else [], self._writers, files)
        for handle in self._writers.values():
            handle.wait_for_lock(0.0)
        self._readers = {number: Shard(index, number, files, vfs) for number in numbers}
        # A reader waits only while the index recovers from a process that died in the middle of a commit.
        for handle in self._readers.values():
            handle.wait_for_lock(2.0)
        state = report.writers.get(writer)
        self.replayed = report
        self._mail = {n: SqliteMailIndex(reader) for n, reader in self._readers.items() if n < QUEUE_SHARDS}
        self._queue_reads = SqliteQueueReads(self._readers[QUEUE])
        self._marks = SharedMarks(data_dir / "run" / "shards.map")
        self._wal_thread = WorkerThread("wal-sync", loop)
        self._syncs = {number: WalSync(reader, self._marks, self._wal_thread, loop) for number, reader in self._readers.items()}
        number = self.clock.writer
        durable = max([state.durable if state else 0, *(s.applied(number, 0) for s in self._writers.values())])
        if state:
            self.clock.observe(state.last_id)
        self._log = LogWriter(self.log_path, writer, files, self.clock, segment_size)
        self._log.begin_segment()
        self.broken = asyncio.Event()
        self._committer = Committer(loop, self._log, self.clock, self._writers, self._syncs, self._on_commit, self._on_broken)
        self._committer.start_at(durable, state.effects if state else 0)
        self._tell_epochs()
        self._reader = LogReader(self.log_path, files)
        self._listeners: dict[int, list[FolderListener]] = {}
        self._hub = Hub(data_dir / "run", writer, loop, self._on_hint)
        self._sweeper: asyncio.Task[None] | None = None
        self._last_commit: dict[int, int] = {}
        self.full = False
        self._queue_listener: Callable[[], None] | None = None
        self._expansion_listener: Callable[[], None] | None = None

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        writer: str = "w0",
        shards: int = 1,
        *,
        files: Files | None = None,
        vfs: str | None = None,
        prepared: bool = False,
        segment_size: int = SEGMENT_SIZE,
    ) -> Store:
        """Open for reading and writing as ``writer``. Unless ``prepared``, this process is the node and prepares it.

        Raises NotPrepared where it was not prepared after all: numbers would be given a second time, and an empty index file would
        be in the place of a missing one.
        """
        files = files or Files()
        if not prepared:
            await asyncio.to_thread(prepare, data_dir, shards, files, vfs, writer)
        with contextlib.ExitStack() as held:
            await asyncio.to_thread(held.enter_context, opening(data_dir))
            if not is_prepared(data_dir):
                raise NotPrepared("the server is starting")
            store = cls(data_dir, writer, shards, files, vfs, asyncio.get_running_loop(), segment_size)
        store._sweeper = asyncio.create_task(store._sweep())
        return store

    def _tell_epochs(self) -> None:
        """Say in the log where the numbering of commits began anew (see epochs.py)."""
        for number, handle in self._writers.items():
            epoch = latest_epoch(handle)
            if epoch is not None:
                self._committer.tell(EffectsHead(number, epoch.start, [["epoch", epoch.after, epoch.start, epoch.id]]))

    # -- writing -----------------------------------------------------------------------------------------------

    def relocate(self, bodies: Sequence[tuple[RelocatedHead, bytes]]) -> list[asyncio.Future[tuple[int, int]]]:
        """Bring bodies to the log once more; each future gives file id and offset of the copy once it is durable."""
        submissions = [RelocationSubmission(head, body, self.loop.create_future()) for head, body in bodies]
        for submission in submissions:
            self._committer.submit(submission)
        return [submission.future for submission in submissions]

    def submit_message(
        self,
        head: MessageHead,
        body: bytes,
        *,
        index: MessageIndex | None = None,
        shown: bool = False,
        origin: object | None = None,
    ) -> asyncio.Future[list[TargetOutcome]]:
        """Log a message and write its rows; the future gives an outcome per target. Raises Unavailable in it.

        ``shown``: the caller will show UIDs, so their rows must be durable as well.
        """
        future: asyncio.Future[list[TargetOutcome]] = self.loop.create_future()
        if self.full:
            future.set_exception(Unavailable("the disk is full"))
            return future
        self._committer.submit(MessageSubmission(head, body, index, shown, origin, future))
        return future

    def submit_group(
        self, messages: Sequence[tuple[MessageHead, bytes, MessageIndex | None]], *, origin: object | None = None
    ) -> list[asyncio.Future[list[TargetOutcome]]]:
        """Messages for one shard, whole or absent together; UIDs will be shown. One future each."""
        group = self.new_id()
        submissions = []
        for head, body, index in messages:
            head.group, head.group_size = group, len(messages)
            submissions.append(MessageSubmission(head, body, index, True, origin, self.loop.create_future()))
        if self.full:
            for submission in submissions:
                submission.future.set_exception(Unavailable("the disk is full"))
        else:
            self._committer.submit_group(submissions)
        return [submission.future for submission in submissions]

    def change(
        self, operations: Sequence[Operation], *, shown: bool = True, origin: object | None = None
    ) -> asyncio.Future[list[Result]]:
        """Log operations and apply them, whole or not at all. The future raises Refused or Unavailable."""
        future: asyncio.Future[list[Result]] = self.loop.create_future()
        if self.full and not all(
            type(op).__name__ in ("Expunge", "RemoveMoved", "QueueOutcome", "DeleteFolder") for op in operations
        ):
            future.set_exception(Unavailable("the disk is full"))
            return future
        self._committer.submit(ChangeSubmission(operations, shown, origin, future))
        return future

    def change_lazily(self, operations: Sequence[Operation], *, origin: object | None = None) -> asyncio.Future[list[Result]]:
        """Apply at once; durable within a second. Only for plain flag changes."""
        future: asyncio.Future[list[Result]] = self.loop.create_future()
        self._committer.apply_lazily(ChangeSubmission(operations, False, origin, future))
        return future

    def spool(self) -> Spool:
        return Spool(self)

    def new_id(self) -> int:
        return self.clock.next()

    # -- reading -----------------------------------------------------------------------------------------------

    def reader(self, shard: int) -> Shard:
        """The handle for reads in the loop."""
        return self._readers[shard]

    def mail_index(self, shard: int) -> MailIndex:
        """Reads of a mail shard, at once and short."""
        return self._mail[shard]

    def reader_index(self, shard: int, reader: int) -> MailIndex:
        """The same as ``reader`` sees it, who is not the owner."""
        return SqliteMailIndex(self._readers[shard], reader)

    def script_mark(self) -> int:
        """Changes before a change of any account's script is acknowledged, for those who keep scripts at hand."""
        return self._marks.scripts()

    def sharing(self, shard: int) -> SharingReads:
        """Reads of rights and notes of folders."""
        return SqliteSharingReads(self._readers[shard])

    @property
    def queue_index(self) -> QueueReads:
        """Reads of the queue, at once and short."""
        return self._queue_reads

    def queue_index_apart(self) -> QueueReads:
        """Reads of the queue through a handle of its own, for a thread; ``close`` it."""
        return SqliteQueueReads(Shard(self.data_dir / "index", QUEUE, self.files))

    @property
    def shards(self) -> list[int]:
        """Numbers of the mail shards."""
        return [number for number in self._readers if number < QUEUE_SHARDS]

    @property
    def indexes(self) -> list[int]:
        """Numbers of all indexes, the queue's too."""
        return list(self._readers)

    def durable(self, shard: int, commit: int) -> asyncio.Future[None] | None:
        """None where commit ``commit`` is durable, else a future of the sync that makes it so."""
        return self._syncs[shard].wait(commit)

    def is_durable(self, shard: int, commit: int) -> bool:
        return self._syncs[shard].is_durable(commit)

    def last_commit(self, shard: int) -> int:
        """The youngest commit this process has made in a shard, 0 for none yet."""
        return self._last_commit.get(shard, 0)

    def read_log(self, file: int, offset: int, length: int) -> bytes:
        """Octets of a log file, at once; for small reads. Raises OSError, DamagedRecord."""
        return self._reader.read(file, offset, length)

    def forget_file(self, file: int) -> None:
        self._reader.forget(file)

    def read_message(self, file: int, offset: int, length: int, external: int, external_size: int) -> bytes:
        data = self._reader.read(file, offset, length)
        if external:
            data += self._reader.read(external_file_id(external), 0, external_size)
        return data

    # -- news --------------------------------------------------------------------------------------------------

    def listen(self, folder: int, listener: FolderListener) -> None:
        """Call ``listener(folder, modseq, origin)`` when a folder has changed, here or in another process."""
        self._hub.interest.add(folder)
        self._listeners.setdefault(folder, []).append(listener)

    def unlisten(self, folder: int, listener: FolderListener) -> None:
        listeners = self._listeners.get(folder, [])
        if listener in listeners:
            listeners.remove(listener)
            self._hub.interest.remove(folder)
        if not listeners:
            self._listeners.pop(folder, None)

    @property
    def queue_listener(self) -> Callable[[], None] | None:
        """Called when the queue index has changed, here or in another process."""
        return self._queue_listener

    @queue_listener.setter
    def queue_listener(self, listener: Callable[[], None] | None) -> None:
        if listener is not None and self._queue_listener is None:
            self._hub.interest.add(QUEUE)
        elif listener is None and self._queue_listener is not None:
            self._hub.interest.remove(QUEUE)
        self._queue_listener = listener

    def listen_to_expansions(self, listener: Callable[[], None] | None) -> None:
        """The same for whoever expands lists and groups; None ends it."""
        if listener is not None and self._expansion_listener is None:
            self._hub.interest.add(QUEUE)
        elif listener is None and self._expansion_listener is not None:
            self._hub.interest.remove(QUEUE)
        self._expansion_listener = listener

    def _queue_changed(self) -> None:
        if self._queue_listener is not None:
            self._queue_listener()
        if self._expansion_listener is not None:
            self._expansion_listener()

    def _on_commit(self, shard: int, commit: int, step: Step) -> None:
        self._last_commit[shard] = commit
        if step.operations and any(effect[0] == "script" for effect in step.effects):
            self._marks.scripts_changed()
        if shard >= QUEUE_SHARDS:
            self._queue_changed()
            self._hub.send(shard, commit)
            return
        for folder, modseq in touched_folders(step).items():
            self._hub.send(folder, modseq)
            if folder in self._listeners:
                origin = next((s.origin for s in step.submissions if s.origin is not None), None)
                for listener in list(self._listeners[folder]):
                    listener(folder, modseq, origin)

    def _on_hint(self, folder: int, modseq: int) -> None:
        if folder == QUEUE:
            self._queue_changed()
        for listener in list(self._listeners.get(folder, ())):
            listener(folder, modseq, None)

    def _on_broken(self, reason: str) -> None:
        logger.critical("log broken: %s", reason)
        self.broken.set()

    # -- life --------------------------------------------------------------------------------------------------

    def free_space(self) -> int:
        stat = os.statvfs(self.data_dir)
        return stat.f_bavail * stat.f_frsize

    async def _sweep(self) -> None:
        """Bring lazy changes to disk within a second, and watch the space left."""
        rounds = 0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            rounds += 1
            if rounds % DROP_ROUNDS == 0:
                self._reader.drop_removed()
            self._committer.sweep()
            for shard, commit in list(self._last_commit.items()):
                if not self._syncs[shard].is_durable(commit):
                    self._syncs[shard].wait(commit)
            full = self.free_space() < RESERVE
            if full != self.full:
                logger.error("disk full: refusing new mail" if full else "disk has space again")
                self.full = full

    async def close(self) -> None:
        """Finish what was taken, make everything durable, and let go."""
        await self._committer.drain()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._committer.stop()
        self._wal_thread.stop()
        self._hub.close()
        if not self.broken.is_set():
            self._log.close()
        for shard in self._writers.values():
            shard.sync_wal()
            shard.close()
        for shard in self._readers.values():
            shard.close()
        self._reader.close()
        self._marks.close()
