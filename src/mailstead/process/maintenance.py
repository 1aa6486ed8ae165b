"""Maintenance that an administrator asks for: compaction now, looking through mail, holding the store still for a backup of files.

Invariants: one task of a kind and domain at a time; what a task says is kept, bounded, until the next of its kind begins;
compaction has one user at a time, the clock or an administrator; a read lock outlives a restart of the background process and
ends by itself after a day; what reads the whole log does so in a process of its own; a repair beside the running server sets
counters alone, and says what else there is to do and how.

A task is known by its kind (compact, scan, repair, findinvalid) and domain (0 for the server's).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.service import Mailbox
from mailstead.observe.log import get_logger
from mailstead.process.background import BackgroundRefusedError, BackgroundVerbs
from mailstead.store.backup.hold import hold
from mailstead.store.counters import recount_owner
from mailstead.store.service import Store
from mailstead.store.shard import Shard
from mailstead.store.submission import Unavailable
from mailstead.store.upkeep import Upkeep

log = get_logger("JOBLOG")

SPACE_SECONDS = 240.0
MAX_LINES = 2000
LOCK_SECONDS = 86_400.0
LOCK_FILE = "readlock.json"
MAX_ROUNDS = 1000
OUTPUT_LIMIT = 1 << 20
LOCK_WAIT_SECONDS = 10.0
Say = Callable[[str], None]


@dataclass(slots=True)
class Task:
    """One task; ``first`` is the number of the first line that is still kept."""

    kind: str
    domain: int
    began: float
    state: str = "running"
    lines: list[str] = field(default_factory=list)
    first: int = 0
    work: asyncio.Task[None] | None = None
    stopping: bool = False
    """Asked to end at the next good moment."""
    again: bool = False
    """Asked for once more while it was under way."""
    forced: bool = False

    def say(self, text: str) -> None:
        """Add a line; the oldest go."""
        self.lines.append(text[:1000])
        if len(self.lines) > MAX_LINES:
            gone = len(self.lines) - MAX_LINES
            del self.lines[:gone]
            self.first += gone


class Maintenance:
    """One per background process; ``run`` does the regular part until cancelled."""

    def __init__(self, data_dir: Path, store: Store, mailbox: Mailbox) -> None:
        self._data_dir = data_dir
        self._store = store
        self._mailbox = mailbox
        self._upkeep = Upkeep(data_dir, store)
        self._compacting = asyncio.Lock()
        self._tasks: dict[tuple[str, int], Task] = {}
        self._locked: dict[int, float] = {}
        self._lock: contextlib.ExitStack | None = None
        self._holding = asyncio.Lock()
        """One taking or giving back of the files' lock at a time: a start takes it again while an administrator may ask."""

    # -- compaction ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Snapshots of the indexes, and giving back the space of what nobody wants any more, until cancelled."""
        await self._take_lock_again()
        try:
            while True:
                try:
                    async with self._compacting:
                        for line in await self._upkeep.run_once():
                            log.info(line)
                except (OSError, apsw.Error, Unavailable) as exc:  # the next round goes on where this one ended
                    log.error("compaction or snapshot put off", reason=str(exc))
                await self._end_old_lock()
                await asyncio.sleep(SPACE_SECONDS)
        finally:
            await self.close()

    async def close(self) -> None:
        """End tasks and connections; the read lock is taken again at the next start."""
        running = [task.work for task in self._tasks.values() if task.work is not None and not task.work.done()]
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        for _attempt in range(200):  # a thread may still be using a connection
            try:
                self._upkeep.close()
                return
            except apsw.ThreadingViolationError:
                await asyncio.sleep(0.05)
        log.warning("a connection to the index stays open at the end of its duty")

    async def _compact(self, task: Task) -> None:
        again = True
        while again and not task.stopping:
            await self._compact_once(task, task.forced)
            again, task.again = task.again, False
        waiting = self._upkeep.emptied
        if waiting:
            task.say(f"{waiting} segments are empty and go when no reader can know them any more, within a quarter of an hour")
        task.say("stopped between two rounds" if task.stopping else "compaction is done")

    async def _compact_once(self, task: Task, forced: bool) -> None:
        if self._locked:
            raise BackgroundRefusedError("the storages are locked for reading; READUNLOCK them first")
        if self._compacting.locked():
            task.say("the regular round is under way; waiting for its end")
        async with self._compacting:
            with self._upkeep.thorough() if forced else contextlib.nullcontext():
                for _round in range(MAX_ROUNDS):
                    lines = await self._upkeep.run_once()
                    for line in lines:
                        task.say(line)
                    if not lines or task.stopping:
                        break

    # -- looking through mail ----------------------------------------------------------------------------------------

    async def _scan(self, say: Say, arguments: Mapping[str, Any]) -> None:
        """Look through owners; with `purge` what cannot be read goes, and can be looked for in a backup."""
        owners = arguments["owners"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mailstead.process.scan_helper", str(self._data_dir),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=OUTPUT_LIMIT,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        bad: list[tuple[int, int, int]] = []
        ended = False
        try:
            request = {"owners": owners, "verbose": bool(arguments.get("verbose"))}
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
            while line := await process.stdout.readline():
                told = json.loads(line)
                if "say" in told:
                    say(str(told["say"]))
                elif "invalid" in told:
                    owner, folder, uid, text = told["invalid"]
                    bad.append((owner, folder, uid))
                    say(f"invalid: {text}")
                elif "failed" in told:
                    raise BackgroundRefusedError(f"the store cannot be read: {told['failed']}")
                else:
                    ended = True
                    count, messages, invalid, counters = told["end"]
                    say(f"{count} mailboxes, {messages} messages, {invalid} invalid messages, {counters} wrong counters")
                    if counters and not arguments.get("amend"):
                        say("REPAIR puts the counters right, beside the running server")
                    if invalid and not arguments.get("purge"):
                        say(
                            "FINDINVALIDMSG with purge removes what cannot be read; `mailstead fsck --repair`, with the server "
                            "stopped, does so too and keeps what is left of it under lost/; `mailstead restore` looks into backups"
                        )
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if not ended:
            raise BackgroundRefusedError("the process that looked through the mail was ended")
        if arguments.get("purge"):
            say(f"{await self._purge(bad, say)} messages removed")

    async def _repair(self, task: Task, arguments: Mapping[str, Any]) -> None:
        """Look through owners, and put their counters right; the rest needs the server stopped, and is said."""
        await self._scan(task.say, {**arguments, "amend": True})
        by_shard: dict[int, list[tuple[int, str]]] = {}
        for owner, shard, name in arguments["owners"]:
            by_shard.setdefault(int(shard), []).append((int(owner), str(name)))
        amended = 0
        for number, owners in sorted(by_shard.items()):
            amended += await asyncio.to_thread(self._recount, task, number, owners)
        task.say(f"{amended} counters put right" if amended else "no counter had to be put right")
        task.say("rows and references of messages: `mailstead fsck` tells, and --repair with the server stopped puts them right")

    def _recount(self, task: Task, number: int, owners: list[tuple[int, str]]) -> int:
        handle = Shard(self._data_dir / "index", number, self._store.files)
        amended = 0
        try:
            handle.wait_for_lock(LOCK_WAIT_SECONDS)
            for owner, name in owners:
                if task.stopping:
                    break
                for text in recount_owner(handle, owner):
                    amended += 1
                    task.say(f"{name}: {text}")
        finally:
            handle.close()
        return amended

    async def _purge(self, bad: list[tuple[int, int, int]], say: Say) -> int:
        by_folder: dict[tuple[int, int], list[int]] = {}
        for owner, folder, uid in bad:
            by_folder.setdefault((owner, folder), []).append(uid)
        removed = 0
        for (owner, number), uids in by_folder.items():
            place = next((one for one in await self._mailbox.folders(owner) if one.id == number), None)
            if place is None:
                continue
            try:
                view = await self._mailbox.open(place)
                try:
                    removed += len(await self._mailbox.remove(view, uids))
                finally:
                    view.release()
            except MailboxError as error:
                say(f"{place.name}: not removed: {error}")
        return removed

    # -- holding the store still -------------------------------------------------------------------------------------

    def _lock_path(self) -> Path:
        return self._data_dir / "run" / LOCK_FILE

    async def _take_lock_again(self) -> None:
        try:
            kept = json.loads(await asyncio.to_thread(self._lock_path().read_text))
            self._locked = {int(domain): float(since) for domain, since in kept.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError, TypeError) as error:
            log.error("a read lock of the storages cannot be read and is forgotten", reason=str(error))
            return
        await self._end_old_lock()
        if self._locked:
            log.warning("the storages are still locked for reading; READUNLOCK Storages ends that")
            await self._hold()

    async def _end_old_lock(self) -> None:
        late = [domain for domain, since in self._locked.items() if time.time() - since > LOCK_SECONDS]
        for domain in late:
            log.warning("a read lock of the storages ended after a day", domain=domain)
            await self._unlock(domain)

    async def _hold(self) -> None:
        async with self._holding:
            if self._lock is None and self._locked:
                stack = contextlib.ExitStack()
                # Waits for a removal of files that is under way.
                await asyncio.to_thread(stack.enter_context, hold(self._data_dir / "index"))
                self._lock = stack

    async def _let_go(self) -> None:
        async with self._holding:
            if self._lock is not None and not self._locked:
                self._lock.close()
                self._lock = None

    async def _lock_storages(self, domain: int) -> list[str]:
        if domain in self._locked:
            raise BackgroundRefusedError("the storages are locked for reading already")
        self._locked[domain] = time.time()
        await self._note_lock()
        await self._hold()
        return [
            "no file of the log is removed or rewritten until READUNLOCK, a day at most; mail goes on being taken",
            "copy index/ first and log/ last: the log is replayed into the index, and builds a file anew that was copied torn",
            "index/system.db cannot be built from the log: copy it with SQLite's backup; `mailstead backup` does all this",
        ]

    async def _unlock(self, domain: int) -> None:
        if self._locked.pop(domain, None) is None:
            raise BackgroundRefusedError("the storages are not locked for reading")
        await self._note_lock()
        await self._let_go()

    async def _note_lock(self) -> None:
        path = self._lock_path()
        if self._locked:
            await asyncio.to_thread(path.write_text, json.dumps(self._locked))
        else:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    # -- tasks -------------------------------------------------------------------------------------------------------

    def _running(self, kind: str, domain: int) -> Task | None:
        known = self._tasks.get((kind, domain))
        return known if known is not None and known.state == "running" else None

    def _start(self, kind: str, domain: int, work: Callable[[Task], Awaitable[None]], *, forced: bool = False) -> None:
        if self._running(kind, domain) is not None:
            raise BackgroundRefusedError(f"{kind} is under way already; ATTACH shows it, ABORT ends it")
        task = self._tasks[kind, domain] = Task(kind, domain, time.time(), forced=forced)

        async def run() -> None:
            try:
                await work(task)
                task.state = "aborted" if task.stopping else "done"
            except asyncio.CancelledError:
                task.state = "aborted"
                task.say("aborted")
                raise
            except (BackgroundRefusedError, OSError, apsw.Error, Unavailable, MailboxError) as error:
                task.state = "failed"
                task.say(f"failed: {error}")
            log.info("maintenance ended", task=kind, domain=domain, outcome=task.state)

        log.info("maintenance began", task=kind, domain=domain)
        task.work = asyncio.create_task(run(), name=f"maintenance {kind}")

    def offer(self, verbs: BackgroundVerbs) -> None:
        """The administrator's verbs."""

        async def start(arguments: Mapping[str, Any]) -> bool:
            """False where one is under way that does what is asked for at its end."""
            kind, domain = str(arguments["kind"]), int(arguments["domain"])
            if kind == "compact":
                if self._locked:
                    raise BackgroundRefusedError("the storages are locked for reading; READUNLOCK them first")
                forced, known = bool(arguments.get("forced")), self._running(kind, domain)
                if known is not None and not known.stopping:
                    known.again, known.forced = True, known.forced or forced
                    return False
                self._start(kind, domain, self._compact, forced=forced)
            elif kind == "repair":
                self._start(kind, domain, lambda task: self._repair(task, arguments))
            elif kind in ("scan", "findinvalid"):
                self._start(kind, domain, lambda task: self._scan(task.say, arguments))
            else:
                raise BackgroundRefusedError(f"there is no task {kind[:40]}")
            return True

        async def lines(arguments: Mapping[str, Any]) -> dict[str, Any]:
            task = self._tasks.get((str(arguments["kind"]), int(arguments["domain"])))
            if task is None:
                raise BackgroundRefusedError("there is nothing to show: none was begun since the background process started")
            after = max(int(arguments["after"]), task.first)
            return {"state": task.state, "lines": task.lines[after - task.first :], "next": task.first + len(task.lines)}

        async def abort(arguments: Mapping[str, Any]) -> None:
            task = self._tasks.get((str(arguments["kind"]), int(arguments["domain"])))
            if task is None or task.state != "running" or task.work is None:
                raise BackgroundRefusedError("none is under way")
            task.stopping = True
            if task.kind != "compact":  # a round of that is ended whole, for its threads cannot be stopped
                task.work.cancel()
                await asyncio.gather(task.work, return_exceptions=True)
                if task.state == "running":  # it had not come to its first step
                    task.state = "aborted"

        async def listing(arguments: Mapping[str, Any]) -> list[list[Any]]:
            tasks = [[task.kind, task.domain, task.began, task.state] for task in self._tasks.values() if task.state == "running"]
            return [*tasks, *(["readlock", domain, since, "held"] for domain, since in self._locked.items())]

        async def lock(arguments: Mapping[str, Any]) -> list[str]:
            return await self._lock_storages(int(arguments["domain"]))

        async def unlock(arguments: Mapping[str, Any]) -> None:
            await self._unlock(int(arguments["domain"]))

        for name, verb in (
            ("maintenance.start", start), ("maintenance.lines", lines), ("maintenance.abort", abort),
            ("maintenance.list", listing), ("maintenance.lock", lock), ("maintenance.unlock", unlock),
        ):  # fmt: skip
            verbs.add(name, verb)
