"""What the sessions of the model-based test do: each action is one command, its outcome foretold by the model.

Invariants: the sessions take turns, so that a reply is known before it comes; an action that makes no sense for the session
(no message known, mailbox read-only, mailbox gone) is something else instead.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable

from tests.imap.conftest import message
from tests.imap.mirror import Mirror, compact, expand
from tests.imap.model import Box

FLAGS = ["\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "\\Draft", "$Work", "$Later"]
KEYS = ["SEEN", "UNSEEN", "DELETED", "UNDELETED", "FLAGGED", "ANSWERED", "UNDRAFT", "KEYWORD $Work", "NOT KEYWORD $Later"]
_appended = re.compile(rb"OK \[APPENDUID (\d+) ([\d:,]+)\]")
_copied = re.compile(rb"(?:\* )?OK \[COPYUID (\d+) ([\d:,]+) ([\d:,]+)\]")


class Acting:
    """The mailboxes, and the sessions upon them."""

    def __init__(self, rng: random.Random, boxes: list[Box], remove: Callable[[Box, list[int]], Awaitable[None]]) -> None:
        self.rng = rng
        self.boxes = boxes
        #: Removal from outside of IMAP, whatever the flags (POP3 DELE).
        self.remove = remove
        self.mirrors: list[Mirror] = []
        self.count = 0
        self.made = 0

    async def step(self, mirror: Mirror, kinds: list[str]) -> str:
        """One action of one session."""
        self.count += 1
        if mirror.idling:
            await mirror.done()
            return "done"
        kind = self.rng.choice(kinds)
        if mirror.box is None:
            kind = "select"
        elif mirror.box.gone:
            kind = self.rng.choice(["select", "orphan", "close"])
        await getattr(self, kind)(mirror)
        return kind

    # -- choices ---------------------------------------------------------------------------------------------------

    def text(self) -> bytes:
        """A message."""
        return message(f"message {self.count}", "x" * self.rng.randrange(60) + "\r\n")

    def some_flags(self) -> list[str]:
        """Flags for a new message."""
        return self.rng.sample(FLAGS, self.rng.randrange(3))

    async def some(self, mirror: Mirror, most: int) -> tuple[str, list[int]]:
        """Some messages by number or UID: words to put behind a command's name (with "UID " in front), and their UIDs."""
        if None in mirror.uids and self.rng.random() < 0.5:
            await mirror.learn()
        if not mirror.known:
            return "", []
        uids = sorted(self.rng.sample(mirror.known, self.rng.randrange(1, min(most, len(mirror.known)) + 1)))
        if mirror.uidonly or self.rng.random() < 0.5:
            return "UID " + compact(uids), uids
        return compact([mirror.uids.index(uid) + 1 for uid in uids]), uids

    @staticmethod
    def words(verb: str, chosen: str) -> str:
        """A command on chosen messages."""
        return f"UID {verb} {chosen[4:]}" if chosen.startswith("UID ") else f"{verb} {chosen}"

    def target(self, mirror: Mirror) -> Box:
        """A mailbox, perhaps the selected one."""
        return self.rng.choice(self.boxes)

    # -- messages come ---------------------------------------------------------------------------------------------

    async def _append(self, mirror: Mirror, pieces: list[bytes], made: list[tuple[int, list[str]]]) -> None:
        box = self.target(mirror)
        _, reply = await mirror.command(f'APPEND "{box.named(mirror.user)}" '.encode() + b" ".join(pieces))
        found = _appended.match(reply)
        assert found, reply
        assert int(found[1]) == box.uidvalidity
        assert expand(found[2]) == [box.add(size, flags, mirror.user) for size, flags in made]

    async def append(self, mirror: Mirror) -> None:
        """APPEND, now and then of several or of a literal8."""
        pieces, made = [], []
        for _ in range(self.rng.choice([1, 1, 1, 3])):
            flags, octets = self.some_flags(), self.text()
            binary = self.rng.random() < 0.3
            if binary:
                octets += b"\0\r\n"
            pieces.append(b"(%b) %b{%d+}\r\n%b" % (" ".join(flags).encode(), b"~" * binary, len(octets), octets))
            made.append((len(octets), flags))
        await self._append(mirror, pieces, made)

    async def catenate(self, mirror: Mirror) -> None:
        """APPEND CATENATE of text and of a message that is there (or is not)."""
        box = mirror.box
        octets, flags = self.text(), self.some_flags()
        uid = self.rng.choice(mirror.known) if mirror.known else 0
        assert box is not None
        piece = b"(%b) CATENATE (TEXT {%d+}\r\n%b" % (" ".join(flags).encode(), len(octets), octets)
        url = f' URL "/{box.named(mirror.user).replace(" ", "%20")};UIDVALIDITY={box.uidvalidity}/;UID={uid}")'.encode()
        if uid in box.messages:
            await self._append(mirror, [piece + url], [(len(octets) + box.messages[uid].size, flags)])
        else:
            _, reply = await mirror.command(f'APPEND "{box.named(mirror.user)}" '.encode() + piece + url)
            assert reply.startswith(b"NO [BADURL "), reply

    async def replace(self, mirror: Mirror) -> None:
        """REPLACE by number and UID."""
        chosen, uids = await self.some(mirror, 1)
        if not uids or mirror.read_only:
            return await self.noop(mirror)
        box, target = mirror.box, self.target(mirror)
        assert box is not None
        flags, octets = self.some_flags(), self.text()
        rest = f' "{target.named(mirror.user)}" ({" ".join(flags)}) {{{len(octets)}+}}\r\n'
        untagged, reply = await mirror.command((self.words("REPLACE", chosen) + rest).encode() + octets)
        if uids[0] not in box.messages:
            assert reply.startswith(b"NO [EXPUNGEISSUED]"), reply
            return None
        assert reply.startswith(b"OK"), reply
        del box.messages[uids[0]]
        assert uids[0] not in mirror.uids
        made = [found for line in untagged if (found := _appended.match(line[2:]))]
        assert [expand(found[2]) for found in made] == [[target.add(len(octets), flags, mirror.user)]]
        return None

    async def copy(self, mirror: Mirror, verb: str = "COPY") -> None:
        """COPY, also into the selected mailbox itself."""
        chosen, uids = await self.some(mirror, 4)
        if not uids or (verb == "MOVE" and mirror.read_only):
            return await self.noop(mirror)
        box, target = mirror.box, self.target(mirror)
        assert box is not None
        untagged, reply = await mirror.command(f'{self.words(verb, chosen)} "{target.named(mirror.user)}"')
        there = [uid for uid in uids if uid in box.messages]
        if len(there) < len(uids) and not chosen.startswith("UID "):
            assert reply.startswith(b"NO [EXPUNGEISSUED]"), reply
            return None
        assert reply.startswith(b"OK"), reply
        codes = [found for line in [*untagged, reply] if (found := _copied.match(line))]
        assert len(codes) == bool(there), (untagged, reply)
        if codes:
            assert int(codes[0][1]) == target.uidvalidity
            assert expand(codes[0][2]) == there
            assert expand(codes[0][3]) == box.transfer(there, target, mirror.user, move=verb == "MOVE")
        if verb == "MOVE":
            assert not set(uids) & set(mirror.uids), "a moved message is still shown"
        return None

    async def move(self, mirror: Mirror) -> None:
        """MOVE."""
        await self.copy(mirror, "MOVE")

    # -- flags -----------------------------------------------------------------------------------------------------

    async def store(self, mirror: Mirror) -> None:
        """STORE in all its forms."""
        chosen, uids = await self.some(mirror, 4)
        if not uids:
            return await self.noop(mirror)
        box, user = mirror.box, mirror.user
        assert box is not None
        mode = self.rng.choice(["+FLAGS", "-FLAGS", "FLAGS"])
        flags = self.rng.sample(FLAGS, self.rng.randrange(1, 3))
        silent = self.rng.choice(["", ".SILENT"])
        since = -1
        if self.rng.random() < 0.3:
            since = self.rng.choice([0, 1, box.highest, *(box.modseqs[user].get(uid, 1) for uid in uids)])
            mirror.condstore = True
        modifier = f"(UNCHANGEDSINCE {since}) " if since >= 0 else ""
        command = f"{self.words('STORE', chosen)} {modifier}{mode}{silent} ({' '.join(flags)})"
        failed = [uid for uid in uids if since >= 0 and uid in box.messages and box.modseqs[user].get(uid, 0) > since]
        if silent or failed:
            for uid in uids:
                mirror.flags.pop(uid, None)
        _, reply = await mirror.command(command, expunge_allowed=chosen.startswith("UID "))
        if mirror.read_only:
            assert reply.startswith(b"NO"), reply
            return None
        assert reply.startswith(b"OK"), reply
        for uid in uids:
            if uid in box.messages and uid not in failed:
                box.store(uid, mode, flags, user)
        modified = re.match(rb"OK \[MODIFIED ([\d:,]+)\]", reply)
        told = expand(modified[1]) if modified else []
        if not chosen.startswith("UID "):
            told = [uid for number in told if (uid := mirror.uids[number - 1]) is not None]
        assert told == failed, (command, reply, failed)
        if silent and mirror.notified:  # what was told without being asked may lie before the change
            for uid in uids:
                mirror.flags.pop(uid, None)
        return None

    # -- messages go -----------------------------------------------------------------------------------------------

    def _expunge(self, box: Box, uids: list[int] | None = None) -> list[int]:
        gone = [uid for uid in box.deleted() if uids is None or uid in uids]
        for uid in gone:
            del box.messages[uid]
        return gone

    async def expunge(self, mirror: Mirror) -> None:
        """EXPUNGE, or UID EXPUNGE of some."""
        box = mirror.box
        assert box is not None
        some = sorted(self.rng.sample(mirror.known, min(3, len(mirror.known)))) if self.rng.random() < 0.5 else []
        _, reply = await mirror.command(f"UID EXPUNGE {compact(some)}" if some else "EXPUNGE")
        if mirror.read_only:
            assert reply.startswith(b"NO"), reply
            return
        assert reply.startswith(b"OK"), reply
        self._expunge(box, some or None)
        assert set(mirror.known) <= set(box.messages), f"{mirror.name}: expunge not told"

    async def outside(self, mirror: Mirror) -> None:
        """Another face removes messages."""
        box = self.rng.choice(self.boxes)
        if box.messages:
            uids = sorted(self.rng.sample(sorted(box.messages), min(2, len(box.messages))))
            await self.remove(box, uids)
            for uid in uids:
                del box.messages[uid]

    async def close(self, mirror: Mirror) -> None:
        """CLOSE (expunges without a word) or UNSELECT."""
        box, verb = mirror.box, self.rng.choice(["CLOSE", "UNSELECT"])
        assert box is not None
        untagged, reply = await mirror.client.command(verb)
        if box.gone and not reply.startswith(b"OK"):
            assert reply.startswith(b"NO "), reply
            return
        assert reply.startswith(b"OK"), reply
        gone = self._expunge(box) if verb == "CLOSE" and not mirror.read_only and not box.gone else []
        # Only its own messages, known to the client or not, went silently.
        for line in untagged:
            mirror.take(line, verb, True)
        mirror.told(reply)
        if gone and mirror.qresync:
            # The code covers what went without a word, which the client knows: all that it saw marked \\Deleted.
            assert b"[HIGHESTMODSEQ " in reply, reply
            mirror.drop(set(gone))
        mirror.leave()

    # -- mailboxes -------------------------------------------------------------------------------------------------

    async def select(self, mirror: Mirror) -> None:
        """Another mailbox, or the same again."""
        box = self.boxes[0] if self.rng.random() < 0.6 else self.rng.choice(self.boxes)
        await mirror.select(box, "EXAMINE" if self.rng.random() < 0.15 else "SELECT")

    async def rename(self, mirror: Mirror) -> None:
        """RENAME of a mailbox, perhaps somebody's selected one; that of INBOX gives its messages to a new one."""
        self.made += 1
        box, new = self.rng.choice([box for box in self.boxes if box.name != "Archive"]), f"Box{self.made}"
        if box.name == "INBOX" and len(self.boxes) > 4:
            return await self.noop(mirror)
        _, reply = await mirror.command(f"RENAME {box.name} {new}")
        assert reply.startswith(b"OK"), reply
        if box.name == "INBOX":
            made = Box(new)
            box.transfer(sorted(box.messages), made, mirror.user, move=True)
            self.boxes.append(made)
        else:
            box.name = new
        return None

    async def delete(self, mirror: Mirror) -> None:
        """DELETE of a mailbox, perhaps somebody's selected one, and now and then a new one of the same name."""
        box = self.rng.choice([box for box in self.boxes if box.name != "INBOX"])
        again = box.name == "Archive" or len(self.boxes) < 3 or self.rng.random() < 0.3
        _, reply = await mirror.command(f"DELETE {box.name}")
        assert reply.startswith(b"OK"), reply
        box.gone = True
        self.boxes.remove(box)
        if mirror.box is box:  # the session has nothing selected any more
            mirror.leave()
        if again:
            _, reply = await mirror.command(f"CREATE {box.name}")
            assert reply.startswith(b"OK"), reply
            self.boxes.append(Box(box.name))

    async def orphan(self, mirror: Mirror) -> None:
        """What is done in a mailbox that is gone fails in words or shows nothing new."""
        chosen, uids = await self.some(mirror, 2)
        commands = ["NOOP", "EXPUNGE", "CHECK", "UID FETCH 1:* (FLAGS ENVELOPE BODY[])", "UID SEARCH ALL", "UID SEARCH TEXT x"]
        if uids:
            commands += [self.words("STORE", chosen) + " +FLAGS (\\Seen)", self.words("COPY", chosen) + " INBOX"]
            commands += [self.words("FETCH", chosen) + " (UID FLAGS ENVELOPE)", self.words("MOVE", chosen) + " INBOX"]
        command = self.rng.choice(commands)
        mirror.flags.clear()
        _, reply = await mirror.command(command, expunge_allowed="UID" in command or command.split()[0] in ("COPY", "MOVE"))
        assert reply.startswith((b"OK", b"NO ")), (command, reply)
        assert not reply.startswith(b"OK [COPYUID"), "a copy of what is gone"

    # -- reading ---------------------------------------------------------------------------------------------------

    async def noop(self, mirror: Mirror) -> None:
        """NOOP."""
        _, reply = await mirror.command(self.rng.choice(["NOOP", "CHECK"]))
        assert reply.startswith(b"OK"), reply

    async def fetch(self, mirror: Mirror) -> None:
        """FETCH of a range."""
        if not mirror.known:
            return await self.noop(mirror)
        if mirror.uidonly or self.rng.random() < 0.4:
            await mirror.command(f"UID FETCH {self.rng.choice(mirror.known)}:* (FLAGS)")
        else:
            low = self.rng.randrange(1, len(mirror.uids) + 1)
            high = self.rng.randrange(low, len(mirror.uids) + 1)
            await mirror.command(f"FETCH {low}:{high} (UID FLAGS)", expunge_allowed=False)
        return None

    async def search(self, mirror: Mirror) -> None:
        """SEARCH finds what the model has; of messages that are gone and not told of, it may say what it likes."""
        box, user = mirror.box, mirror.user
        assert box is not None
        keys = [*KEYS, f"LARGER {self.rng.randrange(150, 260)}", f"UID {self.rng.randrange(1, box.uidnext + 1)}"]
        if mirror.condstore:
            keys.append(f"MODSEQ {self.rng.choice([1, box.highest, *box.modseqs[user].values()])}")
        key = self.rng.choice(keys)
        await mirror.learn()
        before = list(mirror.uids)
        by_uid = mirror.uidonly or self.rng.random() < 0.5
        untagged, reply = await mirror.command(f"{'UID ' * by_uid}SEARCH RETURN (ALL) {key}", expunge_allowed=by_uid)
        assert reply.startswith(b"OK"), reply
        line = next(line for line in untagged if line.startswith(b"* ESEARCH"))
        found = re.search(rb" ALL ([\d:,]+)", line)
        numbers = expand(found[1]) if found else []
        after = before if len(mirror.uids) <= len(before) or by_uid else mirror.uids
        uids = [uid for uid in (numbers if by_uid else [after[number - 1] for number in numbers]) if uid in box.messages]
        wanted = [uid for uid in before if uid in box.messages and uid is not None and box.matches(key, uid, user)]
        assert [uid for uid in uids if uid in before] == wanted, (mirror.name, key, line)

    async def idle(self, mirror: Mirror) -> None:
        """IDLE until the session's next turn."""
        await mirror.start_idle()

    # -- the end of a round ------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """After a NOOP, or by itself where it idles, each client's picture is the truth, but for what it has not asked for."""
        for mirror in self.mirrors:
            box = mirror.box
            if box is None or box.gone:
                continue
            if mirror.idling:
                await mirror.hear(lambda mirror=mirror, box=box: self._agrees(mirror, box))
                continue
            await mirror.command("NOOP")
            assert len(mirror.uids) == len(box.messages), mirror.name
            for uid, flags in mirror.flags.items():
                if uid in box.messages and uid in mirror.uids:
                    assert flags == box.flags(uid, mirror.user), f"{mirror.name}: flags of {uid} not told"
            await mirror.learn()
            assert mirror.uids == sorted(box.messages), mirror.name
            assert {uid: mirror.flags[uid] for uid in box.messages} == {uid: box.flags(uid, mirror.user) for uid in box.messages}

    @staticmethod
    def _agrees(mirror: Mirror, box: Box) -> bool:
        return len(mirror.uids) == len(box.messages) and all(
            flags == box.flags(uid, mirror.user) for uid, flags in mirror.flags.items() if uid in box.messages
        )
