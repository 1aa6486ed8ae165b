"""From recipients to the targets of a log record: duplicates removed, groups and lists expanded.

Invariants
- A mailbox folder gets a message once, however many of its addresses are recipients; so does a remote address.
- ``origins[i]`` names the recipient that target ``i`` stands for, so that a refusal finds its sender.
- Small groups are expanded at once, yielding to the event loop; lists, and groups of more than INLINE_MEMBERS, become one
  target that the background process expands (`expansion`), so that their size delays nobody.
- Mail for an account with an active Sieve script goes where the script says; a script runs once for a message.
- What a script redirects is mail that its account sends: it counts against the account's limits (QTA-04) before it becomes a
  target, and where it may not be sent the message is kept (RFC 5228 section 2.10.6). Whoever cannot store the plan gives it back.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import islice

from mailstead.delivery.jobs import ExpansionJob, JobKind
from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient, Result
from mailstead.delivery.restrictions import permits
from mailstead.delivery.scripts import Scripts
from mailstead.delivery.sending_quota import SendingQuota
from mailstead.directory.model import Account, RecipientKind, Resolution
from mailstead.directory.resolve import Expanded
from mailstead.directory.service import Directory
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.model import Folder
from mailstead.mailbox.names import canonical
from mailstead.mailbox.service import Mailbox, split_flags
from mailstead.message.addresses import ascii_domain
from mailstead.message.index import MessageIndex
from mailstead.migration.callout import RemoteRecipients
from mailstead.observe.log import fault, get_logger
from mailstead.queue.detail import QueueDetail
from mailstead.sieve.actions import Action, FileInto, Keep, Redirect, Reject
from mailstead.store.record import Target, TargetKind
from mailstead.store.service import QUEUE, Store

log = get_logger("PROCESSING")
_printable = re.compile(r"[\x00-\x20\x7f]+").sub

INLINE_MEMBERS = 500
"""Members of a group that are expanded while the sender waits."""
MAX_TARGETS = 200_000
"""Targets of one record; what a script redirects to may not lead beyond."""
YIELD_EVERY = 100
MAX_CHAIN = 20
"""Redirections from script to script that one message follows."""

_NO_FOLDER = "550 5.3.3 there is no such folder"
_LOST = "550 5.1.1 no such user"
_RESTRICTED = "550 5.7.1 the recipient takes no mail from this sender"


@dataclass(slots=True)
class Lost:
    """An address that a group led to and that leads nowhere, or whose rules reject the message."""

    origin: int
    address: str
    reason: str
    result: Result = Result.NO_MEMBERS


@dataclass(slots=True)
class Plan:
    """Targets, whom each stands for, the account whose INBOX takes it where its folder is gone (0: none), and what could not
    become one. ``rehoused``: some went to an INBOX after all; ``discarded``: recipients whose rules throw the message away;
    ``watched``: accounts that want to know when their mailbox is nearly full; ``redirected``: (account, address, octets) of what
    was counted as sent by scripts."""

    targets: list[Target] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    homes: list[int] = field(default_factory=list)
    folders: int = 0
    queued: int = 0
    expansions: int = 0
    lost: list[Lost] = field(default_factory=list)
    failed: dict[int, Result] = field(default_factory=dict)
    seen: set[object] = field(default_factory=set)
    index: MessageIndex | None = None
    rehoused: bool = False
    discarded: set[int] = field(default_factory=set)
    scripted: set[int] = field(default_factory=set)
    watched: list[Account] = field(default_factory=list)
    redirected: list[tuple[Account, str, int]] = field(default_factory=list)


def is_literal(domain: str) -> bool:
    """Whether it is an IP address in brackets (RFC 5321 section 4.1.3)."""
    try:
        ipaddress.ip_address(domain[1:-1].removeprefix("IPv6:"))
    except ValueError:
        return False
    return domain.startswith("[") and domain.endswith("]")


class Planner:
    """Makes plans for the messages of one process."""

    def __init__(
        self, store: Store, directory: Directory, mailbox: Mailbox, sending: SendingQuota, elsewhere: RemoteRecipients | None = None
    ) -> None:
        self._elsewhere = elsewhere
        self._sending = sending
        self._store = store
        self._directory = directory
        self._mailbox = mailbox
        self._scripts = Scripts(mailbox)

    def is_simple(self, message: AcceptedMessage) -> bool:
        """Whether there is neither a group nor a script."""
        for recipient in message.recipients:
            found = recipient.resolution
            if found.kind is RecipientKind.GROUP:
                return False
            if found.account is not None and found.kind is RecipientKind.LOCAL and self._scripts.has(found.account):
                return False
        return True

    def plan(self, message: AcceptedMessage) -> Plan:
        """The plan of a simple message, at once."""
        plan = Plan()
        for number, recipient in enumerate(message.recipients):
            self._add(plan, message, number, recipient.resolution, recipient)
        return plan

    async def expand(self, message: AcceptedMessage) -> Plan:
        """The plan of any message."""
        plan = Plan()
        async with self.planning(plan):
            for number, recipient in enumerate(message.recipients):
                if recipient.resolution.kind is not RecipientKind.GROUP:
                    await self.route(plan, message, number, recipient.resolution, recipient)
            for number, recipient in enumerate(message.recipients):
                if recipient.resolution.kind is RecipientKind.GROUP:
                    await self._expand(plan, message, number, recipient)
        return plan

    @contextlib.asynccontextmanager
    async def planning(self, plan: Plan) -> AsyncIterator[None]:
        """Whatever fails inside, the plan is given back."""
        try:
            yield
        except BaseException:
            await self.give_back(plan)
            raise

    async def give_back(self, plan: Plan) -> None:
        """What the plan counted as sent by scripts was not sent after all."""
        redirected, plan.redirected = plan.redirected, []
        for account, address, size in redirected:
            await self._sending.give_back(account, [address], size)

    async def _expand(self, plan: Plan, message: AcceptedMessage, number: int, recipient: EnvelopeRecipient) -> None:
        found = await self._members(recipient.resolution.object_id)
        if len(found) > INLINE_MEMBERS:
            self._later(plan, message, number, recipient.resolution, recipient)
            return
        for members, one in enumerate(found, 1):
            if members % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            await self.route(plan, message, number, one.resolution, recipient)
        if not found:
            plan.failed[number] = Result.NO_MEMBERS

    async def _members(self, group: int) -> list[Expanded]:
        """Whom a group leads to, one more than are expanded at once where there are more."""
        found: list[Expanded] = []
        for one in islice(self._directory.walk(group), INLINE_MEMBERS + 1):
            found.append(one)
            if len(found) % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return found

    def _later(self, plan: Plan, message: AcceptedMessage, number: int, found: Resolution, recipient: EnvelopeRecipient) -> None:
        """A list or a large group: one target, to be expanded in the background."""
        key = ("expansion", found.object_id, found.role, found.detail)
        if key in plan.seen:
            return
        plan.seen.add(key)
        plan.expansions += 1
        job = ExpansionJob(
            JobKind.GROUP if found.kind is RecipientKind.GROUP else JobKind.LIST,
            found.object_id,
            recipient.address,
            found.role,
            found.detail,
            login=message.auth.account if message.auth is not None else "",
            notify=recipient.notify,
            orcpt=recipient.orcpt,
            envid=message.envid,
            ret=message.ret,
            utf8=message.utf8,
            body=message.body_type,
        )
        now = int(time.time())
        plan.targets.append(Target(TargetKind.EXPANSION, QUEUE, date=now, recipient=found.address, detail=job.encode()))
        plan.origins.append(number)
        plan.homes.append(0)

    async def route(
        self, plan: Plan, message: AcceptedMessage, number: int, found: Resolution, recipient: EnvelopeRecipient,
        *, depth: int = 0,
    ) -> None:  # fmt: skip
        """`_add`, by way of the account's script where it has one; ``depth`` counts redirections so far."""
        account = found.account
        if account is not None and account.rules is not None and not self._takes(account, message):
            self._add(plan, message, number, found, recipient)
            return
        script = await self._scripts.of(account) if account is not None and found.kind is RecipientKind.LOCAL else None
        if account is None or script is None:
            self._add(plan, message, number, found, recipient)
            return
        if account.id in plan.scripted or depth > MAX_CHAIN:
            if depth:  # scripts that send it round and round: it stays here
                self._add(plan, message, number, found, recipient)
            return
        plan.scripted.add(account.id)
        actions = await self._scripts.run(script, account, found.original, message)
        if not actions:
            log.info("message discarded by the account's script", account=account.address, message=message.id)
            plan.discarded.add(number)
        for action in actions:
            try:
                reason = await self._act(plan, message, number, found, recipient, account, action, depth)
            except Exception as error:  # a fault of ours must not lose mail
                reason = f"internal error, reference {fault(log, 'script not carried out', error, message=message.id)}"
            if reason:
                log.warning("script not carried out, message kept", account=account.address, message=message.id, reason=reason)
                flags = action.flags if isinstance(action, FileInto | Keep) else None
                self._add(plan, message, number, found, recipient, flags)

    async def _act(
        self, plan: Plan, message: AcceptedMessage, number: int, found: Resolution, recipient: EnvelopeRecipient,
        account: Account, action: Action, depth: int,
    ) -> str:  # fmt: skip
        """Carry out one action of an account's script; why it is not possible, "" if it is."""
        match action:
            case Keep():
                self._add(plan, message, number, found, recipient, action.flags)
            case FileInto():
                folder = await self._filed(account, action)
                if folder is None:
                    return f"there is no folder {action.folder[:100]!r} to put mail in"
                self._into(plan, account, number, folder, recipient, action.flags)
            case Redirect():
                if account.rules is not None and not permits(self._directory, account, account.rules.send, action.address):
                    return "the account may not send there"
                target = self._directory.resolve(action.address, sender=message.sender)
                if target.kind is RecipientKind.GROUP:
                    found_there = await self._members(target.object_id)
                    if not found_there or len(plan.targets) > MAX_TARGETS:
                        return "the group has no members, or too many"
                    if refusal := await self._charge(plan, account, action.address, message.size):
                        return refusal
                    if len(found_there) > INLINE_MEMBERS:
                        self._later(plan, message, number, target, recipient)
                        found_there = []
                    for count, one in enumerate(found_there, 1):
                        if count % YIELD_EVERY == 0:
                            await asyncio.sleep(0)
                        await self.route(plan, message, number, one.resolution, recipient, depth=depth + 1)
                elif self._leads_on(target):
                    if refusal := await self._charge(plan, account, action.address, message.size):
                        return refusal
                    await self.route(plan, message, number, target, recipient, depth=depth + 1)
                else:
                    return f"redirection to nowhere: {target.kind.value}"
                log.info("message redirected by the account's script", account=account.address, message=message.id)
            case Reject():
                words = _printable(" ", action.reason)[:300].encode("ascii", "replace").decode("ascii")
                reason = f"550 5.7.1 {words.strip() or 'rejected'}"
                plan.lost.append(Lost(number, account.address, reason, Result.REJECTED))
        return ""

    async def _charge(self, plan: Plan, account: Account, address: str, size: int) -> str:
        """Count what a script redirects as sent by its account (QTA-04); why it may not be sent, "" if it may."""
        if not self._sending.limits(account):
            return ""
        refusal = await self._sending.check_and_count(account, [address], size)
        if refusal is not None:
            return refusal.text
        plan.redirected.append((account, address, size))
        return ""

    def _takes(self, account: Account, message: AcceptedMessage) -> bool:
        """Whether the account may have mail of the sender (RST-01)."""
        assert account.rules is not None
        return message.system or permits(self._directory, account, account.rules.receive, message.sender)

    def _leads_on(self, target: Resolution) -> bool:
        """Whether a redirection can go there."""
        if target.kind is RecipientKind.REMOTE:
            domain = target.address.rpartition("@")[2]
            return is_literal(domain) or ascii_domain(domain) is not None
        return target.kind in (RecipientKind.LOCAL, RecipientKind.LIST) or (
            target.kind is RecipientKind.FOLDER and self.public_folder(target) is not None
        )

    async def _filed(self, account: Account, action: FileInto) -> Folder | None:
        """The folder that a script names, if the account may put mail there."""
        try:
            folder = await self._mailbox.folder(account.id, action.folder)
            if folder is None and action.create:
                folder = await self._mailbox.create_folder(account.id, action.folder)
        except MailboxError:
            return None
        return folder if folder is not None and set("ip") & set(folder.rights) else None

    def _into(
        self, plan: Plan, account: Account, number: int, folder: Folder, recipient: EnvelopeRecipient,
        flags: tuple[str, ...] | None,
    ) -> None:  # fmt: skip
        """A target in a folder that an account's script names, perhaps of another who shares it."""
        inbox = self._store.mail_index(folder.shard).folder(folder.account, "INBOX")
        key = folder.account, 0 if inbox is not None and inbox[0] == folder.id else folder.id
        if key in plan.seen:
            return
        plan.seen.add(key)
        plan.folders += 1
        quota = self._mailbox.quota_limits(folder.account)
        own = self._mailbox.limits_of(folder.account, folder.id)
        system, keywords = split_flags(flags or ())
        if folder.reader:
            system, keywords = 0, []
        plan.targets.append(
            Target(
                TargetKind.FOLDER, folder.shard, folder.account, folder.id, system, tuple(keywords), recipient=recipient.address,
                quota_size=quota[0], quota_messages=quota[1], folder_size=own[0], folder_messages=own[1],
            )
        )  # fmt: skip
        plan.origins.append(number)
        plan.homes.append(account.id)

    def _add(
        self, plan: Plan, message: AcceptedMessage, number: int, found: Resolution, recipient: EnvelopeRecipient,
        flags: tuple[str, ...] | None = None,
    ) -> None:  # fmt: skip
        kind = found.kind
        if kind is RecipientKind.UNKNOWN_USER and self._elsewhere is not None and self._elsewhere.concerns(found.address):
            kind = RecipientKind.REMOTE  # a member of a group, who has not come from the other server yet
        home = 0
        if kind is RecipientKind.LOCAL:
            account = found.account
            assert account is not None
            home = account.id
            if account.rules is not None and not self._takes(account, message):
                plan.lost.append(Lost(number, found.address, _RESTRICTED, Result.RESTRICTED))
                return
            folder = self.detail_folder(account.shard, account.id, found.detail) if found.detail else 0
            key: object = (account.id, folder)
            if key in plan.seen:
                return
            plan.seen.add(key)
            plan.folders += 1
            system, keywords = split_flags(flags) if flags else (0, [])
            target = Target(
                TargetKind.FOLDER,
                account.shard,
                account.id,
                folder,
                system,
                tuple(keywords),
                recipient=recipient.address,
                quota_size=account.quota_bytes,
                quota_messages=account.quota_messages,
            )
            if account.rules is not None:
                if account.rules.folders is not None:
                    target.folder_size, target.folder_messages = self._mailbox.limits_of(account.id, folder)
                if account.rules.alert is not None:
                    plan.watched.append(account)
        elif kind is RecipientKind.FOLDER:
            public = self.public_folder(found)
            if public is None:
                plan.lost.append(Lost(number, found.address, _NO_FOLDER))
                return
            if (public.account, public.id) in plan.seen:
                return
            plan.seen.add((public.account, public.id))
            plan.folders += 1
            quota = self._mailbox.quota_limits(public.account)
            own = self._mailbox.limits_of(public.account, public.id)
            target = Target(
                TargetKind.FOLDER, public.shard, public.account, public.id, recipient=recipient.address, quota_size=quota[0],
                quota_messages=quota[1], folder_size=own[0], folder_messages=own[1],
            )  # fmt: skip
        elif kind is RecipientKind.REMOTE:
            if found.address in plan.seen:
                return
            plan.seen.add(found.address)
            plan.queued += 1
            utf8 = message.utf8 or not found.address.isascii()  # a script may redirect to any address
            detail = QueueDetail(recipient.notify, recipient.orcpt, message.envid, message.ret, utf8, message.body_type)
            target = Target(TargetKind.QUEUE, QUEUE, date=int(time.time()), recipient=found.address, detail=detail.encode())
        elif kind is RecipientKind.LIST:
            self._later(plan, message, number, found, recipient)
            return
        else:
            reason = _LOST if kind is RecipientKind.UNKNOWN_USER else f"550 5.2.1 {kind.value}"
            plan.lost.append(Lost(number, found.address, reason))
            return
        plan.targets.append(target)
        plan.origins.append(number)
        plan.homes.append(home)

    def public_folder(self, found: Resolution) -> Folder | None:
        """The public folder that a resolution of kind FOLDER means (PUB-02, DOM-06)."""
        recipient = self._directory.recipient(found.object_id)
        domain_id = recipient.domain_id if recipient is not None else found.object_id
        return self._mailbox.public_folder(domain_id, found.folder)

    def detail_folder(self, shard: int, account: int, detail: str) -> int:
        """The id of the account's folder that a subaddress names (in any case), 0 for INBOX or none."""
        return self._store.mail_index(shard).folder_in_any_case(account, canonical(detail))
