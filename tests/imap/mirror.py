"""What one client may conclude from the responses alone, checked while it concludes."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tests.imap.conftest import Client

if TYPE_CHECKING:
    from tests.imap.model import Box

_number = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH|UIDFETCH)(?: (.*))?", re.S)
_vanished = re.compile(rb"\* VANISHED (\(EARLIER\) )?([0-9:,]+)")
_highest = re.compile(rb"\[HIGHESTMODSEQ (\d+)\]")


class Server(Protocol):
    """What a client can connect to."""

    async def client(self) -> Client: ...


@dataclass
class Known:
    """What a client kept of a mailbox that it left."""

    uidvalidity: int
    modseq: int
    uids: list[int]
    flags: dict[int, frozenset[str]]


@dataclass
class Mirror:
    """What one client knows: its list of messages (UID or None while unknown) with flags (None while unknown)."""

    client: Client
    name: str
    user: str = "alice"
    uids: list[int | None] = field(default_factory=list)
    flags: dict[int, frozenset[str]] = field(default_factory=dict)
    modseqs: dict[int, int] = field(default_factory=dict)
    condstore: bool = False
    qresync: bool = False
    notified: bool = False
    uidonly: bool = False
    rests: bool = False
    box: Box | None = None
    read_only: bool = False
    idling: bytes = b""
    #: The HIGHESTMODSEQ that the client may build on, and what it kept of mailboxes that it left, by their id.
    modseq: int = 0
    kept: dict[int, Known] = field(default_factory=dict)
    uidvalidity: int = 0

    @property
    def known(self) -> list[int]:
        """UIDs that the client knows, rising."""
        return [uid for uid in self.uids if uid is not None]

    async def command(self, text: str | bytes, expunge_allowed: bool = True) -> tuple[list[bytes], bytes]:
        """Send one command and take in all of its responses."""
        assert not self.idling
        untagged, reply = await self.client.command(text)
        self.take_all(untagged, reply, text, expunge_allowed)
        return untagged, reply

    def take_all(self, untagged: list[bytes], reply: bytes, command: str | bytes, expunge_allowed: bool) -> None:
        """Responses of one command and its reply, without the tag."""
        assert b"SERVERBUG" not in reply, (self.name, command, reply)
        for line in untagged:
            self.take(line, command, expunge_allowed)
        self.told(reply)
        # What was told by FETCH counts once the command is done (RFC 7162 section 3.2.5).
        self.modseq = max(self.modseq, max(self.modseqs.values(), default=0))

    def told(self, line: bytes) -> None:
        """A HIGHESTMODSEQ that the server says by itself."""
        if found := _highest.search(line):
            modseq = int(found[1])
            assert modseq >= self.modseq, f"{self.name}: HIGHESTMODSEQ ran backward from {self.modseq} in {line!r}"
            self.modseq = modseq

    async def start_idle(self) -> None:
        """IDLE; `lines_until` hears what it tells."""
        self.idling = b"i%d" % id(self)
        self.client.write(self.idling + b" IDLE\r\n")
        while not (line := await self.client.line()).startswith(b"+"):
            self.take(line, "IDLE", True)

    async def done(self) -> None:
        """End IDLE."""
        tag, self.idling = self.idling, b""
        self.client.write(b"DONE\r\n")
        untagged, reply = await self.client.until(tag)
        assert reply.startswith(b"OK"), reply
        self.take_all(untagged, reply, "DONE", True)

    async def hear(self, condition: object) -> None:
        """While idling: until the condition holds, which must come by itself."""
        assert callable(condition)
        async with asyncio.timeout(60):
            while not condition():
                self.take(await self.client.line(), "IDLE", True)

    def forget(self) -> None:
        """The mailbox is left: nothing of it is known."""
        self.uids, self.flags, self.modseqs, self.modseq, self.box = [], {}, {}, 0, None

    def take(self, line: bytes, command: str | bytes, expunge_allowed: bool) -> None:
        """One untagged response."""
        if found := _vanished.match(line):
            assert self.qresync or self.uidonly
            assert expunge_allowed, (self.name, command, line)
            gone = set(expand(found[2]))
            if not found[1]:
                for uid in sorted(gone - set(self.uids)):
                    self.place(uid, command)
            self.drop(gone)
            return
        found = _number.fullmatch(line)
        if found is None:
            self.told(line)
            return
        number = int(found[1])
        if found[2] == b"EXISTS":
            assert number >= len(self.uids), f"{self.name}: EXISTS shrank in {command!r}"
            self.uids += [None] * (number - len(self.uids))
        elif found[2] == b"EXPUNGE":
            assert expunge_allowed, f"{self.name}: EXPUNGE during {command!r}"
            assert not self.qresync
            assert not self.uidonly
            assert 1 <= number <= len(self.uids), f"{self.name}: EXPUNGE {number} of {len(self.uids)} in {command!r}"
            uid = self.uids.pop(number - 1)
            if uid is not None:
                self.flags.pop(uid, None)
        elif found[2] == b"UIDFETCH":
            assert self.uidonly
            if number not in self.uids:
                self.place(number, command)
            self.learned(number, found[3], command)
        else:
            assert not self.uidonly, f"{self.name}: FETCH in {command!r}"
            self.fetched(number, found[3], command)

    def drop(self, gone: set[int]) -> None:
        """These are no more."""
        self.uids = [uid for uid in self.uids if uid not in gone]
        self.flags = {uid: flags for uid, flags in self.flags.items() if uid not in gone}

    def place(self, uid: int, command: str | bytes) -> None:
        """A UID is named whose message the client knew by number only: it must lie between its neighbours."""
        if self.uidonly:  # without numbers there are only those known and so many others
            assert None in self.uids, f"{self.name}: UID {uid} unknown in {command!r}"
            self.uids = [*sorted([*self.known, uid]), *[None] * (len(self.uids) - len(self.known) - 1)]
            return
        at = 0
        for position, known in enumerate(self.uids):
            if known is not None and known < uid:
                at = position + 1
        assert at < len(self.uids), f"{self.name}: UID {uid} unknown in {command!r}"
        assert self.uids[at] is None, f"{self.name}: UID {uid} unknown in {command!r}"
        self.uids[at] = uid

    def fetched(self, number: int, items: bytes, command: str | bytes) -> None:
        """A FETCH response."""
        assert 1 <= number <= len(self.uids), f"{self.name}: FETCH {number} of {len(self.uids)} in {command!r}"
        uid = re.search(rb"UID (\d+)", items)
        if uid:
            known = self.uids[number - 1]
            assert known in (None, int(uid[1])), f"{self.name}: {number} was {known}, is {uid[1]!r} in {command!r}"
            self.uids[number - 1] = int(uid[1])
        name = self.uids[number - 1]
        if name is not None:
            self.learned(name, items, command)

    def learned(self, uid: int, items: bytes, command: str | bytes) -> None:
        """Flags and modseq of a message."""
        if flags := re.search(rb"FLAGS \(([^)]*)\)", items):
            self.flags[uid] = frozenset(flags[1].decode().split())
        if modseq := re.search(rb"MODSEQ \((\d+)\)", items):
            assert int(modseq[1]) >= self.modseqs.get(uid, 0), f"{self.name}: modseq ran backward in {command!r}"
            self.modseqs[uid] = int(modseq[1])

    async def learn(self) -> None:
        """Ask for UIDs and flags of everything the client can see."""
        if self.uids:
            if self.uidonly:
                await self.command("UID FETCH 1:* (FLAGS)")
            else:
                await self.command("FETCH 1:* (UID FLAGS)", expunge_allowed=False)

    async def select(self, box: Box, verb: str = "SELECT") -> None:
        """Open a mailbox; with QRESYNC from what was kept of it."""
        old, self.box = self.box, None
        kept = self._keep(old) if old is box else self.kept.get(box.id)
        words = ""
        if kept is not None:
            words = f" (QRESYNC ({kept.uidvalidity} {max(kept.modseq, 1)}{' ' + compact(kept.uids) if kept.uids else ''}))"
        untagged, reply = await self.client.command(f'{verb} "{box.named(self.user)}"{words}')
        if old is not None:
            closed = untagged.index(b"* OK [CLOSED] Previous mailbox closed")
            for line in untagged[:closed]:
                self.take(line, verb, True)
            untagged = untagged[closed + 1 :]
            self.box = old
            self.leave()
        assert reply.startswith(b"OK [READ-" + (b"ONLY" if verb == "EXAMINE" else b"WRITE")), (self.name, reply, box.name)
        self.box, self.read_only = box, verb == "EXAMINE"
        kept = kept and Known(kept.uidvalidity, kept.modseq, list(kept.uids), dict(kept.flags))
        found = re.search(rb"UIDVALIDITY (\d+)", b"\n".join(untagged))
        assert found is not None
        self.uidvalidity = int(found[1])
        assert box.uidvalidity in (0, self.uidvalidity)
        box.uidvalidity = self.uidvalidity
        if kept is None:
            self.take_all(untagged, reply, verb, True)
            await self.learn()
            return
        exists = next(int(line.split()[1]) for line in untagged if line.endswith(b" EXISTS"))
        for line in untagged:
            if gone := _vanished.match(line):
                assert gone[1]
                kept.uids = sorted(set(kept.uids) - set(expand(gone[2])))
            elif fetch := re.search(rb"\((?:UID (\d+) )?FLAGS \(([^)]*)\)", line):
                uid = int(fetch[1] or line.split()[1])
                kept.uids = sorted({*kept.uids, uid})
                kept.flags[uid] = frozenset(fetch[2].decode().split())
            self.told(line)
        # New ones are not always told with the changes, because the client named the UIDs that it knows.
        assert exists >= len(kept.uids), (self.name, exists, kept.uids, untagged)
        assert set(kept.uids) <= set(box.messages), (self.name, "not told what vanished", kept, untagged, sorted(box.messages))
        self.uids = [*kept.uids, *[None] * (exists - len(kept.uids))]
        for uid in kept.uids:
            assert kept.flags.get(uid, box.flags(uid, self.user)) == box.flags(uid, self.user), (self.name, uid, untagged, kept)
        await self.learn()

    def _keep(self, box: Box | None) -> Known | None:
        """What there is to keep of a mailbox."""
        if box is None or not self.qresync or None in self.uids:
            return None
        return Known(self.uidvalidity, self.modseq, self.known, dict(self.flags))

    def leave(self) -> None:
        """The mailbox is left; a client with QRESYNC keeps what it knows."""
        if self.box is not None:
            kept = self._keep(self.box)
            self.kept.pop(self.box.id, None)
            if kept is not None:
                self.kept[self.box.id] = kept
        self.forget()


def expand(octets: bytes) -> list[int]:
    """A set of numbers as a list."""
    out: list[int] = []
    for piece in octets.split(b","):
        low, _, high = piece.partition(b":")
        out += range(int(low), int(high or low) + 1)
    return out


def compact(numbers: list[int]) -> str:
    """A list of numbers as a set."""
    return ",".join(map(str, numbers))
