"""The commit pipeline of one process: collect, write, sync, apply, notify, answer.

Invariants
1. A future is resolved with success only when its record is durable in the log and its rows are committed, and,
   where the caller will show UIDs or modseqs, when those rows are durable too.
2. Records are applied per shard strictly in the order of their sequence numbers, in the same transactions as the
   ``applied`` mark; a record's rows of one shard are never spread over two transactions.
3. A future is refused only when the log says durably that the record is void (a cancel), or when nothing was written.
4. A failed sync refuses the batch, after a cancel in a new segment; a second failure stops the process (``on_broken``)
   and leaves what was being written without an answer.
5. The event loop is not held: syncs and transactions of many rows run in threads; a lock held by another process is
   waited for outside the loop.

There is no timer: while a sync is in flight the next batch collects, so batches grow with the load.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import apsw

from mailstead.message.index import index_message
from mailstead.store.apply_delivery import StoredMessage
from mailstead.store.apply_step import Step, build_steps, run_step, split_step
from mailstead.store.ids import HybridClock
from mailstead.store.log_writer import BatchFailed, LogBroken, LogWriter
from mailstead.store.operations import encode_operation
from mailstead.store.record import CancelHead, ChangeHead, EffectsHead, Kind, Stream, encode_head, frame
from mailstead.store.shard import Shard
from mailstead.store.submission import (
    ChangeSubmission,
    MessageSubmission,
    RelocationSubmission,
    TargetOutcome,
    Unavailable,
)
from mailstead.store.threads import WorkerThread
from mailstead.store.wal_sync import WalSync

MAX_BATCH = 256
MAX_BATCH_OCTETS = 8 * 1024 * 1024
INLINE_ROWS = 200
POSTPONE_ROWS = 32
MAX_FAILURES = 120
RETRY_SECONDS = 0.25
Submission = MessageSubmission | ChangeSubmission
Write = Submission | RelocationSubmission


class Committer:
    """``on_commit(shard, commit, step)`` is called after each transaction with what it touched."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log: LogWriter,
        clock: HybridClock,
        shards: dict[int, Shard],
        syncs: dict[int, WalSync],
        on_commit: Callable[[int, int, Step], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._log = log
        self._clock = clock
        self._shards = shards
        self._syncs = syncs
        self._on_commit = on_commit
        self._on_broken = on_broken
        self._log_thread = WorkerThread("log-sync", loop)
        self._apply_thread = WorkerThread("index-apply", loop)
        self._queue: deque[Write] = deque()
        self._urgent: list[tuple[bytes, Callable[[], None]]] = []
        self._effects: list[bytes] = []
        self._writing = False
        self._applying = False
        self._steps: deque[Step] = deque()
        self._seq = [0, 0]
        self._segment = log.segment
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._messages: list[tuple[MessageSubmission, StoredMessage]] = []
        self._changes: list[ChangeSubmission] = []
        self._postponed = False
        self._scheduled = False
        self.broken = False

    def start_at(self, durable: int, effects: int) -> None:
        """Numbers of the last records of both streams in the log."""
        self._seq = [durable, effects]

    # -- taking work -------------------------------------------------------------------------------------------

    def submit(self, submission: Write) -> None:
        if self.broken:
            submission.future.set_exception(Unavailable("the log is broken"))
            return
        self._queue.append(submission)
        if not self._writing and not self._scheduled:
            # At the end of this turn of the loop, so that what other clients sent in the same moment shares the sync.
            self._scheduled = True
            self._loop.call_soon(self._write_scheduled)

    def _write_scheduled(self) -> None:
        self._scheduled = False
        if self._queue and not self._writing and not self.broken:
            self._write_next()

    def submit_group(self, submissions: list[MessageSubmission]) -> None:
        """Messages that are whole or absent together: one batch, one transaction."""
        if self.broken:
            for submission in submissions:
                submission.future.set_exception(Unavailable("the log is broken"))
            return
        self._queue.extend(submissions)
        if not self._writing:
            self._write_next()

    def apply_lazily(self, submission: ChangeSubmission) -> None:
        """Apply now; the log follows with the next batch, at the latest within a second (``sweep``)."""
        submission.id = self._clock.next()
        self._steps.extend(build_steps([], [submission], self._clock.writer, lazy=True))
        if not self._applying:
            self._apply_next()

    def tell(self, head: EffectsHead) -> None:
        """Buffer an effects record; it rides with the next batch."""
        self._seq[1] += 1
        data = frame(Kind.EFFECTS, Stream.EFFECTS, self._seq[1], self._clock.next(), encode_head(head), salt=self._log.salt)
        self._effects.append(data)

    def sweep(self) -> None:
        """Bring buffered effects to the log."""
        if self._effects and not self._writing and not self.broken:
            self._write_next()

    @property
    def busy(self) -> bool:
        return bool(self._queue or self._writing or self._steps or self._applying or self._urgent or self._postponed)

    async def drain(self) -> None:
        """Until everything taken so far is written and applied, effects included."""
        while self.busy or self._effects:
            if self._effects and not self._writing:
                self.sweep()
            await asyncio.sleep(0.002)
            if self.broken:
                return

    # -- writing -----------------------------------------------------------------------------------------------

    def _frame(self, submission: Write) -> list[bytes]:
        if isinstance(submission, RelocationSubmission):
            self._seq[1] += 1
            head = encode_head(submission.head)
            start = frame(Kind.RELOCATED, Stream.EFFECTS, self._seq[1], self._clock.next(), head, submission.body, self._log.salt)
            submission.start = len(start)
            submission.size = len(start) + len(submission.body)
            return [start, submission.body]
        self._seq[0] += 1
        submission.seq = self._seq[0]
        submission.id = self._clock.next()
        if isinstance(submission, MessageSubmission):
            head = encode_head(submission.head)
            start = frame(Kind.MESSAGE, Stream.DURABLE, submission.seq, submission.id, head, submission.body, self._log.salt)
            submission.start = len(start)
            submission.size = len(start) + len(submission.body)
            return [start, submission.body]
        shards = [op.shard for op in submission.operations]
        head = encode_head(ChangeHead([encode_operation(op) for op in submission.operations], shards))
        data = frame(Kind.CHANGE, Stream.DURABLE, submission.seq, submission.id, head, salt=self._log.salt)
        submission.size = len(data)
        return [data]

    def _write_next(self) -> None:
        carried, self._effects = self._effects, []
        buffers = list(carried)
        urgent, self._urgent = self._urgent, []
        buffers += [data for data, _ in urgent]
        size = lead = sum(map(len, buffers))
        batch: list[Write] = []
        group = 0
        while self._queue:
            if (len(batch) >= MAX_BATCH or size >= MAX_BATCH_OCTETS) and (not group or _group(self._queue[0]) != group):
                break
            submission = self._queue.popleft()
            buffers += self._frame(submission)
            batch.append(submission)
            size += submission.size
            group = _group(submission)
        self._writing = True

        def job() -> tuple[int, int]:
            if not self._log.room_for(size):
                try:
                    self._log.begin_segment(size)
                except OSError as error:
                    raise Unavailable(str(error)) from error
            place = self._log.file_id, self._log.position
            self._log.write_and_sync(buffers, size)
            return place

        def done(place: Any, error: BaseException | None) -> None:
            if error is not None:
                self._writing = False
                self._effects[:0] = carried
                self._write_failed(batch, urgent, error)
                if self._postponed:
                    self._apply_ready()
            else:
                self._written(batch, urgent, lead, place)

        self._log_thread.submit(job, done)
        for submission in batch:
            if isinstance(submission, MessageSubmission) and submission.index is None:
                submission.index = index_message(submission.body)

    def _written(
        self,
        batch: list[Write],
        urgent: list[tuple[bytes, Callable[[], None]]],
        lead: int,
        place: tuple[int, int],
    ) -> None:
        self._writing = False
        if self._queue or self._urgent:
            self._write_next()
        file, offset = place
        offset += lead
        for submission in batch:
            if isinstance(submission, MessageSubmission):
                self._messages.append((submission, self._stored(submission, file, offset + submission.start)))
            elif isinstance(submission, RelocationSubmission):
                submission.future.set_result((file, offset + submission.start))
            else:
                self._changes.append(submission)
            offset += submission.size
        for _, callback in urgent:
            callback()
        if self._writing and not self._postponed and len(self._messages) + len(self._changes) < POSTPONE_ROWS:
            # The next batch is a fraction of a millisecond away, and a transaction costs as much as several messages.
            self._postponed = True
            return
        self._apply_ready()

    def _apply_ready(self) -> None:
        """Steps for everything that is durable and not yet applied."""
        self._postponed = False
        messages, self._messages = self._messages, []
        changes, self._changes = self._changes, []
        self._steps.extend(build_steps(messages, changes, self._clock.writer))
        if self._log.segment != self._segment and not self._writing:
            # Shards that no record touched for long would make the next start read the whole log.
            self._segment = self._log.segment
            for number in self._shards:
                mark = Step(number, self._clock.writer, Stream.DURABLE)
                mark.seq = self._seq[0]
                self._steps.append(mark)
        if not self._applying:
            self._apply_next()

    @staticmethod
    def _stored(submission: MessageSubmission, file: int, offset: int) -> StoredMessage:
        head = submission.head
        assert submission.index is not None
        return StoredMessage(
            submission.seq,
            submission.id,
            file,
            offset,
            len(submission.body),
            head.external,
            head.external_size,
            head.sender,
            head.received,
            submission.index,
            head.group,
        )

    def _write_failed(self, batch: list[Write], urgent: list[tuple[bytes, Callable[[], None]]], error: BaseException) -> None:
        if isinstance(error, BatchFailed):
            # Octets of the batch may have reached the disk all the same, so it must be declared void first.
            refused = Unavailable(str(error))
            for submission in batch:
                if isinstance(submission, RelocationSubmission):
                    _refuse(submission, refused)  # no row names it, so it need not be void
                else:
                    self.cancel(submission.seq, -1, partial(_refuse, submission, refused))
            self._urgent += urgent
            self._write_next()
            return
        if isinstance(error, Unavailable):  # nothing was written
            for submission in batch:
                _refuse(submission, error)
            self._urgent += urgent
            if self._queue:
                self._write_next()
            return
        # Octets of this batch, or of one whose cancel was under way, may be on the disk and nothing can be written to
        # say that they are void: those who wait get no answer, as with a power cut, for a refusal could turn out a lie.
        self.broken = True
        while self._queue:
            _refuse(self._queue.popleft(), Unavailable(str(error)))
        self._on_broken(str(error) if isinstance(error, LogBroken) else repr(error))

    def cancel(self, seq: int, index: int, callback: Callable[[], None]) -> None:
        """Say durably that a record (or one of its targets) is void; then call back."""
        self._seq[1] += 1
        head = encode_head(CancelHead(seq, index))
        data = frame(Kind.CANCEL, Stream.EFFECTS, self._seq[1], self._clock.next(), head, salt=self._log.salt)
        self._urgent.append((data, callback))
        if not self._writing:
            # Let further cancels of the same step join this write.
            self._loop.call_soon(self._write_urgent)

    def _write_urgent(self) -> None:
        if self._urgent and not self._writing:
            self._write_next()

    # -- applying ----------------------------------------------------------------------------------------------

    def _apply_next(self) -> None:
        while self._steps:
            step = self._steps[0]
            shard = self._shards[step.shard]
            if step.weight > INLINE_ROWS:
                self._applying = True
                self._apply_thread.submit(partial(run_step, shard, step), self._applied_in_thread)
                return
            try:
                commit = run_step(shard, step)
            except apsw.BusyError:
                self._applying = True
                self._loop.call_later(0.001, self._retry)
                return
            except Exception as error:
                self._apply_failed(step, error)
                if self._applying:
                    return
                continue
            self._steps.popleft()
            self._finish(step, commit)

    def _retry(self) -> None:
        self._applying = False
        self._apply_next()

    def _applied_in_thread(self, commit: int, error: BaseException | None) -> None:
        self._applying = False
        if isinstance(error, apsw.BusyError):
            self._applying = True
            self._loop.call_later(0.001, self._retry)
            return
        step = self._steps[0]
        if error is not None:
            self._apply_failed(step, error)
        else:
            self._steps.popleft()
            self._finish(step, commit)
        if not self._applying:
            self._apply_next()

    def _apply_failed(self, step: Step, error: BaseException) -> None:
        """A record that cannot be applied is refused after a cancel; those beside it are tried alone."""
        self._steps.popleft()
        alone = split_step(step)
        if len(alone) > 1:
            self._steps.extendleft(reversed(alone))
            return
        if any(submission.committed for submission in step.submissions):
            # Another shard has its part already: this one must follow, now or after a restart.
            self._steps.appendleft(step)
            step.failures += 1
            if step.failures > MAX_FAILURES:
                self.broken = True
                self._on_broken(f"shard {step.shard} cannot follow: {error}")
            self._applying = True
            self._loop.call_later(RETRY_SECONDS, self._retry)
            return
        refused = Unavailable(f"{type(error).__name__}: {error}")
        for submission in step.submissions:
            submission.pending = -1
            self.cancel(submission.seq, -1, partial(_refuse, submission, refused))

    def _finish(self, step: Step, commit: int) -> None:
        if step.effects or step.operations or step.deliveries:
            # Also where an operation or a target changed nothing: a rebuild must know that it was applied here and not later.
            first = step.submissions[0].seq if step.submissions else 0
            self.tell(EffectsHead(step.shard, commit, step.effects, first, step.seq))
        self._on_commit(step.shard, commit, step)
        wait: asyncio.Future[None] | None = None
        for submission in step.submissions:
            if submission.pending <= 0:
                continue
            submission.committed = True
            if submission.shown:
                # Every shard's rows must be durable, not only those of the last one.
                if wait is None:
                    wait = self._syncs[step.shard].wait(commit)
                if wait is not None:
                    wait.add_done_callback(partial(self._part_done, submission))
                    continue
            self._part_done(submission, None)

    def _part_done(self, submission: Submission, synced: asyncio.Future[None] | None) -> None:
        """One shard's part of a submission is committed, and durable where that was asked for."""
        if synced is not None and synced.exception() is not None:
            # The record is in the log and will be there after a restart: refusing it would be a lie.
            self.broken = True
            self._on_broken(f"the index cannot be synced: {synced.exception()}")
            return
        submission.pending -= 1
        if submission.pending or submission.future.done():
            return
        if isinstance(submission, ChangeSubmission):
            refusal = submission.refusal
            if refusal is None:
                submission.future.set_result(submission.results)
            elif submission.seq:
                self.cancel(submission.seq, -1, partial(_refuse, submission, refusal))
            else:
                _refuse(submission, refusal)
            return
        outcomes = [TargetOutcome(d.outcome, d.target.account, d.folder, d.uid, d.uidvalidity, d.mid) for d in submission.outcomes]
        void = [number for number, outcome in enumerate(outcomes) if outcome.outcome]
        if not void:
            submission.future.set_result(outcomes)
            return
        left = len(void)

        def cancelled() -> None:
            nonlocal left
            left -= 1
            if not left and not submission.future.done():
                submission.future.set_result(outcomes)

        for number in void:
            self.cancel(submission.seq, number, cancelled)

    def stop(self) -> None:
        """End the threads; call after ``drain``."""
        self._log_thread.stop()
        self._apply_thread.stop()


def _group(submission: Write) -> int:
    return submission.head.group if isinstance(submission, MessageSubmission) else 0


def _refuse(submission: Write, error: BaseException) -> None:
    if not submission.future.done():
        submission.future.set_exception(error)
