"""The verbs of migration: start, list, watch, finish and abort the copying of a mailbox (MIG-02).

Invariants: an account has at most one job that is not over; a job that was started before for the same account and source
goes on with what it knows, so that nothing comes twice; a password at another server is kept sealed and only while its
job lives.

A verb writes rows; the background process does the work (see runner). So verbs work in every process, and beside a server
that does not run: then the work begins when it starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mailstead.directory.model import Account
from mailstead.directory.service import Directory
from mailstead.migration import jobs
from mailstead.migration.jobs import Job, Options
from mailstead.migration.remote import SECURITY, host_address
from mailstead.settings import Actor
from mailstead.settings.database import Transaction
from mailstead.settings.sealing import Sealer

PERMISSION = "manageAccounts"
POLL_SECONDS = 0.3
MAX_IGNORED = 1_000
MIN_INTERVAL = 10
T = TypeVar("T")


class MigrationError(Exception):
    """The verb is refused; the text may be shown."""


def secret_context(job: int) -> str:
    """What the password of a job is sealed for."""
    return f"migration/{job}"


class MigrationService:
    """One per process. `account` arguments are ids."""

    def __init__(self, directory: Directory, data_dir: Path) -> None:
        self._directory = directory
        self._database = directory.database
        self._sealer = Sealer(data_dir / "keys")

    async def start(
        self,
        account: int,
        *,
        host: str,
        port: int,
        user: str,
        password: str,
        actor: Actor,
        ignore_folders: Sequence[str] = (),
        override_quota: bool = False,
        delete_original: bool = False,
        structure_only: bool = False,
        verbose: bool = False,
        security: str = "auto",
        verify: bool = True,
        continuous: bool = False,
        interval: int = 900,
        command: Sequence[str] = (),
    ) -> Job:
        """Copy a mailbox from an IMAP server into that of the account. `interval` is in seconds, at least 10.

        Raises MigrationError, PermissionDeniedError.
        """
        owner = self._account(account, actor)
        _check(host, port, user, password, security, interval, ignore_folders)
        if continuous and delete_original:
            raise MigrationError("what is deleted there cannot be followed: continuous and deleteOriginal exclude each other")
        options = Options(
            host.strip(), port, user, security, verify, tuple(ignore_folders), override_quota, delete_original, structure_only,
            verbose, continuous, interval, command=tuple(command),
        )  # fmt: skip
        source = f"{user}@{host.strip()}:{port}"
        fresh = self._directory.ids.next()

        def operation(t: Transaction) -> int:
            marks = ", ".join("?" * len(jobs.LIVE))
            if t.row(f"SELECT 1 FROM migration_job WHERE account_id = ? AND state IN ({marks})", (account, *jobs.LIVE)):
                raise MigrationError(f"a migration of {owner.address} is under way")
            where = "account_id = ? AND kind = 'imap' AND source = ?"
            id = t.value(f"SELECT id FROM migration_job WHERE {where} ORDER BY id DESC LIMIT 1", (account, source))
            secret = self._sealer.seal(password, secret_context(id or fresh))
            if id is None:
                jobs.insert(t, fresh, account, "imap", source, options, secret, actor.name)
            else:
                jobs.again(t, id, options, secret, actor.name)
            new = {"source": source, "continuous": continuous, "deleteOriginal": delete_original}
            t.record(actor.name, "migration", account, "start", None, new)
            return id or fresh

        id = await self._write(operation)
        return self._need(id)

    def insert(self, t: Transaction, account: int, options: Options, password: str, actor: Actor) -> int:
        """Within a transaction: a job for an account that is made in it. Raises OSError, SealError."""
        id = self._directory.ids.next()
        source = f"{options.user}@{options.host}:{options.port}"
        jobs.insert(t, id, account, "imap", source, options, self._sealer.seal(password, secret_context(id)), actor.name)
        t.record(actor.name, "migration", account, "start", None, {"source": source, "continuous": options.continuous})
        return id

    def list(self, *, actor: Actor, domain: int = 0, live: bool = False) -> Sequence[Job]:
        """Jobs of the accounts (of a domain) that the actor may manage, youngest last."""
        found = []
        for job in jobs.select(self._database, "kind = 'imap'"):
            owner = self._directory.account(job.account_id)
            if owner is None or (domain and owner.domain_id != domain) or not actor.may(PERMISSION, owner.domain_id):
                continue
            if not live or job.state in jobs.LIVE:
                found.append(job)
        return found

    def job(self, account: int, *, actor: Actor) -> Job:
        """The account's job that is under way, else its last one. Raises MigrationError."""
        owner = self._account(account, actor)
        found = jobs.select(self._database, "kind = 'imap' AND account_id = ?", (account,))
        if not found:
            raise MigrationError(f"there is no migration of {owner.address}")
        return max(found, key=lambda job: (job.state in jobs.LIVE, job.created, job.id))

    def lines(self, job: int, after: int = 0) -> Sequence[tuple[int, int, str]]:
        """(number, time in microseconds, text) of what was said about a job behind a number."""
        return jobs.lines(self._database, job, after)

    async def attach(self, account: int, *, actor: Actor, seconds: float = 0) -> AsyncIterator[str]:
        """Lines as they come, until the job is over (or for `seconds`). Raises MigrationError."""
        job = self.job(account, actor=actor)
        recent = self.lines(job.id)[-20:]
        seen = recent[0][0] - 1 if recent else 0
        end = time.monotonic() + seconds
        shown = ""
        while True:
            now = self._need(job.id)
            for number, _, text in self.lines(job.id, seen):
                seen = number
                yield text
            if (state := progress(now)) != shown:
                shown = state
                yield state
            if now.state not in (jobs.WAITING, jobs.RUNNING) or (seconds and time.monotonic() >= end):
                return
            await asyncio.sleep(POLL_SECONDS)

    def peek(self, account: int, *, actor: Actor, seconds: float = 10) -> AsyncIterator[str]:
        """`attach` for some seconds."""
        return self.attach(account, actor=actor, seconds=seconds)

    async def abort(self, account: int = 0, *, actor: Actor, domain: int = 0) -> int:
        """Abort the account's job (0: all that the actor may manage, of the domain where one is given); how many there
        were. What was copied stays. Raises MigrationError."""
        if account:
            wanted: Sequence[Job] = [job for job in [self.job(account, actor=actor)] if job.state in jobs.LIVE]
            if not wanted:
                raise MigrationError("no migration of this account is under way")
        else:
            wanted = self.list(actor=actor, domain=domain, live=True)

        def operation(t: Transaction) -> None:
            for job in wanted:
                state = t.value("SELECT state FROM migration_job WHERE id = ?", (job.id,))
                if state == jobs.RUNNING:
                    t.execute("UPDATE migration_job SET wanted = 'abort' WHERE id = ?", (job.id,))
                elif state in jobs.LIVE:
                    jobs.end(t, job.id, jobs.ABORTED)
                    jobs.say(t, job.id, [f"aborted by {actor.name}"])
                t.record(actor.name, "migration", job.account_id, "abort")

        await self._write(operation)
        return len(wanted)

    async def finish(self, account: int, *, actor: Actor) -> None:
        """Switch over: one last round, then the continuous job is over. Raises MigrationError."""
        job = self.job(account, actor=actor)
        if job.state not in jobs.LIVE or not job.options.continuous:
            raise MigrationError("no continuous migration of this account is under way")

        def operation(t: Transaction) -> None:
            t.execute("UPDATE migration_job SET wanted = 'finish', next_at = 0 WHERE id = ? AND wanted = ''", (job.id,))
            t.record(actor.name, "migration", account, "finish")

        await self._write(operation)

    async def again(self, account: int) -> None:
        """The next round of a continuous job now, if there is one (MIG-01: at each login)."""
        where = "account_id = ? AND kind = 'imap' AND state = ?"
        if self._database.query_row(f"SELECT 1 FROM migration_job WHERE {where} AND next_at > 0", (account, jobs.RESTING)):
            await self._write(lambda t: t.execute(f"UPDATE migration_job SET next_at = 0 WHERE {where}", (account, jobs.RESTING)))

    async def _write(self, operation: Callable[[Transaction], T]) -> T:
        result = await self._database.write(operation)
        self._database.poll()
        return result

    def _account(self, account: int, actor: Actor) -> Account:
        owner = self._directory.account(account)
        if owner is None:
            raise MigrationError("the account does not exist")
        actor.require(PERMISSION, owner.domain_id)
        return owner

    def _need(self, id: int) -> Job:
        job = jobs.get(self._database, id)
        if job is None:
            raise MigrationError("the migration is gone, with its account")
        return job


def progress(job: Job) -> str:
    """One line on how far a job is."""
    count = f"{job.taken} of {job.there} messages" if job.there or job.taken else "no messages yet"
    reason = f" ({job.reason})" if job.reason else ""
    round = f", round {job.rounds}" if job.options.continuous else ""
    return f"{job.state}{round}: {count}{reason}"


def _check(host: str, port: int, user: str, password: str, security: str, interval: int, ignore: Sequence[str]) -> None:
    try:
        host_address(host)
    except ValueError as error:
        raise MigrationError(str(error)) from None
    if not 1 <= port <= 65_535:
        raise MigrationError("the port must be 1 to 65535")
    if security not in SECURITY:
        raise MigrationError(f"security is one of {', '.join(SECURITY)}")
    if not user or len(user) > 320 or not password or len(password) > 4096:
        raise MigrationError("user name and password are needed")
    if any(ord(c) < 32 or ord(c) == 127 for c in user) or any(c in password for c in "\0\r\n"):
        raise MigrationError("user name or password have control characters")
    if not MIN_INTERVAL <= interval <= 31_536_000:
        raise MigrationError(f"the interval must be {MIN_INTERVAL} seconds or more")
    if len(ignore) > MAX_IGNORED:
        raise MigrationError(f"no more than {MAX_IGNORED} folders can be left out")
