"""Killed at any moment, a copy goes on, and each message is here exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from mailstead.mailbox.model import NewMessage
from mailstead.migration.jobs import LIVE
from mailstead.migration.ledger import Ledger, digest
from mailstead.settings.database import SystemDatabase
from tests.migration.conftest import ADMIN, Here, open_here, text
from tests.migration.fake_imap import FakeFolder, FakeImap

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("MAILSTEAD_CRASHES", "6"))
MESSAGES = 3000


async def test_killed_while_copying(tmp_path: Path) -> None:
    data = tmp_path / "data"
    here, close = await open_here(data)
    wanted = {n: text(n, 600_000 if n % 500 == 0 else 4_000) for n in range(1, MESSAGES + 1)}
    fake = await FakeImap({"INBOX": FakeFolder(messages=wanted), "Other": FakeFolder(messages={5: text(5)})}).start()
    await here.service.start(here.account.id, **fake.source, actor=ADMIN)
    await close()  # type: ignore[misc]
    random.seed(os.getpid())
    kills = 0
    database = SystemDatabase.open(data)
    while True:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.migration.runner_process", str(data), cwd=ROOT, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        await child.stdout.readline()
        # Killed after a number of messages of chance, for machines differ in speed.
        end = time.monotonic() + 300
        last = kills >= ROUNDS
        enough = fake.given + random.randint(1, max(2, MESSAGES // (2 * ROUNDS)))
        while time.monotonic() < end and (last or fake.given < enough):
            state = database.query_row("SELECT state FROM migration_job")
            if state and state[0] not in LIVE:
                last = True
                break
            await asyncio.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        await child.wait()
        if last:
            break
        kills += 1
    database.close()
    assert kills >= 2
    here, close = await open_here(data)
    job = here.service.job(here.account.id, actor=ADMIN)
    assert (job.state, job.taken, job.there) == ("done", MESSAGES + 1, MESSAGES + 1)
    found = [octets for octets, _, _ in await here.messages()]
    assert len(found) == MESSAGES
    assert found == list(wanted.values())
    assert len(await here.messages("Other")) == 1
    await close()  # type: ignore[misc]
    await fake.stop()


async def test_a_batch_in_doubt_is_found_by_what_lies_in_the_folder(here: Here) -> None:
    inbox = await here.folder("INBOX")
    await here.mailbox.append(inbox, [NewMessage(text(1)), NewMessage(text(2))])
    mark = (await here.mailbox.status(inbox)).uidnext
    bodies = [text(1), text(1), text(3)]
    ledger = Ledger(here.directory.database, 1, 1)
    await ledger.intend([11, 12, 13], ["", "\\Seen", ""], [digest(body) for body in bodies], mark)
    absent = Ledger(here.directory.database, 1, 1)
    absent.load()
    assert not await absent.settle(here.mailbox, inbox)  # what lay there before does not count
    assert absent.entries == {}
    intent = await absent.intend([11, 12, 13], ["", "\\Seen", ""], [digest(body) for body in bodies], mark)
    assert intent.number == 2
    uids = list((await here.mailbox.append(inbox, [NewMessage(body) for body in bodies])).uids)
    view = await here.mailbox.open(inbox)
    await here.mailbox.remove(view, [uids[1]])  # its owner was quick
    view.release()
    there = Ledger(here.directory.database, 1, 1)
    there.load()
    assert await there.settle(here.mailbox, inbox)
    assert {key: entry.uid for key, entry in there.entries.items()} == {11: uids[0], 12: 0, 13: uids[2]}
    last = Ledger(here.directory.database, 1, 1)
    last.load()
    assert last.doubtful is None
    assert last.entries[12].flags == "\\Seen"
    await last.change({12: "\\Flagged"}, [11])
    last = Ledger(here.directory.database, 1, 1)
    last.load()
    assert {key: entry.flags for key, entry in last.entries.items()} == {12: "\\Flagged", 13: ""}


async def test_killed_while_importing(tmp_path: Path) -> None:
    data, box = tmp_path / "data", tmp_path / "Maildir"
    (box / "cur").mkdir(parents=True)
    for number in range(MESSAGES):
        (box / "cur" / f"{1_500_000_000 + number}.M.host:2,S").write_bytes(text(number).replace(b"\r\n", b"\n"))
    here, close = await open_here(data)
    await close()  # type: ignore[misc]
    (data / "mailstead.toml").write_text('data_dir = "."\nshards = 1\n')
    words = [sys.executable, "-m", "mailstead", "import", "maildir", "-c", str(data), "alice@example.test", str(box)]
    database = SystemDatabase.open(data)

    def batches() -> int:
        return int(database.query("SELECT count(*) FROM migration_batch")[0][0])

    kills = 0
    while True:
        child = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        enough = batches() + random.choice((1, 1, 1, 2))
        while child.returncode is None and (kills >= ROUNDS or batches() < enough):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        if child.returncode is not None:
            break
        child.send_signal(signal.SIGKILL)
        await child.wait()
        kills += 1
    database.close()
    assert child.returncode == 0
    assert kills >= 2
    here, close = await open_here(data)
    assert [octets for octets, _, _ in await here.messages()] == [text(number) for number in range(MESSAGES)]
    await close()  # type: ignore[misc]
