"""A second process that changes the mailboxes of test_notify.py.

    python -m tests.imap.acting_process DIR WRITER

Reads orders as lines ("append Sent", "create name", "delete name", "subscribe name"), answers each with "done", and ends
when its input does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.store.service import Store
from tests.imap.conftest import ACCOUNT, Accounts, message


async def obey(mailbox: Mailbox, verb: str, name: str) -> None:
    if verb == "create":
        await mailbox.create_folder(ACCOUNT, name)
    elif verb == "delete":
        await mailbox.delete_folder(ACCOUNT, name)
    elif verb == "subscribe":
        await mailbox.set_subscribed(ACCOUNT, name, True)
    elif verb == "append":
        folder = await mailbox.folder(ACCOUNT, name)
        assert folder is not None
        await mailbox.append(folder, [NewMessage(message())])


async def main(root: Path, writer: str) -> None:
    store = await Store.open(root, writer, prepared=True, segment_size=4 << 20)
    mailbox = Mailbox(store, Accounts(next(iter(store._readers))))
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() != "ready":
            await obey(mailbox, *line.split())
        print("done", flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
