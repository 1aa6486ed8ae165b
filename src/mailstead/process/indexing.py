"""The background process's duty to keep the search index: it starts the process that does the work, and counts.

Invariants: nothing is done in the event loop but short reads; the worker runs only while there is something to do; one
that fails is started again after a pause that doubles, up to PAUSES_UP_TO seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import apsw

from mailstead.observe import metrics
from mailstead.observe.log import get_logger
from mailstead.process import index_helper
from mailstead.settings import Settings
from mailstead.store.files import Files
from mailstead.store.schema import SchemaTooNew
from mailstead.store.search_indexer import is_needed
from mailstead.store.search_jobs import is_asked_for, pending
from mailstead.store.service import Store

log = get_logger("SERVER")

ROUND_SECONDS = 2.0
#: Rounds that a few jobs wait for company, and how many do not wait.
ROUNDS_TO_WAIT = 5
MANY = 200
#: Rounds between two looks for work that no job tells of (a file that is missing or damaged).
ROUNDS_TO_LOOK = 60
PAUSES_UP_TO = 600.0
COUNT_UP_TO = 100_000


class Indexing:
    """``run`` until cancelled."""

    def __init__(self, data_dir: Path, store: Store, settings: Settings) -> None:
        self._data_dir = data_dir
        self._store = store
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._attachments = False
        self._waited = 0
        self._rounds = 0
        self._pause = 0.0
        self._not_before = 0.0

    async def run(self) -> None:
        """Start the worker whenever there is work, until cancelled."""
        try:
            while True:
                await asyncio.sleep(ROUND_SECONDS)
                try:
                    await self._round()
                except (apsw.Error, OSError, SchemaTooNew) as exc:  # the index is busy or the system short of something: later
                    log.warning("the search index is put off", reason=str(exc))
        finally:
            await self._stop()

    async def _round(self) -> None:
        server = self._settings.service("server")
        attachments = bool(server.indexAttachments)
        waiting = 0
        for number in self._store.shards:
            waiting += pending(self._store.reader(number), MANY)
            await asyncio.sleep(0)
        self._rounds += 1
        if self._rounds % 5 == 1:
            await self._count()
        if self._process is not None:
            if self._process.returncode is not None:
                self._ended(self._process.returncode)
            elif attachments != self._attachments or not server.maxIndexingThreads:
                await self._stop()
            return
        if not server.maxIndexingThreads or asyncio.get_running_loop().time() < self._not_before:
            return
        self._waited = self._waited + 1 if waiting else 0
        wanted = waiting >= MANY or self._waited >= ROUNDS_TO_WAIT
        if waiting and not wanted:
            wanted = any(is_asked_for(self._store.reader(number)) for number in self._store.shards)
        if not wanted and self._rounds % ROUNDS_TO_LOOK == 2:
            wanted = await asyncio.to_thread(self._look)
        if wanted:
            await self._start(attachments)

    def _look(self) -> bool:
        files = Files()
        return any(is_needed(self._data_dir / "index", number, files) for number in self._store.shards)

    async def _count(self) -> None:
        jobs = 0
        for number in self._store.shards:
            jobs += pending(self._store.reader(number), COUNT_UP_TO)
            await asyncio.sleep(0)
        metrics.search_jobs.set(jobs)

    async def _start(self, attachments: bool) -> None:
        self._waited, self._attachments = 0, attachments
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mailstead.process.index_helper",
            str(self._data_dir), str(len(self._store.shards)), "yes" if attachments else "no", index_helper.schema(),
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip

    def _ended(self, status: int) -> None:
        self._process = None
        if status == 0:
            self._pause = 0.0
            return
        self._pause = min(PAUSES_UP_TO, max(5.0, self._pause * 2))
        self._not_before = asyncio.get_running_loop().time() + self._pause
        log.error("the process that fills the search index failed", status=status, again_in=self._pause)

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # it may be killed at any moment; see index_helper
        await process.wait()
