"""A workload whose every promise is noted, and the check that a recovered store keeps them.

Two writers deliver, append, copy, move between accounts and shards, expunge and flag, while checkpoints, expiry and
compaction run; each promise (an answer to a
client) is an event on the recording disk, so that for a cut at event k it is known what had been promised by then.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import apsw

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.store.checkpoint import Checkpointer
from mailstead.store.compaction import Compactor
from mailstead.store.expiry import Expiry
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.segment import LogReader
from mailstead.store.service import Store, prepare
from mailstead.store.shard import Shard, shard_path
from mailstead.store.snapshot import take_snapshot
from mailstead.store.submission import Unavailable
from tests.store.recording_disk import Disk, RecordingFiles, RecordingVFS

SHARDS = 2
RECEIVERS = range(100, 104)
MOVERS = range(200, 204)


@dataclass(frozen=True)
class Limits:
    shard: int
    quota_bytes: int = 0
    quota_messages: int = 0


class Accounts:
    """Account n lives in shard n mod 2."""

    def account(self, account_id: int) -> Limits:
        return Limits(account_id % SHARDS)


def text(token: str, size: int = 200) -> bytes:
    return b"From: a@b.test\r\nSubject: %b\r\nMessage-ID: <%b@t>\r\n\r\n" % (token.encode(), token.encode()) + b"x" * size + b"\r\n"


class Run:
    """One recorded run. ``promises`` are (event number, kind, ...)."""

    def __init__(self, root: Path, seed: int) -> None:
        self.disk = Disk(root)
        self.rng = random.Random(seed)
        self.promises: list[tuple] = []
        self.started: list[tuple] = []
        self.count = 0
        self.compacted = 0

    def token(self) -> str:
        self.count += 1
        return f"m{self.count}"

    def promise(self, *what: object) -> None:
        self.promises.append((self.disk.note("promise"), *what))

    def start(self, *what: object) -> None:
        self.started.append((self.disk.note("start"), *what))

    async def deliver(self, store: Store, rounds: int) -> None:
        for _ in range(rounds):
            token = self.token()
            accounts = self.rng.sample(list(RECEIVERS), self.rng.choice((1, 1, 2, 3)))
            targets = [Target(TargetKind.FOLDER, a % SHARDS, a, date=1) for a in accounts]
            try:
                await store.submit_message(MessageHead("s@x", int(time.time()), targets), text(token, self.rng.choice((50, 3000))))
            except Unavailable:
                self.promise("refused", token)
                continue
            self.promise("delivered", token, tuple(accounts))

    async def append(self, mailbox: Mailbox, rounds: int) -> None:
        for _ in range(rounds):
            account = self.rng.choice(list(RECEIVERS))
            folder = await mailbox.folder(account, "INBOX")
            assert folder is not None
            tokens = [self.token() for _ in range(self.rng.choice((1, 1, 3)))]
            size = self.rng.choice((100, 100, 300_000)) if len(tokens) == 1 else 100
            self.start("append", tuple(tokens), account)
            result = await mailbox.append(folder, [NewMessage(text(t, size)) for t in tokens])
            for token, uid in zip(tokens, result.uids, strict=True):
                self.promise("delivered", token, (account,))
                self.promise("uid", folder.id, folder.shard, uid, token)

    async def transfer(self, mailbox: Mailbox, rounds: int) -> None:
        for _ in range(rounds):
            source, target = self.rng.sample(list(MOVERS), 2)
            inbox, other = await mailbox.folder(source, "INBOX"), await mailbox.folder(target, "Archive")
            assert inbox is not None
            assert other is not None
            tokens = [self.token() for _ in range(3)]
            added = await mailbox.append(inbox, [NewMessage(text(t)) for t in tokens])
            view = await mailbox.open(inbox)
            kind = self.rng.choice(("copy", "move", "move", "expunge", "flag", "replace"))
            if kind in ("copy", "move"):
                self.start(kind, tuple(tokens), inbox.id, other.id)
                verb = mailbox.copy if kind == "copy" else mailbox.move
                result = await verb(view, added.uids, other)
                self.promise(kind, tuple(tokens), inbox.id, other.id)
                for token, uid in zip(tokens, result.target_uids, strict=True):
                    self.promise("uid", other.id, other.shard, uid, token)
            elif kind == "expunge":
                await mailbox.store_flags(view, added.uids, "add", ["\\Deleted"], durable=True)
                self.start("expunge", tuple(tokens), inbox.id)
                await mailbox.expunge(view, added.uids)
                self.promise("expunge", tuple(tokens), inbox.id)
            elif kind == "replace":
                sent = await mailbox.folder(source, "Sent")
                assert sent is not None
                for old, uid in zip(tokens, added.uids, strict=True):
                    new, into = self.token(), self.rng.choice((inbox, sent, other))
                    self.start("replace", (old, new), inbox.id, into.id)
                    size = self.rng.choice((100, 300_000))
                    result = await mailbox.replace(view, uid, into, NewMessage(text(new, size)))
                    self.promise("replace", (old, new), inbox.id, into.id)
                    self.promise("uid", into.id, into.shard, result.uids[0], new)
            else:
                stored = await mailbox.store_flags(view, added.uids, "add", ["\\Flagged", "kw"], durable=True)
                self.promise("flag", tuple(tokens), inbox.id, inbox.shard, stored.modseq)
            view.release()

    async def compaction(self, store: Store, vfs: str | None) -> None:
        """Snapshots, and every segment older than them rewritten, whatever its fill."""
        compactor = Compactor(store, fill=2.0, grace=0.01, vfs=vfs)
        expiry = Expiry(store.data_dir / "index", list(store.shards), -1000, store.files, vfs)
        try:
            while True:
                await asyncio.sleep(0.005)
                try:
                    await expiry.run_once()
                    for number in store.indexes:
                        await asyncio.to_thread(take_snapshot, store.data_dir / "index", number, store.files, vfs)
                    self.compacted += await compactor.run_once()
                except (apsw.BusyError, Unavailable):
                    continue
        finally:
            while True:
                try:
                    compactor.close()
                    expiry.close()
                    break
                except apsw.ThreadingViolationError:  # the thread of the step that was cancelled
                    await asyncio.sleep(0.01)

    async def checkpoints(self, root: Path, vfs: str | None) -> None:
        keeper = Checkpointer([shard_path(root / "index", n) for n in range(SHARDS)], vfs)
        try:
            while True:
                await asyncio.sleep(0.03)
                for n in range(SHARDS):
                    await asyncio.to_thread(keeper.checkpoint, shard_path(root / "index", n))
        finally:
            keeper.close()


async def record(
    root: Path, seed: int, *, rounds: int = 25, files_class: type[RecordingFiles] = RecordingFiles, compacting: bool = True
) -> Run:
    """Run the workload on a recording disk."""
    run = Run(root, seed)
    name = f"recording-{root.name}-{seed}"
    vfs = RecordingVFS(name, run.disk)
    files = files_class(run.disk)
    first = await Store.open(root, "w0", SHARDS, files=files, vfs=name, segment_size=16 * 1024)
    second = await Store.open(root, "w1", SHARDS, files=files, vfs=name, prepared=True, segment_size=16 * 1024)
    boxes = [Mailbox(first, Accounts()), Mailbox(second, Accounts())]
    keepers = [asyncio.create_task(run.checkpoints(root, name))]
    if compacting:
        keepers.append(asyncio.create_task(run.compaction(first, name)))
    await asyncio.gather(
        run.deliver(first, rounds), run.deliver(second, rounds), run.deliver(second, rounds),
        run.append(boxes[0], rounds // 2), run.append(boxes[1], rounds // 2),
        run.transfer(boxes[0], rounds // 2), run.transfer(boxes[1], rounds // 2),
    )  # fmt: skip
    async with asyncio.timeout(60):
        while compacting and run.compacted < 4:
            await run.deliver(second, 5)
    for keeper in keepers:
        keeper.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)
    run.disk.note("end")
    await first.close()
    await second.close()
    del vfs
    return run


def check(run: Run, cut: int, image: Path) -> list[str]:
    """Recover the image and say which promises made before the cut are broken."""
    report = prepare(image, SHARDS)
    broken = [f"unreadable: {line}" for line in report.unreadable]
    present: Counter[tuple[str, int]] = Counter()
    in_folder: Counter[tuple[str, int]] = Counter()
    by_uid: dict[tuple[int, int], str] = {}
    uidnext: dict[int, int] = {}
    modseqs: dict[int, int] = {}
    for number in range(SHARDS):
        shard = Shard(image / "index", number, RecordingFiles(Disk(image)))
        reader = LogReader(image / "log", RecordingFiles(Disk(image)))
        try:
            broken += internal(shard, reader)
            for folder, uid, account, token in rows(shard):
                present[token, account] += 1
                in_folder[token, folder] += 1
                by_uid[folder, uid] = token
            for folder, following, modseq in shard.execute("SELECT id, uidnext, modseq FROM folder"):
                uidnext[folder], modseqs[folder] = following, modseq
        finally:
            reader.close()
            shard.close()
    for at, kind, *rest in run.promises:
        if at >= cut:
            continue
        if kind == "delivered":
            broken += [f"{rest[0]} is {present[rest[0], a]} times in account {a}" for a in rest[1] if present[rest[0], a] != 1]
        elif kind == "refused":
            broken += [f"refused {rest[0]} is there" for a in RECEIVERS if present[rest[0], a]]
        elif kind == "uid":
            folder, _, uid, token = rest
            if by_uid.get((folder, uid), token) != token:
                broken.append(f"uid {uid} of {folder} was {token}, is {by_uid[folder, uid]}")
            if uidnext.get(folder, 0) <= uid:
                broken.append(f"uid {uid} of {folder} will be given again")
        elif kind == "flag" and modseqs.get(rest[1], 0) < rest[3]:
            broken.append(f"modseq of {rest[1]} ran backward")
    promised = {(kind, rest[0]) for at, kind, *rest in run.promises if at < cut and kind in ("copy", "move", "expunge", "replace")}
    for at, kind, tokens, *rest in run.started:
        if at >= cut:
            continue
        if kind == "append":
            counts = {present[token, rest[0]] for token in tokens}
            if len(counts) > 1 or max(counts) > 1:
                broken.append(f"append of {tokens} is half there: {counts}")
        elif kind == "expunge":
            counts = {in_folder[token, rest[0]] for token in tokens}
            if len(counts) > 1 or ((kind, tokens) in promised and counts != {0}):
                broken.append(f"expunge of {tokens}: {counts}")
        elif kind == "replace":
            state = in_folder[tokens[0], rest[0]], in_folder[tokens[1], rest[1]]
            if state != (0, 1) and (state != (1, 0) or (kind, tokens) in promised):
                broken.append(f"replace of {tokens}: {state}")
        else:
            states = {(in_folder[token, rest[0]], in_folder[token, rest[1]]) for token in tokens}
            done = (0, 1) if kind == "move" else (1, 1)
            allowed = {done} if (kind, tokens) in promised else {done, (1, 0)}
            if len(states) > 1 or not states <= allowed:
                broken.append(f"{kind} of {tokens}: {states}")
    for (token, account), count in present.items():
        if count > 1 and account in RECEIVERS:
            broken.append(f"{token} is {count} times in account {account}")
    return broken


def rows(shard: Shard) -> list[tuple[int, int, int, str]]:
    return list(shard.execute(
        "SELECT m.folder, m.uid, f.account, substr(w.message_id, 1, instr(w.message_id, '@') - 1) "
        "FROM message m JOIN folder f ON f.id = m.folder JOIN wide w ON w.mid = m.mid"
    ))  # fmt: skip


def internal(shard: Shard, reader: LogReader) -> list[str]:
    """What must hold inside a shard whatever happened."""
    broken = [f"integrity: {row[0]}" for row in shard.execute("PRAGMA integrity_check") if row[0] != "ok"]
    for folder, *counted in shard.execute(
        "SELECT f.id, f.messages, f.unseen, f.deleted, f.size, count(m.uid), coalesce(sum((m.flags & 1) = 0), 0), "
        "coalesce(sum((m.flags & 8) <> 0), 0), coalesce(sum(m.size), 0), coalesce(max(m.uid), 0) - f.uidnext "
        "FROM folder f LEFT JOIN message m ON m.folder = f.id GROUP BY f.id"
    ):
        if counted[:4] != counted[4:8] or counted[8] >= 0:
            broken.append(f"counters of folder {folder}: {counted}")
    for account, *counted in shard.execute(
        "SELECT a.id, a.size, a.messages, (SELECT coalesce(sum(size), 0) FROM folder WHERE account = a.id), "
        "(SELECT coalesce(sum(messages), 0) FROM folder WHERE account = a.id) FROM account a"
    ):
        if counted[:2] != counted[2:]:
            broken.append(f"use of account {account}: {counted}")
    for (mid,) in shard.execute("SELECT mid FROM message WHERE mid NOT IN (SELECT mid FROM wide)"):
        broken.append(f"message {mid} has no wide row")
    from mailstead.store.segment import external_file_id

    for mid, file, offset, length, external, external_size, name in shard.execute(
        "SELECT mid, file, offset, length, external, external_size, message_id FROM wide"
    ):
        try:
            octets = reader.read(file, offset, length)
            if external:
                octets += reader.read(external_file_id(external), 0, external_size)
        except Exception as error:
            broken.append(f"octets of {mid}: {error}")
            continue
        if not re.search(rb"Message-ID: <%b>" % name.encode(), octets):
            broken.append(f"octets of {mid} are another's")
    return broken
