"""The duties of mailing lists in processes that kill themselves behind their n-th durable step.

Reads lines ``[data directory, n, [verb, argument, ...]]`` (JSON) and forks for each, so that the modules are loaded once; answers
with the number of steps, or -1 where the process was killed. A step is a record in the log or a transaction of system.db: the
process dies after it is durable and before whoever waits for it goes on. With n = 0 it works to the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from mailstead.delivery.lists.service import Lists
from mailstead.delivery.service import Delivery
from mailstead.directory import Actor, Directory
from mailstead.mailbox.service import Mailbox
from mailstead.queue.queue_index import START
from mailstead.store.service import Store

ADMIN = Actor.system("test")
QUIET_LOOKS = 3


class Reaper:
    """Counts durable steps, and kills at the chosen one."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0

    def step(self, *_: object) -> None:
        self.steps += 1
        if self.steps == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def over_future(self, function: Any) -> Any:
        def called(*arguments: Any, **more: Any) -> asyncio.Future[Any]:
            future: asyncio.Future[Any] = function(*arguments, **more)
            future.add_done_callback(self.step)  # before whoever waits for it hears of it
            return future

        return called

    def over_coroutine(self, function: Any) -> Any:
        async def called(*arguments: Any, **more: Any) -> Any:
            found = await function(*arguments, **more)
            self.step()
            return found

        return called


async def _settle(store: Store, lists: Lists, later: float) -> None:
    """Until no job is left and nothing waits for the duties; ``later``: as if so many seconds had passed."""
    quiet = 0
    while quiet < QUIET_LOOKS:
        while store.queue_index.expansions(START, 1):
            quiet = 0
            await asyncio.sleep(0.005)
        await lists.upkeep(time.time() + later)
        await lists._confirmed.work()
        quiet += 1


async def work(data_dir: Path, at: int, verb: str = "", *words: str) -> int:
    """Carry out a verb if one is named, then the duties to their end; the number of steps."""
    directory = Directory.open(data_dir)
    store = await Store.open(data_dir, "b0", segment_size=8 << 20)
    delivery = Delivery(store, directory, Mailbox(store, directory, directory))
    lists = Lists(delivery)
    expander = lists.expander()
    reaper = Reaper(at)
    store.submit_message = reaper.over_future(store.submit_message)  # type: ignore[method-assign]
    store.change = reaper.over_future(store.change)  # type: ignore[method-assign]
    directory.database.write = reaper.over_coroutine(directory.database.write)  # type: ignore[method-assign]
    later = 0.0
    if verb == "reject":
        await lists.reject(int(words[0]), int(words[1]), "not here", actor=ADMIN)
    elif verb == "unsubscribe":
        await lists.unsubscribe_with_token(words[0])
    elif verb == "later":
        later = float(words[0])
    task = asyncio.create_task(expander.run())
    await _settle(store, lists, later)
    await expander.stop()
    await task
    await delivery.close()
    await store.close()
    directory.close()
    return reaper.steps


def main() -> None:
    """A process for each line."""
    for line in sys.stdin:
        path, at, words = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, b"%d" % asyncio.run(work(Path(path), at, *words)))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            steps = answer.read()
        _, status = os.waitpid(child, 0)
        assert steps or os.WTERMSIG(status) == signal.SIGKILL, status
        print(steps or -1, flush=True)


if __name__ == "__main__":
    main()
