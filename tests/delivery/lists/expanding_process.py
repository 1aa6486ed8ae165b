"""A process that expands what waits in a data directory, to be killed in the middle: ``python -m ... <data directory> [held]``;
with ``held`` it stands still when the first copies have been given."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from mailstead.delivery.lists.service import Lists
from mailstead.delivery.service import Delivery
from mailstead.directory import Directory
from mailstead.mailbox.service import Mailbox
from mailstead.queue.queue_index import START
from mailstead.store.service import Store


async def main(data_dir: Path, held: bool) -> None:
    """Until nothing is left to be expanded, or the process is killed."""
    directory = Directory.open(data_dir)
    store = await Store.open(data_dir, "b0", segment_size=8 << 20)
    delivery = Delivery(store, directory, Mailbox(store, directory, directory))
    expander = Lists(delivery).expander()
    print("begun", flush=True)
    task = asyncio.create_task(expander.run())
    given = 0
    while store.queue_index.expansions(START, 1):
        if expander.counts.given != given:
            given = expander.counts.given
            print("given", flush=True)
            if held:
                time.sleep(600)  # noqa: ASYNC251 - the whole process is to stand still
        await asyncio.sleep(0.001)
    print("done", flush=True)
    await expander.stop()
    await task
    await delivery.close()
    await store.close()
    directory.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), "held" in sys.argv[2:]))
