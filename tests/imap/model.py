"""The truth about some mailboxes, as the commands' replies say it, and its comparison with what the store holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailstead.mailbox.model import SYSTEM_FLAGS
from mailstead.store.engine import MailIndex
from tests.imap.conftest import Client

#: What is marked for everybody; the rest is each reader's own.
COMMON = frozenset({"\\Answered", "\\Deleted", "\\Draft"})


@dataclass
class Item:
    """A message: its size, flags that all see, and each reader's own."""

    size: int
    common: set[str] = field(default_factory=set)
    own: dict[str, set[str]] = field(default_factory=dict)


@dataclass
class Box:
    """A mailbox of `owner`; `seen` is what was last read of modseqs, by reader."""

    name: str
    owner: str = "alice"
    id: int = 0
    messages: dict[int, Item] = field(default_factory=dict)
    uidnext: int = 1
    uidvalidity: int = 0
    gone: bool = False
    highest: int = 0
    modseqs: dict[str, dict[int, int]] = field(default_factory=dict)
    shown: dict[str, dict[int, frozenset[str]]] = field(default_factory=dict)

    def named(self, user: str) -> str:
        """The name that a reader knows."""
        return self.name if user == self.owner else f"Other Users/{self.owner}/{self.name}"

    def flags(self, uid: int, user: str) -> frozenset[str]:
        """The flags that a reader sees."""
        item = self.messages[uid]
        return frozenset(item.common | item.own.get(user, set()))

    def add(self, size: int, flags: Iterable[str], user: str) -> int:
        """A new message; its UID."""
        uid = self.uidnext
        self.uidnext += 1
        self.messages[uid] = Item(size)
        self.store(uid, "FLAGS", flags, user)
        return uid

    def store(self, uid: int, mode: str, flags: Iterable[str], user: str) -> None:
        """What STORE does to one message."""
        item = self.messages[uid]
        common, own = item.common, item.own.setdefault(user, set())
        given = set(flags)
        for have, part in ((common, given & COMMON), (own, given - COMMON)):
            if mode == "+FLAGS":
                have |= part
            elif mode == "-FLAGS":
                have -= part
            else:
                have.clear()
                have |= part

    def transfer(self, uids: list[int], target: Box, user: str, move: bool) -> list[int]:
        """COPY or MOVE of those that are there; the new UIDs."""
        made = []
        for uid in uids:
            flags = self.flags(uid, user)
            made.append(target.add(self.messages[uid].size, flags, user))
            if move:
                del self.messages[uid]
        return made

    def deleted(self) -> list[int]:
        """UIDs marked \\Deleted."""
        return [uid for uid, item in self.messages.items() if "\\Deleted" in item.common]

    def matches(self, key: str, uid: int, user: str) -> bool:
        """Whether a search key finds a message."""
        flags = self.flags(uid, user)
        words = key.split()
        if words[0] == "NOT":
            return not self.matches(key[4:], uid, user)
        if words[0] == "KEYWORD":
            return words[1] in flags
        if words[0] == "LARGER":
            return self.messages[uid].size > int(words[1])
        if words[0] == "UID":
            return uid == int(words[1])
        if words[0] == "MODSEQ":
            return self.modseqs[user][uid] >= int(words[1])
        if words[0].startswith("UN"):
            return f"\\{words[0][2:].capitalize()}" not in flags
        return f"\\{words[0].capitalize()}" in flags


Indexes = Callable[[str], MailIndex]


async def check(boxes: list[Box], indexes: Indexes, account: int, observers: dict[str, Client]) -> None:
    """What the store holds and what STATUS says are the model; modseqs never run backward and rise with each change."""
    for box in boxes:
        for user, observer in observers.items():
            _check_rows(box, indexes(user), account, user)
            untagged = await observer.ok(
                f'STATUS "{box.named(user)}" (MESSAGES UNSEEN DELETED UIDNEXT SIZE HIGHESTMODSEQ UIDVALIDITY)'
            )
            line = next(line for line in untagged if line.startswith(b"* STATUS"))
            told = {name.decode(): int(value) for name, value in re.findall(rb"([A-Z]+) (\d+)", line[line.rindex(b"(") :])}
            assert told.pop("UIDVALIDITY") == box.uidvalidity
            assert told == {
                "MESSAGES": len(box.messages),
                "UNSEEN": sum("\\Seen" not in box.flags(uid, user) for uid in box.messages),
                "DELETED": len(box.deleted()),
                "UIDNEXT": box.uidnext,
                "SIZE": sum(item.size for item in box.messages.values()),
                "HIGHESTMODSEQ": box.highest,
            }, (box.name, user)


def _check_rows(box: Box, index: MailIndex, account: int, user: str) -> None:
    row = index.folder(account, box.name)
    assert row is not None, box.name
    box.id = box.id or row[0]
    assert box.id == row[0]
    counters = index.counters(row[0])
    assert counters is not None
    box.uidvalidity = box.uidvalidity or counters[5]
    highest = counters[6]
    assert highest >= box.highest, "HIGHESTMODSEQ ran backward"
    names = index.keywords(account)
    shown, modseqs = {}, {}
    for uid, bits, modseq in index.slice(row[0], 0, 1 << 32, 1 << 20):
        words = {name for name, bit in SYSTEM_FLAGS.items() if bits & bit}
        words |= set(names.names(bits))
        shown[uid], modseqs[uid] = frozenset(words), modseq
        assert modseq <= highest
    assert shown == {uid: box.flags(uid, user) for uid in box.messages}, (box.name, user)
    before, flags_before = box.modseqs.get(user, {}), box.shown.get(user, {})
    for uid, modseq in modseqs.items():
        assert modseq >= before.get(uid, 0), f"modseq of {uid} ran backward"
        if uid in before and flags_before[uid] != shown[uid]:
            assert modseq > before[uid], f"{uid} changed without a new modseq"
    if before and set(before) != set(modseqs):
        assert highest > box.highest or user != box.owner, "messages came or went without a new modseq"
    box.highest, box.modseqs[user], box.shown[user] = highest, modseqs, shown
