"""The process that is killed: the workload of workload.py, with one function that ends the process by SIGKILL.

    python -m tests.store.crash_child DIR SEED POINT WHEN NTH

POINT is ``module:qualified.name``; WHEN is before or after its NTH call. Each promise is a line on standard output,
written before the "client" could act on it, so the parent knows what must hold.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import apsw

from mailstead.mailbox.service import Mailbox
from mailstead.store import snapshot
from mailstead.store.compaction import Compactor
from mailstead.store.expiry import Expiry
from mailstead.store.files import Files
from mailstead.store.operations import QueueOutcome
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.service import QUEUE, Store
from tests.store.workload import SHARDS, Accounts, Run, text


def arm(point: str, when: str, nth: int) -> None:
    """Replace the function by one that kills the process around its nth call."""
    module_name, _, path = point.partition(":")
    owner: Any = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = inspect.getattr_static(owner, name)
    function = original.__func__ if isinstance(original, staticmethod) else original
    calls = 0

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls
        if mine == nth and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if mine == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, staticmethod(wrapped) if isinstance(original, staticmethod) else wrapped)
    # Names imported into other modules of the package must be the same function.
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("mailstead.") and getattr(module, name, None) is function:
            setattr(module, name, wrapped)


class Telling(Run):
    """Promises go to the parent at once."""

    def promise(self, *what: object) -> None:
        os.write(1, json.dumps(["promise", *what]).encode() + b"\n")

    def start(self, *what: object) -> None:
        os.write(1, json.dumps(["start", *what]).encode() + b"\n")


async def queue_up(store: Store, rounds: int) -> None:
    """Mail for elsewhere, and attempts that end."""
    for number in range(rounds):
        target = Target(TargetKind.QUEUE, QUEUE, date=1, recipient=f"q{number}@remote.test")
        head = MessageHead("s@x", 1, [target])
        (outcome,) = await store.submit_message(head, text(f"queued{number}"))
        os.write(1, json.dumps(["promise", "queued", outcome.mid]).encode() + b"\n")
        if number % 2:
            await store.change([QueueOutcome(QUEUE, outcome.mid, [(0, 1, 0, 1, 0, "250", b"")])], shown=False)
            os.write(1, json.dumps(["promise", "sent", outcome.mid]).encode() + b"\n")


async def folders(run: Run, mailbox: Mailbox, rounds: int) -> None:
    for number in range(rounds):
        name = f"box{run.token()}"
        folder = await mailbox.create_folder(300, name)
        run.promise("folder", 300, name, folder.id)
        if number % 3 == 1:
            await mailbox.rename_folder(300, name, f"{name}-new")
            run.promise("renamed", 300, name, f"{name}-new")
        if number % 3 == 2:
            await mailbox.delete_folder(300, name)
            run.promise("deleted", 300, name)


async def main(root: Path, seed: int, point: str, when: str, nth: int) -> None:
    arm(point, when, nth)
    run = Telling(root, seed)
    files = Files()
    store = await Store.open(root, "w0", SHARDS, files=files, segment_size=32 * 1024)
    other = await Store.open(root, "w1", SHARDS, files=files, prepared=True, segment_size=32 * 1024)
    boxes = [Mailbox(store, Accounts()), Mailbox(other, Accounts())]
    keeper = asyncio.create_task(run.checkpoints(root, None))
    expiry = Expiry(root / "index", list(range(SHARDS)), -1000)
    rounds = 40

    async def expire() -> None:
        while True:
            await asyncio.sleep(0.05)
            await expiry.run_once()

    compactor = Compactor(store, fill=2.0, grace=0.02)

    async def compact() -> None:
        while True:
            await asyncio.sleep(0.02)
            try:
                for number in store.indexes:
                    await asyncio.to_thread(snapshot.take_snapshot, root / "index", number, files)
                await compactor.run_once()
            except apsw.BusyError:
                continue

    keepers = [keeper, asyncio.create_task(expire()), asyncio.create_task(compact())]
    await asyncio.gather(
        run.deliver(store, rounds), run.deliver(other, rounds), run.append(boxes[0], rounds), run.append(boxes[1], rounds),
        run.transfer(boxes[0], rounds), run.transfer(boxes[1], rounds), queue_up(store, rounds),
        folders(run, boxes[1], rounds // 2),
    )  # fmt: skip
    if nth == 1:
        # The upkeep runs beside the workload and may not have come to the point yet: go on until it does (bounded).
        end = time.monotonic() + 120
        while time.monotonic() < end:
            await asyncio.gather(run.deliver(store, 2), run.transfer(boxes[0], 1), asyncio.sleep(0.03))
    for task in keepers:
        task.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)
    for close in (expiry.close, compactor.close):
        while True:
            try:
                close()
                break
            except apsw.ThreadingViolationError:  # the thread of the step that was cancelled
                await asyncio.sleep(0.01)
    await store.close()
    await other.close()
    os.write(1, b'["end"]\n')


if __name__ == "__main__":
    directory, seed_text, point_text, when_text, nth_text = sys.argv[1:]
    asyncio.run(main(Path(directory), int(seed_text), point_text, when_text, int(nth_text)))
