"""The background process's part of migration: runs the jobs.

Invariants: at most `maxMigrationThreads` jobs run at once; a job that was running when the process died is taken up again;
a job that cannot reach its server is tried again later, for hours, before it is given up; what one job does wrong harms
no other.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from mailstead.directory.service import Directory
from mailstead.mailbox.errors import MailboxError, StoreUnavailable
from mailstead.mailbox.service import Mailbox
from mailstead.migration import jobs
from mailstead.migration.copying import AccountCopy, Outcome
from mailstead.migration.imap_client import LoginRefused, Refused
from mailstead.migration.imap_stream import RemoteError
from mailstead.migration.jobs import Job
from mailstead.migration.service import secret_context
from mailstead.observe.log import fault, get_logger
from mailstead.settings.database import SystemDatabaseError, Transaction
from mailstead.settings.sealing import Sealer, SealError

log = get_logger("MIGRATION")

POLL_SECONDS = 0.5
DELAYS = (5, 15, 60, 300, 900, 1800)
"""Seconds until the next try after failures without progress in between."""
MAX_FAILURES = 30
"""About twelve hours."""
COMMAND_SECONDS = 60.0
SECOND = 1_000_000


class Runner:
    """Run `run` until cancelled. `is_own(address, port)` says whether this server itself listens there."""

    def __init__(
        self,
        directory: Directory,
        mailbox: Mailbox,
        data_dir: Path,
        *,
        is_own: Callable[[str, int], bool] = lambda address, port: False,
        timeout: float = 120.0,
    ) -> None:
        self._directory = directory
        self._database = directory.database
        self._mailbox = mailbox
        self._sealer = Sealer(data_dir / "keys")
        self._is_own = is_own
        self._timeout = timeout
        self._running: dict[int, asyncio.Task[None]] = {}
        self._aborting: set[int] = set()
        self._accounts_changed = False
        directory.on_account_change(self._changed)

    def _changed(self, _account: int) -> None:
        self._accounts_changed = True

    async def run(self) -> None:
        """Until cancelled."""
        await self._database.write(_take_up)
        try:
            while True:
                try:
                    await self._step()
                except SystemDatabaseError as error:  # the next step looks again
                    log.error("migrations cannot be looked at", reason=str(error))
                await asyncio.sleep(POLL_SECONDS)
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _step(self) -> None:
        for id, task in list(self._running.items()):
            if task.done():
                del self._running[id]
                self._aborting.discard(id)
        if self._accounts_changed:
            self._accounts_changed = False
            gone = "kind = 'imap' AND account_id NOT IN (SELECT id FROM account)"
            for job in jobs.select(self._database, gone):
                await self._forget(job)
        for job in jobs.select(self._database, "kind = 'imap' AND wanted = 'abort'"):
            if job.id not in self._running:
                await self._end(job, jobs.ABORTED)
            elif job.id not in self._aborting:
                self._aborting.add(job.id)
                self._running[job.id].cancel()
        room = int(self._directory.settings.service("server").maxMigrationThreads) - len(self._running)
        if room > 0:
            for job in jobs.due(self._database, time.time_ns() // 1000, list(self._running), room):
                await self._database.write(lambda t, id=job.id: _begin(t, id))  # type: ignore[misc]
                self._running[job.id] = asyncio.create_task(self._job(job), name=f"migration {job.id}")

    async def _forget(self, job: Job) -> None:
        """The account is gone, and with it what was known of its migration."""
        task = self._running.pop(job.id, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._database.write(lambda t: jobs.remove(t, job.id))

    async def _end(self, job: Job, state: str, reason: str = "", *lines: str) -> None:
        def operation(t: Transaction) -> None:
            jobs.say(t, job.id, [*lines, f"{state}: {reason}" if reason else state])
            jobs.end(t, job.id, state, reason)

        await self._database.write(operation)
        log.info("migration over", account=job.account_id, source=job.source, state=state, reason=reason)

    async def _job(self, job: Job) -> None:
        moved = False

        def told() -> None:
            nonlocal moved
            moved = True

        def check_peer(address: str, port: int) -> None:
            if self._is_own(address, port):
                same = self._directory.account_by_login(job.options.user)
                if same is not None and same.id == job.account_id:
                    raise ValueError("a mailbox cannot be copied into itself")

        try:
            if job.options.command and not job.started:
                await run_command(job.options.command, account=job.account_id)
            password = self._sealer.open(job.secret, secret_context(job.id))
            settings = self._directory.settings
            ca_bundle = settings.file(settings.service("server").caBundlePath)
            copy = AccountCopy(
                self._database, self._mailbox, job, password, ca_bundle=ca_bundle, told=told, check_peer=check_peer,
                timeout=self._timeout,
            )  # fmt: skip
            log.info("migration round begins", account=job.account_id, source=job.source)
            await self._ended(job, await copy.run())
        except asyncio.CancelledError:
            if job.id not in self._aborting:
                raise  # the process ends; the next one takes the job up
            await self._end(job, jobs.ABORTED)
        except LoginRefused as error:
            # A password that was good once may be so again: of a continuous job, the server may be at fault.
            if job.rounds:
                await self._failed(job, str(error), moved)
            else:
                await self._end(job, jobs.FAILED, str(error))
        except (RemoteError, Refused, StoreUnavailable, OSError) as error:
            await self._failed(job, str(error) or type(error).__name__, moved)
        except (MailboxError, SealError, ValueError) as error:
            await self._end(job, jobs.FAILED, str(error))
        except SystemDatabaseError as error:
            log.error("migration interrupted", account=job.account_id, reason=str(error))
        except Exception as exc:
            reference = fault(log, "migration failed", exc, account=job.account_id)
            await self._failed(job, f"our own fault, reference {reference}", moved)

    async def _ended(self, job: Job, outcome: Outcome) -> None:
        """A round is over."""
        if outcome.over_quota:
            await self._end(job, jobs.QUOTA, "the mailbox is at its quota; what did not fit was left there")
            return
        now = jobs.get(self._database, job.id)
        if now is None:
            return
        different = "; ".join(outcome.differences)
        changes = f"{outcome.taken} new, {outcome.changed} with other flags, {outcome.removed} removed"
        if not job.options.continuous or job.wanted == "finish":
            await self._end(job, jobs.DONE, different, f"round {job.rounds + 1}: {changes}")
            return

        def operation(t: Transaction) -> None:
            t.execute(
                "UPDATE migration_job SET state = ?, rounds = rounds + 1, failures = 0, reason = ?, "
                # A wish that came meanwhile is for the next round, at once.
                "next_at = CASE wanted WHEN '' THEN ? ELSE 0 END WHERE id = ?",
                (jobs.RESTING, different[:500], t.now + job.options.interval * SECOND, job.id),
            )
            if outcome.taken or outcome.changed or outcome.removed or not job.rounds:
                jobs.say(t, job.id, [f"round {job.rounds + 1}: {changes}"])

        await self._database.write(operation)

    async def _failed(self, job: Job, reason: str, moved: bool) -> None:
        failures = 1 if moved else job.failures + 1
        if failures > MAX_FAILURES and not job.options.continuous:
            await self._end(job, jobs.FAILED, reason)
            return
        delay = DELAYS[min(failures, len(DELAYS)) - 1] * (0.8 + 0.4 * random.random())

        def operation(t: Transaction) -> None:
            t.execute(
                "UPDATE migration_job SET state = ?, failures = ?, reason = ?, next_at = ? WHERE id = ?",
                (jobs.WAITING, failures, reason[:500], t.now + int(delay * SECOND), job.id),
            )
            jobs.say(t, job.id, [f"{reason}; next try in {delay:.0f} seconds"])

        await self._database.write(operation)
        log.warning("migration put off", account=job.account_id, source=job.source, reason=reason)


def _take_up(t: Transaction) -> None:
    """What ran when the last process ended waits again; what belongs to accounts that are gone goes."""
    for (id,) in t.execute("SELECT id FROM migration_job WHERE account_id NOT IN (SELECT id FROM account)"):
        jobs.remove(t, id)
    t.execute("UPDATE migration_job SET state = ?, next_at = 0 WHERE state = ? AND kind = 'imap'", (jobs.WAITING, jobs.RUNNING))


def _begin(t: Transaction, id: int) -> None:
    t.execute("UPDATE migration_job SET state = ?, started = ? WHERE id = ?", (jobs.RUNNING, t.now, id))


async def run_command(words: tuple[str, ...], *, account: int) -> bool:
    """Run a program without a shell, for at most `COMMAND_SECONDS`; True when it ended well. Its output is not kept."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        log.error("the migration command cannot be run", account=account, reason=str(error))
        return False
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            status = await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        log.error("the migration command took too long", account=account)
        return False
    if status:
        log.error("the migration command failed", account=account, status=status)
    return status == 0
