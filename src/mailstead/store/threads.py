"""A thread that does blocking work for the event loop, one job after another, with little ado per job.

Invariants: jobs run in the order they were given; the callback runs in the loop, once per job, unless the loop has
closed meanwhile.  (An executor costs three times as much per job, which a sync per batch would feel.)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Callback = Callable[[Any, BaseException | None], None]


class WorkerThread:
    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callback] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], Any], callback: Callback) -> None:
        """Run ``job`` in the thread and then ``callback(result, error)`` in the loop."""
        self._jobs.put((job, callback))

    def run(self, job: Callable[[], Any]) -> asyncio.Future[Any]:
        """The same as a future."""
        future = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.submit(job, done)
        return future

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, callback = item
            result, error = None, None
            try:
                result = job()
            except BaseException as caught:  # handed to the loop, whatever it is
                error = caught
            try:
                self._loop.call_soon_threadsafe(callback, result, error)
            except RuntimeError:
                return  # the loop has closed: nobody waits any more
            del job, callback, item, result, error

    def stop(self) -> None:
        """Let queued jobs finish and end the thread."""
        self._jobs.put(None)
        self._thread.join()
