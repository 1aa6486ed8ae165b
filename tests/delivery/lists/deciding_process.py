"""A worker process in which an administrator decides: ``python -m ... <data directory> <writer> <list> approve|reject``.

Reads numbers of what waits, one a line, after it has said that it has begun; answers for each with "done" or what it was told."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mailstead.delivery.lists.service import Lists
from mailstead.delivery.service import Delivery
from mailstead.directory import Actor, Directory
from mailstead.mailbox.errors import MessageMissing
from mailstead.mailbox.service import Mailbox
from mailstead.store.service import Store

ADMIN = Actor.system("test")


async def main(data_dir: Path, writer: str, list_id: int, verb: str) -> None:
    """Until there is no line left."""
    directory = Directory.open(data_dir)
    store = await Store.open(data_dir, writer, segment_size=8 << 20)
    delivery = Delivery(store, directory, Mailbox(store, directory, directory))
    lists = Lists(delivery)
    print("begun", flush=True)
    for line in sys.stdin:
        try:
            await (lists.approve if verb == "approve" else lists.reject)(list_id, int(line), actor=ADMIN)
            print("done", flush=True)
        except MessageMissing as missing:
            print(missing, flush=True)
    await delivery.close()
    await store.close()
    directory.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))
