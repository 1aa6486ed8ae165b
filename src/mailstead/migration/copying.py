"""Copying a mailbox from an IMAP server: one round over all its folders.

Invariants: a round may break off anywhere, and the next goes on where it ended; what was changed here by its owner is not
undone: of flags the difference that arose there is taken over, and a message removed here is not brought again; nothing
is removed there before it is durable here, and only where that was asked for; what was removed there by us stays here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from mailstead.mailbox.errors import FolderExists, InvalidFolderName, OverQuota
from mailstead.mailbox.model import Folder
from mailstead.mailbox.service import Mailbox
from mailstead.migration import jobs
from mailstead.migration.appending import Appender, Incoming, batches_of, fitting
from mailstead.migration.fetched import Fetched
from mailstead.migration.folder_names import Plan, plan
from mailstead.migration.imap_client import MAX_MESSAGE, ImapClient, Refused
from mailstead.migration.jobs import Job
from mailstead.migration.ledger import Key, Ledger
from mailstead.migration.remote import Remote
from mailstead.observe.log import get_logger
from mailstead.settings.database import SystemDatabase, Transaction
from mailstead.store.spool import Spool

log = get_logger("MIGRATION")

WINDOW = 1_000
"""Messages whose sizes are asked for at once."""
SAVE_SECONDS = 1.0
"""How often the counts that are shown are written; what was taken is always known."""
SHOWN = 10
"""Messages that are named where some could not be taken."""


@dataclass(slots=True)
class FolderState:
    """A row of migration_folder."""

    number: int
    plan: Plan
    validity: int = 0
    modseq: int = 0
    there: int = 0
    taken: int = 0


@dataclass(slots=True)
class Outcome:
    """What a round did. `differences` are sentences on what is there and not here."""

    taken: int = 0
    removed: int = 0
    changed: int = 0
    differences: list[str] = field(default_factory=list)
    over_quota: bool = False


class AccountCopy:
    """One round of a job. `told` is called after each batch, to show that there is progress."""

    def __init__(
        self,
        database: SystemDatabase,
        mailbox: Mailbox,
        job: Job,
        password: str,
        *,
        ca_bundle: str = "",
        told: Callable[[], None] = lambda: None,
        check_peer: Callable[[str, int], None] = lambda address, port: None,
        timeout: float = 120.0,
    ) -> None:
        self._database = database
        self._mailbox = mailbox
        self._job = job
        self._options = job.options
        self._password = password
        self._ca_bundle = ca_bundle
        self._told = told
        self._check_peer = check_peer
        self._timeout = timeout
        self._client: ImapClient
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """Raises RemoteError (try again), Refused, ValueError (the host), MailboxError."""
        options = self._options
        remote = Remote(options.host, options.port, options.user, self._password, options.security, options.verify)
        self._client = await ImapClient.connect(
            remote, spool=self._mailbox.spool, timeout=self._timeout, ca_bundle=self._ca_bundle,
            trace=self._trace if options.debug else None,
        )  # fmt: skip
        try:
            self._check_peer(*self._client.stream.peer)
            await self._client.login(options.user, self._password)
            await self._all()
        except BaseException:
            self._client.close()
            raise
        await self._client.logout()
        return self.outcome

    async def _all(self) -> None:
        states = await self._plan()
        for state in states:
            folder = await self._made(state)
            if folder is None or self._options.structure_only:
                continue
            try:
                await FolderCopy(self, self._client, state, folder).run()
            except OverQuota:
                self.outcome.over_quota = True
                self.outcome.differences.append(f"{state.plan.local}: the mailbox is at its quota")
                return
            except Refused as refused:
                # A folder that cannot be opened must not keep the others from being copied.
                self.outcome.differences.append(f"{state.plan.source.name}: {refused}")
                await self.say(f"{state.plan.source.name}: {refused}")

    async def _plan(self) -> list[FolderState]:
        rows = self._database.query(
            "SELECT number, remote, local, validity, modseq, there, taken FROM migration_folder WHERE job_id = ? ORDER BY number",
            (self._job.id,),
        )
        before = {row[1].encode("latin-1"): row for row in rows}
        ours = await self._mailbox.folders(self._job.account_id)
        known = {raw: str(row[2]) for raw, row in before.items()}
        sources = await self._client.folders()
        plans, notes = plan(sources, ours, known, self._options.ignore_folders)
        number = max((row[0] for row in rows), default=0)
        states: list[FolderState] = []
        fresh: list[FolderState] = []
        for one in plans:
            row = before.get(one.source.raw)
            if row is not None:
                states.append(FolderState(row[0], one, row[3], row[4], row[5], row[6]))
                continue
            number += 1
            states.append(FolderState(number, one))
            fresh.append(states[-1])
        listed = {source.raw for source in sources}
        lines = notes if fresh or not rows else []
        lines += [f"{row[2]}: the folder is gone there, and stays here" for raw, row in before.items() if raw not in listed]

        def operation(t: Transaction) -> None:
            for state in fresh:
                values = (self._job.id, state.number, state.plan.source.raw.decode("latin-1"), state.plan.local)
                t.execute("INSERT INTO migration_folder VALUES (?, ?, ?, ?, 0, 0, 0, 0)", values)
            jobs.say(t, self._job.id, lines)

        await self._database.write(operation)
        return states

    async def _made(self, state: FolderState) -> Folder | None:
        """The folder here, made where it is missing."""
        account, name = self._job.account_id, state.plan.local
        folder = await self._mailbox.folder(account, name)
        try:
            if folder is None:
                try:
                    folder = await self._mailbox.create_folder(account, name)
                except FolderExists:
                    folder = await self._mailbox.folder(account, name)
            if not state.validity and state.plan.source.subscribed:
                await self._mailbox.set_subscribed(account, name, True)
        except (InvalidFolderName, OverQuota) as error:
            self.outcome.differences.append(f"{state.plan.source.name}: {error}")
            await self.say(f"{state.plan.source.name}: {error}")
            return None
        return folder

    def _trace(self, line: str) -> None:
        log.info("migration protocol", account=self._job.account_id, line=line)

    async def say(self, *lines: str) -> None:
        """Lines for whoever watches."""
        await self._database.write(lambda t: jobs.say(t, self._job.id, lines))
        self._told()

    # What a folder's copy needs of the whole.

    @property
    def job(self) -> Job:
        return self._job

    @property
    def mailbox(self) -> Mailbox:
        return self._mailbox

    @property
    def database(self) -> SystemDatabase:
        return self._database

    def progress(self) -> None:
        """Something was taken."""
        self._told()


class FolderCopy:
    """One folder of one round."""

    def __init__(self, whole: AccountCopy, client: ImapClient, state: FolderState, folder: Folder) -> None:
        self._whole = whole
        self._client = client
        self._state = state
        self._folder = folder
        self._options = whole.job.options
        self._ledger = Ledger(whole.database, whole.job.id, state.number)
        self._appender = Appender(whole.mailbox, folder, self._ledger, limited=not self._options.override_quota)
        self._missed: dict[Key, str] = {}
        self._saved = 0.0

    async def run(self) -> None:
        """Raises RemoteError, Refused, OverQuota, MailboxError."""
        state = self._state
        selected = await self._client.select(state.plan.source.raw, read_only=not self._options.delete_original)
        await asyncio.to_thread(self._ledger.load)
        await self._ledger.settle(self._whole.mailbox, self._folder)
        if state.validity and selected.uidvalidity != state.validity:
            await self._number_anew()
        there = await self._client.uids()
        state.validity, state.there = selected.uidvalidity, len(there)
        known = self._ledger.entries
        if known and not self._options.delete_original:
            await self._follow(there, selected.highest_modseq)
        new = [uid for uid in there if uid not in known]
        try:
            await self._appender.run(self._batches(new))
        finally:
            state.taken = len(known)
            self._whole.outcome.taken += self._appender.taken
            await self._save()
        state.modseq = selected.highest_modseq
        await self._save()
        await self._check(there)
        if self._options.delete_original:
            await self._delete([uid for uid in there if uid in known])

    async def _save(self) -> None:
        state, job = self._state, self._whole.job.id

        def operation(t: Transaction) -> None:
            t.execute(
                "UPDATE migration_folder SET validity = ?, modseq = ?, there = ?, taken = ? WHERE job_id = ? AND number = ?",
                (state.validity, state.modseq, state.there, state.taken, job, state.number),
            )
            t.execute(
                "UPDATE migration_job SET there = (SELECT coalesce(sum(there), 0) FROM migration_folder WHERE job_id = ?1), "
                "taken = (SELECT coalesce(sum(taken), 0) FROM migration_folder WHERE job_id = ?1) WHERE id = ?1",
                (job,),
            )

        await self._whole.database.write(operation)
        self._saved = time.monotonic()
        self._whole.progress()

    # -- new messages ------------------------------------------------------------------------------------------

    async def _batches(self, new: list[int]) -> AsyncIterator[list[Incoming]]:
        for start in range(0, len(new), WINDOW):
            about: dict[int, Fetched] = {}
            await self._client.fetch(new[start : start + WINDOW], "UID FLAGS INTERNALDATE RFC822.SIZE", _into(about))
            sizes: list[tuple[Key, int]] = []
            for uid in new[start : start + WINDOW]:
                message = about.get(uid)
                if message is None:
                    continue  # removed there meanwhile
                if message.size > MAX_MESSAGE:
                    self._missed[uid] = "too large"
                    continue
                sizes.append((uid, message.size))
            for keys in batches_of(sizes):
                bodies = await self._bodies([int(key) for key in keys if isinstance(key, int)])
                yield [Incoming(uid, body, _kept(about[uid].flags or ()), about[uid].date) for uid, body in sorted(bodies.items())]
                self._state.taken = len(self._ledger.entries)
                self._whole.progress()
                if time.monotonic() - self._saved >= SAVE_SECONDS:
                    await self._save()
                if self._options.verbose:
                    await self._whole.say(f"{self._state.plan.local}: {self._state.taken} of {self._state.there}")

    async def _bodies(self, uids: list[int]) -> dict[int, bytes | Spool]:
        found: dict[int, Fetched] = {}
        try:
            await self._client.fetch(uids, "UID BODY.PEEK[]", _into(found))
        except Refused as refused:
            _abandon(found)
            if len(uids) == 1:
                self._missed[uids[0]] = str(refused)
                return {}
            bodies: dict[int, bytes | Spool] = {}
            for uid in uids:  # one that the server cannot give must not take the others along
                bodies |= await self._bodies([uid])
            return bodies
        except BaseException:
            _abandon(found)
            raise
        bodies = {uid: message.body for uid, message in found.items() if message.body is not None and uid in set(uids)}
        for uid in found.keys() - bodies.keys():
            self._missed[uid] = "the server gives no text"
        return bodies

    # -- changes since the last round ----------------------------------------------------------------------------

    async def _follow(self, there: list[int], modseq: int) -> None:
        """Take over what was removed and which flags were changed there."""
        ledger, outcome = self._ledger, self._whole.outcome
        still = set(there)
        gone = [key for key in ledger.entries if key not in still]
        if gone:
            uids = sorted(ledger.entries[key].uid for key in gone if ledger.entries[key].uid)
            await self._on_view(lambda view: self._whole.mailbox.remove(view, uids))
            await ledger.change({}, gone)
            outcome.removed += len(gone)
        since = self._state.modseq if modseq else 0
        if since and modseq == since:
            return
        now: dict[Key, str] = {}

        def take(message: Fetched) -> None:
            entry = ledger.entries.get(message.uid)
            if entry is not None and message.flags is not None and (words := " ".join(_kept(message.flags))) != entry.flags:
                now[message.uid] = words

        if ledger.entries:
            await self._client.fetch("1:*", "UID FLAGS", take, since)
        if now:
            await self._change_flags(now)
            outcome.changed += len(now)

    async def _change_flags(self, now: dict[Key, str]) -> None:
        groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for key, words in now.items():
            entry = self._ledger.entries[key]
            before, after = set(entry.flags.split()), set(words.split())
            for mode, words_of in (("add", after - before), ("remove", before - after)):
                if (flags := fitting(sorted(words_of))) and entry.uid:
                    groups.setdefault((mode, flags), []).append(entry.uid)
        view = await self._whole.mailbox.open(self._folder)
        try:
            for (mode, flags), uids in groups.items():
                await self._whole.mailbox.store_flags(view, sorted(uids), mode, flags, durable=True)
        finally:
            view.release()
        await self._ledger.change(now)

    async def _on_view(self, work: Callable[..., Awaitable[object]]) -> None:
        view = await self._whole.mailbox.open(self._folder)
        try:
            await work(view)
        finally:
            view.release()

    async def _number_anew(self) -> None:
        """UIDVALIDITY changed: the numbers there mean other messages. Find ours by Message-ID, date and size."""
        about: dict[int, Fetched] = {}
        everything = await self._client.uids()
        for start in range(0, len(everything), WINDOW):
            items = "UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
            await self._client.fetch(everything[start : start + WINDOW], items, _into(about))
        marks: dict[tuple[str, int], list[int]] = {}
        for uid, message in sorted(about.items()):
            marks.setdefault((message.message_id, message.date), []).append(uid)
        keys: dict[Key, Key] = {}

        async def match(view: object) -> None:
            by_uid = {entry.uid: key for key, entry in self._ledger.entries.items() if entry.uid}
            uids = sorted(by_uid)
            for start in range(0, len(uids), 500):
                rows = self._whole.mailbox.rows(view, uids[start : start + 500], ("message_id", "date"))  # type: ignore[arg-type]
                for uid, message_id, date in rows:
                    found = marks.get((message_id, date))
                    if found:
                        keys[by_uid[uid]] = found.pop(0)

        await self._on_view(match)
        await self._ledger.rekey(keys)
        self._state.modseq = 0
        name = self._state.plan.source.name
        await self._whole.say(f"{name}: numbered anew there (UIDVALIDITY); {len(keys)} messages were found again")

    # -- at the end --------------------------------------------------------------------------------------------

    async def _check(self, there: list[int]) -> None:
        """Compare what is there with what was taken, and say what differs."""
        known = self._ledger.entries
        missed = {key: str(reason) for key, reason in [*self._missed.items(), *self._appender.refused]}
        absent = [uid for uid in there if uid not in known]
        here = (await self._whole.mailbox.status(self._folder)).messages
        line = f"{self._state.plan.local}: {len(there)} there, {len(there) - len(absent)} taken, {here} in the folder here"
        if not absent:
            if self._appender.taken or self._options.verbose:
                await self._whole.say(line)
            return
        named = [f"UID {uid}: {missed.get(uid, 'removed there meanwhile')}" for uid in absent[:SHOWN]]
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        text = f"{line}; not taken: {'; '.join(named)}{more}"
        if any(uid in missed for uid in absent):
            self._whole.outcome.differences.append(text)
        await self._whole.say(text)

    async def _delete(self, uids: list[int]) -> None:
        await self._ledger.let_go(uids)
        for start in range(0, len(uids), WINDOW):
            if not await self._client.delete(uids[start : start + WINDOW]):
                name = self._state.plan.source.name
                await self._whole.say(f"{name}: only marked as deleted there, because other messages are marked as well")


def _into(found: dict[int, Fetched]) -> Callable[[Fetched], None]:
    def take(message: Fetched) -> None:
        old = found.get(message.uid)
        if old is None:
            found[message.uid] = message
            return
        # A server may tell of one message in several responses.
        if message.flags is not None:
            old.flags = message.flags
        old.date, old.size = message.date or old.date, message.size or old.size
        if message.body is not None:
            if isinstance(old.body, Spool):
                old.body.abandon()
            old.body = message.body

    return take


def _abandon(found: dict[int, Fetched]) -> None:
    for message in found.values():
        if isinstance(message.body, Spool):
            message.body.abandon()


def _kept(flags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(flag for flag in flags if flag.lower() != "\\recent"))
