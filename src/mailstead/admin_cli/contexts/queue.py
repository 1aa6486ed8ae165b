"""The queue (SMO-13): `<queue#>`, and the quarantine below it.

Invariants: listing reads the index in steps and never holds it; what changes a message is done by the dispatcher's process
and durable when
it is answered; a message that is being tried is said to be so.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from mailstead.admin_cli.context import Command, Result, SubContext, command, make
from mailstead.admin_cli.contexts.services import enter
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.queue_filter import DUE, QUEUED, SCHEDULED, Test, Waiting, parse_filter
from mailstead.admin_cli.responses import Reply, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.queue.entry import Recipient
from mailstead.queue.queue_index import QueueIndex

STEP = 1000
MAX_LISTED = 100_000
HEADINGS = ("id", "sender", "recipients", "size", "received", "retries", "next_schedule", "status")
Row = tuple[Recipient, str, int, int]


def state_of(recipient: Recipient, now: float) -> str:
    """What a recipient is waiting for, in a word."""
    if recipient.attempts == 0:
        return QUEUED
    return SCHEDULED if recipient.due > now else DUE


def _time(seconds: int) -> str:
    return time.strftime("%d %b %Y %H:%M:%S", time.localtime(seconds)) if seconds else "now"


class QueueContext(SubContext):
    """Messages on their way out."""

    name = "queue"
    title = "QUEUE"

    def __init__(self, session: Any, parent: Any) -> None:
        super().__init__(session, parent)
        self.last_filter: list[int] | None = None

    def index(self) -> QueueIndex:
        """The queue's index."""
        return QueueIndex(self.session.services.store.queue_index)

    async def rows(self, test: Test | None) -> dict[int, list[Row]]:
        """Waiting recipients by message, those that a filter lets through."""
        found: dict[int, list[Row]] = {}
        after = (-1, -1)
        index, now = self.index(), time.time()
        while True:
            step = index.walk(after, STEP)
            for row in step:
                recipient, sender, size, received = row
                if test is not None:
                    waiting = Waiting(
                        sender, recipient.address, size, received, recipient.due, recipient.attempts,
                        state_of(recipient, now), recipient.status,
                    )  # fmt: skip
                    if not test(waiting, now):
                        continue
                found.setdefault(recipient.mid, []).append(row)
            if len(step) < STEP or len(found) > MAX_LISTED:
                return found
            after = step[-1][0].key
            await asyncio.sleep(0)

    def listing(self, found: dict[int, list[Row]]) -> Reply:
        """A table of messages."""
        now = time.time()
        rows = []
        for number, waiting in found.items():
            first, sender, size, received = waiting[0]
            names = first.address if len(waiting) == 1 else f"{first.address} and {len(waiting) - 1} more"
            due = min(row[0].due for row in waiting)
            retries = max(row[0].attempts for row in waiting)
            rows.append((
                str(number), sender or "<>", names, str(size), _time(received), str(retries), _time(due), state_of(first, now),
            ))  # fmt: skip
        return table("The list of messages in the queue:", HEADINGS, rows)

    @command("LIST", "lists the messages")
    async def list_all(self, arguments: Arguments) -> Result:
        """LIST."""
        return await self.whole_list()

    @command("LIST FILTER <filters...>", "lists messages that a filter lets through, and remembers them as lastFilter")
    async def list_filter(self, arguments: Arguments) -> Result:
        """LIST FILTER."""
        found = await self.rows(parse_filter([word.value for word in arguments.rest]))
        self.last_filter = list(found)
        return await asyncio.to_thread(self.listing, found)

    @command("LIST ID <id>", "shows a message with its recipients")
    def list_id(self, arguments: Arguments) -> Result:
        """LIST ID."""
        number = self.number(arguments["id"])
        index = self.index()
        entry, waiting = index.entry(number), index.recipients(number)
        if entry is None or not waiting:
            raise CommandError(f"the message {number} does not exist in the queue")
        pairs = [
            ("id", str(number)), ("sender", f'"{entry.sender}"'), ("size", str(entry.size)), ("received", _time(entry.received)),
        ]  # fmt: skip
        for recipient in waiting:
            pairs += [
                ("recipient", f'"{recipient.address}"'), ("retries", str(recipient.attempts)),
                ("next_schedule", _time(recipient.due)), ("status", state_of(recipient, time.time())),
                ("message", f'"{recipient.status}"'),
            ]  # fmt: skip
        return show(pairs, "Message information:")

    def number(self, text: str) -> int:
        """A message's number. Raises CommandError."""
        if not (text.isascii() and text.isdigit() and len(text) <= 19):
            raise CommandError(f"{text[:80]!r} is no id of a message")
        return int(text)

    def targets(self, text: str) -> list[int]:
        """The messages a verb is for. Raises CommandError."""
        if text.lower() != "lastfilter":
            number = self.number(text)
            if self.index().entry(number) is None:
                raise CommandError(f"the message {number} does not exist in the queue")
            return [number]
        if self.last_filter is None:
            raise CommandError("there was no LIST FILTER yet")
        return self.last_filter

    async def each(self, verb: str, text: str, done: str) -> Reply:
        """Run a verb for all targets."""
        background = self.session.services.background
        changed = busy = 0
        for number in self.targets(text):
            one, other = await background.call(verb, id=number)
            changed, busy = changed + one, busy + other
        if busy:
            raise CommandError(f"{busy} recipients are being tried just now; {changed} were {done}")
        return Reply(notes=(f"{changed} recipients {done}",))

    @command("FORCE QUEUE", "tries every message now")
    async def force(self, arguments: Arguments) -> Result:
        """FORCE QUEUE."""
        return await self.try_all()

    async def whole_list(self) -> Reply:
        """All messages."""
        return await asyncio.to_thread(self.listing, await self.rows(None))

    async def try_all(self) -> Reply:
        """Have every message tried now."""
        changed, _ = await self.session.services.background.call("queue.retryAll")
        return Reply(notes=(f"{changed} recipients scheduled",))

    @command("RETRY <mailid>", "tries a message, or lastFilter, now")
    async def retry(self, arguments: Arguments) -> Result:
        """RETRY."""
        return await self.each("queue.retry", arguments["mailid"], "scheduled")

    @command("NDR <mailid>", "returns a message, or lastFilter, to its sender")
    async def bounce(self, arguments: Arguments) -> Result:
        """NDR."""
        return await self.each("queue.bounce", arguments["mailid"], "returned")

    @command("DELETE <mailid>", "removes a message, or lastFilter, without a word to anybody")
    async def remove(self, arguments: Arguments) -> Result:
        """DELETE."""
        return await self.each("queue.remove", arguments["mailid"], "removed")

    @command("ENABLE PROCESSING DEBUG", "would stop before each step of processing")
    @command("DISABLE PROCESSING DEBUG", "takes that back")
    @command("CONTINUE PROCESSING DEBUG", "goes on to the next step")
    def debug(self, arguments: Arguments) -> Result:
        """Processing is not stepped through here; receipts say what was done to a message."""
        if "disable" in arguments.flags:
            return None
        raise CommandError("processing is not stopped between its steps here; a message's receipt tells each of them")

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """The quarantine."""
        return [*super().extra_commands(), make("ENTER QUARANTINE", "enters the quarantine", enter(QuarantineContext))]


class QuarantineContext(SubContext):
    """Messages held back (SMO-14). Filters will do that; this release has none that do, so there are no messages."""

    name = "queue-quarantine"
    title = "QUARANTINE"

    def __init__(self, session: Any, parent: Any) -> None:
        super().__init__(session, parent)
        self.filtered = False

    @command("LIST", "lists the messages")
    def list_all(self, arguments: Arguments) -> Result:
        """LIST."""
        return table("The list of messages in the quarantine:", HEADINGS, ())

    @command("LIST FILTER <filters...>", "lists messages that a filter lets through")
    def list_filter(self, arguments: Arguments) -> Result:
        """LIST FILTER."""
        parse_filter([word.value for word in arguments.rest])
        self.filtered = True
        return table("The list of messages in the quarantine:", HEADINGS, ())

    @command("LIST ID <id>", "shows a message")
    @command("DELIVER <mailid>", "delivers a message, or lastFilter")
    @command("DELETE <mailid>", "removes a message, or lastFilter")
    def act(self, arguments: Arguments) -> Result:
        """Nothing is there to act on."""
        given = arguments.get("mailid", arguments.get("id", ""))
        if given.lower() == "lastfilter" and "mailid" in arguments:
            if not self.filtered:
                raise CommandError("there was no LIST FILTER yet")
            return Reply(notes=("0 messages",))
        raise CommandError(f"the message {given[:80]} does not exist in the quarantine")
