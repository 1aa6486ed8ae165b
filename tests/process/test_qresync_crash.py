"""QRESYNC after any crash gives a client exactly the truth.

A real server with two workers; clients that append, store, expunge, move and copy at random while a worker, or all processes,
die by kill -9.  Afterwards each client comes back with what it was told last (RFC 7162 section 3.2.5) and must then hold what a
session sees that asks for everything; what was acknowledged is there under the UID that was named, what vanished stays away.
`MAILSTEAD_CRASHES` multiplies the number of seeds.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import PASSWORD
from tests.imap.conftest import Client, message
from tests.imap.mirror import Mirror, compact, expand
from tests.ports import free_offset
from tests.process.conftest import PATIENCE, Running, said_by, wait_for

SEEDS = int(os.environ.get("MAILSTEAD_CRASHES", "1"))
ROUNDS = 4
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "$Work"]
_fetch = re.compile(rb"\* \d+ FETCH \((.*)\)\Z", re.S)
_copied = re.compile(rb"OK \[COPYUID \d+ ([\d:,]+) ([\d:,]+)\]")


class Server:
    """A demonstration that can be killed and started again on the same data."""

    def __init__(self, data: Path) -> None:
        self.data, self.offset = data, free_offset()
        self.start()

    def start(self) -> None:
        """Start and wait until it serves."""
        words = [sys.executable, "-m", "mailstead", "demo", "--data", str(self.data), "--workers", "2"]
        self.popen = subprocess.Popen(
            [*words, "--port-offset", str(self.offset)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.running = Running(self.data, 0, self.popen)
        said_by(self.popen, "Ready")

    def kill_worker(self, rng: random.Random) -> int:
        """One worker dies; its process id."""
        pid = self.running.children()[rng.choice(["w0", "w1"])]
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_all(self) -> None:
        """Every process dies, the supervisor first so that it starts none again."""
        pids = list(self.running.children().values())
        self.popen.kill()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it left when it lost its supervisor
        self.popen.wait(PATIENCE)
        wait_for(lambda: not self.running.children())

    async def client(self) -> Client:
        """A session of alice; a port that answers no more (a worker is starting) is tried again."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", 2143 + self.offset, limit=1 << 22)
                    client = Client(reader, writer)
                    if (await client.line()).startswith(b"* OK"):
                        await client.ok(f"LOGIN alice@example.test {PASSWORD}")
                        return client
                except OSError:
                    pass  # nobody listens yet
                await asyncio.sleep(0.05)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path / "demo")
    yield started
    started.kill_all()


class Promises:
    """What was acknowledged by anybody."""

    def __init__(self) -> None:
        self.subjects: dict[str, dict[int, bytes]] = {"INBOX": {}, "Box": {}}
        self.may_go: set[int] = set()
        self.gone: set[int] = set()

    def made(self, box: str, uid: int, subject: bytes) -> None:
        """A UID was given out."""
        assert self.subjects[box].setdefault(uid, subject) == subject, f"UID {uid} of {box} was given twice"


class Worker(Mirror):
    """One client that works at random."""

    silent: dict[int, tuple[str, frozenset[str]]] = {}
    promises: Promises
    broken = False
    heard: object = None

    async def live(self, rng: random.Random, promises: Promises, enough: asyncio.Event) -> None:
        """Until the connection breaks, or it is enough."""
        try:
            while not enough.is_set():
                await self.act(rng, promises)
        except (OSError, EOFError):
            self.broken = True  # the worker died

    async def act(self, rng: random.Random, promises: Promises) -> None:
        """One command."""
        known = self.known
        kind = rng.choice(["append", "append", "store", "store", "store", "expunge", "move", "copy", "noop"])
        if kind == "append" or not known:
            subject = f"{self.name} {rng.random()}"
            octets = message(subject)
            box = rng.choice(["INBOX", "INBOX", "INBOX", "Box"])
            _, reply = await self.command(b"APPEND %b {%d+}\r\n%b" % (box.encode(), len(octets), octets))
            found = re.match(rb"OK \[APPENDUID \d+ (\d+)\]", reply)
            assert found, reply
            promises.made(box, int(found[1]), subject.encode())
        elif kind == "store":
            uids = sorted(rng.sample(known, min(len(known), rng.randrange(1, 4))))
            mode, flags = rng.choice(["+FLAGS", "-FLAGS", "FLAGS"]), rng.sample(FLAGS, 2)
            if rng.random() < 0.2:
                mode, flags = "+FLAGS", ["\\Deleted"]
                promises.may_go.update(uids)
            self.silent = {uid: (mode, frozenset(flags)) for uid in uids}
            words = f"UID STORE {compact(uids)}"
            if None not in self.uids and rng.random() < 0.5:
                words = "STORE " + compact([self.uids.index(uid) + 1 for uid in uids])
            _, reply = await self.command(
                f"{words} {mode}{rng.choice(['', '.SILENT'])} ({' '.join(flags)})", expunge_allowed=words.startswith("UID")
            )
            self.silent = {}
            assert reply.startswith(b"OK"), reply
        elif kind == "expunge":
            _, reply = await self.command("EXPUNGE")
            assert reply.startswith(b"OK"), reply
        elif kind in ("move", "copy"):
            uid = rng.choice(known)
            if kind == "move":
                promises.may_go.add(uid)
            untagged, reply = await self.command(f"UID {kind.upper()} {uid} Box")
            assert reply.startswith(b"OK"), reply
            for line in [*[line[2:] for line in untagged], reply]:
                if found := _copied.match(line):
                    subject = promises.subjects["INBOX"].get(uid)
                    if subject is not None:
                        promises.made("Box", int(found[2]), subject)
                    if kind == "move":
                        promises.gone.add(uid)
        else:
            await self.command("NOOP")
        if None in self.uids and rng.random() < 0.7:
            await self.learn()

    def learned(self, uid: int, items: bytes, command: str | bytes) -> None:
        """As for every client; a change that was asked for in silence is done where its modseq comes."""
        if b"FLAGS" not in items and uid in self.silent and uid in self.flags:
            mode, flags = self.silent[uid]
            have = self.flags[uid]
            self.flags[uid] = have | flags if mode == "+FLAGS" else have - flags if mode == "-FLAGS" else flags
        super().learned(uid, items, command)

    def drop(self, gone: set[int]) -> None:
        """What one client was told to have vanished is gone for all and for ever."""
        self.promises.gone |= gone
        super().drop(gone)

    def agree(self, flags: dict[int, frozenset[str]]) -> None:
        """What is known is the truth."""
        assert self.uids == sorted(flags), (self.name, self.heard)
        wrong = {uid: (have, flags[uid]) for uid, have in self.flags.items() if have != flags[uid]}
        assert wrong == {}, (self.name, self.heard)

    async def come_back(self, server: Server, rng: random.Random) -> None:
        """Reconnect, and bring what is known up to date."""
        self.client, self.broken = await server.client(), False
        await self.client.ok("ENABLE QRESYNC" if self.qresync else "ENABLE CONDSTORE")
        at = self.uids.index(None) if None in self.uids else len(self.uids)
        known, flags, self.silent = [uid for uid in self.uids[:at] if uid is not None], dict(self.flags), {}
        if not self.qresync or not self.uidvalidity:
            self.forget()
            untagged, reply = await self.command("SELECT INBOX")
            validity = next(line for line in untagged if b"UIDVALIDITY" in line)
            self.uidvalidity = int(validity.split()[3].rstrip(b"]"))
            await self.learn()
            return
        words = f" {compact(known)}" if known and rng.random() < 0.7 else ""
        untagged, reply = await self.client.command(f"SELECT INBOX (QRESYNC ({self.uidvalidity} {max(self.modseq, 1)}{words}))")
        assert reply.startswith(b"OK [READ-WRITE]"), reply
        assert b"* OK [UIDVALIDITY %d] UIDs valid" % self.uidvalidity in untagged
        exists = next(int(line.split()[1]) for line in untagged if line.endswith(b" EXISTS"))
        here, highest = set(known), 0
        modseqs = self.modseqs
        self.forget()
        for line in untagged:
            if line.startswith(b"* VANISHED (EARLIER) "):
                here -= set(expand(line.split()[3]))
            elif fetch := _fetch.match(line):
                uid = int(re.search(rb"UID (\d+)", fetch[1])[1])  # type: ignore[index]
                if uid in here or not words:
                    here.add(uid)
                    flags[uid] = frozenset(re.search(rb"FLAGS \(([^)]*)\)", fetch[1])[1].decode().split())  # type: ignore[index]
            elif found := re.search(rb"\[HIGHESTMODSEQ (\d+)\]", line):
                highest = int(found[1])
        self.heard = known, words, untagged
        assert highest >= max(modseqs.values(), default=0), "HIGHESTMODSEQ fell back below what was told"
        last = max(known, default=0)
        new = await self.client.ok(f"UID FETCH {last + 1}:* (UID FLAGS)")
        for line in new:
            if (fetch := _fetch.match(line)) and (uid := int(re.search(rb"UID (\d+)", fetch[1])[1])) > last:  # type: ignore[index]
                here.add(uid)
                flags[uid] = frozenset(re.search(rb"FLAGS \(([^)]*)\)", fetch[1])[1].decode().split())  # type: ignore[index]
        assert len(here) == exists, (self.name, sorted(here), untagged)
        self.uids, self.flags, self.modseq = sorted(here), {uid: flags[uid] for uid in here if uid in flags}, highest


async def truth(client: Client, box: str) -> tuple[dict[int, frozenset[str]], dict[int, bytes]]:
    """Flags and subjects by UID."""
    await client.ok(f"EXAMINE {box}")
    flags, subjects = {}, {}
    for line in await client.ok("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
        if found := re.match(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\).*Subject: ([^\r]*)", line, re.S):
            flags[int(found[1])] = frozenset(found[2].decode().split())
            subjects[int(found[1])] = found[3]
    return flags, subjects


@pytest.mark.timeout(900)  # several starts, each as slow as the machine is busy
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_clients_hold_the_truth_after_a_crash(server: Server, seed: int) -> None:
    rng = random.Random(seed)
    promises = Promises()
    first = await server.client()
    await first.ok("CREATE Box")
    clients = []
    for number in range(6):
        worker = Worker(first, f"c{number}", condstore=True, qresync=number < 4)
        worker.promises = promises
        clients.append(worker)
    for worker in clients:
        await worker.come_back(server, rng)
    for round_ in range(ROUNDS):
        enough = asyncio.Event()
        tasks = [asyncio.create_task(worker.live(random.Random(rng.random()), promises, enough)) for worker in clients]
        await asyncio.sleep(rng.uniform(0.05, 0.8))
        while len(promises.subjects["INBOX"]) <= 50 * (round_ + 1) / ROUNDS and not all(task.done() for task in tasks):  # noqa: ASYNC110 - what others promise sends no event
            await asyncio.sleep(0.05)  # a busy machine does less in that time
        if (round_ + seed) % 2:
            server.kill_all()
        else:
            victim = server.kill_worker(rng)
        await asyncio.sleep(rng.uniform(0, 0.1))
        for worker in clients:  # of those of the other worker some break off, too
            if rng.random() < 0.5:
                worker.client.writer.transport.abort()
        enough.set()
        await asyncio.gather(*tasks)
        if (round_ + seed) % 2:
            await asyncio.to_thread(server.start)
        else:
            await asyncio.to_thread(wait_for, lambda victim=victim: victim not in server.running.children().values())
        observer = await server.client()
        for worker in clients:
            seen, flags = None, await truth(observer, "INBOX")
            while seen != flags:  # the last command of a connection that broke off may still have been under way
                seen = flags
                if not worker.broken and not worker.client.writer.transport.is_closing():
                    try:
                        await worker.command("NOOP")
                        await worker.command("UID FETCH 1:* (UID)")
                    except (OSError, EOFError):
                        worker.broken = True  # it died between two commands
                if worker.broken or worker.client.writer.transport.is_closing():
                    await worker.come_back(server, rng)
                    worker.broken = True
                flags = await truth(observer, "INBOX")
            worker.agree(flags[0])
            await worker.learn()
            assert {uid: worker.flags[uid] for uid in flags[0]} == flags[0]
            worker.broken = False
        _, subjects = await truth(observer, "INBOX")
        _, copies = await truth(observer, "Box")
        for uid, subject in promises.subjects["Box"].items():
            assert copies.get(uid) == subject, f"{uid} of Box was acknowledged and is lost"
        for uid, subject in promises.subjects["INBOX"].items():
            assert subjects.get(uid, subject) == subject
            assert uid in subjects or uid in promises.may_go, f"{uid} was acknowledged and is lost"
        assert not promises.gone & set(subjects), "what was gone is back"
        for uid, subject in subjects.items():
            promises.made("INBOX", uid, subject)
        for uid, subject in copies.items():
            promises.made("Box", uid, subject)
        await observer.close()
    assert len(promises.subjects["INBOX"]) > 50, "nothing to speak of happened"
