"""Several sessions on one mailbox, against a model: no wrong number, no forbidden EXPUNGE, and in the end one truth.

Each session is mirrored by what its client may conclude from the responses alone.  The model knows what every
command must do to the mailbox; after each command the client's picture is checked against what it may know.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.imap.conftest import Client, Face, message, start_face

FLAGS = ["\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "$Work", "$Later"]
_number = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: (.*))?", re.S)
_vanished = re.compile(rb"\* VANISHED (\(EARLIER\) )?([0-9:,]+)")


@dataclass
class Mirror:
    """What one client knows: its list of messages (UID or None while unknown) with flags (None while unknown)."""

    client: Client
    name: str
    uids: list[int | None] = field(default_factory=list)
    flags: dict[int, frozenset[str]] = field(default_factory=dict)
    modseqs: dict[int, int] = field(default_factory=dict)
    qresync: bool = False
    notified: bool = False

    async def command(self, text: str | bytes, expunge_allowed: bool = True) -> tuple[list[bytes], bytes]:
        untagged, reply = await self.client.command(text)
        for line in untagged:
            self.take(line, text, expunge_allowed)
        return untagged, reply

    def take(self, line: bytes, command: str | bytes, expunge_allowed: bool) -> None:
        if found := _vanished.match(line):
            assert self.qresync
            assert expunge_allowed, (self.name, command, line)
            gone = set(expand(found[2]))
            if not found[1]:
                for uid in sorted(gone - set(self.uids)):
                    self.place(uid, command)
            self.uids = [uid for uid in self.uids if uid not in gone]
            return
        found = _number.fullmatch(line)
        if found is None:
            return
        number = int(found[1])
        if found[2] == b"EXISTS":
            assert number >= len(self.uids), f"{self.name}: EXISTS shrank in {command!r}"
            self.uids += [None] * (number - len(self.uids))
        elif found[2] == b"EXPUNGE":
            assert expunge_allowed, f"{self.name}: EXPUNGE during {command!r}"
            assert not self.qresync
            assert 1 <= number <= len(self.uids), f"{self.name}: EXPUNGE {number} of {len(self.uids)} in {command!r}"
            del self.uids[number - 1]
        else:
            self.fetched(number, found[3], command)

    def place(self, uid: int, command: str | bytes) -> None:
        """A UID is named whose message the client knew by number only: it must lie between its neighbours."""
        at = 0
        for position, known in enumerate(self.uids):
            if known is not None and known < uid:
                at = position + 1
        assert at < len(self.uids), f"{self.name}: UID {uid} unknown in {command!r}"
        assert self.uids[at] is None, f"{self.name}: UID {uid} unknown in {command!r}"
        self.uids[at] = uid

    def fetched(self, number: int, items: bytes, command: str | bytes) -> None:
        assert 1 <= number <= len(self.uids), f"{self.name}: FETCH {number} of {len(self.uids)} in {command!r}"
        uid = re.search(rb"UID (\d+)", items)
        if uid:
            known = self.uids[number - 1]
            assert known in (None, int(uid[1])), f"{self.name}: {number} was {known}, is {uid[1]!r} in {command!r}"
            self.uids[number - 1] = int(uid[1])
        name = self.uids[number - 1]
        if name is None:
            return
        if flags := re.search(rb"FLAGS \(([^)]*)\)", items):
            self.flags[name] = frozenset(flags[1].decode().split())
        if modseq := re.search(rb"MODSEQ \((\d+)\)", items):
            assert int(modseq[1]) >= self.modseqs.get(name, 0), f"{self.name}: modseq ran backward in {command!r}"
            self.modseqs[name] = int(modseq[1])


def expand(octets: bytes) -> list[int]:
    out: list[int] = []
    for piece in octets.split(b","):
        low, _, high = piece.partition(b":")
        out += range(int(low), int(high or low) + 1)
    return out


class World:
    """The truth, as the commands' replies say it."""

    def __init__(self) -> None:
        self.messages: dict[int, set[str]] = {}

    def apply(self, mode: str, uids: list[int], flags: list[str]) -> None:
        for uid in uids:
            if uid in self.messages:
                have = self.messages[uid]
                if mode == "+FLAGS":
                    have |= set(flags)
                elif mode == "-FLAGS":
                    have -= set(flags)
                else:
                    have.clear()
                    have |= set(flags)


async def open_session(face: Face, name: str, kind: str) -> Mirror:
    client = await face.client()
    mirror = Mirror(client, name)
    if kind == "qresync":
        await client.ok("ENABLE QRESYNC")
        mirror.qresync = True
    elif kind == "condstore":
        await client.ok("ENABLE CONDSTORE")
    elif kind == "rev2":
        await client.ok("ENABLE IMAP4rev2")
    elif kind == "notify":
        await client.ok("NOTIFY SET (selected-delayed (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
        mirror.notified = True
    await mirror.command("SELECT INBOX")
    await learn(mirror)
    return mirror


async def learn(mirror: Mirror) -> None:
    """Ask for UIDs and flags of everything the client can see."""
    if mirror.uids:
        await mirror.command("FETCH 1:* (UID FLAGS)", expunge_allowed=False)


async def act(rng: random.Random, world: World, mirror: Mirror, count: int) -> None:
    kind = rng.choice(["append", "store", "store", "uidstore", "expunge", "uidexpunge", "noop", "fetch", "search", "move",
                       "copy", "uidfetch", "multiappend", "replace", "replace"])  # fmt: skip
    known = [uid for uid in mirror.uids if uid is not None]
    if kind == "append":
        flags = rng.sample(FLAGS[:2], rng.randrange(3))
        octets = message(f"message {count}")
        _, reply = await mirror.command(b"APPEND INBOX (%b) {%d+}\r\n%b" % (" ".join(flags).encode(), len(octets), octets))
        uid = re.match(rb"OK \[APPENDUID \d+ (\d+)\]", reply)
        assert uid, reply
        assert int(uid[1]) > max(world.messages, default=0)
        world.messages[int(uid[1])] = set(flags)
    elif kind == "multiappend":
        octets = message(f"message {count}")
        piece = b"{%d+}\r\n%b" % (len(octets), octets)
        _, reply = await mirror.command(b"APPEND INBOX " + b" ".join([piece] * 3))
        uids = re.match(rb"OK \[APPENDUID \d+ ([\d:,]+)\]", reply)
        assert uids, reply
        world.messages.update({uid: set() for uid in expand(uids[1])})
    elif kind in ("store", "uidstore") and known:
        mode = rng.choice(["+FLAGS", "-FLAGS", "FLAGS"])
        flags = rng.sample(FLAGS, rng.randrange(1, 3))
        silent = rng.choice(["", ".SILENT"])
        chosen = sorted(rng.sample(range(len(mirror.uids)), rng.randrange(1, min(4, len(mirror.uids)) + 1)))
        uids = [mirror.uids[at] for at in chosen]
        if None in uids:
            await learn(mirror)
            uids = [mirror.uids[at] for at in chosen]
        real = [uid for uid in uids if uid is not None]
        words = ",".join(str(uid) for uid in real) if kind == "uidstore" else ",".join(str(at + 1) for at in chosen)
        if not real or (kind == "store" and len(real) != len(chosen)):
            return
        command = f"{'UID ' if kind == 'uidstore' else ''}STORE {words} {mode}{silent} ({' '.join(flags)})"
        world.apply(mode, real, flags)
        if silent:
            for uid in real:
                mirror.flags.pop(uid, None)
        _, reply = await mirror.command(command, expunge_allowed=kind == "uidstore")
        assert reply.startswith((b"OK", b"NO [EXPUNGEISSUED]")), reply
        if silent and mirror.notified:  # what was told without being asked may lie before the change
            for uid in real:
                mirror.flags.pop(uid, None)
    elif kind == "expunge":
        _, reply = await mirror.command("EXPUNGE")
        assert reply.startswith(b"OK"), reply
        world.messages = {uid: flags for uid, flags in world.messages.items() if "\\Deleted" not in flags}
        assert all(uid in world.messages for uid in mirror.uids if uid is not None), f"{mirror.name}: expunge not told"
    elif kind == "uidexpunge" and known:
        uid = rng.choice(known)
        await mirror.command(f"UID EXPUNGE {uid}")
        if "\\Deleted" in world.messages.get(uid, ()):
            del world.messages[uid]
    elif kind in ("move", "copy") and known:
        uid = rng.choice(known)
        _, reply = await mirror.command(f"UID {kind.upper()} {uid} Archive")
        assert reply.startswith(b"OK"), reply
        if kind == "move":
            world.messages.pop(uid, None)
            assert uid not in mirror.uids
    elif kind == "replace" and known:
        uid = rng.choice(known)
        target = rng.choice(["INBOX", "INBOX", "Archive"])
        octets = message(f"message {count}")
        flags = rng.sample(FLAGS[:2], rng.randrange(3))
        words = b"UID REPLACE %d" % uid if rng.random() < 0.5 else b"REPLACE %d" % (mirror.uids.index(uid) + 1)
        untagged, reply = await mirror.command(
            words + b" %b (%b) {%d+}\r\n%b" % (target.encode(), " ".join(flags).encode(), len(octets), octets)
        )
        if uid not in world.messages:
            assert reply.startswith(b"NO "), reply
            return
        assert reply.startswith(b"OK"), reply
        del world.messages[uid]
        assert uid not in mirror.uids
        made = [found for line in untagged if (found := re.match(rb"\* OK \[APPENDUID \d+ (\d+)\]", line))]
        assert len(made) == 1
        if target == "INBOX":
            world.messages[int(made[0][1])] = set(flags)
    elif kind == "fetch" and mirror.uids:
        low = rng.randrange(1, len(mirror.uids) + 1)
        high = rng.randrange(low, len(mirror.uids) + 1)
        await mirror.command(f"FETCH {low}:{high} (UID FLAGS)", expunge_allowed=False)
    elif kind == "uidfetch" and known:
        await mirror.command(f"UID FETCH {rng.choice(known)}:* (FLAGS)")
    elif kind == "search":
        before = len(mirror.uids)
        untagged, reply = await mirror.command("SEARCH RETURN (ALL) DELETED", expunge_allowed=False)
        assert reply.startswith(b"OK"), reply
        for line in untagged:
            if found := re.search(rb"ALL ([\d:,]+)", line):
                assert max(expand(found[1])) <= (len(mirror.uids) if mirror.notified else before)
    else:
        await mirror.command("NOOP")


async def settle(world: World, mirrors: list[Mirror]) -> None:
    """After a NOOP each client's picture is the truth, but for what it has not asked for."""
    for mirror in mirrors:
        await mirror.command("NOOP")
        assert len(mirror.uids) == len(world.messages), mirror.name
        for uid, flags in mirror.flags.items():
            if uid in world.messages and uid in mirror.uids:
                assert flags == world.messages[uid], f"{mirror.name}: flags of {uid} not told"
        await learn(mirror)
        assert mirror.uids == sorted(world.messages), mirror.name
        assert {uid: set(mirror.flags[uid]) for uid in world.messages} == world.messages, mirror.name


@pytest.mark.parametrize("seed", range(8))
async def test_sessions_taking_turns_never_disagree(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    face, stop = await start_face(tmp_path, maxErrors=1000)
    world = World()
    kinds = ["plain", "qresync", rng.choice(["condstore", "rev2", "plain", "notify", "notify"])]
    mirrors = [await open_session(face, f"{kind}{n}", kind) for n, kind in enumerate(kinds)]
    for count in range(150):
        await act(rng, world, rng.choice(mirrors), count)
        if rng.random() < 0.05:
            await settle(world, mirrors)
        if rng.random() < 0.02:
            at = rng.randrange(len(mirrors))
            await mirrors[at].command("CLOSE" if rng.random() < 0.5 else "UNSELECT")
            closed = mirrors[at]
            await closed.client.ok("LOGOUT")
            survivors = await (await face.client()).ok("STATUS INBOX (MESSAGES)")
            if f"MESSAGES {len(world.messages)}".encode() not in survivors[0]:
                world.messages = {u: f for u, f in world.messages.items() if "\\Deleted" not in f}
            mirrors[at] = await open_session(face, closed.name, kinds[at])
    await settle(world, mirrors)
    await stop()


@pytest.mark.parametrize("seed", range(4))
async def test_sessions_at_the_same_time_end_with_one_truth(tmp_path: Path, seed: int) -> None:
    """Without turns the outcome of a race is not known beforehand, but numbers and the end are."""
    face, stop = await start_face(tmp_path, maxErrors=1000)
    kinds = ["plain", "qresync", "condstore", "rev2", "notify"]
    mirrors = [await open_session(face, f"{kind}{n}", kind) for n, kind in enumerate(kinds)]

    async def live(mirror: Mirror, number: int) -> None:
        rng = random.Random(seed * 10 + number)
        for count in range(60):
            octets = message(f"{mirror.name} {count}")
            known = [uid for uid in mirror.uids if uid is not None]
            kind = rng.randrange(6)
            if kind <= 1 or not known:
                await mirror.command(b"APPEND INBOX {%d+}\r\n%b" % (len(octets), octets))
            elif kind == 2:
                flags = " ".join(rng.sample(FLAGS, 2))
                await mirror.command(f"STORE {rng.randrange(len(mirror.uids)) + 1} +FLAGS ({flags})", expunge_allowed=False)
            elif kind == 3:
                await mirror.command("EXPUNGE")
            elif kind == 4:
                await mirror.command(f"UID MOVE {rng.choice(known)} Archive")
            else:
                await mirror.command("FETCH 1:* (UID FLAGS)", expunge_allowed=False)

    await asyncio.gather(*(live(mirror, number) for number, mirror in enumerate(mirrors)))
    pictures = []
    for mirror in mirrors:
        await mirror.command("NOOP")
        told = {uid: mirror.flags[uid] for uid in mirror.uids if uid in mirror.flags}
        await learn(mirror)
        for uid, flags in told.items():
            assert flags == mirror.flags[uid], f"{mirror.name}: flags of {uid} were not told"
        pictures.append((mirror.uids, {uid: mirror.flags[uid] for uid in mirror.uids if uid is not None}))
    assert all(picture == pictures[0] for picture in pictures)
    await stop()


async def test_two_stores_in_the_same_commit_are_both_told_to_the_other(face: Face) -> None:
    clients = [await face.client() for _ in range(4)]
    await clients[0].append("INBOX", message("one"))
    for client in clients:
        await client.ok("SELECT INBOX")
    for round_ in range(40):
        keywords = [f"$k{number}" for number in range(len(clients))]
        sign = "+" if round_ % 2 == 0 else "-"
        told = await asyncio.gather(
            *(client.ok(f"STORE 1 {sign}FLAGS ({word})") for client, word in zip(clients, keywords, strict=True))
        )
        for client, untagged in zip(clients, told, strict=True):
            lines = untagged + await client.ok("NOOP")
            last = [line for line in lines if line.startswith(b"* 1 FETCH")][-1]
            wanted = b"* 1 FETCH (FLAGS (" + (" ".join(keywords).encode() if sign == "+" else b"") + b"))"
            assert last == wanted, round_
