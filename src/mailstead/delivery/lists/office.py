"""What all parts of the list service stand on: the list as its copies show it, its folders, what waits there, its answers.

Invariants
- What waits in the list's mailbox carries a signed line in front, so that no sender can bring along an approval.
- An answer is from the null sender, says that a machine wrote it, and goes to nobody more often than the list allows in a day.
- An answer is one record with the end of the job that it answers, or of its stage, and with the taking away of what waited:
  after a crash it is sent once.

The list's folders: INBOX has what was sent on; Requests what waits for its sender's confirmation; PendingRequests what waits
for the administrator, who moves it to ConfirmedRequests, where his refusals pass as well; Digest what the next digest will have,
Digests those that were sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.delivery.jobs import ExpansionJob, JobKind
from mailstead.delivery.lists.outgoing import ListFace
from mailstead.delivery.lists.tokens import Signer
from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient
from mailstead.delivery.service import Delivery
from mailstead.delivery.targets import Plan
from mailstead.directory.address import address_key
from mailstead.directory.list_templates import filled
from mailstead.directory.model import Recipient, RecipientKind
from mailstead.mailbox.errors import FolderExists
from mailstead.mailbox.model import Folder
from mailstead.mailbox.names import LIST_CONFIRMED, LIST_DIGEST
from mailstead.message.build import format_address, text_message
from mailstead.message.headers import iter_fields
from mailstead.observe.log import get_logger
from mailstead.queue.queue_index import START, QueueIndex
from mailstead.settings.actor import Actor
from mailstead.store.operations import to_ranges
from mailstead.store.record import MessageHead, Target, TargetKind, encode_ranges
from mailstead.store.service import QUEUE
from mailstead.store.submission import TargetOutcome

log = get_logger("PROCESSING")

INBOX, REQUESTS, PENDING, CONFIRMED = "INBOX", "Requests", "PendingRequests", LIST_CONFIRMED
DIGEST, DIGESTS = LIST_DIGEST, "Digests"
MARK = b"X-List-Request"
REFUSED = "refused"
"""Kind of what stands in ConfirmedRequests for something that was refused; ``what`` has its kind, ``sender`` who hears of it."""
WHAT_WAITS = "waits"
"""Purpose of the tokens in front of what waits."""
MAX_COUNTED = 20_000
JOBS_AT_ONCE = 64
MAX_HEAD = 64 * 1024
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something in a list's mailbox that waits. ``kind``: post, subscribe or unsubscribe; ``address`` and ``name``: whom it
    is about; ``sender``: the envelope sender it came from; ``date`` unix seconds."""

    uid: int
    kind: str
    address: str
    name: str
    sender: str
    subject: str = ""
    date: int = 0
    size: int = 0


@dataclass(slots=True)
class Answer:
    """A text of the list for somebody; ``reply_to``: the address that takes a confirmation."""

    subject: str
    body: str
    reply_to: str = ""


class Office:
    """Shared by the parts of the list service in one process."""

    def __init__(self, delivery: Delivery, secret: bytes) -> None:
        self.delivery = delivery
        self.directory = delivery.directory
        self.mailbox = delivery.mailbox
        self.store = delivery.store
        self.settings = delivery.settings
        self.signer = Signer(secret)
        self.made_folder = True
        """Whether a folder of a list was made since somebody looked."""
        self._answered: OrderedDict[tuple[int, str], tuple[int, int]] = OrderedDict()

    # -- the list -----------------------------------------------------------------------------------------------

    def value(self, recipient: Recipient, name: str) -> Any:
        """An attribute of a list as it holds."""
        return self.directory.recipient_value(recipient.id, name)

    def face(self, recipient: Recipient) -> ListFace:
        """The list as its copies show it."""
        address = self.directory.list_address
        contents = self.directory.recipient_contents(recipient.id)
        return ListFace(
            recipient,
            str(self.value(recipient, "description")),
            recipient.address,
            address(recipient, "subscribe"),
            address(recipient, "unsubscribe"),
            address(recipient, "request"),
            address(recipient, "owner"),
            address(recipient, "bounces"),
            address(recipient, "confirm"),
            bool(self.value(recipient, "rewriteFrom")),
            self.value(recipient, "senderAllow") != "nobody",
            tuple(self.value(recipient, "removeHeaders")),
            contents.get("addHeader", ""),
            contents.get("bodyBegin", ""),
            contents.get("bodyEnd", ""),
        )

    def actor(self, recipient: Recipient) -> Actor:
        """Who changes members on a request that was confirmed."""
        return Actor.system(f"list {recipient.address}")

    def values(self, recipient: Recipient, **more: str) -> dict[str, str]:
        """Text by placeholder, for templates."""
        address = self.directory.list_address
        known = {
            "LIST": recipient.name,
            "ADDRESS": recipient.address,
            "DESCRIPTION": str(self.value(recipient, "description")) or recipient.name,
            "OWNER": address(recipient, "owner"),
            "SUBSCRIBE": address(recipient, "subscribe") or address(recipient, "owner"),
            "UNSUBSCRIBE": address(recipient, "unsubscribe") or address(recipient, "owner"),
            "REQUEST": address(recipient, "request") or address(recipient, "owner"),
            "HOURS": str(self.value(recipient, "confirmInterval")),
        }
        return {**known, **{key.upper(): value for key, value in more.items()}}

    def with_token(self, recipient: Recipient, role: str, purpose: str, number: int) -> str:
        """An address of a list with a signed number in it."""
        local, _, domain = self.directory.list_address(recipient, role).rpartition("@")
        return f"{local}+{self.signer.number(purpose, recipient.id, number)}@{domain}"

    # -- its folders --------------------------------------------------------------------------------------------

    async def folder(self, recipient: Recipient, name: str) -> Folder:
        """A folder of the list, made where it is missing. Raises MailboxError."""
        found = await self.mailbox.folder(recipient.id, name)
        if found is not None:
            return found
        self.made_folder = True
        try:
            return await self.mailbox.create_folder(recipient.id, name)
        except FolderExists:
            again = await self.mailbox.folder(recipient.id, name)
            assert again is not None
            return again

    async def count(self, recipient: Recipient, name: str) -> int:
        """Messages in a folder of the list; 0 where there is none."""
        found = await self.mailbox.folder(recipient.id, name)
        return (await self.mailbox.status(found)).messages if found is not None else 0

    def into(self, folder: Folder, front: bytes = b"", *, flags: int = 0) -> Target:
        """A target that puts a message into a folder of the list, with lines in front."""
        quota = self.mailbox.quota_limits(folder.account)
        return Target(
            TargetKind.FOLDER, folder.shard, folder.account, folder.id, flags, overlay=front,
            mid=self.store.new_id() if front else 0, quota_size=quota[0], quota_messages=quota[1],
        )  # fmt: skip

    def removal(self, folder: Folder, uids: Sequence[int]) -> Target:
        """A target that takes messages out of a folder of the list, in one record with what is done about them."""
        return Target(
            TargetKind.REMOVAL, folder.shard, folder.account, folder.id, date=int(time.time()), mid=self.store.new_id(),
            detail=encode_ranges(to_ranges(sorted(uids))),
        )  # fmt: skip

    def job_at(self, recipient: Recipient, role: str, *stage: str) -> Target:
        """A job of the list without a mail, which begins at a stage."""
        job = ExpansionJob(JobKind.LIST, recipient.id, recipient.address, role, path=stage)
        return Target(TargetKind.EXPANSION, QUEUE, date=int(time.time()), recipient=recipient.address, detail=job.encode())

    async def has_job(self, recipient: Recipient, wanted: Callable[[ExpansionJob], bool]) -> bool:
        """Whether a job of the list has not come to its end, and is one of the wanted."""
        index, after = QueueIndex(self.store.queue_index), START
        while rows := index.expansions(after, JOBS_AT_ONCE):
            jobs = [ExpansionJob.decode(row.detail) for row in rows]
            if any(job is not None and job.object_id == recipient.id and wanted(job) for job in jobs):
                return True
            after = (rows[-1].due, rows[-1].mid, rows[-1].number)
            await asyncio.sleep(0)
        return False

    def was_kept(self, recipient: Recipient, mid: int) -> bool:
        """Whether a message was put into the list's mailbox, wherever it is by now."""
        return self.store.reader(recipient.shard).row("SELECT 1 FROM wide WHERE mid = ?", (mid,)) is not None

    def kept_at(self, recipient: Recipient, folder: Folder, mid: int) -> int:
        """The UID of a message in a folder of the list; 0 where it is not there."""
        row = self.store.reader(recipient.shard).row("SELECT uid FROM message WHERE folder = ? AND mid = ?", (folder.id, mid))
        return int(row[0]) if row is not None else 0

    def was_removed(self, recipient: Recipient, folder: Folder, uid: int, since: int) -> bool:
        """Whether a message was removed from a folder, and not moved to another, since that unix time."""
        sql = "SELECT 1 FROM expunged WHERE at >= ? AND folder = ? AND uid = ?"
        return self.store.reader(recipient.shard).row(sql, (since, folder.id, uid)) is not None

    def mark(self, recipient: Recipient, kind: str, address: str, name: str, sender: str, **more: str) -> bytes:
        """The signed line in front of what waits."""
        values = {"kind": kind, "address": address[:320], "name": name[:100], "sender": sender[:320], **more}
        token = self.signer.text(WHAT_WAITS, recipient.id, values)
        lines = "\r\n ".join(token[start : start + 900] for start in range(0, len(token), 900))
        return b"%b: %b\r\n" % (MARK, lines.encode())

    def read_mark(self, recipient: Recipient, head: bytes) -> dict[str, str] | None:
        """What the first line of a message says, where this list signed it."""
        for name, _, value in iter_fields(head):
            if name.lower() != MARK.lower():
                return None
            found = self.signer.read_text(WHAT_WAITS, value.replace(b" ", b"").decode("ascii", "replace"))
            return found[1] if found is not None and found[0] == recipient.id else None
        return None

    # -- answers ------------------------------------------------------------------------------------------------

    def answers_left(self, recipient: Recipient, address: str) -> bool:
        """Whether the list would still answer an address today."""
        day, count = self._answered.get((recipient.id, address_key(address) or address.lower()), (0, 0))
        return day != int(time.time()) // DAY or count < int(self.value(recipient, "answersPerDay"))

    def may_answer(self, recipient: Recipient, address: str) -> bool:
        """Count an answer; False where the address has had as many today as the list gives."""
        key = (recipient.id, address_key(address) or address.lower())
        today = int(time.time()) // DAY
        day, count = self._answered.get(key, (today, 0))
        count = count + 1 if day == today else 1
        self._answered[key] = (today, count)
        self._answered.move_to_end(key)
        if len(self._answered) > MAX_COUNTED:
            self._answered.popitem(last=False)
        return count <= int(self.value(recipient, "answersPerDay"))

    def template(self, recipient: Recipient, name: str, values: Mapping[str, str]) -> Answer:
        """A template of the list, filled."""
        subject, body = filled(self.directory.recipient_content(recipient.id, name), values)
        return Answer(subject or f"{recipient.name}: {name}", body)

    async def send(
        self, recipient: Recipient, to: str, answer: Answer, *, with_targets: Sequence[Target] = (), counted: bool = True,
        sender: str = "", headers: Sequence[tuple[str, str]] = (),
    ) -> bool:  # fmt: skip
        """Send an answer, in one record with other targets. False where it was not sent; the others are done all the same.
        Raises Unavailable."""
        plan, octets = await self.answering(recipient, to, answer, counted=counted, sender=sender, headers=headers)
        await self.submit(with_targets, octets, sender, plan)
        return bool(plan.targets)

    async def answering(
        self, recipient: Recipient, to: str, answer: Answer, *, counted: bool = True, sender: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> tuple[Plan, bytes]:  # fmt: skip
        """Plan and octets of an answer; without targets where it is not to be sent."""
        plan = Plan()
        octets = b""
        if to and (not counted or self.may_answer(recipient, to)):
            octets = self._written(recipient, to, answer, headers)
            plan = await self._plan(to, octets, sender)
        elif to:
            log.warning("list answers no more today", list=recipient.address, to=to)
        return plan, octets

    def _written(self, recipient: Recipient, to: str, answer: Answer, headers: Sequence[tuple[str, str]]) -> bytes:
        address = self.directory.list_address
        from_ = address(recipient, "request") or address(recipient, "owner")
        domain = recipient.address.rpartition("@")[2]
        more = [("Precedence", "bulk"), ("X-Loop", recipient.address), ("X-Auto-Response-Suppress", "All"), *headers]
        if answer.reply_to:
            more.insert(0, ("Reply-To", answer.reply_to))
        return text_message(
            format_address(recipient.name, answer.reply_to or from_), to, answer.subject, answer.body, time.time(),
            host=domain if domain.isascii() else "localhost", auto_submitted="auto-replied", headers=more,
        )  # fmt: skip

    async def _plan(self, to: str, octets: bytes, sender: str) -> Plan:
        found = self.directory.resolve(to)
        if found.kind in (RecipientKind.LIST, RecipientKind.UNKNOWN_USER, RecipientKind.DISABLED):
            return Plan()  # a list does not write to lists
        message = AcceptedMessage(
            f"list-{self.store.new_id():x}", sender, [EnvelopeRecipient(to, found, "NEVER")], b"", octets, len(octets),
            int(time.time()), body_type="7BIT" if octets.isascii() else "8BITMIME", utf8=not to.isascii(),
        )  # fmt: skip
        plan = await self.delivery.planner.expand(message)
        front = b"Return-Path: <%b>\r\n" % sender.encode("utf-8", "replace")
        variant = self.store.new_id()
        for target in plan.targets:
            if target.kind == TargetKind.FOLDER:
                target.overlay, target.mid = front, variant
        return plan

    async def submit(
        self, targets: Sequence[Target], octets: bytes, sender: str = "", plan: Plan | None = None
    ) -> list[TargetOutcome]:
        """One record: targets, and those of a plan behind them. Raises Unavailable."""
        plan = plan or Plan()
        every = [*targets, *plan.targets]
        if not every:
            return []
        try:
            return await self.store.submit_message(MessageHead(sender, int(time.time()), every), octets or b"\r\n", shown=True)
        except BaseException:
            await self.delivery.planner.give_back(plan)
            raise

    async def tell_owner(self, recipient: Recipient, subject: str, body: str, *, with_targets: Sequence[Target] = ()) -> None:
        """A notice to whoever looks after the list, in one record with other targets. Raises Unavailable."""
        owner = self.directory.list_address(recipient, "owner")
        await self.send(recipient, owner, Answer(subject, body), counted=False, with_targets=with_targets)
