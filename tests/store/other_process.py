"""A second process on the store of test_processes.py.

    python -m tests.store.other_process DIR WRITER

Reads orders as lines of JSON, answers each with a line of JSON, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from mailstead.mailbox.errors import OverQuota
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.store import service
from mailstead.store.service import Store
from tests.store.workload import SHARDS, Limits, text


class Limited:
    messages = 0

    def account(self, account_id: int) -> Limits:
        return Limits(account_id % SHARDS, 0, self.messages)


async def obey(mailbox: Mailbox, accounts: Limited, verb: str, *rest: object) -> object:
    if verb == "ready":
        return "ready"
    account = int(str(rest[0]))
    inbox = await mailbox.folder(account, "INBOX")
    assert inbox is not None
    match verb, *rest[1:]:
        case "append", int(count):
            return [(await mailbox.append(inbox, [NewMessage(text(f"o{n}"))])).uids[0] for n in range(count)]
        case "fill", int(count), int(limit):
            accounts.messages = limit
            stored = 0
            for number in range(count):
                try:
                    await mailbox.append(inbox, [NewMessage(text(f"q{number}"))])
                    stored += 1
                except OverQuota:
                    pass
            return stored
        case "flags", list(uids), str(flag):
            view = await mailbox.open(inbox)
            await mailbox.store_flags(view, uids, "add", [flag], durable=True)
            view.release()
        case ("expunge",):
            view = await mailbox.open(inbox)
            await mailbox.expunge(view, None)
            view.release()
        case "delete", str(name):
            await mailbox.delete_folder(account, name)
    return "done"


async def main(root: Path, writer: str) -> None:
    service.SWEEP_SECONDS = 3600.0  # what others hear of is not owed to the sweep
    accounts = Limited()
    store = await Store.open(root, writer, SHARDS, prepared=True)
    mailbox = Mailbox(store, accounts)
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer = await obey(mailbox, accounts, *json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
